"""LATTICE: item vectors smoothed over an item graph mined from features, on top of a CF model.

Zhang et al., "Mining Latent Structures for Multimedia Recommendation", ACM MM 2021.
"""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from lmmrec_core.flow import Modality
from lmmrec_core.losses import bpr_logsigmoid, reg_norm, reg_squared
from lmmrec_core.recommenders.base import DEEPEST, WIDEST, FreeTableSettings, GradientRecommender, triples
from lmmrec_core.recommenders.item_graph import ItemGraph, kept_cosines, laplacian, nearest_columns
from lmmrec_core.recommenders.layers import (
    BipartiteGraph,
    features_normalised,
    linear,
    pair_scores,
    rows_normalised,
    table,
)
from lmmrec_core.recommenders.weights import Sizes, Weights
from lmmrec_core.roles import Batch, TrainingData


class LATTICE(GradientRecommender):
    """``z_u = Z_u``, ``z_i = Z_i + normalised(G^n P_i)``, ``G = (1 - lambda) learned + lambda frozen``.

    Both graphs are k-nearest-neighbour graphs by cosine: the frozen one of the raw features, made at construction, the
    learned one of mapped features, made at the first batch of an epoch (with gradient), kept for the epoch's other
    batches (without), and made again once per evaluation. So maps, feature tables and modality weights get one gradient
    an epoch and move on Adam's momentum in between (``zero_fill_gradients``).

    Reference: MMRec ``src/models/lattice.py``: negative similarities kept, the learned graphs mixed and then
    normalised, user-item propagation row-normalised with self loops. Described: negative similarities clipped, each
    modality normalised before mixing, symmetric propagation. An item whose features
    are all zero has no links instead of NaN. Raises TrainingError if an item's kept similarities have a negative sum.
    """

    name: ClassVar[str] = "lattice"
    uses_features: ClassVar[bool] = True
    features_enter_once_per_epoch: ClassVar[bool] = True

    class Settings(FreeTableSettings):
        """``lambda_`` weighs the frozen graph; ``batch_size``, the configured one, divides the squared regulariser."""

        regulariser: Literal["norm", "squared"] | None = "squared"
        k: int = Field(default=10, ge=1)
        lambda_: float = Field(default=0.9, ge=0, le=1)
        n_layers: int = Field(default=1, ge=0, le=DEEPEST)
        n_ui_layers: int = Field(default=2, ge=0, le=DEEPEST)
        feature_dim: int = Field(default=64, ge=1, le=WIDEST)  # width of the mapped features
        cf_model: Literal["lightgcn", "mf"] = "lightgcn"
        clip_negatives: bool | None = None  # kept in reference mode, clipped as described
        zero_fill_gradients: bool = True
        batch_size: int = Field(default=2048, ge=1)

        @property
        def clipped(self) -> bool:
            """Whether negative similarities count as zero."""
            return self.mode == "described" if self.clip_negatives is None else self.clip_negatives

    def __init__(self, data: TrainingData, settings: Settings, generator: torch.Generator) -> None:
        super().__init__(data, settings)
        self.settings, self.trainable_features = settings, settings.trains_features
        self.zero_fill_gradients = settings.zero_fill_gradients
        self.user = table(data.n_users, settings.embedding_dim, generator)
        self.item = table(data.n_items, settings.embedding_dim, generator)
        self.maps = nn.ModuleDict(
            {
                modality: linear(matrix.shape[1], settings.feature_dim, generator)
                for modality, matrix in self.features.items()
            }
        )
        content = self.content()
        free = content if settings.trains_features else {}
        self.tables = nn.ParameterDict({modality: nn.Parameter(matrix.clone()) for modality, matrix in free.items()})
        self.modality_weights = nn.Parameter(torch.full((2,), 0.5)) if len(self.features) == 2 else None
        build = BipartiteGraph.random_walk if settings.mode == "reference" else BipartiteGraph.symmetric
        self.graph = build(data.user, data.item, data.n_users, data.n_items)
        for modality, matrix in content.items():
            rows = features_normalised(matrix)
            columns = nearest_columns(rows, settings.k)
            weights = laplacian(columns, self._values(rows, columns), f"lattice, frozen {modality} graph")
            self.register_buffer(f"{modality}_columns", columns, persistent=False)
            self.register_buffer(f"{modality}_weights", weights, persistent=False)
        self._current: ItemGraph | None = None
        self._neighbours: dict[Modality, tuple[Tensor, Tensor]] = {}

    @classmethod
    def count_weights(cls, sizes: Sizes, settings: Settings) -> Weights:
        """Numbers in its weights, see ``recommenders.weights``."""
        return Weights(sizes.tables, sizes.mapped(settings.feature_dim) + (2 if len(sizes.widths) == 2 else 0))

    def loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        user, positive, negative = triples(batch, self.name)
        both = torch.cat([positive, negative])
        if batch.first_of_epoch or self._current is None:
            graph = self.item_graph()
            self._current = graph.fixed()
        else:
            graph = self._current
        z_user, z_item, smooth = self._parts(graph)
        users = functional.embedding(user, z_user)
        items = functional.embedding(both, z_item) + rows_normalised(functional.embedding(both, smooth))
        positives, negatives = items.chunk(2)
        loss = bpr_logsigmoid(pair_scores(users, positives), pair_scores(users, negatives))
        if not self.settings.reg_weight:
            return loss
        blocks = (users, positives, negatives)
        squared = self.settings.squared
        penalty = reg_squared(*blocks, count=self.settings.batch_size) if squared else reg_norm(*blocks)
        return loss + self.settings.reg_weight * penalty

    def representations(self) -> tuple[Float[Tensor, "user dim"], Float[Tensor, "item dim"]]:
        z_user, z_item, smooth = self._parts(self.item_graph())
        return z_user, z_item + rows_normalised(smooth)

    def resting_parameters(self) -> list[nn.Parameter]:
        """What enters through the item graph only: read at the first batch of an epoch and at evaluation."""
        weights = [] if self.modality_weights is None else [self.modality_weights]
        return [*self.tables.values(), *self.maps.parameters(), *weights]

    def item_graph(self) -> ItemGraph:
        """G of the current parameters, differentiable through the kept similarities and the modality weights."""
        shares = [1.0] if self.modality_weights is None else list(self.modality_weights.softmax(0))
        columns: list[Tensor] = []
        learned: list[Tensor] = []
        frozen: list[Tensor] = []
        what = "lattice, learned graph"
        for modality, share in zip(self.features, shares, strict=True):
            rows = rows_normalised(self.maps[modality](self._table(modality)))
            near = self._nearest(modality, rows)
            values = self._values(rows, near)
            if self.settings.mode == "described":
                values = laplacian(near, values, what)
            columns.append(near)
            learned.append(share * values)
            frozen.append(share * self.get_buffer(f"{modality}_weights"))
        near, mixed = torch.cat(columns, 1), torch.cat(learned, 1)
        if self.settings.mode == "reference":
            mixed = laplacian(near, mixed, what)
        frozen_near = [self.get_buffer(f"{modality}_columns") for modality in self.features]
        share = self.settings.lambda_
        return ItemGraph(
            torch.cat([near, *frozen_near], 1), torch.cat([(1 - share) * mixed, share * torch.cat(frozen, 1)], 1)
        )

    def _parts(self, graph: ItemGraph) -> tuple[Tensor, Tensor, Tensor]:
        """User vectors, item vectors of the CF model, and item vectors smoothed over the item graph."""
        smooth: Tensor = self.item
        for _ in range(self.settings.n_layers):
            smooth = graph.times(smooth)
        if self.settings.cf_model == "mf":
            return self.user, self.item, smooth
        return *self.graph.average(self.user, self.item, self.settings.n_ui_layers), smooth

    def _table(self, modality: Modality) -> Tensor:
        return self.tables[modality] if modality in self.tables else self.content()[modality]

    def _values(self, rows: Tensor, columns: Tensor) -> Tensor:
        cosines = kept_cosines(rows, columns)
        return cosines.clamp(min=0) if self.settings.clipped else cosines

    def _nearest(self, modality: Modality, rows: Tensor) -> Tensor:
        """Nearest neighbours, found again only when the rows differ (evaluation and next epoch see the same ones)."""
        kept = self._neighbours.get(modality)
        if kept is not None and torch.equal(kept[0], rows.detach()):
            return kept[1]
        self._neighbours[modality] = (rows.detach(), nearest_columns(rows, self.settings.k))
        return self._neighbours[modality][1]
