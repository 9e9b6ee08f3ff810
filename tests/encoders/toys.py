"""Small catalogues, pictures and encoders whose outputs can be computed by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lmmrec_core.encoders.features.content import make_features
from lmmrec_core.flow import Catalogue, Features, Modality


def draw(seed: int, size: tuple[int, int] = (60, 90)) -> Image.Image:
    """A smooth colourful picture: upscaled random blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BILINEAR)


def catalogue_of(
    texts: Sequence[str], images: Sequence[Path | None], item_ids: Sequence[str] | None = None, **more: Any
) -> Catalogue:
    """A catalogue with one user who took every item."""
    n = len(texts)
    return Catalogue(
        name="toy",
        user_ids=("u",),
        item_ids=tuple(item_ids or [f"i{number}" for number in range(n)]),
        user=np.zeros(n, dtype=np.int64),
        item=np.arange(n),
        texts=tuple(texts),
        images=tuple(images),
        **more,
    )


def random_features(n: int = 12, dims: tuple[int, int] = (5, 3), seed: int = 0) -> Features:
    """Gaussian features with one absent text; item 1 has a zero picture row."""
    random = np.random.default_rng(seed)
    visual = random.standard_normal((n, dims[0])).astype(np.float32) * 3 + 1
    textual = random.standard_normal((n, dims[1])).astype(np.float32)
    visual[1] = 0
    has_text = np.ones(n, dtype=bool)
    has_text[2] = False
    matrices: dict[Modality, Any] = {"visual": visual, "textual": textual}
    return make_features(matrices, {"visual": np.ones(n, dtype=bool), "textual": has_text}, {"catalogue": "toy"})


class MeanColour:
    """Encoder: mean red, green, blue (0–1) of a picture; length and number of "a" of a text. Has dropout to catch
    extraction in training mode."""

    name = "toy"
    modalities: tuple[Modality, ...] = ("visual", "textual")

    def __init__(self) -> None:
        self.module = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5))
        self.batches: list[int] = []

    def spec(self) -> Mapping[str, Any]:
        return {"weights": {"name": self.name}, "architecture": {"version": 1}}

    def dim(self, modality: Modality) -> int:
        return 3 if modality == "visual" else 2

    def preprocess_images(self, images: Sequence[Image.Image]) -> Tensor:
        assert all(image.mode == "RGB" for image in images)
        squashed = [np.asarray(image.resize((4, 4))) for image in images]
        return torch.from_numpy(np.stack(squashed)).permute(0, 3, 1, 2).float() / 255

    def preprocess_texts(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        return {"numbers": torch.tensor([[len(text), text.count("a")] for text in texts], dtype=torch.float32)}

    def image_vectors(self, pixels: Tensor) -> Tensor:
        self.batches.append(len(pixels))
        return self.module[1](pixels.mean(dim=(2, 3)))

    def text_vectors(self, tokens: Mapping[str, Tensor]) -> Tensor:
        self.batches.append(len(tokens["numbers"]))
        return self.module[1](tokens["numbers"])
