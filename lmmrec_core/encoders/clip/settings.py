"""The settings of every CLIP: official, small and tiny."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lmmrec_core.config import Settings
from lmmrec_core.encoders.pictures.rule import Fit

CLIPVector = Literal["joint", "pre", "tokens_mean"]

# What fixes the network and the meaning of its inputs: weights that we trained are saved with these.
ARCHITECTURE = ("model", "config", "image_size", "max_length", "vocabulary")
PREPROCESSING = ("vector", "fit", "norm", "cut")


class CLIPSettings(Settings):
    """Settings of :class:`~.encoder.CLIP`. A setting that is left out takes the encoder's default.

    Weights come from one place: ``weights`` (a file; ``pretrained`` then says whose weights it holds), ``pretrained``
    alone (open_clip fetches them), or ``seed`` alone (random weights).
    """

    model: str | None = Field(None, description="architecture by open_clip's name")
    config: dict[str, Any] | None = Field(None, description="or an architecture in the form of open_clip's JSON files")
    weights: Path | None = Field(None, description="safetensors file, or torch file of tensors alone")
    pretrained: str | None = Field(None, description="open_clip's tag of published weights, for instance openai")
    seed: int | None = Field(None, description="of random weights")
    vector: CLIPVector | None = Field(
        None, description="joint: projected, not normalised; pre: before projection; tokens_mean: mean of tokens"
    )
    image_size: int | None = Field(None, ge=16, le=1024, description="pixels a side")
    fit: Fit | None = None
    norm: Literal["clip", "half", "model"] | None = Field(
        None, description="clip: CLIP's mean and deviation; half: 0.5 and 0.5; model: as open_clip states for the model"
    )
    max_length: int | None = Field(None, ge=3, description="tokens, start and end included")
    cut: Literal["tokens", "characters"] | None = Field(
        None, description="characters: 77 characters before tokenising, as the paper group's code; for that arm only"
    )
    vocabulary: tuple[str, ...] | None = Field(
        None, description="words of a tiny model in the order of their numbers; empty: words are numbered by hash"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.model is not None and self.config is not None:
            raise ValueError("model and config are both given; give one architecture")
        if self.seed is not None and (self.weights is not None or self.pretrained is not None):
            raise ValueError("seed is for random weights; leave it out beside weights or pretrained")
        return self

    def over(self, defaults: Mapping[str, Any]) -> "CLIPSettings":
        """These settings, with ``defaults`` for what is not given. A default never competes with what is given."""
        given = {key: value for key, value in self if value is not None}
        rivals = {"model": {"config"}, "config": {"model"}, "seed": {"weights", "pretrained"}}
        kept = {key: value for key, value in defaults.items() if not rivals.get(key, set()) & given.keys()}
        return CLIPSettings(**{**kept, **given})
