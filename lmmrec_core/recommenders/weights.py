"""How many numbers the weights of a recommender are, by its settings and the size of its data, before it is built.

A class says so in ``count_weights``, beside the constructor that makes them; of a recommender of another package that
does not, they are guessed. Held against built models (tests/recommenders/test_weights.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmmrec_core.config import Settings
from lmmrec_core.flow import Modality
from lmmrec_core.recommenders import learns

_GUESSED_MAPS = 10  # dim x dim of each modality: as many as MMGCN has


@dataclass(frozen=True)
class Weights:
    """Numbers of which weights consist; tables that start as the features are not among them.

    ``vectors``: rows of users and items that are trained; ``maps``: all else that is trained; ``fixed``: what is saved
    with them and not trained.
    """

    vectors: int = 0
    maps: int = 0
    fixed: int = 0

    @property
    def trained(self) -> int:
        """Those that have gradients and moments."""
        return self.vectors + self.maps

    def __add__(self, other: "Weights") -> "Weights":
        return Weights(self.vectors + other.vectors, self.maps + other.maps, self.fixed + other.fixed)


@dataclass(frozen=True)
class Sizes:
    """What the shapes of weights follow from: users, items, numbers in a vector and in the feature rows."""

    users: int
    items: int
    dim: int
    widths: Mapping[Modality, int]

    @property
    def tables(self) -> int:
        """Numbers in a vector for each user and item."""
        return (self.users + self.items) * self.dim

    def mapped(self, outputs: int) -> int:
        """Numbers in a linear map of each modality to ``outputs``."""
        return sum(in_linear(width, outputs) for width in self.widths.values())


def in_linear(inputs: int, outputs: int) -> int:
    """Numbers in a linear map with its bias."""
    return (inputs + 1) * outputs


def weights_of(member: Any, settings: Settings, users: int, items: int, widths: Mapping[Modality, int]) -> Weights:
    """Those of a recommender's class; guessed as large as the largest of ours if it does not say, and is trained."""
    sizes = Sizes(users, items, getattr(settings, "embedding_dim", 64), widths)
    if hasattr(member, "count_weights"):
        counted: Weights = member.count_weights(sizes, settings)
        return counted
    if not learns(member):
        return Weights()
    return Weights(2 * sizes.tables, sizes.mapped(sizes.dim) + _GUESSED_MAPS * len(widths) * sizes.dim**2)
