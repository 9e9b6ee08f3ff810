"""The frozen picture network of vlmo-small: EfficientNet-Lite0 up to its last map.

A convolution with random weights, as in VLMo itself, would learn little from the small catalogues that we pre-train on.
"""

from collections.abc import Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from lmmrec_core.encoders.lite0 import EfficientNetLite0, Lite0Settings
from lmmrec_core.encoders.vlmo.settings import GRID_CHANNELS
from lmmrec_core.encoders.weights import state_digest

_CHUNK = 32  # pictures at a time: the first layers' maps are large


class Lite0Maps:
    """Pictures → maps [item, 320, size / 32, size / 32] before lite0's own head; never trained, always on the CPU."""

    def __init__(self, image_size: int) -> None:
        self.lite0 = EfficientNetLite0(Lite0Settings(image_size=image_size))
        self._side = image_size // 32

    @torch.no_grad()
    def maps(self, images: Sequence[Image]) -> Tensor:
        """The maps of RGB pictures, in float32."""
        network = self.lite0.module
        made = [torch.empty((0, GRID_CHANNELS, self._side, self._side))]
        for start in range(0, len(images), _CHUNK):
            pixels = self.lite0.preprocess_images(images[start : start + _CHUNK])
            x = pixels.contiguous(memory_format=torch.channels_last)
            for name in ("conv_stem", "bn1", "blocks"):
                x = network.get_submodule(name)(x)
            made.append(x.contiguous())
        return torch.cat(made)

    def spec(self) -> dict[str, Any]:
        return {
            "network": "lite0",
            "file_sha256": self.lite0.file_sha256,
            "state_sha256": state_digest(self.lite0.module),
            "vector": "320-channel map before the head, frozen",
        }
