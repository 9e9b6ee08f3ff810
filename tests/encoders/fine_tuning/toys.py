"""A two-tower encoder of some hundred weights that also fuses, and pairs that it can learn."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lmmrec_core.encoders.fine_tuning.holdout import held_out_pairs
from lmmrec_core.encoders.fine_tuning.pairs import PairBatch, TrainingPairs
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import Modality

PAD, START, END, MASK = range(4)
FACTORS, LEVELS = 3, 5
FIRST_PIECE = 4 + FACTORS * LEVELS  # ids from here on go on with a word
VOCABULARY = FIRST_PIECE + LEVELS
WIDTH = 12


class ToyNetwork(nn.Module):
    def __init__(self, dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.position = nn.Parameter(torch.zeros(1, WIDTH))
        self.pixels = nn.Linear(48, WIDTH)
        self.norm = nn.BatchNorm1d(WIDTH) if batch_norm else nn.Identity()
        self.drop = nn.Dropout(dropout)
        self.image_head = nn.Linear(WIDTH, 8)
        self.text_head = nn.Linear(WIDTH, 8, bias=False)
        self.second_image, self.second_text = nn.Linear(WIDTH, 5), nn.Linear(WIDTH, 5)
        self.mixer = nn.Linear(2 * WIDTH, WIDTH)
        self.match, self.word_head = nn.Linear(WIDTH, 2), nn.Linear(WIDTH, VOCABULARY)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.logit_second_scale = nn.Parameter(torch.tensor(math.log(5.0)))


class ToyTowers:
    """Reads pictures of 4 × 4 pixels and token ids. With ``terms`` 2 it has a second contrast of its own scale."""

    name = "toy"
    modalities: tuple[Modality, ...] = ("visual", "textual")

    def __init__(self, seed: int = 0, dropout: float = 0.0, batch_norm: bool = False, terms: int = 1) -> None:
        self.terms = terms
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = ToyNetwork(dropout, batch_norm).eval()

    def spec(self) -> Mapping[str, Any]:
        return {"name": self.name}

    def dim(self, modality: Modality) -> int:
        return 8

    def preprocess_images(self, images: Sequence[Image.Image]) -> Tensor:
        squashed = np.stack([np.asarray(image.resize((4, 4))) for image in images])
        return torch.from_numpy(squashed).permute(0, 3, 1, 2).float() / 255

    def preprocess_texts(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        return encode_texts([[4 + ord(letter) % (FACTORS * LEVELS) for letter in text.split()[0]] for text in texts])

    def image_rows(self, pixels: Tensor) -> Tensor:
        return self.module.drop(torch.tanh(self.module.norm(self.module.pixels(pixels.flatten(1)))))

    def text_rows(self, tokens: Mapping[str, Tensor]) -> Tensor:
        mask = tokens["attention_mask"].unsqueeze(-1).float()
        summed = (self.module.words(tokens["input_ids"]) * mask).sum(dim=1)
        return self.module.drop(summed / mask.sum(dim=1) + self.module.position)

    def image_vectors(self, pixels: Tensor) -> Tensor:
        return self.module.image_head(self.image_rows(pixels))

    def text_vectors(self, tokens: Mapping[str, Tensor]) -> Tensor:
        return self.module.text_head(self.text_rows(tokens))

    def contrast(self, pixels: Tensor, tokens: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
        module = self.module
        image, text = self.image_rows(pixels), self.text_rows(tokens)
        first = (module.image_head(image), module.text_head(text), module.logit_scale.exp())
        second = (module.second_image(image), module.second_text(text), module.logit_second_scale.exp())
        return [first, second][: self.terms]

    def part(self, name: str) -> frozenset[str]:
        names = frozenset(name for name, _ in self.module.named_parameters())
        heads = frozenset(n for n in names if "head" in n or n.startswith(("second", "match", "logit")))
        known = {"all": names, "heads": heads, "top-1": heads | {n for n in names if n.startswith("pixels")},
                 "words": frozenset({"word_head.weight", "word_head.bias"}), "none": frozenset()}  # fmt: skip
        if name not in known:
            raise ConfigError(f"toy: unknown part {name!r}")
        return known[name]


class FusingToy(ToyTowers):
    """The same with one mixing layer over both."""

    vocabulary_size = VOCABULARY
    mask_token = MASK
    special_tokens = frozenset({PAD, START, END, MASK})

    def fused(self, pixels: Tensor, tokens: Mapping[str, Tensor]) -> Tensor:
        text = self.module.words(tokens["input_ids"])
        both = self.text_rows(tokens) * self.image_rows(pixels)
        mixed = self.module.mixer(torch.cat([text, both.unsqueeze(1).expand_as(text)], dim=2))
        return torch.cat([mixed, self.image_rows(pixels).unsqueeze(1)], dim=1)

    def match_logits(self, sequence: Tensor) -> Tensor:
        return self.module.match(torch.tanh(sequence[:, 0]))

    def word_logits(self, sequence: Tensor, masked: Tensor) -> Tensor:
        return self.module.word_head(sequence[:, : masked.shape[1]])[masked]

    def word_starts(self, input_ids: Tensor) -> Tensor:
        return input_ids < FIRST_PIECE


def encode_texts(texts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Ids between start and end marks, padded; and what is real."""
    longest = max(map(len, texts)) + 2
    ids = torch.full((len(texts), longest), PAD)
    for row, text in enumerate(texts):
        ids[row, : len(text) + 2] = torch.tensor([START, *text, END])
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def factor_pairs(n: int = 120, seed: int = 0, share: float = 0.2, noise: float = 0.1) -> TrainingPairs:
    """Each item a different triple of levels: its picture shows one per colour channel, its text names them.

    A held-out item is a new triple of levels that training has shown in others.
    """
    random = np.random.default_rng(seed)
    triples = random.permutation(np.stack(np.meshgrid(*[np.arange(LEVELS)] * FACTORS), axis=-1).reshape(-1, FACTORS))[
        :n
    ]
    pixels = np.zeros((n, 3, 4, 4), dtype=np.float32)
    for factor in range(FACTORS):
        pixels[:, factor] = (triples[:, factor, None, None] - 2) / 2
    pixels += noise * random.standard_normal(pixels.shape).astype(np.float32)
    texts = [
        [piece for f, level in enumerate(triple) for piece in (4 + f * LEVELS + level, FIRST_PIECE + level)][
            : 6 - i % 2
        ]
        for i, triple in enumerate(triples.tolist())
    ]
    return make_pairs(pixels, texts, share)


def make_pairs(pixels: np.ndarray, texts: Sequence[Sequence[int]], share: float = 0.2) -> TrainingPairs:
    ids = tuple(f"item{number}" for number in range(len(texts)))
    groups = np.arange(len(texts))
    held = held_out_pairs(ids, groups, groups, share)
    fingerprint = hashlib.sha256(pixels.tobytes() + repr(texts).encode()).hexdigest()[:16]
    return TrainingPairs(
        "toy", ids, pixels, encode_texts(texts), groups, groups, held, "all", {"pairs": len(ids)}, fingerprint
    )


def whole_batch(pairs: TrainingPairs, count: int | None = None) -> PairBatch:
    return pairs.batch(np.arange(count or len(pairs)))
