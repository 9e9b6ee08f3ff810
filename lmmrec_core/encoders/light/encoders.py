"""Light encoders: the modality-specific baseline of the controls, trained from nothing in seconds.

:class:`LightCNN` never sees a text and :class:`LightText` never sees a picture, as in the study's baseline
of a CNN beside a sentence encoder: neither knows anything of the other modality.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from PIL.Image import Image
from torch import Tensor

from lmmrec_core.digests import digest
from lmmrec_core.encoders.features.unread import TokenCounts, count_tokens
from lmmrec_core.encoders.light.networks import (
    DIM,
    UNKNOWN,
    PictureNetwork,
    WordNetwork,
    build_vocabulary,
    number_words,
    split_words,
)
from lmmrec_core.encoders.light.training import OutsideItems, read_outside, train_network
from lmmrec_core.encoders.one_modality import OneModality
from lmmrec_core.encoders.pictures.reading import image_spec, pixels_of, read_picture, to_pixels
from lmmrec_core.encoders.pictures.rule import HALF, ImageRule
from lmmrec_core.encoders.saved import SavedNote, read_saved, restore, write_saved
from lmmrec_core.errors import FeatureError
from lmmrec_core.flow import Modality
from lmmrec_core.seeds import one_thread

_VERSION = 2  # raise it with any change of network or training
_SIDE = 64  # pixels
_LONGEST = 128  # words; the controls' texts have about half as many
EPOCHS: dict[Modality, int] = {"visual": 10, "textual": 40}


class _Light(OneModality):
    """What the two light encoders share: saving and loading."""

    width = DIM
    VERSION = _VERSION

    def __init__(self, note: Mapping[str, Any]) -> None:
        self.note = dict(note)  # how it was trained, JSON-able

    @classmethod
    def _rebuild(cls, note: Mapping[str, Any]) -> Self:
        """An encoder of this class with the architecture that ``note`` describes, its weights still to be loaded."""
        raise NotImplementedError

    def save(self, path: Path) -> None:
        """Write weights and note as one safetensors file; :meth:`load` returns the same encoder."""
        write_saved(path, self.module, SavedNote(self.name, _VERSION, self.stage, self.note))

    @classmethod
    def load(cls, path: Path) -> Self:
        """The encoder that :meth:`save` wrote, in evaluation mode.

        Raises FeatureError for a file that is absent, damaged, of another encoder or another version.
        """
        note = read_saved(path, cls.name, _VERSION)
        encoder = cls._rebuild(note.training)
        restore(encoder.module, path, note)
        return encoder

    def _trained_spec(self) -> dict[str, Any]:
        training = {key: value for key, value in self.note.items() if key != "vocabulary"}
        return self._weights_spec("trained here", training=training)


class LightCNN(_Light):
    """Pictures → 64 numbers, by a small convolutional network (:class:`~.networks.PictureNetwork`)."""

    name = "light-cnn"
    modalities: tuple[Modality, ...] = ("visual",)

    def __init__(self, module: PictureNetwork | None = None, note: Mapping[str, Any] | None = None) -> None:
        if module is None:
            raise FeatureError("encoder 'light-cnn' has no weights of its own; use LightCNN.load or .trained_on")
        super().__init__(note or {})
        self.module = module

    @classmethod
    def _rebuild(cls, note: Mapping[str, Any]) -> Self:
        return cls(PictureNetwork(), note)

    @classmethod
    def trained_on(cls, folder: Path, seed: int, progress: bool = True) -> Self:
        """Trained on outside items (``data.controls.write_outside_items``) to tell the factors that pictures show.

        Give about 1500 items: the features then tell every factor whatever the seed. With 500 the picture network
        learns the density of stripes for some seeds only. About 12 seconds on one core for 1500 items.
        Raises DataError or FeatureError for a folder that cannot be used, TrainingError if the loss is not finite.
        """
        with one_thread():  # sums of several threads differ in their last bits
            return cls(*_train_cnn(read_outside(folder), seed, progress))

    def spec(self) -> Mapping[str, Any]:
        return {
            "weights": self._trained_spec(),
            "architecture": self._architecture_spec(
                _VERSION, network="four strided convolutions", activation="gelu", norm="group norm",
                vector="linear map of four bands, standardised",
            ),
            "image": image_spec(_SIDE, mean=HALF, std=HALF),
        }  # fmt: skip

    @property
    def picture_rule(self) -> ImageRule:
        """How pictures are prepared."""
        return ImageRule(_SIDE, "squash", HALF, HALF)

    def preprocess_images(self, images: Sequence[Image]) -> Tensor:
        return self.picture_rule.pixels(images)

    def image_vectors(self, pixels: Tensor) -> Tensor:
        vectors: Tensor = self.module(pixels)
        return vectors


class LightText(_Light):
    """Texts → 64 numbers, by word embeddings and two layers (:class:`~.networks.WordNetwork`).

    The vocabulary is that of the outside items; any other word counts as unknown.
    """

    name = "light-text"
    modalities: tuple[Modality, ...] = ("textual",)

    def __init__(self, module: WordNetwork | None = None, note: Mapping[str, Any] | None = None) -> None:
        if module is None or note is None:
            raise FeatureError("encoder 'light-text' has no weights of its own; use LightText.load or .trained_on")
        super().__init__(note)
        self.module = module
        self.numbers = {word: number for number, word in enumerate(note["vocabulary"], start=UNKNOWN + 1)}

    @classmethod
    def _rebuild(cls, note: Mapping[str, Any]) -> Self:
        return cls(WordNetwork(len(note["vocabulary"]) + UNKNOWN + 1), note)

    @classmethod
    def trained_on(cls, folder: Path, seed: int, progress: bool = True) -> Self:
        """Trained on outside items to tell the factors that texts name. Raises as :meth:`LightCNN.trained_on`."""
        with one_thread():
            return cls(*_train_text(read_outside(folder), seed, progress))

    def spec(self) -> Mapping[str, Any]:
        return {
            "weights": self._trained_spec(),
            "architecture": self._architecture_spec(
                _VERSION, network="mean of words, two layers", activation="gelu", norm="none",
                vector="linear map, standardised",
            ),
            "text": {
                "vocabulary": digest(list(self.numbers)), "words": len(self.numbers), "max_length": _LONGEST,
                "truncation": "right", "unit": "words",
            },
        }  # fmt: skip

    def preprocess_texts(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        """``words``, int64 [item, length]; 0 is padding."""
        return {"words": number_words(texts, self.numbers, _LONGEST)}

    def token_counts(self, texts: Sequence[str]) -> TokenCounts:
        rows = ([self.numbers.get(word, UNKNOWN) for word in split_words(text)] for text in texts)
        return count_tokens(rows, _LONGEST, UNKNOWN)

    def text_vectors(self, tokens: Mapping[str, Tensor]) -> Tensor:
        vectors: Tensor = self.module(tokens["words"])
        return vectors


def _train_cnn(outside: OutsideItems, seed: int, progress: bool) -> tuple[PictureNetwork, dict[str, Any]]:
    def small(pictures: Sequence[Image]) -> Tensor:
        return to_pixels(pictures, _SIDE, mean=HALF, std=HALF)

    def mirror(pixels: Tensor, stream: torch.Generator) -> Tensor:
        turned = torch.rand(len(pixels), generator=stream) < 0.5
        return torch.where(turned[:, None, None, None], pixels.flip(3), pixels)

    network, loss = train_network(
        PictureNetwork, pixels_of(small, map(read_picture, outside.images, outside.item_ids)), outside.levels["visual"],
        epochs=EPOCHS["visual"], learning_rate=4e-3, seed=seed, name=LightCNN.name, change=mirror, progress=progress,
    )  # fmt: skip
    return network, _note(outside, "visual", seed, loss)


def _train_text(outside: OutsideItems, seed: int, progress: bool) -> tuple[WordNetwork, dict[str, Any]]:
    vocabulary = build_vocabulary(outside.texts)
    numbers = {word: number for number, word in enumerate(vocabulary, start=UNKNOWN + 1)}

    def forget(words: Tensor, stream: torch.Generator) -> Tensor:
        """One word in ten becomes unknown, so that a word not seen in training is read as saying little."""
        dropped = (torch.rand(words.shape, generator=stream) < 0.1) & (words > UNKNOWN)
        return words.masked_fill(dropped, UNKNOWN)

    network, loss = train_network(
        lambda: WordNetwork(len(vocabulary) + UNKNOWN + 1), number_words(outside.texts, numbers, _LONGEST),
        outside.levels["textual"], epochs=EPOCHS["textual"], learning_rate=1e-2, seed=seed, name=LightText.name,
        change=forget, progress=progress,
    )  # fmt: skip
    return network, {**_note(outside, "textual", seed, loss), "vocabulary": list(vocabulary)}


def _note(outside: OutsideItems, modality: Modality, seed: int, loss: float) -> dict[str, Any]:
    return {
        "items": len(outside.item_ids), "factors": list(outside.factors[modality]), "seed": seed,
        "epochs": EPOCHS[modality], "loss": round(loss, 4),
    }  # fmt: skip
