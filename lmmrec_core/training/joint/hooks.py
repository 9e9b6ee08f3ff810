"""What happens to item features while a recommender trains: the hooks that the training loop calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmmrec_core.checkpoints import State
from lmmrec_core.errors import ConfigError
from lmmrec_core.roles import Batch, ContentRecommender, TrainableRecommender


@dataclass(frozen=True)
class TrainingStep:
    """One step of the recommender, which the loop is about to take or has just taken."""

    batch: Batch
    index: int  # from 0, within the epoch
    n_batches: int  # of the epoch
    generator: torch.Generator  # the one that ``loss`` draws from


class FeatureTraining:
    """Features that stay as they are; a reading of end-to-end training overrides the hooks it needs.

    The loop calls ``start`` once, before it makes the recommender's optimiser; then per epoch ``begin_epoch`` (before
    the model's own), ``before_batch`` and ``after_step`` around every step, and ``end_epoch`` before an evaluation.
    All hooks act on the model that ``start`` was given.
    """

    def start(self, model: TrainableRecommender, seed: int) -> None:
        """Prepare ``model``, which is on its device and holds the given features. ``seed`` is that of the run."""

    def free_parameters(self) -> Sequence[nn.Parameter]:
        """Parameters of the model that are feature matrices: always zero-filled and never decayed."""
        return ()

    def begin_epoch(self, number: int, n_batches: int) -> None:
        """``number`` counts from 1; the model's ``features`` must be usable afterwards."""

    def before_batch(self, step: TrainingStep) -> None:
        """The features that the coming loss reads must be in the model's ``features`` afterwards."""

    def after_step(self, step: TrainingStep) -> None:
        """The recommender has stepped; gradients of the loss are in the features that ask for them."""

    def end_epoch(self, evaluated: bool) -> None:
        """All batches are done; with ``evaluated`` the features must be those of the current weights afterwards."""

    def ready(self) -> bool:
        """Whether an evaluation may already become the best: not before what is trained has moved."""
        return True

    def weights(self) -> dict[str, Tensor]:
        """What belongs to the best epoch beside the recommender's own weights: live tensors, which the loop copies."""
        return {}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Put back what ``weights`` returned, and leave features without gradient in the model."""

    def state(self) -> State:
        """Everything that changes, as tensors and plain values: with it a run goes on bit for bit between epochs."""
        return {}

    def restore(self, state: State) -> None:
        """Go on from ``state``; ``start`` was called before."""

    def notes(self) -> dict[str, object]:
        """What a reader of the result must know, as plain values."""
        return {}


def content_of(model: TrainableRecommender, reading: str) -> ContentRecommender:
    """``model`` as a recommender that reads item features. Raises ConfigError if it reads none."""
    if not isinstance(model, ContentRecommender) or not model.features:
        raise ConfigError(
            f"{model.name} reads no item features, so reading {reading!r} has nothing to train; leave the paradigm and "
            "the encoder out, or choose a model that reads features, such as vbpr"
        )
    return model


def refuse_own_tables(model: ContentRecommender, reading: str) -> None:
    """Raises ConfigError for a model that trains copies of the features, which it would read instead."""
    if model.trainable_features:
        raise ConfigError(
            f"{model.name}: reading {reading!r} puts its features in place of the model's own trainable copies; "
            "set trainable_features=false"
        )
