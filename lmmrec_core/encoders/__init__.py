"""Takes a Catalogue (pictures and texts of items), gives Features (one row per item and modality)."""

from collections.abc import Callable
from typing import Any

from lmmrec_core.encoders.lazy import Lazy

ENCODERS: dict[str, Callable[..., Any]] = {
    "lite0": Lazy("lmmrec_core.encoders.cnn", "EfficientNetLite0", ("visual",)),
    "minilm": Lazy("lmmrec_core.encoders.sentence", "MiniLM", ("textual",)),
    "light-cnn": Lazy("lmmrec_core.encoders.light", "LightCNN", ("visual",)),
    "light-text": Lazy("lmmrec_core.encoders.light", "LightText", ("textual",)),
}
