"""LightGCN: layer-averaged propagation of user and item vectors (He et al., SIGIR 2020)."""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from lmmrec_core.recommenders.base import DEEPEST, GradientRecommender, RecommenderSettings, pairwise_loss, triples
from lmmrec_core.recommenders.layers import BipartiteGraph, pair_scores, table
from lmmrec_core.recommenders.weights import Sizes, Weights
from lmmrec_core.roles import Batch, TrainingData


class LightGCN(GradientRecommender):
    """``Z = mean over l = 0 … L of S^l [P_u; P_i]``, ``s(u, i) = z_u · z_i``, S the symmetric normalisation.

    Reference: MMRec ``src/models/lightgcn.py`` (xavier uniform, unsquared norm of the layer-0 rows). Described: the
    authors' code (normal values with standard deviation 0.1, squared L2 of the layer-0 rows).
    """

    name: ClassVar[str] = "lightgcn"

    class Settings(RecommenderSettings):
        """``n_layers`` is L; 0 makes it matrix factorisation."""

        n_layers: int = Field(default=2, ge=0, le=DEEPEST)

    def __init__(self, data: TrainingData, settings: Settings, generator: torch.Generator) -> None:
        super().__init__(data, settings)
        self.settings = settings
        values = "xavier_uniform" if settings.mode == "reference" else "normal"
        self.user = table(data.n_users, settings.embedding_dim, generator, values)
        self.item = table(data.n_items, settings.embedding_dim, generator, values)
        self.graph = BipartiteGraph.symmetric(data.user, data.item, data.n_users, data.n_items)

    @classmethod
    def count_weights(cls, sizes: Sizes, settings: Settings) -> Weights:
        """Numbers in its weights, see ``recommenders.weights``."""
        return Weights(sizes.tables)

    def loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        user, positive, negative = triples(batch, self.name)
        both = torch.cat([positive, negative])
        z_user, z_item = self.representations()
        users = functional.embedding(user, z_user)
        positives, negatives = functional.embedding(both, z_item).chunk(2)
        scores = pair_scores(users, positives), pair_scores(users, negatives)
        first = functional.embedding(both, self.item).chunk(2)
        return pairwise_loss(scores, (functional.embedding(user, self.user), *first), self.settings)

    def representations(self) -> tuple[Float[Tensor, "user dim"], Float[Tensor, "item dim"]]:
        return self.graph.average(self.user, self.item, self.settings.n_layers)
