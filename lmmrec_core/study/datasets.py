"""What every case of a data set shares: its catalogue and its split, made once and kept."""

from dataclasses import dataclass
from pathlib import Path

from lmmrec_core.data.amazon import AmazonSettings, read_amazon
from lmmrec_core.data.filtering import k_core
from lmmrec_core.data.fingerprint import catalogue_fingerprint
from lmmrec_core.data.folder import FolderSettings, read_folder
from lmmrec_core.data.mmrec import read_mmrec
from lmmrec_core.data.movielens import read_movielens
from lmmrec_core.data.parity import read_parity
from lmmrec_core.data.splitting import make_split
from lmmrec_core.digests import digest
from lmmrec_core.disk import whole_folder
from lmmrec_core.errors import ConfigError, DataError
from lmmrec_core.flow import Catalogue, Split
from lmmrec_core.study.track import DatasetSettings
from lmmrec_core.study.workspace import Places, require_below


@dataclass(frozen=True, eq=False)
class Prepared:
    """A data set ready for training."""

    name: str
    catalogue: Catalogue
    split: Split
    fingerprint: str  # of the catalogue's content
    data: Path | None = None  # the folder the real data sets lie in


def prepare_dataset(settings: DatasetSettings, name: str, places: Places, data: Path | None) -> Prepared:
    """Read, filter and split one data set.

    Raises ConfigError or DataError naming what is missing and what to give.
    """
    catalogue = _read(settings, name, places, data)
    if settings.k_core is not None:
        catalogue = k_core(catalogue, settings.k_core)
    split = make_split(catalogue, settings.split.rule, settings.split.seed)
    return Prepared(name, catalogue, split, catalogue_fingerprint(catalogue), data)


def _read(settings: DatasetSettings, name: str, places: Places, data: Path | None) -> Catalogue:
    if settings.source == "controls":
        return _generated(settings, name, places)
    folder = require_below(data, settings.path, name)
    if settings.source == "folder":
        return read_folder(folder, FolderSettings.build(settings.options, f"dataset {name!r}"), name)
    if settings.source == "movielens":
        return read_movielens(folder, settings.options.get("slice_name", "sparse_sessions"), name)
    if settings.source == "amazon":
        return read_amazon(folder, AmazonSettings.build(settings.options, f"dataset {name!r}"), name)
    if settings.options:
        raise ConfigError(f"dataset {name!r}: source {settings.source!r} takes no options; remove {settings.options}")
    return {"mmrec": read_mmrec, "parity": read_parity}[settings.source](folder, name)


def _generated(settings: DatasetSettings, name: str, places: Places) -> Catalogue:
    """A controls data set, drawn once into the cache and then read like any other folder."""
    from lmmrec_core.data.controls import GENERATOR_VERSION, ControlSize, write_controls

    options = dict(settings.options)
    try:
        kind, seed = options.pop("kind"), options.pop("seed")
    except KeyError as key:
        raise ConfigError(f"dataset {name!r}: options need {key}; write options: {{kind: null, seed: 1}}") from None
    size = ControlSize.build(options, f"dataset {name!r}")
    identity = {"kind": kind, "seed": seed, "size": size.model_dump(), "version": GENERATOR_VERSION}
    folder = places.catalogues / f"{kind}-{digest(identity, 10)}"
    if not (folder / "planted.json").is_file():
        with whole_folder(folder, DataError) as partial:
            write_controls(kind, partial, seed, size)
    return read_folder(folder, FolderSettings(), name)
