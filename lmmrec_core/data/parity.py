"""The parity folder: a small real input with a frozen split and ready features, to compare with reference runs."""

import os
from pathlib import Path

import numpy as np

from lmmrec_core.data.files import as_matrix, is_there, load_arrays
from lmmrec_core.errors import DataError
from lmmrec_core.flow import Catalogue, IntArray
from lmmrec_core.source import NoSettings

_INTERACTIONS = "interactions.npz"


def read_parity(path: Path, name: str | None = None) -> Catalogue:
    """Read ``interactions.npz`` (user, item, split, n_users, n_items) and ``features.npz`` (visual, text).

    Features are cast from half to single precision: the reference runs were given the rounded values. Ids are the
    numbers; there are no texts and no pictures. Raises DataError naming the file, the array and the cure.
    """
    path = Path(path)
    file, features_file = path / _INTERACTIONS, path / "features.npz"
    is_there(file, path)
    is_there(features_file, path)
    arrays = load_arrays(file)
    _require(arrays, ("user", "item", "split", "n_users", "n_items"), file)
    most = 10 * len(arrays["user"].ravel()) + 1000  # a mistyped number would make every table that long
    n_users, n_items = (_size(arrays[key], key, file, most) for key in ("n_users", "n_items"))
    user = _column(arrays["user"], "user", n_users, file)
    item = _column(arrays["item"], "item", n_items, file)
    label = _column(arrays["split"], "split", 3, file)
    if not len(user) == len(item) == len(label):
        raise DataError(
            f"{file}: user, item and split have {len(user)}, {len(item)} and {len(label)} entries; give as many of each"
        )
    if len(np.unique(user * n_items + item)) < len(user):
        raise DataError(f"{file}: a (user, item) pair appears twice; keep each pair once")
    features = load_arrays(features_file)
    _require(features, ("visual", "text"), features_file)
    visual, textual = (
        as_matrix(features[key], f"{features_file} {key}", n_items, "items") for key in ("visual", "text")
    )
    return Catalogue(
        name=name or path.resolve().name,
        user_ids=tuple(str(u) for u in range(n_users)),
        item_ids=tuple(str(i) for i in range(n_items)),
        user=user,
        item=item,
        texts=("",) * n_items,
        images=(None,) * n_items,
        label=label,
        ready_features={"visual": visual, "textual": textual},
        counts={
            "rows_read": len(user),
            # whose visual rows already hold the mean of the others
            "items_without_image": int((~features["has_poster"]).sum()) if "has_poster" in features else 0,
        },
    )


class ParityFolder:
    """The parity folder as a data format."""

    name = "parity"
    marks = _INTERACTIONS
    Settings = NoSettings

    @staticmethod
    def recognises(folder: Path) -> bool:
        return os.path.lexists(folder / _INTERACTIONS)

    @staticmethod
    def read(folder: Path, settings: NoSettings, name: str | None = None) -> Catalogue:
        return read_parity(folder, name)


def _require(arrays: dict[str, np.ndarray], keys: tuple[str, ...], file: Path) -> None:
    for key in keys:
        if key not in arrays:
            raise DataError(f"{file}: no array {key!r} among {', '.join(arrays) or 'none'}; copy the file again")


def _size(value: np.ndarray, key: str, file: Path, most: int) -> int:
    if value.shape != () or value.dtype.kind not in "iu" or value < 1:
        raise DataError(f"{file}: {key} is not one positive whole number; copy the file again")
    if value > most:
        raise DataError(f"{file}: {key} is {value}, with rows for {most} at most; copy the file again")
    return int(value)


def _column(values: np.ndarray, key: str, below: int, file: Path) -> IntArray:
    if values.ndim != 1 or values.dtype.kind not in "iu" or not len(values):
        raise DataError(f"{file}: {key} is not a list of whole numbers; copy the file again")
    if values.min() < 0 or values.max() >= below:
        raise DataError(
            f"{file}: {key} holds {values.min()} to {values.max()}, allowed are 0 to {below - 1}; copy the file again"
        )
    return values.astype(np.int64)
