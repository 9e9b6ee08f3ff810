"""Results on disk: one folder per run, written whole or not at all, never overwritten, checked when read.

``<root>/<track>/<dataset>/<slug>-<key>/`` holds ``run.json`` (the record, with the SHA-256 of the other
files and a digest of itself), ``per_user.parquet`` and ``top50.parquet`` (not in git, so it may be absent).
``key`` is :func:`key_of` of everything that determines the outcome, so a run that is stored need not be
run again. Other files and folders under the root are left alone.

Runs that were packed (``archive.py``) are read as if their folders were there; a folder goes before the archive.
"""

import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from lmmrec_core.digests import bytes_sha256, digest
from lmmrec_core.disk import copy_others, read_regular, readable, require_listed, whole_folder
from lmmrec_core.errors import ResultError, unknown
from lmmrec_core.flow import IntArray, Result
from lmmrec_core.names import PLAIN_NAME
from lmmrec_core.results.archive import RECORDS, Archive, ArchivedRun
from lmmrec_core.results.files import lists_bytes, read_lists, read_table, table_bytes
from lmmrec_core.results.plain import key_of, plain_values

__all__ = ["CASE", "Record", "ResultStore", "key_of"]

_SCHEMA = 1
_SAME = 1e-9  # metrics measured on another machine may differ in their last bits
CASE = ("track", "dataset", "model", "encoder", "paradigm", "modalities", "control", "arm", "split", "seed")
_LATER = {"arm": "none", "split": 0}  # fields that older records do not have
SECTIONS = ("case", "settings", "training", "metrics", "overall", "data", "features", "cost", "provenance")
RECORD, PER_USER, TOP_ITEMS = "run.json", "per_user.parquet", "top50.parquet"
MODEL = "model.safetensors"  # a trained recommender, see ``study/own/kept.py``
_FOLDER = re.compile(r".+-(?P<key>[0-9a-f]{16})")


@dataclass(frozen=True, eq=False)
class Record:
    """A stored run without its per-user values: quick to read, enough for means, filters and receipts."""

    path: Path
    data: Mapping[str, Any]  # run.json
    archived: ArchivedRun | None = None  # for a run without a folder

    @property
    def key(self) -> str:
        return str(self.data["key"])

    @property
    def case(self) -> Mapping[str, Any]:
        return {**_LATER, **self.data["case"]}

    @property
    def shared(self) -> bool:
        """Whether it stands for an arm that changes nothing: the run is that of the cell, and listed there."""
        return bool(self.data.get("shared"))

    def as_arm(self, arm: str) -> "Record":
        """The run of a cell as that of an ``arm`` that changes nothing."""
        return replace(self, data={**self.data, "case": {**self.case, "arm": arm}, "shared": True})

    @property
    def created(self) -> str:
        """UTC time of saving, ISO 8601 ("" if the provenance has none); sorts by time."""
        return str(self.data["provenance"].get("time", ""))


class ResultStore:
    """The results below one folder.

    ``measure`` gives a metric of a result from its kept hits (``metrics.again.measured_again``): archived runs need it.
    """

    def __init__(self, root: Path, measure: Callable[[Result, str], pd.Series] | None = None) -> None:
        self.root = Path(root)
        self.measure = measure

    def path_of(self, key: str, track: str, dataset: str, slug: str) -> Path:
        """Where a run is or would be kept. Raises ResultError for a name that cannot be one folder."""
        for what, name in (("track", track), ("dataset", dataset), ("slug", slug)):
            if not re.fullmatch(PLAIN_NAME, name):
                raise ResultError(f"{what} {name!r} cannot name a folder; use letters, digits and . _ + -")
        if not re.fullmatch(r"[0-9a-f]{16}", key):
            raise ResultError(f"key {key!r} is not 16 hex digits; make it with key_of(identity)")
        return self.root / track / dataset / f"{slug}-{key}"

    def save(
        self, track: str, dataset: str, slug: str, key: str, run_record: Mapping[str, Any], per_user: pd.DataFrame,
        top_items: IntArray | None = None, replace: bool = False,
    ) -> Path:  # fmt: skip
        """Keep a run and return its folder. A run that is already there stays as it is, unless ``replace`` is true.

        ``run_record`` has the sections of :data:`SECTIONS` (``schema``, ``key``, ``files`` and ``digest`` are
        added here); ``per_user`` is indexed by user; ``top_items`` [user, k] are the lists of the same
        users. Raises ResultError for an incomplete record, a value that is not finite, lists
        that do not match, a damaged run in its place, or a disk that is full or not writable.
        """
        target = self.path_of(key, track, dataset, slug)
        if not replace and self._is_kept(target):
            self.load(target)
            return target
        record = _complete(run_record, track, dataset, key)
        _check_frame(per_user)
        files = {PER_USER: table_bytes(per_user)}
        if top_items is not None:
            if top_items.ndim != 2 or len(top_items) != len(per_user):
                raise ResultError(f"lists {top_items.shape} are not of {len(per_user)} users; give one list for each")
            files[TOP_ITEMS] = lists_bytes(per_user.index.to_numpy(), top_items)
        record["files"] = {name: bytes_sha256(content) for name, content in files.items()}
        record["digest"] = digest(record)
        # run.json last: whoever sees it sees the rest
        files[RECORD] = record_bytes(record)
        write_run(target, files, replace)
        self.load(target)  # another process may have been first; its result must be sound
        return target

    def find_records(self, on_damage: Literal["raise", "warn"] = "raise", **filters: Any) -> list[Record]:
        """Stored runs whose case matches, in a fixed order; only their records are read.

        ``filters`` are fields of the case (:data:`CASE`) or ``key``; a value, or a list, tuple or set of allowed
        values. Damaged runs raise ResultError, or with ``on_damage="warn"`` are named in a warning and left out.
        """
        for name in filters:
            if name not in (*CASE, "key"):
                raise unknown("filter", name, (*CASE, "key"), "results")
        allowed = {name: value if isinstance(value, list | tuple | set | frozenset) else (value,)
                   for name, value in filters.items()}  # fmt: skip
        records = []
        known = {name: [str(value) for value in allowed.get(name, "*")] for name in ("track", "dataset")}
        with readable(self.root, ResultError):
            require_listed(self.root, *known["track"], *(f"{t}/{d}" for t in known["track"] for d in known["dataset"]))
            found: list[Path | Archive] = [*self._folders(**known), *self._archives(**known)]
        for path in found:
            try:
                read = [self.record(path)] if isinstance(path, Path) else self._archived(path)
            except ResultError as error:
                if on_damage == "raise":
                    raise
                warnings.warn(str(error), stacklevel=2)
                continue
            for record in read:
                fields = {**record.case, "key": record.key}
                if all(fields[name] in values for name, values in allowed.items()):
                    records.append(record)
        return sorted(records, key=lambda r: ([(str(type(r.case[n])), r.case[n]) for n in CASE], r.key))

    def holds(self, path: Path) -> bool:
        """Whether the run of this folder is stored, there or packed. Raises ResultError for a damaged archive."""
        with readable(path, ResultError):
            return path.is_dir() or path.name in self.archive_of(path).runs()

    def folders(self, track: str, dataset: str) -> list[Path]:
        """The run folders of a data set, packed runs left aside."""
        return self._folders([track], [dataset])

    def archive_of(self, path: Path) -> Archive:
        """The archive that holds, or would hold, the run of a folder."""
        return Archive(self.root, path.parents[1].name, path.parent.name)

    def load(self, path: Path) -> Result:
        """The result in a run folder. Raises ResultError naming the damaged file and the cure."""
        return self.load_record(self.record(path))

    def load_record(self, record: Record) -> Result:
        """Add the per-user values to a record. Raises ResultError as :meth:`load`."""
        if record.archived is not None:
            return self._load_archived(record, record.archived)
        content = checked_bytes(record, PER_USER)
        try:
            per_user = read_table(content)
        except (OSError, ValueError, KeyError) as error:
            raise _damaged(record.path / PER_USER, f"not readable as a table ({error})") from None
        return Result(dict(record.case), per_user, dict(record.data["overall"]), dict(record.data))

    def top_items(self, record: Record) -> tuple[IntArray, IntArray] | None:
        """Users [user] and their ranked lists [user, k]; None if the lists were not kept (they are not in git)."""
        if TOP_ITEMS not in record.data["files"] or not (record.path / TOP_ITEMS).is_file():
            return None
        return read_lists(checked_bytes(record, TOP_ITEMS))

    def record(self, path: Path) -> Record:
        """Read and check the record of a run folder. Raises ResultError naming file and cure."""
        path = Path(path)
        with readable(path, ResultError):
            if not path.is_dir() and (run := self.archive_of(path).runs().get(path.name)):
                return _archived_record(run)
        file = path / RECORD
        try:
            state = file.stat()
        except FileNotFoundError:
            raise _damaged(file, "missing") from None
        except OSError as error:
            raise ResultError(f"{file}: cannot be read ({error.strerror}); allow reading it") from None
        return _read_record(path, (state.st_ino, state.st_mtime_ns, state.st_size))

    def _is_kept(self, path: Path) -> bool:
        """:meth:`holds`, but a damaged archive keeps nothing: it must not cost a run that was just computed."""
        try:
            return self.holds(path)
        except ResultError:
            return False

    def _load_archived(self, record: Record, run: ArchivedRun) -> Result:
        """Kept rows, and the metrics measured again from them; both are held against the record."""
        frame = run.kept_rows()
        result = Result(dict(record.case), frame, dict(record.data["overall"]), dict(record.data))
        if not run.measured:
            return result
        if self.measure is None:
            raise ResultError(
                f"{run.archive.users_file}: its metrics are measured again; open the store with `measure`"
            )
        columns = {name: self.measure(result, name) if name in run.measured else frame[name] for name in run.columns}
        means = (record.data["metrics"] or {}).get("test", {})
        for name in run.measured:
            mean = float(columns[name].mean())
            if name in means and not abs(mean - means[name]) <= _SAME:
                told = f"{name} of the run {run.folder} is {mean:.6f} by its kept hits, {means[name]:.6f} in its record"
                raise run.archive.damaged(run.archive.users_file, told)
        return replace(result, per_user=pd.DataFrame(columns, index=frame.index))

    def _archived(self, archive: Archive) -> list[Record]:
        """The records of an archive, without the runs that have a folder."""
        return [_archived_record(run) for name, run in archive.runs().items() if not (archive.folder / name).is_dir()]

    def _archives(self, track: Iterable[str], dataset: Iterable[str]) -> list[Archive]:
        files = {file for t in track for d in dataset for file in self.root.glob(f"{t}/{d}{RECORDS}")}
        return [
            Archive(self.root, file.parent.name, file.name.removesuffix(RECORDS))
            for file in sorted(files)
            if file.name[0] != "."
        ]

    def _folders(self, track: Iterable[str], dataset: Iterable[str]) -> list[Path]:
        found = {path for t in track for d in dataset for path in self.root.glob(f"{t}/{d}/*-????????????????")}
        return sorted(p for p in found if _FOLDER.fullmatch(p.name) and p.name[0] != "." and p.is_dir())


def record_files(root: Path, track: str) -> list[Path]:
    """The files with the records of a track's runs: ``run.json`` of each folder, and those of archives."""
    return [*root.glob(f"{track}/*/[!.]*/{RECORD}"), *root.glob(f"{track}/[!.]*{RECORDS}")]


def write_run(path: Path, files: Mapping[str, bytes], replace: bool = False) -> None:
    """Write a run folder, file name → content, whole or not at all. Raises as ``disk.whole_folder``.

    With ``replace``, what others laid into the folder that was there stays in it.
    """
    with whole_folder(path, needed=sum(map(len, files.values())), replace=replace) as partial:
        if replace and path.is_dir():
            copy_others(path, partial, (RECORD, PER_USER, TOP_ITEMS, MODEL))
        for name, content in files.items():
            (partial / name).write_bytes(content)


def record_bytes(record: Mapping[str, Any]) -> bytes:
    """The content of run.json."""
    return (json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


@lru_cache(maxsize=4096)  # a page of the book asks for the same records several times
def _read_record(path: Path, state: tuple[int, int, int]) -> Record:
    """``state`` tells one content of the file from another."""
    file = path / RECORD
    try:
        data = json.loads(read_regular(file).decode())
    except FileNotFoundError:
        raise _damaged(file, "missing") from None
    except OSError as error:
        raise ResultError(f"{file}: cannot be read ({error.strerror}); allow reading it") from None
    except (ValueError, RecursionError) as error:  # neither UTF-8 nor JSON
        raise _damaged(file, f"not valid JSON ({error})") from None
    return Record(path, _checked_record(data, file, path.name, lambda what: _damaged(file, what)))


@lru_cache(maxsize=4096)
def _archived_record(run: ArchivedRun) -> Record:
    archive = run.archive
    data = _checked_record(
        run.record, archive.records_file, run.folder, lambda what: archive.damaged(archive.records_file, what)
    )
    return Record(archive.folder / run.folder, data, run)


def _checked_record(data: Any, file: Path, folder: str, damaged: Callable[[str], ResultError]) -> Mapping[str, Any]:
    """``data`` if it is the whole record of the run of ``folder``, of this schema. Raises ResultError."""
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(schema, int):
        raise damaged("no run record")
    if schema != _SCHEMA:
        raise ResultError(
            f"{file}: written with schema {schema}, this version reads {_SCHEMA}; "
            f"use the version that wrote it, or delete the folder and run again"
        )
    if data.get("digest") != digest({name: value for name, value in data.items() if name != "digest"}):
        raise damaged("its content does not match its digest (edited by hand?)")
    if not folder.endswith(f"-{data['key']}"):
        told = f"it holds the run {data['key']}, not the one its folder is named after"
        raise damaged(f"{told} (renamed? the name of its folder ends in -{data['key']})")
    checked: Mapping[str, Any] = data
    return checked


def _complete(record: Mapping[str, Any], track: str, dataset: str, key: str) -> dict[str, Any]:
    """The record in plain values, with schema and key first. Raises ResultError for what is missing."""
    missing = [name for name in SECTIONS if name not in record]
    missing += [f"case.{name}" for name in CASE if "case" in record and name not in {**_LATER, **record["case"]}]
    if "data" in record and not (record["data"] or {}).get("split"):
        missing.append("data.split (the fingerprint of the split)")
    if missing:
        raise ResultError(f"run record without {', '.join(missing)}; add what is missing, nothing was saved")
    own = f"{record['case']['track']}/{record['case']['dataset']}"
    if own != f"{track}/{dataset}":
        raise ResultError(f"the case is of {own}, saved under {track}/{dataset}; nothing was saved")
    rest = {name: value for name, value in record.items() if name not in ("schema", "key", "files", "digest")}
    completed: dict[str, Any] = {"schema": _SCHEMA, "key": key, **plain_values(rest)}
    return completed


def _check_frame(per_user: pd.DataFrame) -> None:
    if not len(per_user) or per_user.index.has_duplicates:
        raise ResultError(f"per-user values of {len(per_user)} rows need at least one user, each once; evaluate again")
    for name in per_user.columns:
        if "@" in name and not np.isfinite(per_user[name].to_numpy(dtype=np.float64)).all():
            raise ResultError(f"{name} is not a finite number for some user; nothing was saved, evaluate again")


def checked_bytes(record: Record, name: str) -> bytes:
    """The content of a file of a run folder. Raises ResultError if it is not what the record names by digest."""
    file = record.path / name
    try:
        content = read_regular(file)
    except OSError as error:
        raise _damaged(file, error.strerror or str(error)) from None
    if bytes_sha256(content) != record.data["files"].get(name):
        raise _damaged(file, f"its {len(content)} bytes do not match the SHA-256 in {RECORD}")
    return content


def _damaged(file: Path, what: str) -> ResultError:
    return ResultError(f"{file}: damaged: {what}; delete the folder {file.parent.name} and run again")
