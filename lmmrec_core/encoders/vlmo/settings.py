"""Sizes and choices of a VLMo network; those of Base Plus are the official ones (microsoft/unilm, folder vlmo)."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lmmrec_core.config import Settings
from lmmrec_core.errors import ConfigError

VLMoVector = Literal["cls", "itc", "itc_vl", "cls_raw", "mean"]
GRID_STRIDE = 32  # pixels per cell of the map that the grid stem reads
GRID_CHANNELS = 320


class VLMoSettings(Settings):
    """What fixes a network's shape, and which of its vectors is an item's feature; every size must be given."""

    width: int = Field(ge=1)
    depth: int = Field(ge=2)  # blocks
    heads: int = Field(ge=1)
    mlp_ratio: int = Field(default=4, ge=1)
    first_vl: int = Field(ge=1)  # first block (from 0) that has a vision-language expert
    norm: Literal["pre", "post"]  # post: as in BERT, and no final norm
    eps: float = Field(gt=0)  # of the layer norms of blocks, final norm and grid stem
    image_size: int = Field(ge=1)  # pixels a side
    patch: int = Field(ge=1)  # pixels a side, for stem "conv"
    stem: Literal["conv", "grid"] = "conv"  # grid reads the 320-channel map of EfficientNet-Lite0, stride 32
    max_text_length: int = Field(ge=3)  # tokens, the two special ones included
    vocabulary: int = Field(ge=6)
    drop_path: float = Field(default=0.0, ge=0, lt=1)  # of the last block; linear from 0 at the first
    text_dropout: float = Field(default=0.0, ge=0, lt=1)
    linear_std: float = Field(
        default=0.02, gt=0
    )  # of random linear maps; a narrow network learns sooner with a larger one
    positions: Literal["absolute", "relative"] = "absolute"
    layer_scale: float | None = None
    vector: VLMoVector = "cls"
    checkpoint_blocks: bool = False  # recompute activations in the backward pass: less memory, a third more time

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.positions == "relative" or self.layer_scale is not None:
            raise ConfigError(
                "VLMo Base and Large (relative position bias, layer scale) are not implemented; use Base Plus, "
                "which has positions: absolute and no layer_scale"
            )
        if self.width % self.heads:
            raise ConfigError(f"VLMo: width {self.width} is not a multiple of heads {self.heads}; change one of them")
        if self.first_vl >= self.depth:
            raise ConfigError(f"VLMo: first_vl {self.first_vl} must be below depth {self.depth}; lower it")
        if self.image_size % self.cell:
            raise ConfigError(f"VLMo: image_size {self.image_size} is not a multiple of {self.cell}; round it")
        return self

    @property
    def cell(self) -> int:
        """Side of the square that one image token covers, in pixels."""
        return self.patch if self.stem == "conv" else GRID_STRIDE

    @property
    def grid(self) -> int:
        """Image tokens per side; the image sequence has ``grid ** 2 + 1`` rows, the class row first."""
        return self.image_size // self.cell

    @property
    def drop_rates(self) -> tuple[float, ...]:
        """Stochastic-depth rate of each block, from 0 in the first to ``drop_path`` in the last in equal steps."""
        return tuple(self.drop_path * index / (self.depth - 1) for index in range(self.depth))

    @classmethod
    def base_plus(cls, **changes: Any) -> Self:
        """VLMo Base Plus: 184,980,734 weights, of which 166,863,840 in the backbone, the paper's 167M."""
        values = {
            "width": 544, "depth": 24, "heads": 16, "first_vl": 21, "norm": "pre", "eps": 1e-6, "image_size": 224,
            "patch": 16, "max_text_length": 40, "vocabulary": 30522, "drop_path": 0.1, "text_dropout": 0.1,
        }  # fmt: skip
        return cls.build({**values, **changes}, "VLMo Base Plus")

    @classmethod
    def small(cls, **changes: Any) -> Self:
        """The shape of MiniLM-L6 with experts, post-norm as MiniLM's weights need it."""
        values = {
            "width": 384, "depth": 6, "heads": 12, "first_vl": 4, "norm": "post", "eps": 1e-12, "image_size": 128,
            "patch": 16, "stem": "grid", "max_text_length": 64, "vocabulary": 30522,
        }  # fmt: skip
        return cls.build({**values, **changes}, "vlmo-small")

    @classmethod
    def tiny(cls, **changes: Any) -> Self:
        """Base Plus in miniature, for controls and tests; it can be trained from random weights in seconds."""
        values = {
            "width": 64, "depth": 4, "heads": 4, "first_vl": 3, "norm": "pre", "eps": 1e-6, "image_size": 32,
            "patch": 8, "max_text_length": 24, "vocabulary": 1024, "linear_std": 0.1,
        }  # fmt: skip
        return cls.build({**values, **changes}, "vlmo-tiny")
