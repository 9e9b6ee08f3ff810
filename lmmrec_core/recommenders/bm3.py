"""BM3: users, items and features attract their own dropped-out copies, without negatives.

Zhou et al., "Bootstrap Latent Representations for Multi-modal Recommendation", WWW 2023.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from lmmrec_core.losses import reg_norm, reg_squared
from lmmrec_core.recommenders.base import DEEPEST, FreeTableSettings, GradientRecommender
from lmmrec_core.recommenders.layers import BipartiteGraph, linear, table
from lmmrec_core.recommenders.weights import Sizes, Weights, in_linear
from lmmrec_core.roles import Batch, TrainingData


class BM3(GradientRecommender):
    """``u = Z_u``, ``i = Z_i + P_i``, ``s(u, i) = q(u) · q(i)``: Z as in LightGCN, q the predictor, a linear map.

    With ``x~`` a dropped-out copy of x without gradient, ``m = W_m f_m + c_m`` the mapped features of item i, and c
    the mean cosine over the (u, i) of a batch::

        loss = [1 - c(q(u), i~)] + [1 - c(q(i), u~)] + reg_weight * R
               + cl_weight * sum over m of { [1 - c(q(m), i~)] + [1 - c(q(m), m~)] }

    The f_m start as the features and are learnt (``trainable_features``). Training is by cosine but ranking by the
    dot product. Reference: MMRec ``src/models/bm3.py``, which equals the authors' code: R is the sum of
    the unsquared norms of all users and all items, over the number of items. Described: R is the squared L2
    of the u and i of the batch's rows, over twice their number.

    Only rows that a batch names are mapped, predicted and dropped out, each distinct one once: rows that share a user
    or an item share its mask, as they do when the whole table is dropped out.
    """

    name: ClassVar[str] = "bm3"
    uses_features: ClassVar[bool] = True
    reads_batch_items_only: ClassVar[bool] = True
    needs_negatives: bool = False

    class Settings(FreeTableSettings):
        """``n_layers`` of the propagation, ``dropout`` of the targets, ``cl_weight`` of the feature losses."""

        reg_weight: float = Field(default=0.1, ge=0)
        n_layers: int = Field(default=1, ge=0, le=DEEPEST)
        dropout: float = Field(default=0.5, ge=0, lt=1)
        cl_weight: float = Field(default=2.0, ge=0)

    def __init__(self, data: TrainingData, settings: Settings, generator: torch.Generator) -> None:
        super().__init__(data, settings)
        self.settings, self.trainable_features = settings, settings.trains_features
        dim = settings.embedding_dim
        self.user = table(data.n_users, dim, generator)
        self.item = table(data.n_items, dim, generator)
        self.predictor = linear(dim, dim, generator, "xavier_normal")
        self.maps = nn.ModuleDict(
            {
                modality: linear(matrix.shape[1], dim, generator, "xavier_normal")
                for modality, matrix in self.features.items()
            }
        )
        free = self.content() if settings.trains_features else {}
        self.tables = nn.ParameterDict({modality: nn.Parameter(matrix.clone()) for modality, matrix in free.items()})
        self.graph = BipartiteGraph.symmetric(data.user, data.item, data.n_users, data.n_items)

    @classmethod
    def count_weights(cls, sizes: Sizes, settings: Settings) -> Weights:
        """Numbers in its weights, see ``recommenders.weights``."""
        return Weights(sizes.tables, in_linear(sizes.dim, sizes.dim) + sizes.mapped(sizes.dim))

    def loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        """Negatives are ignored if given."""
        every_user, every_item = self._vectors()
        user, at_user = torch.unique(batch.user, return_inverse=True)
        item, at_item, times = torch.unique(batch.positive, return_inverse=True, return_counts=True)
        users, items = functional.embedding(user, every_user), functional.embedding(item, every_item)
        user_target, item_target = self._target(users, generator), self._target(items, generator)
        of_user, of_item = functional.embedding(at_user, users), functional.embedding(at_item, items)
        to_item = _cosine(self.predictor(of_user), functional.embedding(at_item, item_target))
        to_user = _cosine(self.predictor(of_item), functional.embedding(at_user, user_target))
        loss = 2 - to_item.mean() - to_user.mean()
        if self.settings.reg_weight:
            if self.settings.squared:
                penalty = reg_squared(of_user, of_item, count=len(batch.user))
            else:
                penalty = reg_norm(every_user, every_item)
            loss = loss + self.settings.reg_weight * penalty
        if not self.settings.cl_weight:
            return loss
        share = times / len(batch.positive)  # these terms depend on the item only: their mean over rows is weighted
        for modality, matrix in self.content().items():
            source = self.tables.get(modality, matrix)
            mapped = self.maps[modality](functional.embedding(item, source))
            target = self._target(mapped, generator)
            online = self.predictor(mapped)
            alike = _cosine(online, item_target) + _cosine(online, target)
            loss = loss + self.settings.cl_weight * (2 - (share * alike).sum())
        return loss

    def representations(self) -> tuple[Float[Tensor, "user dim"], Float[Tensor, "item dim"]]:
        users, items = self._vectors()
        return self.predictor(users), self.predictor(items)

    def _vectors(self) -> tuple[Tensor, Tensor]:
        users, items = self.graph.average(self.user, self.item, self.settings.n_layers)
        return users, items + self.item

    def _target(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """``rows`` without gradient, each entry zero with probability p, else over 1 - p.

        Drawn on the generator's own device, so that the draws do not depend on the model's.
        """
        rows, share = rows.detach(), self.settings.dropout
        if not share:
            return rows
        kept = torch.rand(rows.shape, generator=generator, device=generator.device) >= share
        return rows * kept.to(rows.device) / (1 - share)


def _cosine(left: Tensor, right: Tensor) -> Tensor:
    return functional.cosine_similarity(left, right, dim=-1)
