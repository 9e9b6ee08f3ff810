"""Opening picture files: one list of formats and one limit of size for everything that reads them.

A picture comes from whoever made the catalogue. Pillow knows some forty formats, among them PostScript, which it hands
to Ghostscript; only those that shops and web pages use are opened here, whatever a file's name says.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, ImageOps

from lmmrec_core.marks import in_its_place

#: The formats that are read, by Pillow's names; a file of another one is refused, not tried.
PICTURE_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 64_000_000  # about 8000 × 8000; as RGB 192 MB
#: How often the longer side may hold the shorter, which encoders enlarge: a line of pixels would become gigabytes.
MAX_RATIO = 500


class UnreadablePicture(ValueError):
    """Why a file gives no picture, in words; ``cure`` says what to do."""

    def __init__(self, reason: str, cure: str) -> None:
        super().__init__(reason)
        self.cure = cure


def open_picture(path: Path) -> Image.Image:
    """The decoded first frame of a file, whole, turned as its EXIF orientation says.

    The size is read before anything is decoded, since a small file can claim gigabytes of pixels.
    Raises UnreadablePicture for a file that is absent, of no format of ``PICTURE_FORMATS``, larger than ``MAX_PIXELS``,
    longer than ``MAX_RATIO`` times its width, or broken off.
    """
    cure = "replace the file"
    if not path.is_file():
        raise UnreadablePicture("not found", cure)
    try:
        with _strict_pillow(), Image.open(path, formats=PICTURE_FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise UnreadablePicture(f"{width} × {height} pixels, more than {MAX_PIXELS:,}", "make it smaller")
            if max(width, height) > MAX_RATIO * min(width, height):
                told = f"{width} × {height} pixels, one side more than {MAX_RATIO} times the other"
                raise UnreadablePicture(told, "cut it")
            picture.load()
            ImageOps.exif_transpose(picture, in_place=True)  # in place: a copy would be as large again
            return picture
    except UnreadablePicture:
        raise
    except Image.UnidentifiedImageError:
        told = f"it is of none of the formats {', '.join(PICTURE_FORMATS)}"
        raise UnreadablePicture(*(_text_in_its_place(path) or (told, cure))) from None
    except Exception as error:  # decoders raise many classes for damaged files, and all mean the same here
        reason = str(error).replace(str(path), "the file") or type(error).__name__
        raise UnreadablePicture(reason, cure) from None


def _text_in_its_place(path: Path) -> tuple[str, str] | None:
    """What a text is that lies where the picture should be, and the cure; None if it is none that is known."""
    try:
        with path.open("rb") as file:
            return in_its_place(file.read(1024).decode("utf-8", errors="replace"))
    except OSError:
        return None


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Pillow that refuses half pictures, whatever another library has set, and does not warn of large ones.

    Pillow's own limit is lifted too: ours is lower, and is looked at before a pixel is decoded.
    """
    before, limit = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before, limit
