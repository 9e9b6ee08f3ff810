"""A data folder: what is there of its sources, what is on its way, and what is still to come."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import httpx
from tqdm import tqdm

from lmmrec_core.disk import read_sealed, whole_file, write_sealed
from lmmrec_core.errors import DataError
from lmmrec_core.fetching.checks import check_file
from lmmrec_core.fetching.client import Gone, Interrupted, PoliteClient, Unreachable
from lmmrec_core.fetching.download import Download
from lmmrec_core.fetching.sources import SourceFile

LEDGER = "fetched.json"  # in the data folder: size, time and digest of every file that was checked


@dataclass(frozen=True)
class Need:
    """A file that a track reads, and how far it is: ``have`` of ``total`` bytes, which is None if nobody says."""

    source: SourceFile
    there: bool
    have: int
    total: int | None

    @property
    def left(self) -> int | None:
        """Bytes to come; None if nobody says."""
        if self.there:
            return 0
        return None if self.total is None else max(0, self.total - self.have)


class DataFolder:
    """The folder that ``DATA`` names. Files are checked when they come, and again if they have changed since."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ledger = root / LEDGER

    def place(self, source: SourceFile) -> Path:
        """Where the file of a source belongs."""
        return self.root / PurePosixPath(source.path)

    def need(self, source: SourceFile, client: PoliteClient | None = None) -> Need:
        """How far a source is; with ``client`` its address is asked for an unpublished size.

        Raises DataError for a file at its place that is not what its publisher says.
        """
        place = self.place(source)
        if place.is_file():
            self._check(source, place)
            return Need(source, True, place.stat().st_size, place.stat().st_size)
        unpacked = place.with_suffix("") if place.suffix == ".gz" else place
        if unpacked.is_file():  # readers take it before the other
            return Need(source, True, unpacked.stat().st_size, unpacked.stat().st_size)
        part = place.with_name(f"{place.name}.part")
        have = part.stat().st_size if part.is_file() else 0
        total = source.size or (None if client is None else _size_told(source, client))
        return Need(source, False, have, total)

    def fetch(self, source: SourceFile, client: PoliteClient, progress: bool = False) -> None:
        """Bring a file to its place, see :class:`~lmmrec_core.fetching.download.Download` for what it raises."""
        place = self.place(source)
        with tqdm(desc=place.name, unit="B", unit_scale=True, disable=not progress) as bar:

            def moved(there: int, total: int | None) -> None:
                bar.total = total
                bar.update(there - bar.n)

            digest = Download(source, place, client, moved).run()
        self._note(source, digest)

    def take(self, source: SourceFile, file: Path) -> None:
        """A copy of a file that someone has, checked as one that was fetched.

        Raises DataError naming what is wrong with it.
        """
        digest = check_file(file, source, "take the publisher's own file, not unpacked or changed")
        place = self.place(source)
        with whole_file(place, DataError, file.stat().st_size) as partial:
            shutil.copyfile(file, partial)
        for rest in (".part", ".part.json"):
            place.with_name(place.name + rest).unlink(missing_ok=True)
        self._note(source, digest)

    def _check(self, source: SourceFile, place: Path) -> None:
        """Raises DataError unless the file is what was checked before, or is now found right."""
        noted, seen = self._notes().get(source.path), place.stat()
        pinned = source.sha256 is None or (noted or {}).get("sha256") == source.sha256
        if noted and pinned and (noted["size"], noted["mtime_ns"]) == (seen.st_size, seen.st_mtime_ns):
            return
        self._note(source, check_file(place, source, "delete it and run the same command again"))

    def _note(self, source: SourceFile, digest: str) -> None:
        seen = self.place(source).stat()
        notes = self._notes()
        notes[source.path] = {"size": seen.st_size, "mtime_ns": seen.st_mtime_ns, "sha256": digest}
        write_sealed(self.ledger, {"files": notes}, DataError)

    def _notes(self) -> dict[str, Any]:
        """Path → what was noted; nothing if the ledger is not there or damaged: everything is checked again then."""
        try:
            return dict(read_sealed(self.ledger, DataError)["files"])
        except (DataError, KeyError, TypeError):
            return {}


def _size_told(source: SourceFile, client: PoliteClient) -> int | None:
    """What the first address that answers says of the size; nothing is fetched."""
    for address in source.addresses:
        try:
            with client.answer(address, method="HEAD") as response:
                length = response.headers.get("Content-Length", "")
                if response.status_code == 200 and length.isdigit():
                    return int(length)
        except (Gone, Interrupted, Unreachable, httpx.HTTPError):
            continue
    return None


def files_below(folder: Path) -> Mapping[str, list[Path]]:
    """Name → the files of that name anywhere below a folder. Raises DataError if there is no such folder."""
    if not folder.is_dir():
        raise DataError(f"--from {folder}: no such folder; give the one that holds the files")
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            found.setdefault(file.name, []).append(file)
    return found


def only_one(source: SourceFile, found: Mapping[str, list[Path]]) -> Path | None:
    """The file of a source among ``found``: of several with its name the one that lies as it shall lie.

    Raises DataError if that does not tell them apart.
    """
    place = PurePosixPath(source.path)
    files = found.get(place.name, [])
    if len(files) > 1:
        alike = [file for file in files if file.parts[-len(place.parts) :] == place.parts]
        alike = alike or [file for file in files if file.parts[-2:] == place.parts[-2:]]
        files = alike or files
    if len(files) > 1:
        listed = ", ".join(map(str, files[:3]))
        raise DataError(f"{place.name}: several files have this name ({listed}); give a folder with one of them")
    return files[0] if files else None
