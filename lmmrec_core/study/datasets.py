"""Data sets: read, filtered and split once for all cases, and their statistics (Table 2) kept beside the results."""

import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lmmrec_core.config import Settings
from lmmrec_core.data import SOURCES
from lmmrec_core.data.filtering import k_core, keep_items, with_edges
from lmmrec_core.data.fingerprint import catalogue_fingerprint
from lmmrec_core.data.splitting import REDRAWN, make_split
from lmmrec_core.digests import SUMS, digest, sums_of
from lmmrec_core.disk import check_schema, read_sealed, readable, whole_folder, write_file, write_sealed
from lmmrec_core.errors import ConfigError, DataError, LmmrecError, ResultError
from lmmrec_core.flow import Catalogue, Split
from lmmrec_core.home import named_path
from lmmrec_core.metrics.slices import gini
from lmmrec_core.source import DrawnSource
from lmmrec_core.study.track import DatasetSettings, SplitSettings, TrackSettings

FILE = "dataset.json"
_SCHEMA = 1


@contextmanager
def naming_ids(catalogue: Catalogue) -> Iterator[None]:
    """An error inside that names a user or an item by position names it by the id of the source instead."""
    try:
        yield
    except LmmrecError as error:
        named = error.with_ids({"user": catalogue.user_ids, "item": catalogue.item_ids})
        if named is error:
            raise
        raise named from error


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set ready for training."""

    name: str
    catalogue: Catalogue
    split: Split
    fingerprint: str  # of the catalogue's content

    @property
    def identity(self) -> dict[str, str]:
        """What tells these items and their order from others: everything made from their content depends on it."""
        return {"fingerprint": self.fingerprint, "order": digest(list(self.catalogue.item_ids))}


def read_dataset(settings: DatasetSettings, name: str, data: Path | None, drawn: Path) -> Dataset:
    """Read, filter and split one data set.

    ``data`` is the folder of real data sets, ``drawn`` the one that generated catalogues are drawn into.
    Raises ConfigError or DataError naming what is missing and what to give.
    """
    return dataset_of(_read(settings, name, data, drawn), settings, name)


def dataset_of(catalogue: Catalogue, settings: DatasetSettings, name: str) -> Dataset:
    """Filter and split a catalogue that was read already. Raises DataError if nothing is left or it has no split."""
    if settings.k_core is not None:
        catalogue = k_core(catalogue, settings.k_core)
    split = make_split(_spared(catalogue, settings.split), settings.split.rule, settings.split.seed)
    return Dataset(name, catalogue, split, catalogue_fingerprint(catalogue))


def on_split(dataset: Dataset, settings: DatasetSettings, seed: int) -> Dataset:
    """The same catalogue split by the rule of its settings with another seed.

    Raises ConfigError for a rule that draws nothing, and for the seed of the data set's own split.
    """
    own = settings.split
    if own.rule not in REDRAWN:
        raise ConfigError(
            f"data set {dataset.name!r}: split rule {own.rule!r} draws nothing, so there is but one split; take it "
            "out of further_splits"
        )
    if seed == own.seed:
        raise ConfigError(f"data set {dataset.name!r}: split {seed} is its own; give further_splits other seeds")
    split = make_split(_spared(dataset.catalogue, own), own.rule, seed)
    return replace(dataset, split=split)


def _spared(catalogue: Catalogue, split: SplitSettings) -> Catalogue:
    """The catalogue without the test rows of the split that is to be spared, if there is one."""
    if split.spare is None:
        return catalogue
    test = make_split(catalogue, split.rule, split.spare).test
    rows, spared = (some.user * catalogue.n_items + some.item for some in (catalogue, test))
    return with_edges(catalogue, ~np.isin(rows, spared))


def _read(settings: DatasetSettings, name: str, data: Path | None, drawn: Path) -> Catalogue:
    source = SOURCES[settings.source]
    options = source.Settings.build(settings.options, f"dataset {name!r}: options")
    if isinstance(source, DrawnSource):
        folder = _drawn(source, options, drawn)
    else:
        folder = require_below(data, settings.path, name)
    return read_catalogue(settings.source, folder, options, name)


def read_catalogue(source: str, folder: Path, options: Settings, name: str, progress: bool = False) -> Catalogue:
    """The catalogue in a folder of a format, with what its options say of pictures that cannot be read.

    Raises DataError as the format's reader does.
    """
    with readable(folder):
        catalogue = SOURCES[source].read(folder, options, name)
    policy = getattr(options, "unreadable", "refuse")
    if policy == "refuse":
        return catalogue
    from lmmrec_core.encoders.pictures.unreadable import (
        unreadable_pictures,  # needs torch, which readers of results do not
    )

    pairs = zip(catalogue.item_ids, catalogue.images, strict=True)
    broken = unreadable_pictures(pairs, progress)
    there = np.array([item_id not in broken for item_id in catalogue.item_ids], dtype=bool)
    counts = {**catalogue.counts, "images_unreadable": len(broken)}
    catalogue = replace(catalogue, counts=counts)
    if policy == "drop":
        return keep_items(catalogue, there, "with_unreadable_image")
    images = tuple(image if ok else None for image, ok in zip(catalogue.images, there, strict=True))
    return replace(catalogue, images=images)


def _drawn(source: DrawnSource, options: Settings, drawn: Path) -> Path:
    """The folder of these options, drawn once."""
    return drawn_once(drawn / source.folder_name(options), lambda empty: source.draw(options, empty))


def drawn_once(folder: Path, draw: Callable[[Path], None]) -> Path:
    """``folder``, filled by ``draw`` if it is not there, or not as it was drawn; the latter is told by a warning.

    Raises DataError for a disk that is full or cannot be written.
    """
    with readable(folder):
        fault = _fault(folder) if folder.is_dir() else ""
    if fault:
        warnings.warn(f"{folder}: {fault}; it is drawn again", stacklevel=2)
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:  # another process is removing it too
            pass
        except OSError as error:
            raise DataError(f"{folder}: {fault}, and cannot be removed ({error.strerror}); delete it") from None
    if not folder.is_dir():
        with whole_folder(folder, DataError) as partial:
            draw(partial)
            write_file(partial / SUMS, sums_of(partial), DataError)
    return folder


def _fault(folder: Path) -> str:
    """What keeps a drawn folder from being used; "" if nothing does."""
    sums = folder / SUMS
    if not sums.is_file():
        return f"has no {SUMS} (drawn by an earlier version?)"
    return "" if sums.read_bytes() == sums_of(folder).encode() else f"damaged (its files do not match {SUMS})"


def data_root(data: str | Path | None) -> Path | None:
    """The folder that holds the real data sets: as given, its ``data`` folder, or None.

    ``DATA=../shared`` and ``DATA=../shared/data`` mean the same. Raises DataError for a folder that does not exist.
    """
    if data is None or str(data).strip() == "":
        return None
    folder = named_path(data)
    if not folder.is_dir():
        raise DataError(f"DATA={data}: no such folder; give the folder that holds ml-100k-posters or amazon")
    return folder / "data" if (folder / "data").is_dir() and not (folder / "ml-100k-posters").is_dir() else folder


def require_below(root: Path | None, path: str, wanted: str) -> Path:
    """``root/path``, which ``wanted`` needs. Raises ConfigError or DataError saying what to give."""
    if root is None:
        raise ConfigError(f"dataset {wanted!r} needs real data; give its folder: DATA=FOLDER with {path} inside")
    folder = root / path
    if not folder.is_dir():
        raise DataError(f"dataset {wanted!r}: {folder} not found; DATA={root} must hold {path}")
    return folder


def dataset_statistics(dataset: Dataset) -> dict[str, Any]:
    """Counts, density, skew and everything that was dropped on the way.

    ``persons`` counts who is behind the users, where several users are one person; None where each is their own.
    """
    catalogue, split = dataset.catalogue, dataset.split
    per_item = np.bincount(catalogue.item, minlength=catalogue.n_items)
    return {
        "users": catalogue.n_users,
        "persons": None if catalogue.user_group is None else len(np.unique(catalogue.user_group)),
        "items": catalogue.n_items,
        "interactions": len(catalogue.user),
        "density": catalogue.density,
        "per_user": len(catalogue.user) / catalogue.n_users,
        "per_item": len(catalogue.item) / catalogue.n_items,
        "gini_items": gini(per_item),
        "train": len(split.train),
        "valid": len(split.valid),
        "test": len(split.test),
        "split_rule": split.rule,
        "split_seed": split.seed,
        "split": split.fingerprint,
        "counts": {key: int(value) for key, value in catalogue.counts.items()},
    }


def store_statistics(dataset: Dataset, track: TrackSettings, results: Path) -> None:
    """Write ``results/<track>/<dataset>/dataset.json`` if it is new or has changed. Raises ResultError."""
    path = results / track.name / dataset.name / FILE
    settings = track.dataset(dataset.name)
    content = {
        "schema": _SCHEMA,
        "title": settings.title,
        "note": settings.note,
        "catalogue": dataset.fingerprint,
        **dataset_statistics(dataset),
    }
    before = None
    if path.is_file():
        try:
            before = read_sealed(path)["digest"]
        except ResultError as error:
            warnings.warn(f"{error} (done: made again)", stacklevel=2)
    if before != digest(content):
        write_sealed(path, content)


def stored_statistics(track: TrackSettings, results: Path) -> pd.DataFrame:
    """One row per data set of the track that was prepared somewhere; the others are absent.

    Readers of a book need no data. Raises ResultError for a damaged file or one of another schema.
    """
    rows = {}
    for name in track.datasets:
        path = results / track.name / name / FILE
        if not path.is_file():
            continue
        stored = read_sealed(path)
        check_schema(stored, _SCHEMA, path)
        rows[name] = {key: value for key, value in stored.items() if key not in ("digest", "schema")}
    return pd.DataFrame.from_dict(rows, orient="index")
