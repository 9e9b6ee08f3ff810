"""The official CLIPs by name; open_clip fetches their published weights, or a file is given.

No public CLIP fits both figures of the paper's Table 2, 151M parameters and 768-dimensional vectors: ViT-B/16, the
model that the paper names, has 149.6M and 512, ViT-B/32 has 151.3M and 512, ViT-L/14 has 427.6M and 768.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from lmmrec_core.encoders.clip.encoder import CLIP


class ClipB16(CLIP):
    """CLIP ViT-B/16: 149,620,737 weights, joint vectors of 512 numbers. The model that the paper names."""

    name = "clip-b16"
    MODELS = ("ViT-B-16-quickgelu", "ViT-B-16")
    DEFAULTS: ClassVar[Mapping[str, Any]] = {**CLIP.DEFAULTS, "model": "ViT-B-16-quickgelu"}


class ClipB32(CLIP):
    """CLIP ViT-B/32: 151,277,313 weights, joint vectors of 512 numbers."""

    name = "clip-b32"
    MODELS = ("ViT-B-32-quickgelu", "ViT-B-32")
    DEFAULTS: ClassVar[Mapping[str, Any]] = {**CLIP.DEFAULTS, "model": "ViT-B-32-quickgelu"}


class ClipL14(CLIP):
    """CLIP ViT-L/14: 427,616,513 weights, joint vectors of 768 numbers."""

    name = "clip-l14"
    MODELS = ("ViT-L-14-quickgelu", "ViT-L-14")
    DEFAULTS: ClassVar[Mapping[str, Any]] = {**CLIP.DEFAULTS, "model": "ViT-L-14-quickgelu"}
