"""How a picture becomes a square of pixels: crop, squash or pad, then a stated standardisation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image
from torch import Tensor

from lmmrec_core.encoders.pictures.reading import image_spec, squashed, standardised, to_pixels, to_rgb

Fit = Literal["crop", "squash", "pad"]
Triple = tuple[float, float, float]

CLIP_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Triple = (0.26862954, 0.26130258, 0.27577711)
HALF: Triple = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class ImageRule:
    """Everything that is done to a picture once it is read; equal pictures become equal pixels.

    ``crop``: the shorter side becomes ``size`` and the middle is kept, as in CLIP (openai/CLIP: `clip/clip.py`), so a
    tall picture loses its top and bottom. ``squash``: both sides become ``size``. ``pad``: the longer side becomes
    ``size`` and the rest is white, like transparent parts. All resizing is bicubic with antialiasing.
    """

    size: int
    fit: Fit = "crop"
    mean: Triple = CLIP_MEAN
    std: Triple = CLIP_STD

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """RGB pictures → float32 [item, 3, size, size]."""
        return to_pixels([self._square(to_rgb(image)) for image in images], self.size, mean=self.mean, std=self.std)

    def resized(self, images: Sequence[Image.Image]) -> Tensor:
        """RGB pictures → bytes [item, size, size, 3]: all of the rule but the last, affine step."""
        return squashed([self._square(to_rgb(image)) for image in images], self.size)

    def standardised(self, kept: Tensor) -> Tensor:
        """The last step: ``standardised(resized(images))`` equals ``pixels(images)``, bit by bit on the CPU."""
        return standardised(kept, self.mean, self.std)

    def spec(self) -> dict[str, Any]:
        """The rule, for the key of a feature file."""
        padding = {"padding": "white"} if self.fit == "pad" else {}
        return {**image_spec(self.size, mean=self.mean, std=self.std), "fit": self.fit, **padding}

    def resizing(self) -> dict[str, Any]:
        """What the bytes depend on: the rule without the affine step, which several encoders may have their own of."""
        return {key: value for key, value in self.spec().items() if key not in ("mean", "std")}

    def _square(self, image: Image.Image) -> Image.Image:
        if self.fit == "squash":
            return image  # to_pixels squashes it
        width, height = image.size
        side = min(width, height) if self.fit == "crop" else max(width, height)
        # rounded down and half to even, as in torchvision: the pixels are equal, not just similar
        new = (max(1, self.size * width // side), max(1, self.size * height // side))
        resized = image.resize(new, Image.Resampling.BICUBIC)
        if self.fit == "pad":
            square = Image.new("RGB", (self.size, self.size), (255, 255, 255))
            square.paste(resized, ((self.size - new[0]) // 2, (self.size - new[1]) // 2))
            return square
        left, top = round((new[0] - self.size) / 2), round((new[1] - self.size) / 2)
        return resized.crop((left, top, left + self.size, top + self.size))


def picture_rule(encoder: object) -> ImageRule | None:
    """The rule by which an encoder prepares pictures, its property ``picture_rule``; None if it has no such rule.

    One that a class inherits does not count where the class prepares pictures in another way.
    """
    kind = type(encoder)
    stated, done = (
        next((each for each in kind.__mro__ if name in vars(each)), None)
        for name in ("picture_rule", "preprocess_images")
    )
    rule = getattr(encoder, "picture_rule", None)
    return rule if isinstance(rule, ImageRule) and stated is done else None
