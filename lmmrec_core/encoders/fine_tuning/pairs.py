"""The pictures and texts that encoders are fine-tuned on, preprocessed once, with the held-out items marked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from PIL.Image import Image
from torch import Tensor
from tqdm import tqdm

from lmmrec_core.digests import digest
from lmmrec_core.encoders.fine_tuning.holdout import SHARE, held_out_pairs
from lmmrec_core.encoders.pictures.byte_store import PictureBytes, picture_bytes, room_for
from lmmrec_core.encoders.pictures.decoding import picture_digest
from lmmrec_core.encoders.pictures.picked import BytePixels, PickedPictures
from lmmrec_core.encoders.pictures.reading import pixels_of, read_picture
from lmmrec_core.encoders.pictures.rule import picture_rule
from lmmrec_core.errors import ConfigError, DataError, FeatureError, unknown
from lmmrec_core.flow import BoolArray, Catalogue, IntArray, Split
from lmmrec_core.roles import Encoder

ItemChoice = Literal["all", "train_items"]
ITEMS: tuple[ItemChoice, ...] = ("all", "train_items")
_UNREADABLE = ("error", "missing")  # a broken picture file is refused by name, or counts as a missing picture
MEMORY_LIMIT = 4 * 2**30  # bytes of pixels that are kept in memory; more go to a memory-mapped file
_CHUNK = 32  # items preprocessed at a time


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Some pairs, ready for an encoder."""

    pixels: Tensor | PickedPictures  # [pair, ...] as the encoder preprocesses pictures
    tokens: Mapping[str, Tensor]  # [pair, length]
    image_group: Tensor  # int64 [pair]; equal where the pictures are identical
    text_group: Tensor  # int64 [pair]; equal where the texts are identical

    def __len__(self) -> int:
        return len(self.image_group)

    def take(
        self, images: Int[Tensor, "row"], texts: Int[Tensor, "row"], device: str
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Pixels of the pairs ``images`` and tokens of the pairs ``texts``, on ``device``."""
        return self.pixels[images].to(device), {name: value[texts].to(device) for name, value in self.tokens.items()}


@dataclass(frozen=True, eq=False)
class TrainingPairs:
    """One pair per item that has both a picture and a text, in the order of the catalogue."""

    name: str
    item_ids: tuple[str, ...]
    pixels: npt.NDArray[np.float32] | BytePixels  # [pair, ...], in memory or mapped
    tokens: Mapping[str, Tensor]  # [pair, length], padded to the longest of all
    image_group: IntArray  # [pair]
    text_group: IntArray  # [pair]
    held_out: BoolArray  # [pair]
    items: str  # of ITEMS
    counts: Mapping[str, int]  # pairs, held-out pairs, and what was left out
    fingerprint: str  # digest of ids, contents, and which are held out

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def train_rows(self) -> IntArray:
        return np.flatnonzero(~self.held_out)

    @property
    def held_out_rows(self) -> IntArray:
        return np.flatnonzero(self.held_out)

    def batch(self, rows: IntArray) -> PairBatch:
        """A copy of the pairs ``rows``; padding beyond their longest text is cut if there is an attention mask."""
        index = torch.from_numpy(rows)
        tokens = {name: value[index] for name, value in self.tokens.items()}
        mask = tokens.get("attention_mask")
        if mask is not None:
            length = max(1, int(mask.bool().any(dim=0).nonzero().max()) + 1)
            tokens = {name: value[:, :length] if value.ndim > 1 else value for name, value in tokens.items()}
        groups = (torch.from_numpy(group[rows]) for group in (self.image_group, self.text_group))
        pixels = self.pixels
        picked = pixels.pick(index) if isinstance(pixels, BytePixels) else torch.from_numpy(np.asarray(pixels[rows]))
        return PairBatch(picked, tokens, *groups)

    def settle(self, device: str) -> object:
        """Pictures stay on a GPU, if they fit, as long as what is returned is kept (``PictureBytes.settle``)."""
        kept = self.pixels
        return kept.pictures.settle(torch.device(device)) if isinstance(kept, BytePixels) else None


def collect_pairs(
    catalogue: Catalogue,
    encoder: Encoder,
    *,
    items: str = "all",
    split: Split | None = None,
    share: float = SHARE,
    unreadable: str = "error",
    memory_limit: int = MEMORY_LIMIT,
    folder: Path | None = None,
    progress: bool = True,
    pictures: PictureBytes | None = None,
) -> TrainingPairs:
    """Read, preprocess and group the pictures and texts of a catalogue's items.

    Content only: a pair is a picture file and the catalogue's text, which no reader composes of reviews, related
    items or sales ranks. ``items="all"`` needs no split: an item's content is known whether or not it was ever bought.
    ``items="train_items"`` keeps the items that have a training interaction in ``split``. ``share`` of the items is
    held out (:func:`~.holdout.held_out_pairs`). Pictures are equal if they decode to the same RGB pixels, texts if
    their characters are the same. ``pictures``: those of the catalogue by the encoder's rule, if they were decoded
    already. An encoder without such a rule has its pixels kept as they are; beyond ``memory_limit`` bytes they go to a
    temporary file in ``folder`` (default: the system's), which disappears with the object.

    Raises ConfigError for unknown settings or a missing split, FeatureError for pictures that cannot be read or a disk
    without room for them, DataError if no pair is left or one side of the hold-out is empty.
    """
    if items not in ITEMS:
        raise unknown("value of items", items, ITEMS)
    if unreadable not in _UNREADABLE:
        raise unknown("value of unreadable", unreadable, _UNREADABLE)
    if items == "train_items" and split is None:
        raise ConfigError("items = 'train_items' needs the split; give split, or set items to 'all'")
    todo, counts = _candidates(catalogue, split if items == "train_items" else None)
    pixels, kept, digests = _read(catalogue, encoder, todo, unreadable, memory_limit, folder, progress, pictures)
    counts["without_readable_picture"] = len(todo) - len(kept)
    if not kept:
        raise DataError(
            f"{catalogue.name}: no item has both a picture and a text ({counts}), so there is nothing to train on; "
            "bring items with both"
        )
    texts = [catalogue.texts[i] for i in kept]
    item_ids = tuple(catalogue.item_ids[i] for i in kept)
    image_group, text_group = _groups(digests), _groups(texts)
    held = held_out_pairs(item_ids, image_group, text_group, share)
    counts |= {"pairs": len(kept), "held_out": int(held.sum())}
    content = [[*row] for row in zip(item_ids, digests, texts, held.tolist(), strict=True)]
    return TrainingPairs(
        name=catalogue.name,
        item_ids=item_ids,
        pixels=pixels,
        tokens=dict(encoder.preprocess_texts(texts)),
        image_group=image_group,
        text_group=text_group,
        held_out=held,
        items=items,
        counts=counts,
        fingerprint=digest(content),
    )


def _candidates(catalogue: Catalogue, split: Split | None) -> tuple[list[int], dict[str, int]]:
    """Items with picture and text (and, given a split, a training interaction), and counts of the others."""
    picture = np.array([path is not None for path in catalogue.images], dtype=np.bool_)
    text = np.array([bool(text.strip()) for text in catalogue.texts], dtype=np.bool_)
    both = picture & text
    counts = {"items": catalogue.n_items, "without_picture": int((~picture).sum()), "without_text": int((~text).sum())}
    if split is not None:
        if split.n_items != catalogue.n_items:
            raise DataError(
                f"the split has {split.n_items} items, {catalogue.name} has {catalogue.n_items}; "
                "give the split of this catalogue"
            )
        trained = np.zeros(catalogue.n_items, dtype=np.bool_)
        trained[split.train.item] = True
        counts["without_training_interaction"] = int((both & ~trained).sum())
        both &= trained
    return np.flatnonzero(both).tolist(), counts


def _read(
    catalogue: Catalogue,
    encoder: Encoder,
    todo: list[int],
    unreadable: str,
    memory_limit: int,
    folder: Path | None,
    progress: bool,
    pictures: PictureBytes | None,
) -> tuple[npt.NDArray[np.float32] | BytePixels, list[int], list[str]]:
    """Pixels of the readable items of ``todo``, those items, and the digest of each picture."""
    rule = picture_rule(encoder)
    if rule is None:
        return _preprocessed(catalogue, encoder, todo, unreadable, memory_limit, folder, progress)
    if pictures is None:
        pictures = picture_bytes(rule, catalogue, todo, folder=folder, progress=progress)
    faults = {i: fault for i in todo if (fault := pictures.fault(i))}
    if faults and unreadable == "error":
        raise FeatureError(next(iter(faults.values())))
    kept = [i for i in todo if i not in faults]
    return BytePixels(pictures, np.array(kept, dtype=np.int64)), kept, [pictures.digest(i) for i in kept]


def _preprocessed(
    catalogue: Catalogue,
    encoder: Encoder,
    todo: list[int],
    unreadable: str,
    memory_limit: int,
    folder: Path | None,
    progress: bool,
) -> tuple[npt.NDArray[np.float32], list[int], list[str]]:
    """The same for an encoder with a rule of its own."""
    pixels: npt.NDArray[np.float32] = np.empty((0,), dtype=np.float32)
    kept: list[int] = []
    digests: list[str] = []
    bar = tqdm(total=len(todo), desc=f"{catalogue.name}: pictures", unit="item", disable=not progress)
    with bar:
        for start in range(0, len(todo), _CHUNK):
            before = len(kept)
            chunk = todo[start : start + _CHUNK]
            pictures = _pictures_of(chunk, catalogue, unreadable, kept, digests)
            values = pixels_of(encoder.preprocess_images, pictures).detach().numpy()
            if len(kept) > before:
                if not pixels.size:
                    pixels = room_for((len(todo), *values.shape[1:]), np.float32, folder, memory_limit)
                pixels[before : len(kept)] = values
            bar.update(min(_CHUNK, len(todo) - start))
    return pixels[: len(kept)], kept, digests


def _pictures_of(
    chunk: list[int], catalogue: Catalogue, unreadable: str, kept: list[int], digests: list[str]
) -> Iterator[Image]:
    """The readable pictures of a chunk; notes in ``kept`` and ``digests`` which these are."""
    for i in chunk:
        path = catalogue.images[i]
        assert path is not None  # _candidates saw to it
        try:
            picture = read_picture(path, catalogue.item_ids[i])
        except FeatureError:
            if unreadable == "error":
                raise
            continue
        digests.append(picture_digest(picture))
        kept.append(i)
        yield picture


def _groups(contents: list[str]) -> IntArray:
    """For each entry the place of the first one that equals it."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(content, place) for place, content in enumerate(contents)], dtype=np.int64)
