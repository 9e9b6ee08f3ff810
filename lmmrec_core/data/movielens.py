"""MovieLens-100K with posters and plots: three slices of one catalogue folder, each its 5-core."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from lmmrec_core.config import Settings
from lmmrec_core.data.files import is_there, read_rows
from lmmrec_core.data.filtering import k_core, keep_items
from lmmrec_core.data.folder import CatalogueFolder, FolderSettings, read_folder
from lmmrec_core.errors import unknown
from lmmrec_core.flow import Catalogue

_CORE = 5
_PROVENANCE = "item_provenance.csv"
_WRONG_POSTERS = ("wrong_film", "placeholder")  # poster_status of _PROVENANCE


@dataclass(frozen=True)
class Slice:
    """How the folder is read for one slice, and what the slice is good for."""

    settings: FolderSettings
    note: str


SLICES: dict[str, Slice] = {
    "dense": Slice(FolderSettings(min_rating=4), "all ratings of 4 and 5; popularity is strong, content adds little"),
    "sparse_sessions": Slice(
        FolderSettings(interactions="interactions_sparse_sessions.csv", group_divisor=1000),
        "popular titles thinned, sessions of eight as pseudo-users; close to Amazon Baby in counts per user and item",
    ),
    "sparse_users": Slice(
        FolderSettings(interactions="interactions_sparse_users.csv"), "popular titles thinned, at most ten per person"
    ),
}


class MovieLensSettings(Settings):
    """Which part of MovieLens-100K is read."""

    slice_name: str = Field("sparse_sessions", description="one of SLICES")
    posters: Literal["all", "right"] = Field(
        "all", description="right: leave out items whose poster is a placeholder or shows another film"
    )

    @field_validator("slice_name")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in SLICES:
            raise ValueError(str(unknown("MovieLens slice", value, SLICES)))
        return value


def read_movielens(path: Path, settings: MovieLensSettings | None = None, name: str | None = None) -> Catalogue:
    """Read one of :data:`SLICES`, after the 5-core.

    Wrong posters are left out before the 5-core; if they stay, they are counted (``items_wrong_poster``, of the items
    with interactions). Raises DataError as :func:`read_folder`.
    """
    path, settings = Path(path), settings or MovieLensSettings()
    catalogue = read_folder(path, SLICES[settings.slice_name].settings, name or f"movielens_{settings.slice_name}")
    is_there(path / _PROVENANCE, path)
    _, table = read_rows(path / _PROVENANCE, ("item_id", "poster_status"))
    wrong_ids = {cells["item_id"] for _, cells in table if cells["poster_status"] in _WRONG_POSTERS}
    wrong = np.array([item_id in wrong_ids for item_id in catalogue.item_ids], dtype=bool)
    catalogue = replace(catalogue, counts={**catalogue.counts, "items_wrong_poster": int(wrong.sum())})
    if settings.posters == "right":
        catalogue = keep_items(catalogue, ~wrong, "wrong_poster")
    return k_core(catalogue, _CORE)


class MovieLens:
    """MovieLens-100K as a data format. Its folder is a catalogue folder, so only a track file can ask for a slice."""

    name = "movielens"
    marks = ""
    Settings = MovieLensSettings

    @staticmethod
    def recognises(folder: Path) -> bool:
        return False

    @staticmethod
    def read(folder: Path, settings: MovieLensSettings, name: str | None = None) -> Catalogue:
        return read_movielens(folder, settings, name)

    @staticmethod
    def absent(folder: Path, settings: MovieLensSettings) -> Mapping[str, str]:
        """As ``source.ListsAbsent``."""
        found = CatalogueFolder.absent(folder, SLICES[settings.slice_name].settings).get("catalogue", "")
        names = [found] if found else []
        names += [name for name in (_PROVENANCE,) if not (folder / name).is_file()]
        return {"catalogue": ", ".join(names)} if names else {}
