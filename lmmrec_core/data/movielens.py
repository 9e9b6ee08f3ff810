"""MovieLens-100K with posters and plots: the three slices that the study uses, each a catalogue folder's 5-core."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from lmmrec_core.data.files import read_rows
from lmmrec_core.data.filtering import k_core, keep_items
from lmmrec_core.data.folder import FolderSettings, read_folder
from lmmrec_core.errors import unknown
from lmmrec_core.flow import Catalogue

CORE = 5
WRONG_POSTERS = ("wrong_film", "placeholder")  # poster_status of item_provenance.csv


@dataclass(frozen=True)
class Slice:
    """One slice: how its folder is read, and what it is good for."""

    settings: FolderSettings
    note: str


SLICES: dict[str, Slice] = {
    "dense": Slice(FolderSettings(min_rating=4), "all ratings of 4 and 5; popularity is strong, content adds little"),
    "sparse_sessions": Slice(
        FolderSettings(interactions="interactions_sparse_sessions.csv", group_divisor=1000),
        "popular titles thinned, sessions of eight as pseudo-users; near Amazon Baby in counts per user and item",
    ),
    "sparse_users": Slice(
        FolderSettings(interactions="interactions_sparse_users.csv"), "popular titles thinned, at most ten per person"
    ),
}


def read_movielens(
    path: Path, slice_name: str = "sparse_sessions", name: str | None = None, posters: Literal["all", "right"] = "all"
) -> Catalogue:
    """Read one of :data:`SLICES`, after the 5-core.

    ``posters="right"`` leaves out the items whose poster is a placeholder or shows another film, before the 5-core;
    by default they stay and are counted (``items_wrong_poster``, of the items with interactions).
    Raises ConfigError for an unknown slice, DataError as :func:`read_folder`.
    """
    if slice_name not in SLICES:
        raise unknown("MovieLens slice", slice_name, SLICES)
    if posters not in ("all", "right"):
        raise unknown("choice of posters", posters, ("all", "right"))
    path = Path(path)
    catalogue = read_folder(path, SLICES[slice_name].settings, name or f"movielens_{slice_name}")
    _, table = read_rows(path / "item_provenance.csv", ("item_id", "poster_status"))
    wrong_ids = {cells["item_id"] for _, cells in table if cells["poster_status"] in WRONG_POSTERS}
    wrong = np.array([item_id in wrong_ids for item_id in catalogue.item_ids], dtype=bool)
    catalogue = replace(catalogue, counts={**catalogue.counts, "items_wrong_poster": int(wrong.sum())})
    if posters == "right":
        catalogue = keep_items(catalogue, ~wrong, "wrong_poster")
    return k_core(catalogue, CORE)
