"""Bring what a track needs into its data folder: plan, take what someone has, fetch the rest."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lmmrec_core.data.amazon import picture_links
from lmmrec_core.errors import DataError, FeatureError
from lmmrec_core.fetching.client import PoliteClient
from lmmrec_core.fetching.folder import DataFolder, Need, only_one
from lmmrec_core.fetching.pictures import Decode, PictureFolder
from lmmrec_core.fetching.sources import SourceFile
from lmmrec_core.report.published import DATASETS, printed_count
from lmmrec_core.study.collection.wanted import Wanted

# for the estimate before anything is asked: a usual line, and what a shop's pictures of that time weigh
BYTES_PER_SECOND, PICTURES_PER_SECOND, BYTES_PER_PICTURE = 10_000_000, 20, 40_000


@dataclass
class Remaining:
    """What is still to come, before it is asked for."""

    needs: list[Need]
    pictures: int  # as many as the paper has items, less those that are there

    @property
    def size(self) -> int:
        """Bytes to come, as far as anyone says."""
        return sum(need.left or 0 for need in self.needs) + self.pictures * BYTES_PER_PICTURE

    @property
    def unsized(self) -> int:
        """Files to come whose size nobody says."""
        return sum(need.left is None for need in self.needs)

    @property
    def seconds(self) -> float:
        """The time that this takes, at the assumed rates."""
        files = sum(need.left or 0 for need in self.needs)
        return files / BYTES_PER_SECOND + self.pictures / PICTURES_PER_SECOND

    def require_room(self, root: Path) -> None:
        """Raises DataError if the disk has less room than what comes."""
        free = shutil.disk_usage(root).free
        if self.size > free:
            raise DataError(
                f"{root}: {self.size:,} bytes are to come, the disk has {free:,}; free some, give another folder, or "
                "fetch a part with --only or --dataset"
            )


@dataclass
class Collecting:
    """One call of ``lmmrec fetch``: the folder, what is wanted, and what could not be had."""

    folder: DataFolder
    wanted: list[Wanted]
    longest_side: int | None = None
    again: bool = False
    progress: bool = False
    failures: list[str] = field(default_factory=list)

    def sources(self) -> Iterator[SourceFile]:
        """The files that are wanted and that no package has brought."""
        return (source for wanted in self.wanted if not wanted.installed for source in wanted.sources)

    def estimate(self, client: PoliteClient | None = None) -> Remaining:
        """How far everything is. Raises DataError naming every file at its place that is not what it should be."""
        needs, faults = [], []
        for source in self.sources():
            try:
                needs.append(self.folder.need(source, client))
            except DataError as error:
                faults.append(str(error))
        if faults:
            raise DataError("\n".join(faults))
        return Remaining(needs, sum(map(self._pictures_left, self.wanted)))

    def take(self, found: Mapping[str, list[Path]]) -> Iterator[str]:
        """Take what is wanted out of files that someone has; one line for each kind of what was taken.

        What is not as published becomes a failure.
        """
        for source in self.sources():
            with self._noting():
                file = only_one(source, found)
                if file is not None and not self.folder.place(source).is_file():
                    self.folder.take(source, file)
                    yield f"taken: {source.path}"
        for wanted in self.wanted:
            if wanted.pictures is not None and (links := self._links(wanted)):
                files = {item: found[f"{item}.jpg"][0] for item in links if f"{item}.jpg" in found}
                yield f"taken: {self._pictures(wanted).take(files):,} pictures of {wanted.reader}"

    def fetch(self, client: PoliteClient) -> Iterator[str]:
        """Fetch the rest, file by file; one line for each that came. What cannot be had becomes a failure."""
        for source in self.sources():
            if self.folder.need(source).there:
                continue
            with self._noting():
                self.folder.fetch(source, client, self.progress)
                yield f"fetched: {source.path}"
        for wanted in self.wanted:
            if wanted.publication.open_clip is not None:
                with self._noting():
                    yield f"fetched: {_by_library(wanted)}"
            if wanted.pictures is not None:
                with self._noting():
                    yield from self._fetch_pictures(wanted, client)

    def _fetch_pictures(self, wanted: Wanted, client: PoliteClient) -> Iterator[str]:
        links = self._links(wanted)
        if links is None:
            self.failures.append(f"{wanted.reader}: pictures need the reviews and the metadata, which are not there")
            return
        pictures = self._pictures(wanted)
        outcome = pictures.fetch(links, client, self.progress)
        yield f"{wanted.reader}: {outcome.told()}; dead links are listed in {pictures.dead_file}"
        if outcome.postponed:
            self.failures.append(f"{wanted.reader}: {outcome.postponed:,} pictures were not answered for now")

    def _pictures(self, wanted: Wanted) -> PictureFolder:
        assert wanted.pictures is not None
        place = self.folder.root / wanted.pictures.path
        return PictureFolder(place, wanted.pictures, _reader(), self.longest_side, self.again)

    def _links(self, wanted: Wanted) -> dict[str, str] | None:
        """Item → link; None while the files that say so are not there."""
        assert wanted.pictures is not None
        place = (self.folder.root / wanted.pictures.path).parent
        names = (f"reviews_{wanted.category}_5.json", f"meta_{wanted.category}.json")
        if not all((place / name).is_file() or (place / f"{name}.gz").is_file() for name in names):
            return None
        return picture_links(place, wanted.category)

    def _pictures_left(self, wanted: Wanted) -> int:
        if wanted.pictures is None or wanted.reader not in DATASETS:
            return 0
        there = sum(1 for _ in (self.folder.root / wanted.pictures.path).glob("*.jpg"))
        return max(0, int(printed_count("Items", wanted.reader)) - there)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """An error on purpose inside becomes a failure, and what is inside ends there."""
        try:
            yield
        except (DataError, FeatureError) as error:
            self.failures.append(str(error))


def _reader() -> Decode:
    from lmmrec_core.encoders.pictures.reading import read_picture  # needs torch, which a plan does not

    return read_picture


def _by_library(wanted: Wanted) -> str:
    """Let open_clip fetch weights into its own cache, where training finds them. Raises FeatureError."""
    from lmmrec_core.encoders.clip.build import fetch

    library = wanted.publication.open_clip
    assert library is not None
    return f"{wanted.publication.title}, into {fetch(library.model, library.tag)}"
