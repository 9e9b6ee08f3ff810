"""Pairs of pictures and texts to pre-train on, and the proof that none of them is in a catalogue.

Pre-training on a catalogue's own items would let an encoder remember what it is later tested on. There are four tests:
shared ids, shared titles, identical picture files, look-alike pictures. The error names the first item that fails one.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lmmrec_core.digests import file_sha256
from lmmrec_core.encoders.pictures.reading import read_picture
from lmmrec_core.errors import DataError, FeatureError
from lmmrec_core.flow import BoolArray, Catalogue

HASH_SIDE = 16  # a difference hash of 16 × 16 bits
# In bits: a picture saved again at another size and quality differs by about 6 to 15, two posters by 70 or more.
_CLOSE = 24
_ARTICLES = {"the", "a", "an"}
_YEAR = re.compile(r"\(\s*\d{4}\s*\)")


@dataclass(frozen=True)
class OutsidePairs:
    """Items that have both a picture and a text, one entry per item."""

    name: str
    item_ids: tuple[str, ...]
    images: tuple[Path, ...]
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.item_ids)


def outside_pairs(catalogue: Catalogue) -> OutsidePairs:
    """The pairs of a catalogue. Raises DataError naming the first item without a picture or text."""
    for item, image, text in zip(catalogue.item_ids, catalogue.images, catalogue.texts, strict=True):
        lacking = "picture" if image is None else "" if text.strip() else "text"
        if lacking:
            raise DataError(
                f"{catalogue.name}: item {item!r} has no {lacking}; leave it out of the items to pre-train on"
            )
    images = tuple(image for image in catalogue.images if image is not None)
    return OutsidePairs(catalogue.name, catalogue.item_ids, images, catalogue.texts)


@dataclass(frozen=True)
class Disjoint:
    """What :func:`check_disjoint` compared, for the record of an encoder."""

    ids: bool
    titles: bool
    pictures: int  # how many were compared, on both sides together
    closest_bits: int | None  # least distance of two difference hashes; None if no pictures were compared


def check_disjoint(
    pairs: OutsidePairs,
    catalogue: Catalogue,
    *,
    ids: tuple[Sequence[str], Sequence[str]] | None,
    titles: tuple[Sequence[str], Sequence[str]] | None,
    close: int | None = _CLOSE,
) -> Disjoint:
    """Raise FeatureError naming the first item to pre-train on that is also in the catalogue.

    ``ids`` and ``titles`` are those of the pairs and of the catalogue, in their order, or None if there are none. Ids
    must come from one numbering (IMDb, ASIN): two catalogues may use one number for different items. Pictures are
    always compared by their bytes, and by difference hash unless ``close`` is None: two look alike if their hashes are
    ``close`` bits or fewer apart. A picture of one colour has no hash. Raises DataError if neither ids nor titles are
    given, or a list is not as long as its items.
    """
    if ids is None and titles is None:
        raise DataError(
            f"{pairs.name} against {catalogue.name}: give ids, titles or both; pictures alone are not enough"
        )
    _refuse_shared(pairs, catalogue, "id", ids, str.strip)
    _refuse_shared(pairs, catalogue, "title", titles, normalise_title)
    theirs = [(item, path) for item, path in zip(catalogue.item_ids, catalogue.images, strict=True) if path is not None]
    ours = list(zip(pairs.item_ids, pairs.images, strict=True))
    by_bytes = {file_sha256(path, FeatureError): item for item, path in theirs}
    for item, path in ours:
        other = by_bytes.get(file_sha256(path, FeatureError))
        if other is not None:
            raise _shared(pairs, item, catalogue, other, f"the same picture file ({path.name})")
    closest = None if close is None else _refuse_look_alikes(pairs, ours, catalogue, theirs, close)
    return Disjoint(ids is not None, titles is not None, len(ours) + len(theirs), closest)


def normalise_title(title: str) -> str:
    """Lower-case letters and digits only, without accents, articles, or a year in brackets.

    ``"Léon: The Professional (1994)"`` and ``"Leon - Professional, The"`` become one title.
    """
    folded = unicodedata.normalize("NFKD", _YEAR.sub(" ", title)).casefold()
    letters = "".join(sign for sign in folded if not unicodedata.combining(sign))
    words = re.findall(r"[^\W_]+", letters.replace("'", "").replace("’", ""))
    return " ".join(word for word in words if word not in _ARTICLES) or " ".join(words)


def difference_hash(picture: Image.Image) -> BoolArray:
    """Bool [256]: in grey, at 17 × 16 pixels, whether each pixel is brighter than its left neighbour."""
    grey = picture.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX)
    values = np.asarray(grey).astype(np.int16)
    return (values[:, 1:] > values[:, :-1]).ravel()


def _refuse_shared(
    pairs: OutsidePairs,
    catalogue: Catalogue,
    kind: str,
    values: tuple[Sequence[str], Sequence[str]] | None,
    normalise: Callable[[str], str],
) -> None:
    if values is None:
        return
    ours, theirs = values
    for name, given, expected in ((pairs.name, ours, len(pairs)), (catalogue.name, theirs, catalogue.n_items)):
        if len(given) != expected:
            raise DataError(f"{name}: {len(given)} {kind}s for {expected} items; give one per item, in their order")
    known = {normalise(value): item for item, value in zip(catalogue.item_ids, theirs, strict=True) if value.strip()}
    for item, value in zip(pairs.item_ids, ours, strict=True):
        if value.strip() and normalise(value) in known:
            raise _shared(pairs, item, catalogue, known[normalise(value)], f"the same {kind} ({value})")


def _refuse_look_alikes(
    pairs: OutsidePairs,
    ours: Sequence[tuple[str, Path]],
    catalogue: Catalogue,
    theirs: Sequence[tuple[str, Path]],
    close: int,
) -> int | None:
    our_items, our_hashes = _hashes(ours)
    their_items, their_hashes = _hashes(theirs)
    if not len(our_items) or not len(their_items):
        return None
    a, b = our_hashes.astype(np.float32), their_hashes.astype(np.float32)
    distance = (a.sum(1)[:, None] + b.sum(1)[None] - 2 * a @ b.T).astype(np.int64)  # Hamming, exact below 2^24
    row, column = np.unravel_index(int(distance.argmin()), distance.shape)
    least = int(distance[row, column])
    if least <= close:
        detail = f"pictures that look alike ({least} of {HASH_SIDE**2} bits differ; up to {close} count as alike)"
        raise _shared(pairs, our_items[row], catalogue, their_items[column], detail)
    return least


def _hashes(entries: Iterable[tuple[str, Path]]) -> tuple[list[str], BoolArray]:
    """Items and hashes [item, 256], without pictures whose bits are all equal (one colour, a ramp)."""
    items, rows = [], []
    for item, path in entries:
        row = difference_hash(read_picture(path, item))
        if 0 < row.sum() < row.size:
            items.append(item)
            rows.append(row)
    return items, np.array(rows, dtype=np.bool_).reshape(len(rows), HASH_SIDE**2)


def _shared(pairs: OutsidePairs, item: str, catalogue: Catalogue, other: str, detail: str) -> FeatureError:
    return FeatureError(
        f"item {item!r} of {pairs.name} is in {catalogue.name} as {other!r}: {detail}; remove it from the items to "
        "pre-train on, or the encoder will have seen what it is tested on"
    )
