"""Picture files → RGB pictures → pixel tensors, by one rule for all encoders.

The rule: the first frame; turned as its EXIF orientation says; transparent parts over white; all colour modes to RGB.
Grey of 16 bits is divided by 256, whatever its brightest value. Grey in floating point must lie between 0 and 1, and is
multiplied by 255. Grey of 32 bits has no known full scale and is refused. A file that breaks off is unreadable, and
never half a picture.

Memory: while a picture is read, at most 12 bytes a pixel, so 768 MB for the largest (``picture_files.MAX_PIXELS``);
beside it, decoded pictures of at most ``HELD_PIXELS`` wait to become pixels, at 3 bytes each.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from lmmrec_core.errors import FeatureError
from lmmrec_core.picture_files import UnreadablePicture, open_picture

HELD_PIXELS = 32_000_000  # decoded at a time: 96 MB
_STRIP = 256  # rows converted at a time
_RULE = "first frame; EXIF turned; alpha over white; RGB"


def read_picture(path: Path, item_id: str) -> Image.Image:
    """The picture of an item as RGB, by this module's rule.

    Raises FeatureError naming item, file and cure if the file is absent, of no known format, broken off, too large
    (``picture_files.open_picture``), or grey of a scale that is not known.
    """
    try:
        return to_rgb(open_picture(path))
    except UnreadablePicture as error:
        reason, cure = str(error), f"{error.cure}, or take the picture out of the catalogue"
    except MemoryError:
        reason, cure = "there is not enough memory for it", "make it smaller"
    told = reason if reason == "not found" else f"cannot be read ({reason})"
    raise FeatureError(f"item {item_id!r}: picture {path} {told}; {cure}") from None


def pixels_of(preprocess: Callable[[Sequence[Image.Image]], Tensor], pictures: Iterable[Image.Image]) -> Tensor:
    """``preprocess`` of all ``pictures``, rows in their order; large ones a few at a time, to hold fewer of them.

    Equal to ``preprocess(list(pictures))``: a picture's pixels do not depend on those beside it.
    """
    return torch.cat([preprocess(group) for group in _held_together(pictures)] or [torch.empty(0)])


def _held_together(pictures: Iterable[Image.Image]) -> Iterator[list[Image.Image]]:
    """Groups in order, each of ``HELD_PIXELS`` or fewer, apart from the last picture of a group."""
    group: list[Image.Image] = []
    held = 0
    for picture in pictures:
        group.append(picture)
        held += picture.width * picture.height
        if held >= HELD_PIXELS:
            yield group
            group, held = [], 0
    if group:
        yield group


def to_rgb(picture: Image.Image) -> Image.Image:
    """A picture of any colour mode as RGB; transparent parts become white.

    Raises UnreadablePicture for grey whose full scale is not known.
    """
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PPM"):  # Pillow clips it at 255
        return _in_strips(picture, lambda grey: grey >> 8)
    if picture.mode.startswith("I"):
        raise UnreadablePicture(
            "grey of 32 bits, whose full scale is not known", "save it with 8 or 16 bits for each colour"
        )
    if picture.mode == "F":
        return _in_strips(picture, _float_to_bytes)
    if picture.has_transparency_data:
        return _over_white(picture)
    return picture.convert("RGB")


def _float_to_bytes(grey: np.ndarray) -> np.ndarray:
    if not (grey.min(initial=0.0) >= 0.0 and grey.max(initial=0.0) <= 1.0):  # false for NaN too
        raise UnreadablePicture(
            "floating-point grey that is not between 0 and 1", "save it with 8 or 16 bits for each colour"
        )
    return np.rint(grey * 255.0)


def _in_strips(picture: Image.Image, change: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    """A grey picture as RGB; ``change`` maps its values to 0..255."""
    target = Image.new("RGB", picture.size)
    for top in range(0, picture.height, _STRIP):
        strip = picture.crop((0, top, picture.width, min(top + _STRIP, picture.height)))
        values = change(np.asarray(strip)).clip(0, 255).astype(np.uint8)
        target.paste(Image.fromarray(values).convert("RGB"), (0, top))
    return target


def _over_white(picture: Image.Image) -> Image.Image:
    target = Image.new("RGB", picture.size)
    for top in range(0, picture.height, _STRIP):
        solid = picture.crop((0, top, picture.width, min(top + _STRIP, picture.height))).convert("RGBA")
        white = Image.new("RGBA", solid.size, (255, 255, 255, 255))
        target.paste(Image.alpha_composite(white, solid).convert("RGB"), (0, top))
    return target


def squashed(pictures: Sequence[Image.Image], size: int) -> UInt8[Tensor, "item size size 3"]:
    """RGB pictures squashed to ``size`` × ``size`` (bicubic, antialiased), as bytes.

    Squashing keeps the whole picture; a centre crop would lose a third of a poster.
    """
    made = [np.asarray(to_rgb(picture).resize((size, size), Image.Resampling.BICUBIC)) for picture in pictures]
    return torch.from_numpy(np.stack(made)) if made else torch.empty((0, size, size, 3), dtype=torch.uint8)


def standardised(
    kept: UInt8[Tensor, "item height width 3"], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Float[Tensor, "item 3 height width"]:
    """Bytes scaled to 0–1 and standardised, on the device where they are; in memory the colours stay side by side.

    Divided by tensors, not by numbers, for which a GPU would multiply by a rounded inverse.
    """
    full, centre, scale = (torch.tensor(value, device=kept.device).view(1, -1, 1, 1) for value in ((255.0,), mean, std))
    return (kept.permute(0, 3, 1, 2).to(torch.float32) / full - centre) / scale


def to_pixels(
    pictures: Sequence[Image.Image], size: int, *, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """RGB pictures :func:`squashed` and :func:`standardised`: float32 [item, 3, size, size]."""
    if not len(pictures):
        return torch.empty((0, 3, size, size))
    return standardised(squashed(pictures, size), mean, std)


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
