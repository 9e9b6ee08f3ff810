"""Popularity: every user gets the items with the most training interactions; the floor of every comparison."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lmmrec_core.config import Settings as BaseSettings
from lmmrec_core.roles import Scorer, TrainingData


class Popularity:
    """``s(u, i)`` = number of training interactions of item i. Nothing is trained; the generator is not used."""

    name: ClassVar[str] = "popularity"
    uses_features: ClassVar[bool] = False

    class Settings(BaseSettings):
        """Nothing to set."""

    def __init__(self, data: TrainingData, settings: Settings, generator: torch.Generator) -> None:
        self.n_users = data.n_users
        self.counts = torch.bincount(data.item, minlength=data.n_items).float()

    def vectors(self) -> tuple[Float[Tensor, "user dim"], Float[Tensor, "item dim"]]:
        """The counts as the items' vectors, of one number each."""
        return torch.ones(self.n_users, 1), self.counts[:, None]

    def scorer(self) -> Scorer:
        def score(chosen: Int[Tensor, "user"]) -> Float[Tensor, "user item"]:
            return self.counts.repeat(len(chosen), 1)

        return score
