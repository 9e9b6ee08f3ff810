"""FREEDOM: a frozen item graph of raw features, a user-item graph pruned every epoch.

Zhou and Shen, "A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal Recommendation",
ACM MM 2023.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from lmmrec_core.flow import Modality
from lmmrec_core.losses import bpr_logsigmoid
from lmmrec_core.recommenders.base import DEEPEST, FreeTableSettings, GradientRecommender, triples
from lmmrec_core.recommenders.edge_dropout import kept_count
from lmmrec_core.recommenders.item_graph import nearest_columns
from lmmrec_core.recommenders.layers import (
    BipartiteGraph,
    SparseRows,
    distinct_numbers,
    features_normalised,
    linear,
    pair_scores,
    sparse_product,
    table,
)
from lmmrec_core.recommenders.weights import Sizes, Weights
from lmmrec_core.roles import Batch, TrainingData


class FREEDOM(GradientRecommender):
    """``z_u = Z_u``, ``z_i = Z_i + H^n P_i``, ``s = z_u · z_i``, Z the layer-averaged propagation of [P_u; P_i].

    H is made once, at construction, from the raw features then given (``frozen_links``), and stays so when features
    with gradient take their place later. (The released code keeps it in a file under a name that does not depend on
    the modalities; here it is made anew.) In training Z runs over a part of the user-item graph drawn by
    ``begin_epoch`` (``drawn_edges``), in evaluation, and before any epoch, over all of it. The drawn part is not saved
    with the weights: each epoch draws its own from the generator.

    ``loss = BPR(s) + reg_weight sum over modalities of BPR(z_u · (W_m f_m + c_m))``, the f_m starting as the features
    and learnt (``trainable_features``). Only the distinct items of a batch are mapped, which changes nothing. There
    is no regulariser. Reference: MMRec ``src/models/freedom.py``, which equals the authors' code;
    described mode does the same.
    """

    name: ClassVar[str] = "freedom"
    uses_features: ClassVar[bool] = True
    reads_batch_items_only: ClassVar[bool] = True
    edge_user: Tensor
    edge_item: Tensor
    edge_weight: Tensor

    class Settings(FreeTableSettings):
        """``reg_weight`` weighs the feature losses, ``dropout`` is the share of edges pruned, ``n_layers`` is n."""

        regulariser: None = None  # there is none to choose
        reg_weight: float = Field(default=1e-3, ge=0)
        n_layers: int = Field(default=1, ge=0, le=DEEPEST)
        n_ui_layers: int = Field(default=2, ge=0, le=DEEPEST)
        k: int = Field(default=10, ge=1)
        visual_weight: float = Field(default=0.1, ge=0, le=1)  # of the visual links when both modalities are given
        dropout: float = Field(default=0.8, ge=0, lt=1)

    def __init__(self, data: TrainingData, settings: Settings, generator: torch.Generator) -> None:
        super().__init__(data, settings)
        self.settings, self.trainable_features = settings, settings.trains_features
        self.user = table(data.n_users, settings.embedding_dim, generator)
        self.item = table(data.n_items, settings.embedding_dim, generator)
        self.maps = nn.ModuleDict(
            {
                modality: linear(matrix.shape[1], settings.embedding_dim, generator)
                for modality, matrix in self.features.items()
            }
        )
        free = self.content() if settings.trains_features else {}
        self.tables = nn.ParameterDict({modality: nn.Parameter(matrix.clone()) for modality, matrix in free.items()})

        self.graph = BipartiteGraph.symmetric(data.user, data.item, data.n_users, data.n_items)
        self.pruned: BipartiteGraph | None = None
        degrees = torch.bincount(data.user)[data.user] * torch.bincount(data.item)[data.item]
        self.register_buffer("edge_user", data.user, persistent=False)
        self.register_buffer("edge_item", data.item, persistent=False)
        self.register_buffer("edge_weight", degrees.float().rsqrt(), persistent=False)

        columns, weights = frozen_links(self.features, settings.k, settings.visual_weight)
        near, weights = columns.flatten(), weights.flatten()
        item = torch.arange(data.n_items, device=near.device).repeat_interleave(columns.shape[1])
        self.item_graph = SparseRows(item, near, weights, (data.n_items, data.n_items))
        self.item_graph_t = SparseRows(near, item, weights, (data.n_items, data.n_items))

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Draw the epoch's edges: ``kept_count`` of all, normalised among themselves; none when ``dropout`` is 0."""
        if not self.settings.dropout:
            return
        kept = drawn_edges(self.edge_weight, kept_count(len(self.edge_user), self.settings.dropout), generator)
        self.pruned = BipartiteGraph.symmetric(self.edge_user[kept], self.edge_item[kept], self.n_users, self.n_items)

    @classmethod
    def count_weights(cls, sizes: Sizes, settings: Settings) -> Weights:
        """Numbers in its weights, see ``recommenders.weights``."""
        return Weights(sizes.tables, sizes.mapped(sizes.dim))

    def loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        user, positive, negative = triples(batch, self.name)
        both = torch.cat([positive, negative])
        z_user, z_item = self._vectors(self.graph if self.pruned is None else self.pruned)
        users = functional.embedding(user, z_user)
        loss = _ranking(users, functional.embedding(both, z_item))
        if not self.settings.reg_weight:
            return loss
        some, place = distinct_numbers(both)
        for modality, matrix in self.content().items():
            source = self.tables.get(modality, matrix)
            mapped = self.maps[modality](functional.embedding(some, source))
            loss = loss + self.settings.reg_weight * _ranking(users, functional.embedding(place, mapped))
        return loss

    def representations(self) -> tuple[Float[Tensor, "user dim"], Float[Tensor, "item dim"]]:
        return self._vectors(self.graph)

    def _vectors(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        smooth: Tensor = self.item
        for _ in range(self.settings.n_layers):
            smooth = sparse_product(self.item_graph, self.item_graph_t, smooth)
        z_user, z_item = graph.average(self.user, self.item, self.settings.n_ui_layers)
        return z_user, z_item + smooth


def _ranking(users: Tensor, both: Tensor) -> Tensor:
    """BPR of the users [batch, dim] with their positives, then negatives, in ``both`` [2 batch, dim]."""
    positives, negatives = both.chunk(2)
    return bpr_logsigmoid(pair_scores(users, positives), pair_scores(users, negatives))


def frozen_links(
    features: Mapping[Modality, Tensor], k: int, visual_weight: float
) -> tuple[Int[Tensor, "item link"], Float[Tensor, "item link"]]:
    """Columns and weights of H: each item's ``k`` nearest by cosine, itself among them, at weight 1/k each.

    Binary links with k in every row have 1/k after symmetric normalisation, so rows sum to 1. With both
    modalities ``H = visual_weight H_v + (1 - visual_weight) H_t``; the links of both are listed side by side and a
    column in both counts with the sum. With one, H is that one. In a catalogue of fewer than k items all are near.

    An item whose features are all zero has no direction (the released code makes NaN of it): its k links are all to
    itself, so H leaves its vector as it is.
    """
    shares = {"visual": visual_weight, "textual": 1 - visual_weight} if len(features) > 1 else {}
    columns: list[Tensor] = []
    weights: list[Tensor] = []
    for modality, matrix in features.items():
        near = nearest_columns(features_normalised(matrix), k)
        empty = (~matrix.any(dim=1)).nonzero().flatten()
        near[empty] = empty[:, None]
        columns.append(near)
        weights.append(torch.full(near.shape, shares.get(modality, 1.0) / near.shape[1], device=near.device))
    return torch.cat(columns, 1), torch.cat(weights, 1)


def drawn_edges(weights: Tensor, count: int, generator: torch.Generator) -> Int[Tensor, "kept"]:
    """``count`` of the edges, drawn one after another without replacement with probability proportional to ``weights``.

    Each edge gets a key, exponential with its weight as rate, and the smallest keys are kept: the same distribution as
    the sequential draw (Efraimidis and Spirakis, IPL 2006), and what ``torch.multinomial`` of the released code does
    inside, without its limit of 2^24 edges. Drawn on the generator's own device, so that the edges do not depend on the
    model's. Returns sorted edge numbers.
    """
    keys = torch.empty(len(weights), dtype=torch.float64, device=generator.device).exponential_(generator=generator)
    kept = (keys / weights.to(keys)).topk(count, largest=False, sorted=False).indices
    return kept.sort().values.to(weights.device)
