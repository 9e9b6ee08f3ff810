"""Takes a Catalogue (pictures and texts of items), gives Features (one row per item and modality)."""

from collections.abc import Callable
from typing import Any

from lmmrec_core.encoders.lazy import Lazy

ENCODERS: dict[str, Callable[..., Any]] = {
    "lite0": Lazy("lmmrec_core.encoders.lite0", "EfficientNetLite0", ("visual",)),
    "minilm": Lazy("lmmrec_core.encoders.minilm", "MiniLM", ("textual",)),
    "light-cnn": Lazy("lmmrec_core.encoders.light.encoders", "LightCNN", ("visual",)),
    "light-text": Lazy("lmmrec_core.encoders.light.encoders", "LightText", ("textual",)),
    "clip-b16": Lazy("lmmrec_core.encoders.clip.official", "ClipB16", ("visual", "textual")),
    "clip-b32": Lazy("lmmrec_core.encoders.clip.official", "ClipB32", ("visual", "textual")),
    "clip-l14": Lazy("lmmrec_core.encoders.clip.official", "ClipL14", ("visual", "textual")),
    "clip-small": Lazy("lmmrec_core.encoders.clip.small", "ClipSmall", ("visual", "textual")),
    "clip-tiny": Lazy("lmmrec_core.encoders.clip.tiny", "ClipTiny", ("visual", "textual")),
    "own": Lazy("lmmrec_core.encoders.own.encoder", "Own", ("visual", "textual")),
    "vlmo-base-plus": Lazy("lmmrec_core.encoders.vlmo.presets", "VLMoBasePlus", ("visual", "textual")),
    "vlmo-small": Lazy("lmmrec_core.encoders.vlmo.presets", "VLMoSmall", ("visual", "textual")),
    "vlmo-tiny": Lazy("lmmrec_core.encoders.vlmo.presets", "VLMoTiny", ("visual", "textual")),
}
