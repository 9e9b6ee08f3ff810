"""Bring your own encoder: any model of open_clip, sentence-transformers or timm, by settings alone.

    {library: open_clip, model: ViT-B-16-SigLIP, pretrained: webli}         pictures and texts
    {library: sentence-transformers, model: /models/all-mpnet-base-v2}      texts; a folder, or a name to fetch
    {library: timm, model: resnet50, weights: /models/resnet50.safetensors} pictures; a file, or pretrained: a1_in1k

Its features are keyed by the content of its weights and files, never by a folder or a name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from PIL.Image import Image
from pydantic import Field, model_validator
from torch import Tensor

from lmmrec_core.config import Settings
from lmmrec_core.encoders.clip.encoder import CLIP
from lmmrec_core.encoders.clip.settings import CLIPSettings, CLIPVector
from lmmrec_core.encoders.features.unread import CountsTokens, TokenCounts
from lmmrec_core.encoders.one_modality import OneModality
from lmmrec_core.encoders.own.libraries import SentenceFolder, TimmPictures
from lmmrec_core.encoders.pictures.rule import Fit, ImageRule, picture_rule
from lmmrec_core.errors import FeatureError
from lmmrec_core.flow import Modality


class OwnSettings(Settings):
    """Settings of :class:`Own`; what is left out has the model's own value."""

    library: Literal["open_clip", "sentence-transformers", "timm"]
    model: str = Field(min_length=1, description="the library's name for it; for sentence-transformers also a folder")
    weights: Path | None = Field(None, description="file of weights: open_clip and timm")
    pretrained: str | None = Field(None, description="the library's tag of published weights: open_clip and timm")
    vector: CLIPVector | None = Field(None, description="open_clip only")
    image_size: int | None = Field(None, ge=16, le=1024, description="pixels a side")
    fit: Fit | None = None
    max_length: int | None = Field(None, ge=3, description="tokens")

    @model_validator(mode="after")
    def _of_the_library(self) -> Self:
        idle = {
            "open_clip": (),
            "sentence-transformers": ("weights", "pretrained", "vector", "image_size", "fit"),
            "timm": ("vector", "max_length"),
        }[self.library]
        for key in idle:
            if getattr(self, key) is not None:
                raise ValueError(f"{key} means nothing to {self.library}; leave it out")
        if self.library != "sentence-transformers" and self.weights is None and self.pretrained is None:
            raise ValueError("no weights; give weights (a file) or pretrained (a tag that the library can fetch)")
        if self.library == "timm" and self.weights is not None and self.pretrained is not None:
            raise ValueError("weights and pretrained are both given; give one")
        return self


class OpenClipModel(CLIP):
    """Any CLIP of open_clip, with pictures prepared as open_clip states for the tag in ``pretrained``.

    If ``weights`` are given too, the tag says whose weights the file holds; without a tag, CLIP's own statistics are
    taken.
    """

    name = "own"
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"vector": "joint", "norm": "model", "cut": "tokens"}


class Own:
    """A user's encoder; an instance's ``modalities`` are those that its model has.

    Raises ConfigError for a model or tag that the library does not know, FeatureError for files that are not to be
    had or do not fit; its text says what to give on a machine without network.
    """

    name = "own"
    modalities: tuple[Modality, ...] = ("visual", "textual")
    stage = "pt"
    Settings = OwnSettings

    def __init__(self, settings: OwnSettings | None = None) -> None:
        if settings is None:
            raise FeatureError("encoder 'own' has no model of its own; give library, model and weights")
        self.settings = settings
        self.inner = _build(settings)
        self.modalities = self.inner.modalities
        self.module = self.inner.module

    def spec(self) -> Mapping[str, Any]:
        return self.inner.spec()

    def dim(self, modality: Modality) -> int:
        return self.inner.dim(self._able(modality))

    @property
    def picture_rule(self) -> ImageRule | None:
        """How pictures are prepared, if the model reads any."""
        return picture_rule(self.inner)

    def preprocess_images(self, images: Sequence[Image]) -> Tensor:
        self._able("visual")
        return self.inner.preprocess_images(images)

    def preprocess_texts(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        self._able("textual")
        return self.inner.preprocess_texts(texts)

    def token_counts(self, texts: Sequence[str]) -> TokenCounts:
        self._able("textual")
        return self.inner.token_counts(texts) if isinstance(self.inner, CountsTokens) else TokenCounts()

    def image_vectors(self, pixels: Tensor) -> Tensor:
        self._able("visual")
        return self.inner.image_vectors(pixels)

    def text_vectors(self, tokens: Mapping[str, Tensor]) -> Tensor:
        self._able("textual")
        return self.inner.text_vectors(tokens)

    def _able(self, modality: Modality) -> Modality:
        if modality not in self.modalities:
            able = " and ".join(self.modalities)
            raise FeatureError(
                f"encoder 'own' ({self.settings.library}) is {able}; name another encoder for {modality}"
            )
        return modality


def _build(settings: OwnSettings) -> OpenClipModel | OneModality:
    if settings.library == "sentence-transformers":
        return SentenceFolder(settings.model, settings.max_length)
    if settings.library == "timm":
        return TimmPictures(
            settings.model, settings.weights, settings.pretrained, settings.image_size, settings.fit or "crop"
        )
    return OpenClipModel(
        CLIPSettings(
            model=settings.model, weights=settings.weights, pretrained=settings.pretrained, vector=settings.vector,
            image_size=settings.image_size, fit=settings.fit, max_length=settings.max_length,
        )
    )  # fmt: skip
