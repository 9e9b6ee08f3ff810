"""What encoders of pictures alone, or of texts alone, have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from PIL.Image import Image
from torch import Tensor, nn

from lmmrec_core.encoders.weights import state_digest
from lmmrec_core.errors import FeatureError
from lmmrec_core.flow import Modality

_CONTENT: dict[Modality, str] = {"visual": "pictures", "textual": "text"}


class OneModality(ABC):
    """An encoder of one modality: it overrides ``spec`` and the two methods of its modality, the others refuse.

    The module starts in evaluation mode and should stay in it: batch norm in training mode mixes items.
    """

    name: str
    modalities: tuple[Modality, ...]  # one
    stage: ClassVar[str] = "pt"
    module: nn.Module
    width: int  # of a vector

    @abstractmethod
    def spec(self) -> Mapping[str, Any]:
        """As ``roles.Encoder.spec``: made of :meth:`_weights_spec`, :meth:`_architecture_spec` and the inputs' rule."""

    def dim(self, modality: Modality) -> int:
        """Length of a vector. Raises FeatureError for the other modality, as every method of it does."""
        if modality not in self.modalities:
            raise FeatureError(f"encoder {self.name!r} has no {modality} vectors; use it for {self.modalities[0]}")
        return self.width

    def preprocess_images(self, images: Sequence[Image]) -> Tensor:
        raise self._unread("visual")

    def preprocess_texts(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        raise self._unread("textual")

    def image_vectors(self, pixels: Tensor) -> Tensor:
        raise self._unread("visual")

    def text_vectors(self, tokens: Mapping[str, Tensor]) -> Tensor:
        raise self._unread("textual")

    def _unread(self, modality: Modality) -> FeatureError:
        return FeatureError(f"encoder {self.name!r} reads no {_CONTENT[modality]}; use it for {self.modalities[0]}")

    def _weights_spec(self, source: str, **more: Any) -> dict[str, Any]:
        """The part of ``spec`` that tells the weights: where they are from, and a digest of their values."""
        return {
            "name": self.name, "source": source, "state_sha256": state_digest(self.module), "stage": self.stage, **more,
        }  # fmt: skip

    def _architecture_spec(self, version: int, **more: Any) -> dict[str, Any]:
        """The part of ``spec`` that tells what is computed with the weights; always in fp32."""
        return {"class": type(self).__name__, "version": version, **more, "precision": "fp32", "autocast": False}
