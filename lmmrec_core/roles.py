"""The roles that members play: encoder, recommender, metric. The fourth, data format, is in ``source.py``.

A new member needs no change elsewhere: it satisfies the protocol, is named in the registry of its folder or by an entry
point of another package (``registry.py``), and the contract tests of its role run on it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from PIL.Image import Image
from torch import Tensor, nn

from lmmrec_core.config import Settings
from lmmrec_core.flow import BoolArray, Catalogue, FloatArray, IntArray, Modality


@runtime_checkable
class Encoder(Protocol):
    """Content of items → vectors. Gradients flow through ``image_vectors`` and ``text_vectors``.

    Extraction (``encoders/extract.py``) calls them in evaluation mode without gradient; training an
    encoder calls the same two functions with gradient.
    """

    name: str
    modalities: tuple[Modality, ...]

    def spec(self) -> Mapping[str, Any]:
        """Everything that determines the output: weights digest, preprocessing, precision (JSON-able)."""
        ...

    def dim(self, modality: Modality) -> int: ...

    def preprocess_images(self, images: Sequence[Image]) -> Tensor:
        """RGB pictures → pixels [item, 3, height, width]."""
        ...

    def preprocess_texts(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        """Texts → token tensors [item, length], padded to the longest of the chunk."""
        ...

    def image_vectors(self, pixels: Tensor) -> Tensor:
        """[item, 3, height, width] → [item, dim]."""
        ...

    def text_vectors(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Token tensors → [item, dim]."""
        ...


class EncoderClass(Protocol):
    """The class of an encoder, as a track file names it: built from its settings, or without any by its defaults."""

    name: str
    modalities: tuple[Modality, ...]
    Settings: type[Settings]

    def __call__(self, settings: Any = None, /) -> Encoder: ...

    def load(self, path: Path, /) -> "TrainableEncoder":
        """Only of encoders that we train: the encoder whose weights ``save`` wrote to ``path``."""
        ...


@runtime_checkable
class TrainableEncoder(Encoder, Protocol):
    """An encoder of pictures and texts whose weights can be tuned, by content (FT) or by recommendation (ETE)."""

    module: nn.Module  # holds every weight; evaluation mode unless a loop says otherwise

    def contrast(self, pixels: Tensor, tokens: Mapping[str, Tensor]) -> Sequence[tuple[Tensor, Tensor, Tensor]]:
        """Per contrastive term: image rows and text rows [pair, dim], not normalised, and the scale exp(s)."""
        ...

    def part(self, name: str) -> frozenset[str]:
        """Names of the parameters of ``module`` in a part: "all", "heads", or "top-K".

        "heads" are the maps after the towers; "top-K" the last K blocks of each tower, its final norm, and the heads.
        Raises ConfigError for an unknown part or more blocks than there are.
        """
        ...


@runtime_checkable
class CutEncoder(TrainableEncoder, Protocol):
    """A trainable encoder whose path can be cut below a part, so that what is frozen runs once."""

    def below(self, modality: Modality, inputs: Tensor | Mapping[str, Tensor], part: str) -> Mapping[str, Tensor]:
        """Pixels or tokens → the tensors [item, ...] that enter ``part``. Raises ConfigError if no cut is known."""
        ...

    def above(self, modality: Modality, states: Mapping[str, Tensor], part: str) -> Tensor:
        """The rest of the way: ``above(m, below(m, x, part), part)`` equals the vectors of ``x`` [item, dim]."""
        ...


@runtime_checkable
class LearnsLevels(Protocol):
    """The class of a one-modality encoder that is trained from scratch, on items whose factors have known levels."""

    VERSION: int  # raised with every change of network or training

    def trained_on(self, folder: Path, seed: int, progress: bool, /) -> Any:
        """A trained encoder; ``folder`` holds outside items. Equal on one thread for equal folder and seed."""
        ...

    def load(self, path: Path, /) -> Any:
        """The encoder that its ``save`` wrote to ``path``."""
        ...


@runtime_checkable
class LearnsWords(Protocol):
    """The class of an encoder trained from scratch on pairs: the words it knows are those of the texts it is given."""

    WORDS: str  # the setting that lists them


@runtime_checkable
class AlignsPairs(Protocol):
    """An encoder whose common space can be set in closed form."""

    def align(self, pairs: Catalogue, progress: bool, /) -> Mapping[str, Any]:
        """Set it from the items of ``pairs`` that have both modalities; returns what was chosen, JSON-able."""
        ...


@runtime_checkable
class FitsPixels(Protocol):
    """An encoder with constants that are set once, from the pictures it is pre-trained on."""

    def fit_pixels(self, pixels: Tensor, /) -> None: ...


@runtime_checkable
class ItemEncoder(Protocol):
    """Feature rows of a catalogue's items as a differentiable function of weights: what end-to-end training needs."""

    module: nn.Module

    def rows(self, items: Int[Tensor, "chunk"]) -> Mapping[Modality, Tensor]:
        """Item numbers → float32 [chunk, dim] per modality, visual first; gradients flow into ``module``."""
        ...

    def part(self, name: str) -> frozenset[str]:
        """As ``TrainableEncoder.part``."""
        ...


@dataclass(frozen=True)
class TrainingData:
    """What a recommender may see: sizes, training edges, item features. Never valid or test rows."""

    n_users: int
    n_items: int
    user: Tensor  # int64 [edge]
    item: Tensor  # int64 [edge]
    features: Mapping[Modality, Tensor]  # float32 [item, dim], only the modalities in use, visual first


@dataclass(frozen=True)
class Batch:
    """One mini-batch of training triples; ``negative`` is None for models without negatives."""

    user: Int[Tensor, "batch"]
    positive: Int[Tensor, "batch"]
    negative: Int[Tensor, "batch"] | None
    first_of_epoch: bool = False


Scorer = Callable[[Int[Tensor, "user"]], Float[Tensor, "user item"]]


@runtime_checkable
class Recommender(Protocol):
    """Scores every item for given users."""

    def scorer(self) -> Scorer:
        """Freeze what scoring needs (propagate once), then score users chunk by chunk."""
        ...


@runtime_checkable
class VectorRecommender(Recommender, Protocol):
    """A recommender whose score is a dot product, so that it can be kept as two matrices and used without its code."""

    def vectors(self) -> tuple[Float[Tensor, "user dim"], Float[Tensor, "item dim"]]:
        """The vectors that it ranks with."""
        ...


@runtime_checkable
class MapsContent(VectorRecommender, Protocol):
    """A recommender in which the vector of an item is an affine function of its features, beside what its id adds."""

    unit_rows: bool  # the features are scaled to unit length, modality by modality, before they are mapped

    def content_map(self) -> tuple[Float[Tensor, "dim width"], Float[Tensor, "dim"]]:
        """M and c: an item that was not there in training has the vector ``M f + c``; f is [text ; vision]."""
        ...


@runtime_checkable
class TrainableRecommender(Recommender, Protocol):
    """A recommender learnt by gradient descent: all that the training loop and its optimiser ask of one.

    Derive from ``recommenders.base.GradientRecommender`` and write ``loss`` and ``representations``; a
    ``torch.nn.Module`` of another kind plays the role with these members of its own.
    """

    @property
    def name(self) -> str: ...

    needs_negatives: bool  # False: batches come without negatives
    # A parameter without a gradient in this step is updated with a gradient of zeros, so Adam's momentum still moves
    # it, as ``zero_grad`` did before PyTorch 2; False: it stands still.
    zero_fill_gradients: bool

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Called before the first batch of an epoch, counted from 1 (edge pruning, graph builds)."""
        ...

    def loss(self, batch: Batch, generator: torch.Generator) -> Float[Tensor, ""]:
        """Mean loss of a batch; ``generator`` feeds dropout and sampled views."""
        ...

    def resting_parameters(self) -> Sequence[nn.Parameter]:
        """Parameters that the loss reads at the first batch of an epoch only; often none.

        With ``zero_fill_gradients`` the optimiser makes their other steps all at once, at the end of the epoch.
        """
        ...

    # what a torch.nn.Module has
    def parameters(self) -> Iterator[nn.Parameter]: ...
    def state_dict(self) -> dict[str, Tensor]: ...
    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> object: ...
    def register_module(self, name: str, module: nn.Module | None) -> None: ...
    def train(self, mode: bool = True) -> object: ...
    def eval(self) -> object: ...
    def to(self, device: str) -> object: ...


@runtime_checkable
class ContentRecommender(TrainableRecommender, Protocol):
    """A trainable recommender that reads item features inside its loss, so that an encoder can be trained with it.

    The loss must read ``features`` anew at every call and keep no copy: end-to-end training replaces its entries by
    tensors with gradient. ``features`` and the model are on the same device.
    """

    features: dict[Modality, Tensor]  # float32 [item, dim], only the modalities in use, visual first
    unit_rows: bool  # the model scales each feature row to unit length before it reads it
    trainable_features: bool  # the model learns copies of its own and reads those instead of ``features``

    @property
    def reads_batch_items_only(self) -> bool:
        """Whether the loss reads the features of the batch's items and no others."""
        ...

    @property
    def features_enter_once_per_epoch(self) -> bool:
        """Whether only the first batch of an epoch sends gradient into the features."""
        ...


class RecommenderClass(Protocol):
    """The class of a recommender, as a track file names it."""

    name: str
    uses_features: bool  # False: the catalogue's pictures and texts are not looked at
    Settings: type[Settings]

    def __call__(self, data: TrainingData, settings: Any, generator: torch.Generator, /) -> Recommender:
        """``settings`` is a value of the class's own ``Settings``; initial values are drawn from ``generator``."""
        ...


def lacking(thing: object, role: type) -> list[str]:
    """The members of a role that ``thing`` does not have, sorted: for the text of an error."""
    wanted = {
        name
        for base in role.__mro__
        if base.__module__ == role.__module__
        for name in (*vars(base), *vars(base).get("__annotations__", ()))
        if not name.startswith("_")
    }
    return sorted(name for name in wanted if not hasattr(thing, name))


@runtime_checkable
class Metric(Protocol):
    """Ranked hits → one value per user, between 0 and 1 (NumPy only).

    0 without a hit among the first ``k``, never lower when a hit changes places with the miss before it, and the same
    for a user whoever the others are. ``metrics.ranking.check_hits`` makes the checks that every metric must make.
    """

    def __call__(self, hits: BoolArray, n_relevant: IntArray, k: int) -> FloatArray:
        """``hits`` bool [user, k_max], ``n_relevant`` int [user], held-out items → float64 [user].

        Raises ResultError for a ``k`` outside 1..k_max, and for users without held-out items.
        """
        ...
