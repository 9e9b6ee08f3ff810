"""Rows and items of any source → Catalogue: rating threshold, merged pairs, missing content; every loss is counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from lmmrec_core.config import Settings
from lmmrec_core.data.filtering import keep_edges, keep_items
from lmmrec_core.data.ids import in_order, positions
from lmmrec_core.data.texts import leaks
from lmmrec_core.errors import DataError
from lmmrec_core.flow import BoolArray, Catalogue, Float32Array, IntArray, Modality


class ContentSettings(Settings):
    """What the readers of item content share."""

    min_rating: float | None = Field(None, description="ratings of at least this are positives; none: every rating is")
    text_fields: tuple[str, ...] = Field(
        ("title", "brand", "categories", "description"), description="fields of an item's text, in this order"
    )
    missing_image: Literal["drop", "keep"] = Field("drop", description="items without a picture")
    missing_text: Literal["drop", "keep"] = Field("drop", description="items without any text")

    @field_validator("text_fields")
    @classmethod
    def _content_only(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if told := [field for field in value if leaks(field)]:
            raise ValueError(
                f"{told[0]!r} tells of interactions, those of the test part too; name fields of content only"
            )
        return value


@dataclass
class Rows:
    """Interactions as read, one entry per row; ``line`` is the row's place in ``file``, for messages."""

    file: str
    user_id: list[str] = field(default_factory=list)
    item_id: list[str] = field(default_factory=list)
    line: list[int] = field(default_factory=list)
    rating: list[float] | None = None
    timestamp: list[int] | None = None
    label: list[int] | None = None


@dataclass
class Items:
    """Items as read, in the order of their file; ``features`` [item, dim] in the same order."""

    ids: Sequence[str]
    texts: Sequence[str]
    images: Sequence[Path | None]
    features: Mapping[Modality, Float32Array] = field(default_factory=dict)


def assemble(name: str, rows: Rows, items: Items, settings: ContentSettings, counts: Mapping[str, int]) -> Catalogue:
    """The catalogue of these rows and items; users and items are numbered in the natural order of their ids.

    Four steps, in this order: drop rows below ``min_rating``; make one positive of repeated (user, item) pairs, with
    their earliest timestamp; drop items without interactions; drop items without picture or text, if the settings say
    so. If no item has a picture but there are ready visual features, these stand in for pictures; likewise for texts.

    Raises DataError for rows of unknown items, for contradicting labels, and if nothing is left.
    """
    _check_items_known(rows, items)
    counted = {"rows_read": len(rows.user_id), "items_read": len(items.ids), **counts}
    kept = _positives(rows, settings.min_rating)
    counted["rows_below_min_rating"] = int((~kept).sum())
    if not kept.any():
        raise DataError(
            f"{rows.file}: none of {len(kept)} ratings reaches min_rating = {settings.min_rating}; lower min_rating"
            if len(kept)
            else f"{rows.file}: no interactions below the header; add some"
        )
    user_ids, item_ids = in_order(rows.user_id), in_order(items.ids)
    order = positions(item_ids, list(items.ids))  # each item's place in the file
    user, item, label, timestamp = _merged(rows, np.flatnonzero(kept), user_ids, item_ids)
    counted["rows_merged"] = int(kept.sum()) - len(user)
    catalogue = Catalogue(
        name=name,
        user_ids=user_ids,
        item_ids=item_ids,
        user=user,
        item=item,
        texts=tuple(items.texts[i] for i in order),
        images=tuple(items.images[i] for i in order),
        label=label,
        timestamp=timestamp,
        ready_features={modality: matrix[order] for modality, matrix in items.features.items()},
        counts=counted,
    )
    catalogue = keep_edges(catalogue, np.ones(len(user), dtype=bool), "without_interactions")
    return _apply_missing(catalogue, settings)


def _check_items_known(rows: Rows, items: Items) -> None:
    known = set(items.ids)
    for line, item_id in zip(rows.line, rows.item_id, strict=True):
        if item_id not in known:
            raise DataError(
                f"{rows.file} line {line}: item {item_id!r} is not among the {len(known)} items of items.csv; "
                "add it there (cells other than item_id may be empty) or remove the row"
            )


def _positives(rows: Rows, min_rating: float | None) -> BoolArray:
    if min_rating is None:
        return np.ones(len(rows.user_id), dtype=bool)
    if rows.rating is None:
        raise DataError(
            f"{rows.file}: min_rating = {min_rating} needs a column 'rating'; add it or leave min_rating out"
        )
    return np.asarray(rows.rating) >= min_rating


def _merged(
    rows: Rows, kept: IntArray, user_ids: Sequence[str], item_ids: Sequence[str]
) -> tuple[IntArray, IntArray, IntArray | None, IntArray | None]:
    """Distinct pairs, sorted by user, then item."""
    user = positions(rows.user_id, user_ids)[kept]
    item = positions(rows.item_id, item_ids)[kept]
    keys, group = np.unique(user * len(item_ids) + item, return_inverse=True)
    timestamp = label = None
    if rows.timestamp is not None:
        timestamp = np.full(len(keys), np.iinfo(np.int64).max)
        np.minimum.at(timestamp, group, np.asarray(rows.timestamp, dtype=np.int64)[kept])
    if rows.label is not None:
        labels = np.asarray(rows.label, dtype=np.int64)[kept]
        label = np.zeros(len(keys), dtype=np.int64)
        label[group] = labels  # the last of a group; all must agree with it
        wrong = np.flatnonzero(label[group] != labels)
        if len(wrong):
            here = wrong[0]
            pair = f"user {user_ids[user[here]]!r} and item {item_ids[item[here]]!r}"
            lines = [rows.line[kept[i]] for i in np.flatnonzero(group == group[here])]
            raise DataError(
                f"{rows.file} lines {lines[0]} and {lines[-1]}: {pair} are in two parts of the split; "
                "keep the pair in one part"
            )
    return keys // len(item_ids), keys % len(item_ids), label, timestamp


def _apply_missing(catalogue: Catalogue, settings: ContentSettings) -> Catalogue:
    has_image = np.array([image is not None for image in catalogue.images], dtype=bool)
    has_text = np.array([bool(text) for text in catalogue.texts], dtype=bool)
    if not has_image.any() and "visual" in catalogue.ready_features:
        has_image[:] = True
    if not has_text.any() and "textual" in catalogue.ready_features:
        has_text[:] = True
    counts = {
        **catalogue.counts,
        "items_without_image": int((~has_image).sum()),
        "items_without_text": int((~has_text).sum()),
    }
    catalogue = replace(catalogue, counts=counts)
    keep = np.ones(catalogue.n_items, dtype=bool)
    if settings.missing_image == "drop":
        if not has_image.any():
            raise DataError(
                f"{catalogue.name}: none of the {len(has_image)} items with interactions has a picture; "
                "add pictures, give ready visual features, or set missing_image: keep"
            )
        keep &= has_image
        catalogue = keep_items(catalogue, keep, "without_image")
        has_text = has_text[keep]
    if settings.missing_text == "drop":
        if not has_text.any():
            raise DataError(
                f"{catalogue.name}: no item with interactions has a text in {', '.join(settings.text_fields)}; "
                "add texts, give ready textual features, or set missing_text: keep"
            )
        catalogue = keep_items(catalogue, has_text, "without_text")
    return catalogue
