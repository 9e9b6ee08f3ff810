"""Rows and items of any source → Catalogue: rating threshold, merged pairs, missing content; every loss is counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from lmmrec_core.config import Settings
from lmmrec_core.data.columns import meant_for
from lmmrec_core.data.faults import Faults
from lmmrec_core.data.filtering import keep_edges, keep_items
from lmmrec_core.data.ids import in_order, positions
from lmmrec_core.data.texts import leaks
from lmmrec_core.errors import DataError
from lmmrec_core.flow import MODALITIES, BoolArray, Catalogue, Float32Array, IntArray, Modality


class NoContentError(DataError):
    """A catalogue without any content of a modality that was asked for."""

    def __init__(self, message: str, modality: Modality = "visual") -> None:
        super().__init__(message)
        self.modality = modality


class ContentSettings(Settings):
    """What the readers of item content share."""

    min_rating: float | None = Field(
        None, allow_inf_nan=False, description="ratings of at least this are positives; none: every rating is"
    )
    text_fields: tuple[str, ...] = Field(
        ("title", "brand", "categories", "description"), description="fields of an item's text, in this order"
    )
    missing_image: Literal["drop", "keep"] = Field("drop", description="items without a picture")
    missing_text: Literal["drop", "keep"] = Field("drop", description="items without any text")
    content: tuple[Modality, ...] = Field(
        MODALITIES,
        description="what of an item is read; what is not is never missed, and nothing is read but ids for ()",
    )
    ready: tuple[Modality, ...] | None = Field(
        None,
        description="modalities whose ready features, where the folder has them, are read in the place of pictures or "
        "texts; none: ready features are read beside them",
    )

    def takes_ready(self, modality: Modality) -> bool:
        """Whether ready features of a modality are read, if there are any."""
        return modality in self.content and (self.ready is None or modality in self.ready)

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
    columns: Sequence[str] = ()  # of the file, for messages


@dataclass
class Items:
    """Items as read, in the order of their file; ``features`` [item, dim] in the same order."""

    ids: Sequence[str]
    texts: Sequence[str]
    images: Sequence[Path | None]
    features: Mapping[Modality, Float32Array] = field(default_factory=dict)

    @classmethod
    def of_rows(cls, rows: Rows) -> "Items":
        """The items that rows name, without content: all that a recommender without content needs."""
        ids = in_order(rows.item_id)
        return cls(ids, ("",) * len(ids), (None,) * len(ids))


def assemble(name: str, rows: Rows, items: Items, settings: ContentSettings, counts: Mapping[str, int]) -> Catalogue:
    """The catalogue of these rows and items; users and items are numbered in the natural order of their ids.

    Four steps, in this order: drop rows below ``min_rating``; make one positive of repeated (user, item) pairs, with
    their earliest timestamp; drop items without interactions; drop items without picture or text, if the settings say
    so. If no item has a picture but there are ready visual features, these stand in for pictures; likewise for texts.

    Raises DataError for rows of unknown items, for contradicting labels, and if nothing is left.
    """
    check_items_known(rows, items)
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


def check_items_known(rows: Rows, items: Items, faults: Faults | None = None) -> None:
    """Notes rows of items that are not there; without ``faults``, raises DataError for the first."""
    faults = Faults(at_once=True) if faults is None else faults
    known = set(items.ids)
    for line, item_id in zip(rows.line, rows.item_id, strict=True):
        if item_id not in known:
            close = get_close_matches(item_id, _sample(items.ids), n=1, cutoff=0.8) if len(faults) < _HINTS else []
            hint = f"did you mean {close[0]!r}? Else " if close else ""
            faults.add(
                f"{rows.file} line {line}: item {item_id!r} is not among the {len(known)} items of items.csv; {hint}"
                "add it there (cells other than item_id may be empty) or remove the row"
            )


_HINTS = 20  # faults for which a near item is looked up, which takes long


def _sample(ids: Sequence[str]) -> Sequence[str]:
    return ids[:20_000]


def _positives(rows: Rows, min_rating: float | None) -> BoolArray:
    if min_rating is None:
        return np.ones(len(rows.user_id), dtype=bool)
    if rows.rating is None:
        close = meant_for("rating", rows.columns, ("user_id", "item_id", "timestamp", "split"))
        hint = f"rename {close!r} if that is it" if close else "add it"
        raise DataError(
            f"{rows.file}: min_rating = {min_rating} needs a column 'rating'; {hint} or leave min_rating out"
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
        faults, wrong = Faults(), label[group] != labels
        for here in sorted({int(group[row]): int(row) for row in np.flatnonzero(wrong)[::-1]}.values()):
            pair = f"user {user_ids[user[here]]!r} and item {item_ids[item[here]]!r}"
            lines = [rows.line[kept[i]] for i in np.flatnonzero(group == group[here])]
            faults.add(
                f"{rows.file} lines {lines[0]} and {lines[-1]}: {pair} are in two parts of the split; "
                "keep the pair in one part"
            )
        faults.refuse()
    return keys // len(item_ids), keys % len(item_ids), label, timestamp


def _apply_missing(catalogue: Catalogue, settings: ContentSettings) -> Catalogue:
    """Drops what the settings say, of the modalities that are read: only these can be missed."""
    has_image = np.array([image is not None for image in catalogue.images], dtype=bool)
    has_text = np.array([bool(text) for text in catalogue.texts], dtype=bool)
    has = dict(zip(MODALITIES, (has_image, has_text), strict=True))
    counts = dict(catalogue.counts)
    for modality, word in _WORDS.items():
        if modality not in settings.content or (not has[modality].any() and modality in catalogue.ready_features):
            has[modality][:] = True
        counts[f"items_without_{word}"] = int((~has[modality]).sum())
    catalogue = replace(catalogue, counts=counts)
    policies: dict[Modality, str] = {"visual": settings.missing_image, "textual": settings.missing_text}
    left = np.ones(catalogue.n_items, dtype=bool)
    for modality, word in _WORDS.items():
        if policies[modality] == "keep":
            continue
        wanted = has[modality][left]
        if not wanted.any():
            raise NoContentError(_nothing_there(catalogue, modality, settings), modality)
        catalogue = keep_items(catalogue, wanted, f"without_{word}")
        left &= has[modality]
    return catalogue


_WORDS: dict[Modality, str] = {"visual": "image", "textual": "text"}


def _nothing_there(catalogue: Catalogue, modality: Modality, settings: ContentSettings) -> str:
    if modality == "visual":
        return (
            f"{catalogue.name}: none of the {catalogue.n_items} items with interactions has a picture; add pictures, "
            "give ready visual features, or set missing_image: keep; to do without pictures: --modalities T, or a "
            "model that reads no content"
        )
    return (
        f"{catalogue.name}: no item with interactions has a text in {', '.join(settings.text_fields)}; add texts, give "
        "ready textual features, or set missing_text: keep; to do without texts: --modalities V, or a model that reads "
        "no content"
    )
