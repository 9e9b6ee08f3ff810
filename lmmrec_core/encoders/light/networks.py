"""The two small networks of the controls' baseline: pixels → 64 numbers, word numbers → 64 numbers.

Both end in a fixed standardisation learnt from the training items: there every dimension has mean 0 and variance 1,
so neither modality speaks louder than the other.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

DIM = 64
PADDING, UNKNOWN = 0, 1
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


class Standardise(nn.Module):
    """``(x - centre) / spread`` per dimension; the identity before :meth:`fit`."""

    centre: Tensor
    spread: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("spread", torch.ones(dim))

    def fit(self, vectors: Tensor) -> None:
        """Take mean and standard deviation over ``vectors`` [item, dim]; a constant dimension keeps spread 1."""
        spread = vectors.std(dim=0, correction=0)
        self.centre.copy_(vectors.mean(dim=0))
        self.spread.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def forward(self, vectors: Tensor) -> Tensor:
        return (vectors - self.centre) / self.spread


class PictureNetwork(nn.Module):
    """Four strided convolutions and a global average: pixels [item, 3, 64, 64] → [item, 64].

    Group norm, not batch norm: a picture's vector must not depend on its neighbours in the batch.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 64)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.GELU()]
        self.maps = nn.Sequential(*layers)
        self.vector = nn.Linear(widths[-1] * 4, DIM)
        self.standardise = Standardise(DIM)

    def forward(self, pixels: Tensor) -> Tensor:
        # averaged in four bands of rows, since the bands that a thing fills show how tall it is
        maps = functional.adaptive_avg_pool2d(self.maps(pixels), (4, 1)).flatten(1)
        vectors: Tensor = self.standardise(self.vector(maps))
        return vectors


class WordNetwork(nn.Module):
    """Mean of word embeddings, then two layers: word numbers [item, length] → [item, 64]; 0 is padding."""

    def __init__(self, n_words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_words, DIM, padding_idx=PADDING)
        self.hidden = nn.Linear(DIM, 2 * DIM)
        self.vector = nn.Linear(2 * DIM, DIM)
        self.standardise = Standardise(DIM)

    def forward(self, words: Tensor) -> Tensor:
        count = (words != PADDING).sum(dim=1, keepdim=True).clamp(min=1)
        mean = self.embedding(words).sum(dim=1) / count
        vectors: Tensor = self.standardise(self.vector(functional.gelu(self.hidden(mean))))
        return vectors


def split_words(text: str) -> list[str]:
    """Lower-case words; hyphens inside a word stay, digits and punctuation are dropped."""
    return _WORD.findall(text.lower())


def build_vocabulary(texts: Iterable[str]) -> tuple[str, ...]:
    """The distinct words of ``texts``, sorted; word ``n`` gets the number ``n + 2`` (0 padding, 1 unknown)."""
    return tuple(sorted({word for text in texts for word in split_words(text)}))


def number_words(texts: Sequence[str], numbers: dict[str, int], longest: int) -> Tensor:
    """int64 [item, length]: word numbers, cut at ``longest``, padded to the longest of these texts (at least 1)."""
    rows = [[numbers.get(word, UNKNOWN) for word in split_words(text)[:longest]] for text in texts]
    length = max((len(row) for row in rows), default=0) or 1
    return torch.tensor([row + [PADDING] * (length - len(row)) for row in rows], dtype=torch.int64).view(-1, length)
