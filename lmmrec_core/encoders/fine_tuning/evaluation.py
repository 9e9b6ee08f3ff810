"""Where an encoder stands on its pairs: retrieval among all items, and the contrast of the held-out pairs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmmrec_core.encoders.fine_tuning.gradients import Passes, Terms, contrast
from lmmrec_core.encoders.fine_tuning.losses import itc
from lmmrec_core.encoders.fine_tuning.pairs import TrainingPairs
from lmmrec_core.encoders.fine_tuning.retrieval import Retrieval, retrieve
from lmmrec_core.roles import TrainableEncoder

_PIECE = 64  # pairs encoded at a time if the settings name no chunk


@dataclass(frozen=True)
class Standing:
    """Retrieval of the held-out pairs and of all pairs, and the held-out contrast."""

    held_out: Retrieval  # held-out pairs query all pairs
    everything: Retrieval  # all pairs query all pairs: in-sample for an encoder trained on them
    loss: float  # ITC of the held-out pairs as one batch, mean over the encoder's terms

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is better: held-out R@10, then the lower loss, since few held-out pairs often tie in R@10."""
        return self.held_out.score, -self.loss

    def plain(self) -> dict[str, Any]:
        """The same in plain JSON values."""
        return {"held_out": self.held_out.plain(), "everything": self.everything.plain(), "loss": self.loss}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Standing":
        """The inverse of :meth:`plain`."""
        return cls(Retrieval(**plain["held_out"]), Retrieval(**plain["everything"]), plain["loss"])


def standing_of(encoder: TrainableEncoder, pairs: TrainingPairs, passes: Passes) -> Standing:
    """Encode all pairs in evaluation mode, without gradient, and retrieve with the rows of the first contrastive term.

    Leaves the module in evaluation mode. Raises FeatureError for vectors that are not finite.
    """
    encoder.module.eval()
    terms = _encode(encoder, pairs, passes)
    held, images, texts = (
        torch.from_numpy(rows).to(passes.device) for rows in (pairs.held_out_rows, pairs.image_group, pairs.text_group)
    )
    image, text, _ = terms[0]
    held_out = retrieve(image, text, images, texts, held)
    everything = retrieve(image, text, images, texts)
    losses = [itc(image[held], text[held], scale) for image, text, scale in terms]
    return Standing(held_out, everything, float(torch.stack(losses).mean()))


@torch.no_grad()
def _encode(encoder: TrainableEncoder, pairs: TrainingPairs, passes: Passes) -> Terms:
    """For each contrastive term the rows of all pairs [pair, dim] and the scale."""
    found: list[Terms] = []
    size = passes.chunk or _PIECE
    for start in range(0, len(pairs), size):
        batch = pairs.batch(np.arange(start, min(start + size, len(pairs))))
        found.append(contrast(encoder, batch, torch.arange(len(batch)), passes))
    joined: list[tuple[Tensor, Tensor, Tensor]] = []
    for parts in zip(*found, strict=True):
        joined.append((torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]), parts[0][2]))
    return joined
