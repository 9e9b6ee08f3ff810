"""SLMRec: graph channels per modality trained by in-batch contrast and a second task.

Tao et al., "Self-supervised Learning for Multimedia Recommendation", IEEE Transactions on Multimedia, 2022.
"""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from lmmrec_core.losses import info_nce
from lmmrec_core.recommenders.channels import (
    ChannelRecommender,
    ChannelSettings,
    item_average,
    unit_rows_at,
    user_average,
)
from lmmrec_core.recommenders.edge_dropout import generator_on
from lmmrec_core.recommenders.layers import linear, rows_normalised
from lmmrec_core.recommenders.weights import Sizes, Weights, in_linear
from lmmrec_core.roles import Batch, TrainingData


class SLMRec(ChannelRecommender):
    """``loss = NCE(unit z_u, unit z_i; temp) + ssl_alpha · second task``, the batch's other rows as negatives.

    Vectors and scores as in ``ChannelRecommender``. Reference: MMRec ``src/models/slmrec.py`` with the task FAC, the
    only one that runs there. FAC, fine and coarse, on the propagated channels of the batch's positive items,
    with plain dot products (``fac_cosine``: cosines): ``NCE(a, g_v_iv(i_v)) + NCE(g_iva_ivat(g_iv_iva(a)),
    g_t_ivat(i_t))``, ``a = g_i_iv(i_id)``, temperature ``ssl_temp``. Without text only the first term, as the authors
    have it for visual data; without vision only the second, its chain of maps kept. Training is by cosine
    but ranking by plain dot products, in both codes.

    FD, FM and FD+FM follow the authors' code (zltao/SLMRec) on the channels present: two views of the fused vectors,
    contrasted user by user and item by item. FD drops entries (``dropout``) of every layer's output; FM draws two
    different channels and blanks the items' input rows of the first in view 1, of the second in view 2. The authors'
    code appends the layer outputs crosswise: a view is the mean of its own layer 0 and of the other view's layers 1 to
    L. Under FD both have the same layer 0, so this only swaps names; under FM it does not.

    Described differs in ranking only (``stale_eval``, ``rank_by``). Weight decay (1e-4 as released) belongs to the
    training settings.
    """

    name: ClassVar[str] = "slmrec"
    needs_negatives = False

    class Settings(ChannelSettings):
        """``temp`` is the temperature of the main task; ``fusion`` how the channels enter the two read maps."""

        temp: float = Field(default=0.2, gt=0)
        ssl_alpha: float = Field(default=0.01, ge=0)
        ssl_task: Literal["FAC", "FD", "FM", "FD+FM"] = "FAC"
        fac_cosine: bool = False
        dropout: float = Field(default=0.3, ge=0, lt=1)
        fusion: Literal["concat", "mean"] = "concat"

    def __init__(self, data: TrainingData, settings: Settings, generator: torch.Generator) -> None:
        super().__init__(data, settings, generator, mean=settings.fusion == "mean")
        self.settings = settings
        self.spaces = nn.ModuleDict()
        if settings.ssl_task == "FAC":
            dim = settings.embedding_dim
            # no g_a_iva: the released class creates it for audio it does not have, so it never gets a gradient and
            # only shifts the random numbers of the maps after it
            outputs = {"g_i_iv": dim}
            if "visual" in self.features:
                outputs |= {"g_v_iv": dim}
            if "textual" in self.features:
                outputs |= {"g_iv_iva": dim, "g_iva_ivat": max(1, dim // 2), "g_t_ivat": max(1, dim // 2)}
            for name, width in outputs.items():
                self.spaces[name] = linear(dim, width, generator, "xavier_uniform")
        if settings.stale:
            self.keep_last_vectors()

    @classmethod
    def count_weights(cls, sizes: Sizes, settings: Settings, mean: bool = False) -> Weights:
        """Numbers in its weights, see ``recommenders.weights``."""
        dim, spaces = sizes.dim, 0
        if settings.ssl_task == "FAC":
            spaces = in_linear(dim, dim) * (1 + len(sizes.widths))
            if "textual" in sizes.widths:
                spaces += 2 * in_linear(dim, max(1, dim // 2))
        return super().count_weights(sizes, settings, settings.fusion == "mean") + Weights(maps=spaces)

    def loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        user, positive = batch.user, batch.positive
        channels, alpha = self.channels(), self.settings.ssl_alpha
        if not alpha or self.settings.ssl_task != "FAC":
            z_user, z_item = self.fused(self.graph, *self.both_read(channels))
            self.note_vectors(z_user, z_item)
            loss = info_nce(unit_rows_at(user, z_user), unit_rows_at(positive, z_item), self.settings.temp)
            return loss + alpha * self._two_views(channels, user, positive, generator) if alpha else loss
        z_user = user_average(self.graph, *self.read_first(self.read_user, channels), self.layers) + self.read_user.bias
        items = [item_average(self.graph, self.user, channel, self.layers) for channel in channels]
        rows = [functional.embedding(positive, channel) for channel in items]
        if self.settings.stale:
            with torch.no_grad():
                self.note_vectors(z_user, self.read(self.read_item, items))
        z_rows = rows_normalised(self.read(self.read_item, rows))
        return info_nce(unit_rows_at(user, z_user), z_rows, self.settings.temp) + alpha * self._fine_and_coarse(rows)

    def _fine_and_coarse(self, rows: list[Tensor]) -> Tensor:
        """FAC of the channel rows [batch, dim]: ids, then the modalities in use."""
        given, spaces = dict(zip(("id", *self.features), rows, strict=True)), self.spaces
        anchor = spaces["g_i_iv"](given["id"])
        pairs = []
        if "visual" in given:
            pairs.append((anchor, spaces["g_v_iv"](given["visual"])))
        if "textual" in given:
            pairs.append((spaces["g_iva_ivat"](spaces["g_iv_iva"](anchor)), spaces["g_t_ivat"](given["textual"])))
        total = rows[0].new_zeros(())
        for query, key in pairs:
            if self.settings.fac_cosine:
                query, key = rows_normalised(query), rows_normalised(key)
            total = total + info_nce(query, key, self.settings.ssl_temp)
        return total

    def _two_views(self, channels: list[Tensor], user: Tensor, item: Tensor, generator: torch.Generator) -> Tensor:
        """FD, FM and FD+FM."""
        task = self.settings.ssl_task
        rate = self.settings.dropout if "FD" in task else 0.0
        blanked: list[int | None] = [None, None]
        if "FM" in task:
            blanked = torch.randperm(len(channels), generator=generator, device=generator.device)[:2].tolist()
        inputs = [[torch.zeros_like(x) if place == at else x for at, x in enumerate(channels)] for place in blanked]
        vectors = [
            self._noisy(given, rate, generator) if rate else self.fused(self.graph, *self.both_read(given))
            for given in inputs
        ]
        if "FM" in task:
            vectors = self._crosswise(inputs, vectors)
        views = [(unit_rows_at(user, z_user), unit_rows_at(item, z_item)) for z_user, z_item in vectors]
        pairs = zip(*views, strict=True)
        of_users, of_items = (info_nce(first, second, self.settings.ssl_temp) for first, second in pairs)
        return of_users + of_items

    def _crosswise(
        self, inputs: list[list[Tensor]], vectors: list[tuple[Tensor, Tensor]]
    ) -> list[tuple[Tensor, Tensor]]:
        """Of two views: each with its own layer 0 (``inputs``) and the other's further layers.

        Averages and maps are linear, so only the items' layer 0 must be exchanged; that of the users is the same table.
        """
        first, second = (functional.linear(self._joined(given), self.read_item.weight) for given in inputs)
        change = (first - second) / (self.layers + 1)
        (users_1, items_1), (users_2, items_2) = vectors
        return [(users_2, items_2 + change), (users_1, items_1 - change)]

    def _noisy(self, channels: list[Tensor], rate: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Fused vectors with dropout on every layer's output in every channel; nothing commutes here."""
        draws = generator_on(self.user.device, generator)
        of_users: list[Tensor] = []
        of_items: list[Tensor] = []
        for channel in channels:
            users: Tensor = self.user
            items = channel
            total_users, total_items = users, items
            for _ in range(self.layers):
                users, items = (_dropped(side, rate, draws) for side in self.graph.propagate(users, items))
                total_users, total_items = total_users + users, total_items + items
            of_users.append(total_users / (self.layers + 1))
            of_items.append(total_items / (self.layers + 1))
        return self.read(self.read_user, of_users), self.read(self.read_item, of_items)


def _dropped(rows: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Entries are zero with probability ``rate``, the others grow to keep the mean."""
    kept = torch.rand(rows.shape, generator=generator, device=rows.device) >= rate
    return rows * kept / (1 - rate)
