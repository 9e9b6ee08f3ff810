"""What MMGCL and SLMRec share: one graph channel for the ids and one per modality, fused by a linear map per side."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from lmmrec_core.recommenders.base import DEEPEST, CachedVectorSettings, GradientRecommender
from lmmrec_core.recommenders.layers import BipartiteGraph, SparseRows, linear, rows_normalised, table
from lmmrec_core.recommenders.weights import Sizes, Weights, in_linear
from lmmrec_core.roles import Scorer, TrainingData

Sided = tuple[Tensor, Tensor]  # what propagates: a user table and an item table


class ChannelSettings(CachedVectorSettings):
    """``n_layers`` is L, ``ssl_alpha`` the weight of the second task and ``ssl_temp`` its temperature.

    ``reg_weight`` and ``regulariser`` have no effect, nor has ``normalise_features``: the released code never reads a
    regulariser, decays all parameters through the optimiser (weight_decay 1e-4 in the training settings), and always
    normalises feature rows. ``rank_by`` "sigmoid": scores pass a sigmoid before ranking, as in the released code.
    """

    n_layers: int = Field(default=3, ge=0, le=DEEPEST)
    ssl_alpha: float = Field(ge=0)
    ssl_temp: float = Field(default=0.2, gt=0)
    rank_by: Literal["score", "sigmoid"] | None = None  # sigmoid in reference mode, score as described

    @property
    def squashed(self) -> bool:
        """Whether scores pass a sigmoid before ranking."""
        return (self.rank_by or ("sigmoid" if self.mode == "reference" else "score")) == "sigmoid"


class ChannelRecommender(GradientRecommender):
    """Channels X: the id table ``P_i``, then ``W_m f_m + c_m`` of every modality in use, visual first.

    With ``LGC(X)`` the layer average of ``S^l [P_u; X]``, l = 0 … L, the same user table in every channel,
    ``z_u = read_user [LGC(X)_u for all X]``, ``z_i = read_item [LGC(X)_i for all X]``, ``s(u, i) = z_u · z_i``.

    Reading and propagating are linear, so they commute: the channels are read first, over the items only, and two
    pairs of tables of ``embedding_dim`` columns propagate, each towards one side, instead of all channels to both
    sides (a third of the products of the plain form at two modalities, equal up to summation order, tested).
    Feature rows are of unit length (zero rows stay zero), so their scale has no effect.
    """

    uses_features: ClassVar[bool] = True

    def __init__(
        self, data: TrainingData, settings: ChannelSettings, generator: torch.Generator, mean: bool = False
    ) -> None:
        """``mean``: the read maps take the mean of the channels instead of the joined ones."""
        super().__init__(data, settings)
        self.unit_rows = True
        self.mean, self.layers, self.squashed = mean, settings.n_layers, settings.squashed
        dim = settings.embedding_dim
        self.user = table(data.n_users, dim, generator)
        self.item = table(data.n_items, dim, generator)
        self.maps = nn.ModuleDict(
            {
                modality: linear(matrix.shape[1], dim, generator, "xavier_uniform")
                for modality, matrix in self.features.items()
            }
        )
        joined = dim if mean else dim * (1 + len(self.features))
        self.read_user = linear(joined, dim, generator, "xavier_uniform")
        self.read_item = linear(joined, dim, generator, "xavier_uniform")
        self.graph = BipartiteGraph.symmetric(data.user, data.item, data.n_users, data.n_items)

    @classmethod
    def count_weights(cls, sizes: Sizes, settings: Any, mean: bool = False) -> Weights:
        """Numbers in its weights, see ``recommenders.weights``."""
        joined = sizes.dim if mean else sizes.dim * (1 + len(sizes.widths))
        maps = sizes.mapped(sizes.dim) + 2 * in_linear(joined, sizes.dim)
        return Weights(sizes.tables, maps, sizes.tables if settings.stale else 0)

    def channels(self) -> list[Tensor]:
        """The item tables [item, dim] that enter the channels: ids, then the mapped features."""
        return [self.item, *(self.maps[modality](matrix) for modality, matrix in self.content().items())]

    def read(self, layer: nn.Linear, channels: Sequence[Tensor]) -> Float[Tensor, "node dim"]:
        """Fuse rows of all channels."""
        return functional.linear(self._joined(channels), layer.weight, layer.bias)

    def read_first(self, layer: nn.Linear, channels: Sequence[Tensor]) -> Sided:
        """User and item table whose propagation, plus the bias of ``layer``, is the fused propagation of all channels.

        All channels have the same user table, so the map's blocks for it add up.
        """
        dim = self.user.shape[1]
        of_user = layer.weight if self.mean else layer.weight.view(dim, -1, dim).sum(1)
        return self.user @ of_user.T, functional.linear(self._joined(channels), layer.weight)

    def fused(self, graph: BipartiteGraph, to_user: Sided, to_item: Sided) -> tuple[Tensor, Tensor]:
        """``z_u`` of all users, ``z_i`` of all items from the tables that ``read_first`` returns for either map."""
        users = user_average(graph, *to_user, self.layers) + self.read_user.bias
        return users, item_average(graph, *to_item, self.layers) + self.read_item.bias

    def both_read(self, channels: Sequence[Tensor]) -> tuple[Sided, Sided]:
        """``read_first`` for users and for items."""
        return self.read_first(self.read_user, channels), self.read_first(self.read_item, channels)

    def representations(self) -> tuple[Float[Tensor, "user dim"], Float[Tensor, "item dim"]]:
        return self.fused(self.graph, *self.both_read(self.channels()))

    def scorer(self) -> Scorer:
        """Dot products, through a sigmoid if the settings say so.

        In float32 the sigmoid of 16.64 and more is exactly 1, so the best items may tie.
        """
        score = super().scorer()
        if not self.squashed:
            return score

        def squashed(chosen: Int[Tensor, "user"]) -> Float[Tensor, "user item"]:
            return score(chosen).sigmoid_()

        return squashed

    def _joined(self, channels: Sequence[Tensor]) -> Tensor:
        return torch.stack(tuple(channels)).mean(0) if self.mean else torch.cat(tuple(channels), 1)


def unit_rows_at(index: Int[Tensor, "batch"], vectors: Float[Tensor, "node dim"]) -> Float[Tensor, "batch dim"]:
    """The rows of a batch, each of unit length."""
    return rows_normalised(functional.embedding(index, vectors))


def user_average(
    graph: BipartiteGraph, users: Float[Tensor, "user dim"], items: Float[Tensor, "item dim"], layers: int
) -> Float[Tensor, "user dim"]:
    """User part of ``graph.average`` of a graph without self loops, at half the products; differentiable."""
    return _OneSide.apply(
        users, items, (graph.user_rows, graph.user_rows_t), (graph.item_rows, graph.item_rows_t), layers
    )


def item_average(
    graph: BipartiteGraph, users: Float[Tensor, "user dim"], items: Float[Tensor, "item dim"], layers: int
) -> Float[Tensor, "item dim"]:
    """Item part of the same."""
    return _OneSide.apply(
        items, users, (graph.item_rows, graph.item_rows_t), (graph.user_rows, graph.user_rows_t), layers
    )


class _OneSide(torch.autograd.Function):
    """Layer average seen by one side: ``own + to_own (other + to_other (own + …))`` over ``layers + 1``.

    Links join the two sides only, so the term of layer l comes from ``own`` for even l and from ``other`` for odd l.
    Each operator comes with its transpose.
    """

    @staticmethod
    def forward(
        ctx: Any,
        own: Tensor,
        other: Tensor,
        to_own: tuple[SparseRows, SparseRows],
        to_other: tuple[SparseRows, SparseRows],
        layers: int,
    ) -> Tensor:
        ctx.steps, ctx.layers = (to_own[1], to_other[1]), layers
        if not layers:
            return own.clone()
        total = other if layers % 2 else own
        for layer in range(layers - 1, -1, -1):
            total = to_other[0].times(total).add_(other) if layer % 2 else to_own[0].times(total).add_(own)
        return total.div_(layers + 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        step = gradients[0].contiguous() / (ctx.layers + 1)
        sums: list[Tensor | None] = [step, None]
        for layer in range(1, ctx.layers + 1):
            step = ctx.steps[(layer - 1) % 2].times(step)
            kept = sums[layer % 2]
            sums[layer % 2] = step if kept is None else kept.add_(step)
        return *sums, None, None, None
