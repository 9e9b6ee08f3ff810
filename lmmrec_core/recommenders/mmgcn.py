"""MMGCN: one graph network per modality over interactions, averaged.

Wei et al., "MMGCN: Multi-modal Graph Convolution Network for Personalized Recommendation of Micro-video", ACM MM 2019.
"""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from lmmrec_core.flow import Modality
from lmmrec_core.losses import bpr_logsigmoid
from lmmrec_core.recommenders.base import DEEPEST, WIDEST, CachedVectorSettings, GradientRecommender, triples
from lmmrec_core.recommenders.layers import (
    BipartiteGraph,
    Kept,
    features_normalised,
    linear,
    pair_scores,
    rows_normalised,
    sparse_product,
    table,
)
from lmmrec_core.recommenders.weights import Sizes, Weights, in_linear
from lmmrec_core.roles import Batch, TrainingData

_SLOPE = 0.01  # of the leaky ReLU


class MMGCN(GradientRecommender):
    """Per modality, from ``x = rownorm([preferences; features])``: three times mean over neighbours and dense maps.

    ``h = phi(C (x W))``, ``x' = phi(L x + b) + id``, ``x = phi(G [h; x'] + c)``; the branches' last ``x`` are
    averaged and ``s(u, i) = x_u · x_i``. Reference: MMRec ``src/models/mmgcn.py``, where neither ids nor preferences
    are trained, so that ``reg_weight`` has no effect, and ranking uses the vectors of the last
    training forward. Described: both are trained and the regulariser is live, the text preferences included. Since
    ``C (x W) = (C x) W``, what does not change is aggregated once: all of ``C x`` of a branch without a map, the
    item half of the others.
    """

    name: ClassVar[str] = "mmgcn"
    uses_features: ClassVar[bool] = True

    class Settings(CachedVectorSettings):
        """``visual_width`` and ``textual_width``: a linear map to so many columns first; None takes raw features.

        ``concat`` False adds x' to the mapped h instead of joining them (the released switch has no effect);
        ``combine`` says how branches join (the publication names both, the code averages).
        """

        n_layers: int = Field(default=3, ge=1, le=DEEPEST)  # the released code has three whatever it is told
        visual_width: int | None = Field(default=256, ge=1, le=WIDEST)
        textual_width: int | None = Field(default=None, ge=1, le=WIDEST)
        trained_ids: bool | None = None  # ids and preferences as parameters; None: only as described
        concat: bool = True
        combine: Literal["mean", "sum"] = "mean"

        @property
        def trains_ids(self) -> bool:
            """Whether ids and preferences are parameters."""
            return self.mode == "described" if self.trained_ids is None else self.trained_ids

    def __init__(self, data: TrainingData, settings: Settings, generator: torch.Generator) -> None:
        super().__init__(data, settings)
        self.settings = settings
        self.graph = BipartiteGraph.mean(data.user, data.item, data.n_users, data.n_items)
        self.branches = nn.ModuleDict(
            {
                modality: _Branch(matrix.shape[1], self._width(modality), data.n_users, settings, generator)
                for modality, matrix in self.features.items()
            }
        )
        ids = table(data.n_users + data.n_items, settings.embedding_dim, generator, "xavier_normal")
        self.ids = _trained_or_not(self, "ids", ids, settings.trains_ids)
        if settings.stale:
            self.keep_last_vectors()

    @classmethod
    def count_weights(cls, sizes: Sizes, settings: Settings) -> Weights:
        """Numbers in its weights, see ``recommenders.weights``."""
        dim, vectors, maps = sizes.dim, sizes.tables, 0
        for modality, width in sizes.widths.items():
            narrow = settings.visual_width if modality == "visual" else settings.textual_width
            first = narrow or width
            vectors += sizes.users * first
            maps += in_linear(width, narrow) if narrow else 0
            for size in (first, *[dim] * (settings.n_layers - 1)):
                maps += size * size + in_linear(size, dim) + in_linear(size + dim * settings.concat, dim)
        stale = sizes.tables if settings.stale else 0
        return Weights(vectors, maps, stale) if settings.trains_ids else Weights(0, maps, vectors + stale)

    def loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        user, positive, negative = triples(batch, self.name)
        vectors = self._vectors()
        self.note_vectors(*vectors.split([self.n_users, self.n_items]))
        both = torch.cat([positive, negative]) + self.n_users
        users, items = functional.embedding(user, vectors), functional.embedding(both, vectors)
        positives, negatives = items.chunk(2)
        loss = bpr_logsigmoid(pair_scores(users, positives), pair_scores(users, negatives))
        if not self.settings.reg_weight:
            return loss
        return loss + self.settings.reg_weight * self._penalty(user, both)

    def representations(self) -> tuple[Float[Tensor, "user dim"], Float[Tensor, "item dim"]]:
        users, items = self._vectors().split([self.n_users, self.n_items])
        return users, items

    def _vectors(self) -> Float[Tensor, "node dim"]:
        """Users, then items."""
        total: Tensor | None = None
        for modality, matrix in self.content().items():
            out = self.branches[modality](matrix, self.ids, self.graph)
            total = out if total is None else total + out
        assert total is not None  # checked_features refuses a model without features
        return total / len(self.features) if self.settings.combine == "mean" else total

    def _penalty(self, user: Tensor, both: Tensor) -> Float[Tensor, ""]:
        """Mean squares of the ids of the batch, each user twice, and of the preferences."""
        squares = 2 * self.ids[user].square().sum() + self.ids[both].square().sum()
        penalty = squares / (len(both) * self.ids.shape[1])
        for modality, branch in self.branches.items():
            assert isinstance(branch, _Branch)
            if modality == "visual" or self.settings.trains_ids:
                penalty = penalty + branch.preferences.square().mean()
        return penalty

    def _width(self, modality: Modality) -> int | None:
        return self.settings.visual_width if modality == "visual" else self.settings.textual_width


class _Branch(nn.Module):
    """The graph network of one modality."""

    def __init__(
        self, inputs: int, width: int | None, n_users: int, settings: MMGCN.Settings, generator: torch.Generator
    ) -> None:
        super().__init__()
        first, dim = width or inputs, settings.embedding_dim
        self.concat = settings.concat
        self.map = linear(inputs, first, generator) if width else None
        preferences = table(n_users, first, generator, "xavier_normal")
        self.preferences = _trained_or_not(self, "preferences", preferences, settings.trains_ids)
        widths = [first, *[dim] * (settings.n_layers - 1)]
        self.convolutions = nn.ParameterList(table(size, size, generator, "xavier_normal") for size in widths)
        self.direct = nn.ModuleList(linear(size, dim, generator, "xavier_normal") for size in widths)
        self.join = nn.ModuleList(
            linear(size + dim * self.concat, dim, generator, "xavier_normal" if place == 0 else "default")
            for place, size in enumerate(widths)
        )
        self._start_of: Kept[tuple[Tensor, Tensor]] = Kept()  # features and preferences → x, C x
        self._user_side_of: Kept[tuple[Tensor, Tensor]] = Kept()  # preferences → users' x, items' C x

    def forward(self, features: Tensor, ids: Tensor, graph: BipartiteGraph) -> Tensor:
        nodes, mean = self._start(features, graph)
        for place in range(len(self.direct)):
            if place:
                mean = torch.cat(graph.propagate(*nodes.split([graph.n_users, graph.n_items])))
            neighbours = functional.leaky_relu_(mean @ self.convolutions[place], _SLOPE)
            own = functional.leaky_relu_(self.direct[place](nodes), _SLOPE) + ids
            layer = self.join[place]
            assert isinstance(layer, nn.Linear)
            weight, bias = layer.weight, layer.bias
            if self.concat:  # G [h; x'] as two products
                size = neighbours.shape[1]
                joined = torch.addmm(functional.linear(own, weight[:, size:], bias), neighbours, weight[:, :size].T)
            else:
                joined = functional.linear(neighbours, weight, bias) + own
            nodes = functional.leaky_relu_(joined, _SLOPE)
        return nodes

    def _start(self, features: Tensor, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        """``x`` and ``C x`` of the first layer, each [node, width]; what cannot change is computed once."""
        if self.map is None:
            return self._start_of.get(
                (features, self.preferences), lambda: self._stacked(features_normalised(features), graph)
            )
        return self._stacked(rows_normalised(self.map(features)), graph)

    def _stacked(self, items: Tensor, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        users, to_items = self._user_side_of.get((self.preferences,), lambda: self._user_side(graph))
        to_users = sparse_product(graph.user_rows, graph.user_rows_t, items)
        return torch.cat([users, items]), torch.cat([to_users, to_items])

    def _user_side(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        users = rows_normalised(self.preferences)
        return users, sparse_product(graph.item_rows, graph.item_rows_t, users)


def _trained_or_not(owner: nn.Module, name: str, values: nn.Parameter, trained: bool) -> Tensor:
    """Give a table to its module as a parameter, or as saved values the optimiser does not see."""
    if trained:
        owner.register_parameter(name, values)
        return values
    owner.register_buffer(name, values.detach())
    return owner.get_buffer(name)
