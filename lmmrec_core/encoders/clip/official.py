"""The official CLIPs by name; published weights are fetched by open_clip or given as a file (encoders spec 2)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from lmmrec_core.encoders.clip.encoder import CLIP


class ClipB16(CLIP):
    """CLIP ViT-B/16, the model that the paper names: 512/512 joint, 149.6 million weights (encoders spec 2.5 A, B)."""

    name = "clip-b16"
    MODELS = ("ViT-B-16-quickgelu", "ViT-B-16")
    DEFAULTS: ClassVar[Mapping[str, Any]] = {**CLIP.DEFAULTS, "model": "ViT-B-16-quickgelu"}


class ClipB32(CLIP):
    """CLIP ViT-B/32: 151.3 million weights, as in the paper's Table 2 (encoders spec 2.5 C)."""

    name = "clip-b32"
    MODELS = ("ViT-B-32-quickgelu", "ViT-B-32")
    DEFAULTS: ClassVar[Mapping[str, Any]] = {**CLIP.DEFAULTS, "model": "ViT-B-32-quickgelu"}


class ClipL14(CLIP):
    """CLIP ViT-L/14: 768/768 joint, as in the paper's Table 2 (encoders spec 2.5 D)."""

    name = "clip-l14"
    MODELS = ("ViT-L-14-quickgelu", "ViT-L-14")
    DEFAULTS: ClassVar[Mapping[str, Any]] = {**CLIP.DEFAULTS, "model": "ViT-L-14-quickgelu"}
