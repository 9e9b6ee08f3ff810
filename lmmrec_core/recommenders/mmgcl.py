"""MMGCL: graph channels per modality with a contrast on perturbed graphs.

Yi, Wang, Ounis and Macdonald, "Multi-modal Graph Contrastive Learning for Micro-video Recommendation", SIGIR 2022.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional

from lmmrec_core.losses import bpr, info_nce
from lmmrec_core.recommenders.base import triples
from lmmrec_core.recommenders.channels import ChannelRecommender, ChannelSettings, unit_rows_at
from lmmrec_core.recommenders.edge_dropout import EdgeSubsets
from lmmrec_core.recommenders.layers import pair_scores, rows_normalised, table
from lmmrec_core.recommenders.weights import Sizes, Weights
from lmmrec_core.roles import Batch, TrainingData


class MMGCL(ChannelRecommender):
    """Vectors and scores as in ``ChannelRecommender``; trained by BPR plus a contrast.

    Reference: GLA-IR/LMM4REC ``models/mmgcl.py``: ``BPR_eps + ssl_alpha · 2 · NCE(a, p; ssl_temp)``, where a and p are
    the batch's users and positive items, of unit length, on a graph that lost a share ``dropout`` of its edges; the
    graph is drawn for every batch and shared by the channels. The released code also computes a masked view and a
    challenging negative that never reach the loss; they are left out.

    Described: **MMGCL (reconstruction)**, our reading of the publication's abstract and of secondary
    notes. View 1: each channel loses edges of its own. View 2: one modality, drawn by ``mask_p`` for the batch, is
    replaced by a fixed random table. ``loss = BPR + ssl_alpha (NCE(user view 1, user view 2) + L_item)``; L_item
    contrasts item view 1 with the batch's items in view 2 and with one challenging negative a row: the item itself in
    view 1 with one channel, drawn by ``mask_p`` for the batch, of the sampled negative. All rows have unit length.

    The released class needs both modalities; with one, the other's channel is absent. Weight decay (1e-4 as released)
    belongs to the training settings.
    """

    name: ClassVar[str] = "mmgcl"

    class Settings(ChannelSettings):
        """``mask_p``: chances of (visual, textual) in the draws as described; a single modality is always drawn."""

        ssl_alpha: float = Field(default=0.4, ge=0)  # the release searches 0.1 … 1
        dropout: float = Field(default=0.3, ge=0, lt=1)
        mask_p: tuple[float, float] = (0.1, 0.9)
        eps: float = Field(default=1e-5, gt=0)  # bounds the BPR term at -ln eps

        @field_validator("mask_p")
        @classmethod
        def _sum_to_one(cls, chances: tuple[float, float]) -> tuple[float, float]:
            if min(chances) < 0 or abs(sum(chances) - 1) > 1e-6:
                raise ValueError("mask_p must be two probabilities that sum to 1")
            return chances

    def __init__(self, data: TrainingData, settings: Settings, generator: torch.Generator) -> None:
        super().__init__(data, settings, generator)
        self.settings = settings
        self.subsets = EdgeSubsets(self.graph)
        if settings.mode == "described":
            for modality in self.features:
                random_rows = table(data.n_items, settings.embedding_dim, generator)
                self.register_buffer(f"mask_{modality}", random_rows.detach())
        if settings.stale:
            self.keep_last_vectors()

    @classmethod
    def count_weights(cls, sizes: Sizes, settings: Settings, mean: bool = False) -> Weights:
        """Numbers in its weights, see ``recommenders.weights``."""
        random_rows = len(sizes.widths) * sizes.items * sizes.dim
        return super().count_weights(sizes, settings) + Weights(
            fixed=random_rows if settings.mode == "described" else 0
        )

    def loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        user, positive, negative = triples(batch, self.name)
        channels = self.channels()
        read = self.both_read(channels)
        z_user, z_item = self.fused(self.graph, *read)
        self.note_vectors(z_user, z_item)
        users = functional.embedding(user, z_user)
        positives, negatives = functional.embedding(torch.cat([positive, negative]), z_item).chunk(2)
        loss = bpr(pair_scores(users, positives), pair_scores(users, negatives), self.settings.eps)
        if not self.settings.ssl_alpha:
            return loss
        if self.settings.mode == "described":
            return loss + self.settings.ssl_alpha * self._two_views(channels, batch, generator)
        v_user, v_item = self.fused(self.subsets.drop(self.settings.dropout, generator), *read)
        contrast = info_nce(unit_rows_at(user, v_user), unit_rows_at(positive, v_item), self.settings.ssl_temp)
        return loss + self.settings.ssl_alpha * 2 * contrast

    def _two_views(self, channels: list[Tensor], batch: Batch, generator: torch.Generator) -> Tensor:
        """The contrast as described."""
        user, positive, negative = triples(batch, self.name)
        parts = [self.subsets.drop(self.settings.dropout, generator) for _ in channels]
        dropped = [
            graph.average(self.user, channel, self.layers) for graph, channel in zip(parts, channels, strict=True)
        ]
        first_user = rows_normalised(self.read(self.read_user, [functional.embedding(user, u) for u, _ in dropped]))
        own = [functional.embedding(positive, i) for _, i in dropped]
        first_item = rows_normalised(self.read(self.read_item, own))

        masked, swapped = list(channels), list(own)
        place = self._draw(generator)
        masked[1 + place] = self.get_buffer(f"mask_{list(self.features)[place]}")
        second_user, second_item = self.fused(self.graph, *self.both_read(masked))
        place = self._draw(generator)
        swapped[1 + place] = functional.embedding(negative, dropped[1 + place][1])
        challenge = rows_normalised(self.read(self.read_item, swapped))

        temperature = self.settings.ssl_temp
        of_users = info_nce(first_user, unit_rows_at(user, second_user), temperature)
        logits = first_item @ unit_rows_at(positive, second_item).T
        logits = torch.cat([logits, pair_scores(first_item, challenge)[:, None]], 1) / temperature
        matches = torch.arange(len(logits), device=logits.device)
        return of_users + functional.cross_entropy(logits, matches)

    def _draw(self, generator: torch.Generator) -> int:
        """The place of a modality among those in use."""
        if len(self.features) == 1:
            return 0
        chance = torch.rand((), generator=generator, device=generator.device)
        return int(chance >= self.settings.mask_p[0])
