"""``lmmrec fetch``: say what comes, bring it, count it."""

import argparse
import sys
from pathlib import Path
from shutil import disk_usage

from lmmrec_core.disk import held_alone
from lmmrec_core.errors import ConfigError, DataError
from lmmrec_core.fetching.client import Manners, PoliteClient
from lmmrec_core.fetching.folder import DataFolder, files_below
from lmmrec_core.fetching.pictures import SHORTEST_SIDE
from lmmrec_core.fetching.sources import read_publications
from lmmrec_core.home import named_path
from lmmrec_core.study.collection.collect import (
    BYTES_PER_PICTURE,
    BYTES_PER_SECOND,
    PICTURES_PER_SECOND,
    Collecting,
    Remaining,
)
from lmmrec_core.study.collection.counts import EXPLAINED, count_universes, require_near
from lmmrec_core.study.collection.wanted import Wanted, wanted_by
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.track import TrackSettings


def fetch_data(arguments: argparse.Namespace) -> int:
    """The exit status: 0 everything is there, 1 something could not be had (and which), or is far from the paper's."""
    track = read_track(arguments.track or "controls")
    for name in arguments.dataset:
        track.dataset(name)  # refuses one that the track has not
    if track.is_drawn:
        print(f"{track.title}: its data are drawn here; there is nothing to fetch")
        return 0
    manners = _manners(arguments)
    wanted = wanted_by(track, read_publications(), arguments.dataset, arguments.only)
    root = _root(arguments)
    with held_alone(root / ".fetch.lock", f"{root}: another lmmrec fetch fills this folder; wait for it, or stop it"):
        collecting = Collecting(
            DataFolder(root), wanted, arguments.longest_side, arguments.again,
            progress=sys.stderr.isatty() and not arguments.quiet,
        )  # fmt: skip
        if arguments.have:
            for line in collecting.take(files_below(named_path(arguments.have))):
                print(line, flush=True)
        with PoliteClient(manners) as client:
            estimate = collecting.estimate(None if arguments.offline else client)
            _tell(track, wanted, estimate, root)
            if arguments.dry_run:
                return 0
            if arguments.offline:
                collecting.failures += [need.source.path for need in estimate.needs if not need.there]
            else:
                estimate.require_room(root)
                for line in collecting.fetch(client):
                    print(line, flush=True)
    for failure in collecting.failures:
        print(f"not there: {failure}", file=sys.stderr)
    far = _count(track, wanted, root, arguments.accept_counts)
    for told in far:
        print(f"lmmrec fetch: {told}", file=sys.stderr)
    return 1 if collecting.failures or far else 0


def _manners(arguments: argparse.Namespace) -> Manners:
    side = arguments.longest_side
    if side is not None and side < SHORTEST_SIDE:
        raise ConfigError(f"--longest-side {side}: the encoders read {SHORTEST_SIDE} pixels; give at least as many")
    if arguments.offline and arguments.again:
        raise ConfigError("--again asks for pictures and --offline asks nobody; leave one out")
    asked = {"connections": arguments.connections, "per_host": arguments.per_host}
    return Manners.build(asked, "lmmrec fetch")


def _root(arguments: argparse.Namespace) -> Path:
    """The data folder, made if it is not there."""
    if not arguments.data:
        raise ConfigError("give the folder that the data shall be in: --data FOLDER (make data DATA=FOLDER)")
    root = named_path(arguments.data)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{root}: cannot be made ({error.strerror}); give another folder") from None
    return root / "data" if (root / "data").is_dir() else root


def _tell(track: TrackSettings, wanted: list[Wanted], estimate: Remaining, root: Path) -> None:
    """What is there and what comes, from whom and on which terms, how much and how long."""
    print(f"{track.title}: what it needs, in {root}")
    for need in estimate.needs:
        size = "size not published" if need.total is None else _size(need.total)
        state = "there" if need.there else f"{_size(need.have)} of it there" if need.have else "to come"
        print(f"  {need.source.path}  {size}, {state}")
    for one in wanted:
        if one.installed and one.sources:
            print(f"  {one.publication.title}: installed as a package")
        if one.publication.open_clip is not None:
            print(f"  {one.publication.title}: open_clip fetches it, unless it has it")
        if one.pictures is not None:
            print(f"  {one.pictures.path}/: pictures by the links of the metadata")
    for publication in {one.publication.title: one.publication for one in wanted}.values():
        print(f"  {publication.title}: {publication.page}; licence: {publication.licence}")
    unsized = f", and {estimate.unsized} files of unknown size" if estimate.unsized else ""
    each = f"of {BYTES_PER_PICTURE // 1000} kB (assumed)"
    pictures = f"; of it about {estimate.pictures:,} pictures {each}" if estimate.pictures else ""
    rates = f"{_size(BYTES_PER_SECOND)} and {PICTURES_PER_SECOND} pictures a second"
    print(f"to come: {_size(estimate.size)}{unsized}{pictures}; free on the disk: {_size(disk_usage(root).free)}")
    print(f"time: {'at least' if estimate.unsized else 'about'} {_time(estimate.seconds)} at {rates} (assumed)")
    print("Addresses are those of the publishers' pages; whether they answer shows when they are asked.", flush=True)


def _count(track: TrackSettings, wanted: list[Wanted], root: Path, accept: bool) -> list[str]:
    """Print the counts of the data sets that are there; what is too far from the published ones."""
    far: list[str] = []
    seen = False
    for one in wanted:
        if not one.category:
            continue
        settings = track.dataset(one.reader)
        if not any((root / settings.path).glob(f"reviews_{one.category}_5.json*")):
            continue
        try:
            frame = count_universes(root / settings.path, settings, one.reader)
            seen = True
            print(f"\n{settings.title}, {frame.attrs['rows']:,} reviews\n{frame.to_string()}")
            if not accept:
                require_near(frame, one.publication.rows.get(one.category), one.reader)
        except DataError as error:
            far.append(str(error))
    if seen:
        print(f"\n{EXPLAINED}")
    return far


def _size(count: int) -> str:
    """Bytes in words."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _time(seconds: float) -> str:
    """A time in words."""
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{max(1, round(seconds / 60))} minutes"
