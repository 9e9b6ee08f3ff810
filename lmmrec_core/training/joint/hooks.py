"""What happens to item features while a recommender trains: hooks that the training loop calls (encoders spec 5.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lmmrec_core.errors import ConfigError
from lmmrec_core.roles import Batch


@dataclass(frozen=True)
class Step:
    """One step of the recommender as the loop is about to take it or has just taken it."""

    batch: Batch
    index: int  # from 0, within the epoch
    n_batches: int  # of the epoch
    generator: torch.Generator  # the one that ``loss`` draws from


class FeatureTraining:
    """Features that stay as they are; a reading of end-to-end training overrides the hooks it needs.

    The loop calls ``start`` once, before it makes the recommender's optimiser; then per epoch ``begin_epoch`` (before
    the model's own), ``before_batch`` and ``after_step`` around every step, and ``end_epoch`` before an evaluation.
    """

    def start(self, model: Any, seed: int) -> None:
        """Prepare ``model``, which is on its device and holds the given features. ``seed`` is that of the run."""

    def begin_epoch(self, model: Any, number: int, n_batches: int) -> None:
        """``number`` counts from 1; the model's ``features`` must be usable afterwards."""

    def before_batch(self, model: Any, step: Step) -> None:
        """The features that the coming loss reads must be in ``model.features`` afterwards."""

    def after_step(self, model: Any, step: Step) -> None:
        """The recommender has stepped; gradients of the loss are in the features that ask for them."""

    def end_epoch(self, model: Any, evaluated: bool) -> None:
        """All batches are done; with ``evaluated`` the features must be those of the current weights afterwards."""

    def weights(self) -> dict[str, Tensor]:
        """What belongs to the best epoch beside the recommender's own weights: live tensors, which the loop copies."""
        return {}

    def load_weights(self, model: Any, weights: Mapping[str, Tensor]) -> None:
        """Put back what ``weights`` gave, and leave features without gradient in the model."""

    def state(self) -> dict[str, Any]:
        """Everything that changes, as tensors and plain values: with it a run goes on bit for bit between epochs."""
        return {}

    def restore(self, model: Any, state: Mapping[str, Any]) -> None:
        """Go on from ``state``; ``start`` was called before."""

    def notes(self) -> dict[str, Any]:
        """What a reader of the result must know, as plain values."""
        return {}


def refuse_own_tables(model: Any, reading: str) -> None:
    """ConfigError for a model without features or one that trains its own copy of them, which would be read instead."""
    name = getattr(model, "name", type(model).__name__)
    if not getattr(model, "features", None):
        raise ConfigError(
            f"{name} reads no item features, so reading {reading!r} has nothing to train; use paradigm pt"
        )
    if getattr(getattr(model, "settings", None), "trainable_features", False):
        raise ConfigError(
            f"{name}: reading {reading!r} puts its features in place of the model's own trainable copies; "
            "set trainable_features=false"
        )
