"""The sources of a track: those of its data sets and of its encoders."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import PurePosixPath

from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.fetching.sources import PictureLinks, Publication, SourceFile
from lmmrec_core.names import FETCHED
from lmmrec_core.study.track import TrackSettings, is_multimodal


@dataclass(frozen=True)
class Wanted:
    """What one data set or encoder of a track needs of a publication."""

    reader: str  # the data set of the track, or the encoder
    publication: Publication
    sources: tuple[SourceFile, ...]
    pictures: PictureLinks | None = None
    category: str = ""  # of the publication's data sets
    installed: bool = False  # a package has brought it


def wanted_by(
    track: TrackSettings, known: dict[str, Publication], datasets: Collection[str] = (), only: Collection[str] = ()
) -> list[Wanted]:
    """What a track needs, or ``only`` those kinds of it (``names.FETCHED``) and those ``datasets``.

    Raises ConfigError for a name that is not known, and for a track with a data set whose addresses are not.
    """
    for name in datasets:
        track.dataset(name)
    for name in only:
        if name not in FETCHED:
            raise unknown("kind of file", name, FETCHED, "--only")
    found = [*_of_datasets(track, known, datasets, only), *_of_encoders(track, known, only)]
    return [wanted for wanted in found if wanted.sources or wanted.pictures or wanted.publication.open_clip]


def _of_datasets(
    track: TrackSettings, known: dict[str, Publication], datasets: Collection[str], only: Collection[str]
) -> Iterator[Wanted]:
    for name, settings in track.datasets.items():
        if settings.is_drawn or (datasets and name not in datasets):
            continue
        if settings.source not in known:
            raise ConfigError(
                f"track {track.name!r}: no addresses are known for data set {name!r} ({settings.source}); "
                f"get its folder yourself and give what holds {settings.path} as DATA"
            )
        publication = known[settings.source]
        category = str(settings.options.get("category") or PurePosixPath(settings.path).name)
        places = {"path": settings.path, "category": category}
        sources = tuple(source.filled(**places) for source in publication.files if not only or source.name in only)
        pictures = publication.pictures if not only or "pictures" in only else None
        if pictures is not None:
            pictures = pictures.model_copy(update={"path": pictures.path.format(**places)})
        yield Wanted(name, publication, sources, pictures, category)


def _of_encoders(track: TrackSettings, known: dict[str, Publication], only: Collection[str]) -> Iterator[Wanted]:
    members: dict[str, None] = {}
    for entry in track.encoders.values():
        named = [entry["encoder"]] if is_multimodal(entry) else list(entry.values())
        members |= dict.fromkeys(name for name in named if isinstance(name, str))
    for member in members:
        publication = known.get(member)
        if publication is None:
            continue
        if publication.open_clip is not None:
            if not only or "clip" in only:
                yield Wanted(member, publication, ())
            continue
        sources = tuple(source.filled() for source in publication.files if not only or source.name in only)
        package = publication.package
        yield Wanted(member, publication, sources, installed=package is not None and find_spec(package) is not None)
