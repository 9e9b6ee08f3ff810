"""Takes a Catalogue (pictures and texts of items), gives Features (one row per item and modality)."""

from typing import TYPE_CHECKING

from lmmrec_core.registry import Registry

if TYPE_CHECKING:  # naming an encoder must not load its libraries
    from lmmrec_core.roles import EncoderClass

_HERE = "lmmrec_core.encoders"
#: Every encoder by name; see ``roles.EncoderClass`` for what a member promises.
ENCODERS: Registry["EncoderClass"] = Registry(
    "encoder",
    "lmmrec.encoders",
    {
        "lite0": f"{_HERE}.lite0:EfficientNetLite0",
        "minilm": f"{_HERE}.minilm:MiniLM",
        "light-cnn": f"{_HERE}.light.encoders:LightCNN",
        "light-text": f"{_HERE}.light.encoders:LightText",
        "clip-b16": f"{_HERE}.clip.official:ClipB16",
        "clip-b32": f"{_HERE}.clip.official:ClipB32",
        "clip-l14": f"{_HERE}.clip.official:ClipL14",
        "clip-small": f"{_HERE}.clip.small:ClipSmall",
        "clip-tiny": f"{_HERE}.clip.tiny:ClipTiny",
        "own": f"{_HERE}.own.encoder:Own",
        "vlmo-base-plus": f"{_HERE}.vlmo.presets:VLMoBasePlus",
        "vlmo-small": f"{_HERE}.vlmo.presets:VLMoSmall",
        "vlmo-tiny": f"{_HERE}.vlmo.presets:VLMoTiny",
    },
)
