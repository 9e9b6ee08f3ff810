"""Small CLIPs and content for the tests of this folder."""

from collections.abc import Sequence
from typing import Any

from lmmrec_core.encoders.clip.encoder import CLIP
from lmmrec_core.encoders.clip.settings import CLIPSettings
from lmmrec_core.encoders.clip.tiny import ClipTiny
from tests.encoders.toys import draw

TEXTS = ("a red wooden train", "blocks", "a doll with a hat, a coat and two shoes", "puzzle of a bear")
QUICK: dict[str, Any] = {  # the layout of ViT-B/16, small
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 48, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3},
}


def tiny(**settings: Any) -> ClipTiny:
    return ClipTiny(CLIPSettings.build({"model": "clip-tiny-32", **settings}))


def small_official(**settings: Any) -> CLIP:
    """Byte pairs, 77 tokens, QuickGELU, different widths of the towers."""
    return CLIP(CLIPSettings.build({"config": QUICK, "seed": 1, **settings}))


def content(encoder: CLIP, texts: Sequence[str] = TEXTS) -> tuple[Any, Any]:
    return encoder.preprocess_images([draw(number) for number in range(len(texts))]), encoder.preprocess_texts(texts)
