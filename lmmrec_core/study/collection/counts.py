"""Table 2 beside what was fetched: all items, and only those with a picture."""

from pathlib import Path

import numpy as np
import pandas as pd

from lmmrec_core.data import SOURCES
from lmmrec_core.data.filtering import keep_items
from lmmrec_core.errors import DataError
from lmmrec_core.flow import BoolArray, Catalogue
from lmmrec_core.report.published import DATASETS, printed_count
from lmmrec_core.study.track import DatasetSettings

FAR = 0.05  # share of a printed count that a folder may be off (chosen)
ALL, WITH_PICTURE = "all items", "items with a picture"
_COUNTED = {"users": "Users", "items": "Items", "interactions": "Interactions"}
EXPLAINED = (
    "The paper's users are those of the 5-core files. Its items are fewer, and so are its interactions: items were "
    "left out, presumably those whose picture could not be had. Which pictures can be had changes over the years, so "
    "neither row need be the paper's. The track leaves out items without a picture or a vector of one. With "
    "missing_image: keep and missing_feature: keep among its options all items stay, and those without take the mean "
    "of the others."
)


def count_universes(folder: Path, settings: DatasetSettings, dataset: str) -> pd.DataFrame:
    """Users, items and interactions of both universes and, for the paper's data sets, as Table 2 prints them.

    The frame's ``attrs["rows"]`` has the reviews read. Raises DataError as the reader does.
    """
    source = SOURCES[settings.source]
    keep = {"missing_image": "keep", "missing_feature": "keep", "missing_text": "keep", "content": ["visual"]}
    catalogue = source.read(folder, source.Settings.build({**settings.options, **keep}, dataset), dataset)
    rows = {ALL: _counts(catalogue)}
    there = _has_picture(catalogue)
    if there.any():
        rows[WITH_PICTURE] = _counts(keep_items(catalogue, there, "without_picture"))
    if dataset in DATASETS:
        rows["Table 2"] = {name: int(printed_count(quantity, dataset)) for name, quantity in _COUNTED.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.attrs["rows"] = catalogue.counts["rows_read"]
    return frame


def too_far(frame: pd.DataFrame, published_rows: int | None) -> str:
    """Why a folder is not the one that was published, in words; "" if its counts are near enough.

    Near enough: as many reviews as published, and in one universe every count within 5 % of Table 2.
    """
    read = frame.attrs["rows"]
    if published_rows is not None and read != published_rows:
        return f"{read:,} reviews, published are {published_rows:,}: another release, or a part of it"
    if "Table 2" not in frame.index:
        return ""
    printed = frame.loc["Table 2"]
    off = (frame.drop(index="Table 2") / printed - 1).abs().max(axis=1)
    if off.min() <= FAR:
        return ""
    nearest = frame.loc[str(off.idxmin())]
    worst = str((nearest / printed - 1).abs().idxmax())
    return f"{off.idxmin()}: {nearest[worst]:,} {worst}, Table 2 prints {printed[worst]:,}: over {FAR:.0%} apart"


def _counts(catalogue: Catalogue) -> dict[str, int]:
    return {"users": catalogue.n_users, "items": catalogue.n_items, "interactions": len(catalogue.user)}


def _has_picture(catalogue: Catalogue) -> BoolArray:
    """Which items have a picture, [item]; where there are no pictures at all, which have a vector of one."""
    there = np.array([image is not None for image in catalogue.images], dtype=bool)
    if not there.any() and "visual" in catalogue.ready_features:
        there = np.asarray(np.isfinite(catalogue.ready_features["visual"][:, 0]))
    return there


def require_near(frame: pd.DataFrame, published_rows: int | None, dataset: str) -> None:
    """Raises DataError with the cure for a folder whose counts are far from the published ones."""
    if fault := too_far(frame, published_rows):
        raise DataError(
            f"{dataset}: {fault}. What is computed on it is not the paper's; fetch the publisher's files, or say "
            "--accept-counts if this is what you want"
        )
