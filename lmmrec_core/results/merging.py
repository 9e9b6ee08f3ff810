"""Results of several machines → one folder of results, unless they contradict each other."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lmmrec_core.digests import file_sha256
from lmmrec_core.disk import whole_file
from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.results.archive import RECORDS, USERS, rows_digest
from lmmrec_core.results.checking import check_files, stored_files
from lmmrec_core.results.packing import unpacked_files
from lmmrec_core.results.store import Record, ResultStore, write_run

CheckBelow = Callable[[Path, Path], bool]
_MOST = 10  # contradictions that a message names
#: What the runs of a track must share, whichever machine made them: for the same values of these fields of a case …
_OF_DATA = ("dataset", "split")
_OF_FEATURES = ("dataset", "encoder", "paradigm", "modalities", "control", "arm", "split", "seed")


@dataclass(frozen=True)
class Merged:
    """What :func:`merge` did."""

    added: int  # runs
    same: int  # runs that were here, or in several of the folders, with the same values for every user
    others: int  # files about encoders, features, data sets and searches that were not here
    kept: tuple[Path, ...] = ()  # such files that were here with other content, which stays
    unknown: tuple[Path, ...] = ()  # files of no known kind, not copied


def merge(store: ResultStore, track: str, sources: Sequence[Path], check: CheckBelow = lambda *_: False) -> Merged:
    """Copy the runs of a track from other results folders into ``store``; packed ones get folders.

    Every file is first held against its digest (``check`` does so for those that are no run's, given the file and the
    folder of the track, as ``checking.Check``). Raises ConfigError for a
    folder without runs of the track; ResultError for damaged files, and where the runs contradict each other: one run
    with other values for some user, or one data set or one encoder's features with another digest. Then nothing is
    written. A merge that was stopped goes on when it is called again.
    """
    new: dict[Path, tuple[ResultStore, Record]] = {}
    others: dict[Path, Path] = {}  # place here → file there
    told, kept, unknown, same = _Facts(), [], [], 0
    told.note(store.find_records(track=track), f"{store.root}")
    for folder in sources:
        source = ResultStore(_results_of(folder, track), store.measure)
        if source.root.resolve() == store.root.resolve():
            raise ConfigError(f"{folder}: the results folder itself; name those of other machines")
        files = stored_files(source.root / track)
        strange = set(check_files(source, track, files, partial(_below, check, source.root / track)))
        records = source.find_records(track=track)
        if not records:
            raise ConfigError(f"{folder}: no run of track {track!r} is stored there; name another folder, or --track")
        told.note(records, f"{source.root}")
        for record in records:
            place = store.root / record.path.relative_to(source.root)
            if place not in new and not store.holds(place):
                new[place] = (source, record)
                continue
            mine, known = new.get(place) or (store, store.record(place))
            same += 1
            if rows_digest(mine.load_record(known).per_user) != rows_digest(source.load_record(record).per_user):
                told.faults.append(f"run {place.name}: {known.path} and {record.path} differ for some user")
        runs = {record.path for record in records}
        for file in files:
            place = store.root / file.relative_to(source.root)
            if file in strange:
                unknown += [] if file.parent in runs else [file]
            elif file.parent in runs or file.name.endswith((RECORDS, USERS)):
                continue
            elif not place.exists():
                others.setdefault(place, file)
            elif file_sha256(place) != file_sha256(file):
                kept.append(place)
    told.refuse()
    for place, (source, record) in new.items():
        write_run(place, _files_of(source, record))
    for place, file in others.items():
        with whole_file(place, needed=file.stat().st_size) as copy:
            shutil.copyfile(file, copy)
    return Merged(len(new), same, len(others), tuple(kept), tuple(unknown))


def _below(check: CheckBelow, folder: Path, file: Path) -> bool:
    return check(file, folder)


def _results_of(folder: Path, track: str) -> Path:
    """The folder of results: the one named, or ``results`` in it."""
    for found in (folder, folder / "results"):
        if (found / track).is_dir():
            return found
    raise ConfigError(f"{folder}: no results of track {track!r} are there; name a folder `results` of another machine")


def _files_of(source: ResultStore, record: Record) -> Mapping[str, bytes]:
    if record.archived is not None:
        return unpacked_files(source, record)
    return {file.name: file.read_bytes() for file in sorted(record.path.iterdir()) if file.is_file()}


class _Facts:
    """What runs were made from, where each was seen first, and what contradicts that."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.seen: dict[tuple[Any, ...], dict[str, str]] = {}  # what → digest → folder

    def note(self, records: Iterable[Record], where: str) -> None:
        """Take in the runs of one folder; those of folders before it are what they must agree with."""
        found: dict[tuple[Any, ...], set[str]] = {}
        for record in records:
            data, features = record.data["data"], record.data["features"]
            of_data = ("catalogue and split", *(record.case[name] for name in _OF_DATA))
            found.setdefault(of_data, set()).add(f"{data.get('catalogue')} {data['split']}")
            if features:
                of_features = ("features", *(record.case[name] for name in _OF_FEATURES))
                found.setdefault(of_features, set()).add(str(features["digest"]))
        for what, digests in found.items():
            known = self.seen.setdefault(what, {})
            if known and not digests <= known.keys():
                there = next(iter(known.values()))
                told = " ".join(str(word) for word in what[1:])
                self.faults.append(f"{what[0]} of {told}: {where} has others than {there}")
            for digest in digests:
                known.setdefault(digest, where)

    def refuse(self) -> None:
        """Raises ResultError that names the contradictions, if there are any."""
        if self.faults:
            more = f"\nand {len(self.faults) - _MOST} more" if len(self.faults) > _MOST else ""
            raise ResultError(
                "nothing was merged, these results contradict each other:\n" + "\n".join(self.faults[:_MOST]) + more
                + "\ndelete the runs of one side, or make them again from the same data and weights"
            )  # fmt: skip
