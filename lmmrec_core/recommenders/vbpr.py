"""VBPR: matrix factorisation with half of the item vector mapped from its features.

He and McAuley, "VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback", AAAI 2016.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from lmmrec_core.recommenders.base import FeatureSettings, GradientRecommender, pairwise_loss, text_first, triples
from lmmrec_core.recommenders.layers import distinct_numbers, linear, pair_scores, table
from lmmrec_core.recommenders.weights import Sizes, Weights
from lmmrec_core.roles import Batch, TrainingData


class VBPR(GradientRecommender):
    """``y_i = [p_i ; W f_i + c]``, ``s(u, i) = q_u · y_i`` with ``f_i = [text ; vision]``, whichever are given.

    Reference: MMRec ``src/models/vbpr.py``: no item or feature bias, a bias c in the map, unsquared norm of the
    composed batch vectors. Described: ``s(u, i) = b_i + g_u · g_i + th_u · (W f_i) + w · f_i`` with squared L2 of the
    rows in the batch (the publication's formula; c absent). Only the distinct items of a batch are mapped, which
    changes nothing. Features are not scale-free here: see ``normalise_features``.
    """

    name: ClassVar[str] = "vbpr"
    uses_features: ClassVar[bool] = True
    reads_batch_items_only: ClassVar[bool] = True

    class Settings(FeatureSettings):
        """User vectors have ``2 embedding_dim`` entries. ``map_weight``: squared L2 of W and w, only as described."""

        map_weight: float = Field(default=0.0, ge=0)

    def __init__(self, data: TrainingData, settings: Settings, generator: torch.Generator) -> None:
        super().__init__(data, settings)
        self.settings = settings
        dim = settings.embedding_dim
        width = sum(matrix.shape[1] for matrix in self.features.values())
        self.user = table(data.n_users, 2 * dim, generator)
        self.item = table(data.n_items, dim, generator)
        self.item_linear = linear(width, dim, generator, "xavier_normal", zero_bias=True)
        self.bias: nn.Parameter | None = None
        self.feature_bias: nn.Parameter | None = None
        if settings.mode == "described":
            self.item_linear.bias.requires_grad_(False)  # stays zero
            self.bias = nn.Parameter(torch.zeros(data.n_items))
            self.feature_bias = nn.Parameter(torch.zeros(width))

    @classmethod
    def count_weights(cls, sizes: Sizes, settings: Settings) -> Weights:
        """Numbers in its weights, see ``recommenders.weights``."""
        width, dim = sum(sizes.widths.values()), sizes.dim
        vectors, maps = sizes.tables + sizes.users * dim, width * dim
        if settings.mode == "described":  # with biases of items and of features, and none of the map
            return Weights(vectors + sizes.items, maps + width, dim)
        return Weights(vectors, maps + dim)

    def loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        user, positive, negative = triples(batch, self.name)
        both = torch.cat([positive, negative])
        own: Tensor = self.item
        if self.n_items <= len(both):  # a small catalogue: all items are cheaper than finding the distinct ones
            place, (mapped, offset) = both, self._map(None)
        else:
            some, place = distinct_numbers(both)
            own, (mapped, offset) = functional.embedding(some, self.item), self._map(some)
        users = functional.embedding(user, self.user)
        composed = functional.embedding(place, torch.cat([own, mapped], 1))
        positives, negatives = composed.chunk(2)
        wanted, unwanted = pair_scores(users, positives), pair_scores(users, negatives)
        if self.bias is None or offset is None:
            return pairwise_loss((wanted, unwanted), (users, positives, negatives), self.settings)
        bias = self.bias[both]
        of_wanted, of_unwanted = (bias + offset[place]).chunk(2)
        latent = composed[:, : self.settings.embedding_dim]
        loss = pairwise_loss((wanted + of_wanted, unwanted + of_unwanted), (bias, latent, users), self.settings)
        if self.settings.map_weight and self.feature_bias is not None:
            size = self.item_linear.weight.square().sum() + self.feature_bias.square().sum()
            loss = loss + self.settings.map_weight * size / 2
        return loss

    def representations(self) -> tuple[Float[Tensor, "user dim"], Float[Tensor, "item dim"]]:
        mapped, offset = self._map(None)
        items = torch.cat([self.item, mapped], 1)
        if self.bias is None or offset is None:
            return self.user, items
        ones = self.user.new_ones(self.n_users, 1)  # a constant user column carries the biases
        return torch.cat([self.user, ones], 1), torch.cat([items, (self.bias + offset)[:, None]], 1)

    def content_map(self) -> tuple[Float[Tensor, "dim width"], Float[Tensor, "dim"]]:
        """M and c, so that ``M f + c`` is the vector of an item that was not there in training, by content alone.

        f are its features as the model reads them, text first. What only training could give it, its id vector and its
        bias, is zero.
        """
        dim, width = self.item_linear.weight.shape
        matrix, offset = self.user.new_zeros(2 * dim, width), self.user.new_zeros(2 * dim)
        with torch.no_grad():
            matrix[dim:], offset[dim:] = self.item_linear.weight, self.item_linear.bias
            if self.feature_bias is not None:  # the last column of the items' vectors holds the biases
                matrix = torch.cat([matrix, self.feature_bias[None]])
                offset = torch.cat([offset, offset.new_zeros(1)])
        return matrix, offset

    def _map(self, chosen: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """``W f + c`` and ``w · f`` of the chosen items (None: all), modality by modality instead of concatenated."""
        mapped: Tensor = self.item_linear.bias
        offset: Tensor | None = None
        start = 0
        for matrix in text_first(self.content()):
            stop = start + matrix.shape[1]
            rows = matrix if chosen is None else matrix.index_select(0, chosen)
            mapped = mapped + rows @ self.item_linear.weight[:, start:stop].T
            if self.feature_bias is not None:
                part = rows @ self.feature_bias[start:stop]
                offset = part if offset is None else offset + part
            start = stop
        return mapped, offset
