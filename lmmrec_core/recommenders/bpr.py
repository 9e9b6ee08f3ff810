"""BPR-MF: matrix factorisation with the pairwise BPR loss (Rendle et al., UAI 2009)."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lmmrec_core.recommenders.base import GradientRecommender, RecommenderSettings, pairwise_loss, triples
from lmmrec_core.recommenders.layers import pair_scores, table
from lmmrec_core.recommenders.weights import Sizes, Weights
from lmmrec_core.roles import Batch, TrainingData


class BPR(GradientRecommender):
    """``s(u, i) = p_u · q_i``; as described, ``+ b_i``.

    Reference: MMRec ``src/models/bpr.py`` (no bias, unsquared norm regulariser, both tables xavier normal).
    Described: Rendle's item bias and squared L2.
    """

    name: ClassVar[str] = "bpr"

    class Settings(RecommenderSettings):
        """``embedding_dim`` is the width of both tables."""

    def __init__(self, data: TrainingData, settings: Settings, generator: torch.Generator) -> None:
        super().__init__(data, settings)
        self.settings = settings
        self.user = table(data.n_users, settings.embedding_dim, generator, "xavier_normal")
        self.item = table(data.n_items, settings.embedding_dim, generator, "xavier_normal")
        self.bias = nn.Parameter(torch.zeros(data.n_items)) if settings.mode == "described" else None

    @classmethod
    def count_weights(cls, sizes: Sizes, settings: Settings) -> Weights:
        """Numbers in its weights, see ``recommenders.weights``."""
        return Weights(sizes.tables + (sizes.items if settings.mode == "described" else 0))

    def loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        user, positive, negative = triples(batch, self.name)
        users = functional.embedding(user, self.user)
        positives, negatives = functional.embedding(torch.cat([positive, negative]), self.item).chunk(2)
        wanted, unwanted = pair_scores(users, positives), pair_scores(users, negatives)
        blocks: tuple[Tensor, ...] = (users, positives, negatives)
        if self.bias is not None:
            of_wanted, of_unwanted = self.bias[positive], self.bias[negative]
            wanted, unwanted = wanted + of_wanted, unwanted + of_unwanted
            blocks += (of_wanted, of_unwanted)
        return pairwise_loss((wanted, unwanted), blocks, self.settings)

    def representations(self) -> tuple[Float[Tensor, "user dim"], Float[Tensor, "item dim"]]:
        if self.bias is None:
            return self.user, self.item
        ones = self.user.new_ones(self.n_users, 1)  # a constant user column carries the item bias
        return torch.cat([self.user, ones], 1), torch.cat([self.item, self.bias[:, None]], 1)
