"""Picture files → RGB pictures → pixel tensors, by one rule for all encoders.

The rule: the first frame; turned as its EXIF orientation says; transparent parts over white; all colour modes to RGB,
16-bit grey to 8 bits. A file that breaks off is unreadable, and never half a picture.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image, ImageFile, ImageOps
from torch import Tensor

from lmmrec_core.errors import FeatureError

MAX_PIXELS = 64_000_000  # about 8000 × 8000; decoded, 192 MB
_RULE = "first frame; EXIF turned; alpha over white; RGB"


def read_picture(path: Path, item_id: str) -> Image.Image:
    """The picture of an item as RGB, by this module's rule.

    Raises FeatureError naming item, file and cure if the file is absent, not a picture, broken off, or larger than
    ``MAX_PIXELS`` (a small file can claim to hold gigabytes of pixels).
    """
    cure = "replace the file, or take the picture out of the catalogue"
    if not path.is_file():
        raise FeatureError(f"item {item_id!r}: picture {path} not found; {cure}")
    try:
        with _strict_pillow(), Image.open(path) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise FeatureError(
                    f"item {item_id!r}: picture {path} has {width} × {height} pixels, more than {MAX_PIXELS:,}; "
                    "make it smaller, or take it out of the catalogue"
                )
            picture.load()
            return to_rgb(ImageOps.exif_transpose(picture))
    except FeatureError:
        raise
    except Exception as error:  # decoders raise many classes for damaged files, and all mean the same here
        reason = str(error).replace(str(path), "the file") or type(error).__name__
        raise FeatureError(f"item {item_id!r}: picture {path} cannot be read ({reason}); {cure}") from None


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Pillow that refuses half pictures, whatever another library has set, and does not warn of large ones."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def to_rgb(picture: Image.Image) -> Image.Image:
    """A picture of any colour mode as RGB; transparent parts become white."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I"):  # 16-bit grey; Pillow itself would clip it at 255
        grey = np.asarray(picture).astype(np.int64)
        scaled = grey >> 8 if grey.max(initial=0) > 255 else grey
        return Image.fromarray(scaled.clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        solid = picture.convert("RGBA")
        white = Image.new("RGBA", solid.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, solid).convert("RGB")
    return picture.convert("RGB")


def to_pixels(
    pictures: Sequence[Image.Image], size: int, *, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """RGB pictures squashed to ``size`` × ``size`` (bicubic, antialiased), scaled to 0–1 and standardised.

    Returns float32 [item, 3, size, size]. Squashing keeps the whole picture; a centre crop would lose a third of a
    poster.
    """
    squashed = [to_rgb(picture).resize((size, size), Image.Resampling.BICUBIC) for picture in pictures]
    if not squashed:
        return torch.empty((0, 3, size, size))
    stack = torch.from_numpy(np.stack([np.asarray(picture) for picture in squashed]))
    pixels = stack.permute(0, 3, 1, 2).to(torch.float32) / 255.0
    centre = torch.tensor(mean).view(1, 3, 1, 1)
    scale = torch.tensor(std).view(1, 3, 1, 1)
    return (pixels - centre) / scale


def image_spec(size: int, *, mean: tuple[float, float, float], std: tuple[float, float, float]) -> dict[str, Any]:
    """What :func:`read_picture` and :func:`to_pixels` do, for the key of a feature file."""
    return {
        "size": size,
        "fit": "squash",
        "interpolation": "bicubic",
        "antialias": True,
        "mean": list(mean),
        "std": list(std),
        "colour": _RULE,
        "decoder": f"Pillow {PIL.__version__}",
    }
