"""What the recommenders learnt by gradient share: checked features, default hooks, and a frozen dot-product scorer."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from lmmrec_core.config import Settings
from lmmrec_core.errors import FeatureError, TrainingError
from lmmrec_core.flow import MODALITIES, Modality
from lmmrec_core.losses import bpr, reg_norm, reg_squared
from lmmrec_core.recommenders.layers import Kept, features_normalised
from lmmrec_core.roles import Batch, Scorer, TrainingData

WIDEST, DEEPEST = 16_384, 64  # numbers in a vector, and layers: more is a slip


class RecommenderSettings(Settings):
    """Settings that every recommender learnt by gradient has.

    ``reference`` repeats the released code, ``described`` the method as its publication describes it; a switch
    left at None follows the mode.
    """

    mode: Literal["reference", "described"] = "reference"
    embedding_dim: int = Field(default=64, ge=1, le=WIDEST)
    reg_weight: float = Field(default=1e-4, ge=0)
    regulariser: Literal["norm", "squared"] | None = None  # norm in reference mode, squared as described

    @property
    def squared(self) -> bool:
        """Whether the regulariser is the squared L2 norm."""
        return (self.regulariser or ("norm" if self.mode == "reference" else "squared")) == "squared"


class FeatureSettings(RecommenderSettings):
    """The same for recommenders that read item features."""

    normalise_features: bool = False  # L2 rows before the model; the raw scale is used in reference mode


class FreeTableSettings(FeatureSettings):
    """The same for recommenders whose released code starts free tables from the features, and trains those."""

    trainable_features: bool | None = None  # free tables in reference mode, fixed features as described

    @property
    def trains_features(self) -> bool:
        """Whether the features only start the tables that the model reads."""
        return self.mode == "reference" if self.trainable_features is None else self.trainable_features


class CachedVectorSettings(FeatureSettings):
    """The same for recommenders whose released code ranks with vectors left over from training."""

    stale_eval: bool | None = None  # rank with the vectors of the last training forward: on in reference mode

    @property
    def stale(self) -> bool:
        """Whether ranking uses the vectors of the last training forward."""
        return self.mode == "reference" if self.stale_eval is None else self.stale_eval


class GradientRecommender(nn.Module):
    """Base of the recommenders learnt by gradient: a ``roles.TrainableRecommender`` and a ``roles.ContentRecommender``.

    A member defines ``loss`` and ``representations``. ``features`` [item, dim] per modality is a plain mapping that
    holds the raw features, empty if ``uses_features`` is False. A member reads them through ``content`` at every
    forward, so that end-to-end training may put tensors with gradient in place of the fixed ones and the model's own
    normalisation still applies.
    """

    name: ClassVar[str]
    uses_features: ClassVar[bool] = False
    reads_batch_items_only: ClassVar[bool] = False  # the loss reads the features of the batch's items and no others
    features_enter_once_per_epoch: ClassVar[bool] = False  # only the first batch of an epoch has gradient to them
    needs_negatives: bool = True
    zero_fill_gradients: bool = False
    trainable_features: bool = False
    last_user: Tensor | None
    last_item: Tensor | None

    def __init__(self, data: TrainingData, settings: RecommenderSettings) -> None:
        super().__init__()
        self.n_users, self.n_items = data.n_users, data.n_items
        self.unit_rows = isinstance(settings, FeatureSettings) and settings.normalise_features
        self.features: dict[Modality, Tensor] = checked_features(data, self.name) if self.uses_features else {}
        self._unit: dict[Modality, Kept[Tensor]] = {}
        self.register_buffer("last_user", None)
        self.register_buffer("last_item", None)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "GradientRecommender":
        """Features follow the model to its device."""
        super()._apply(fn, recurse)
        self.features = {modality: fn(matrix) for modality, matrix in self.features.items()}
        return self

    def content(self) -> dict[Modality, Tensor]:
        """``features`` as the model reads them, visual first: rows of unit length if ``unit_rows`` is set.

        Fixed features are normalised once; features with gradient at every call, inside the loss.
        """
        if not self.unit_rows:
            return self.features
        return {
            modality: self._unit.setdefault(modality, Kept()).get((matrix,), partial(features_normalised, matrix))
            for modality, matrix in self.features.items()
        }

    def keep_last_vectors(self) -> None:
        """Rank with the vectors of the last training forward from now on; they are saved with the weights."""
        with torch.no_grad():
            users, items = self.representations()
        self.last_user, self.last_item = users.detach().clone(), items.detach().clone()

    def note_vectors(self, users: Float[Tensor, "user dim"], items: Float[Tensor, "item dim"]) -> None:
        """Called by a member's ``loss`` with the vectors of its clean forward."""
        if self.last_user is not None:
            self.last_user, self.last_item = users.detach(), items.detach()

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Nothing to prepare by default."""

    def resting_parameters(self) -> Sequence[nn.Parameter]:
        """None by default."""
        return ()

    def loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        raise NotImplementedError

    def representations(self) -> tuple[Float[Tensor, "user dim"], Float[Tensor, "item dim"]]:
        """The final vectors of all users and items; a score is their dot product."""
        raise NotImplementedError

    def vectors(self) -> tuple[Float[Tensor, "user dim"], Float[Tensor, "item dim"]]:
        """Copies of the vectors that it ranks with: a score is the dot product of a user's and an item's."""
        with torch.no_grad():
            if self.last_user is not None and self.last_item is not None:
                return self.last_user.clone(), self.last_item.clone()
            users, items = self.representations()
            return users.detach().clone(), items.detach().clone()

    def scorer(self) -> Scorer:
        """Compute the final vectors once, keep a copy, then score users [user] → [user, item]."""
        users, items = self.vectors()

        def score(chosen: Int[Tensor, "user"]) -> Float[Tensor, "user item"]:
            return users.index_select(0, chosen.to(users.device)) @ items.T

        return score


def checked_features(data: TrainingData, name: str) -> dict[Modality, Tensor]:
    """The features in use, visual first, each float32 [item, dim].

    Raises FeatureError when there are none, a matrix has other than one row per item, or a value is not finite.
    """
    features: dict[Modality, Tensor] = {}
    for modality in MODALITIES:
        if modality not in data.features:
            continue
        matrix = data.features[modality]
        if matrix.ndim != 2 or len(matrix) != data.n_items or not matrix.shape[1]:
            raise FeatureError(
                f"{name}: {modality} features have shape {tuple(matrix.shape)} but the catalogue has {data.n_items} "
                "items; extract them again for this catalogue"
            )
        matrix = matrix.detach().float()
        bad = ~torch.isfinite(matrix).all(dim=1)
        if bool(bad.any()):
            raise FeatureError(
                f"{name}: {modality} features of item {{item}} are not finite "
                f"({int(bad.sum())} items in all); extract them again or apply a rule for missing content",
                item=int(bad.nonzero()[0]),
            )
        features[modality] = matrix
    if not features:
        raise FeatureError(
            f"{name} reads item features but none were given; choose V&T, V or T, or use bpr or lightgcn"
        )
    return features


def text_first(features: Mapping[Modality, Tensor]) -> list[Tensor]:
    """The matrices in the order text, vision: the order in which MMRec concatenates them."""
    return [features[modality] for modality in reversed(MODALITIES) if modality in features]


def triples(batch: Batch, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """User, positive and negative of a batch; TrainingError when it came without negatives."""
    if batch.negative is None:
        raise TrainingError(f"{name}: the batch has no negatives; sample one per row (needs_negatives is true)")
    return batch.user, batch.positive, batch.negative


def pairwise_loss(
    scores: tuple[Tensor, Tensor], blocks: tuple[Tensor, ...], settings: RecommenderSettings
) -> Float[Tensor, ""]:
    """``BPR_1e-10(scores) + reg_weight * regulariser(blocks)``: the loss of BPR-MF, LightGCN and VBPR.

    The squared form divides by twice the rows of the batch.
    """
    loss = bpr(*scores)
    if not settings.reg_weight:
        return loss
    penalty = reg_squared(*blocks, count=len(scores[0])) if settings.squared else reg_norm(*blocks)
    return loss + settings.reg_weight * penalty
