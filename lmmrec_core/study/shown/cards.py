"""An item of a catalogue → its card: a small picture, a title."""

import io
import re
from collections.abc import Iterable

from lmmrec_core.encoders.pictures.reading import to_rgb
from lmmrec_core.flow import Catalogue
from lmmrec_core.picture_files import UnreadablePicture, open_picture
from lmmrec_core.report.gallery import Card

_SIDE = 96  # pixels of the longer side, at most
_QUALITY = 80
_LONGEST = 48  # characters of a title
_SENTENCE = re.compile(r"[.!?](?:\s|$)")


def card_of(catalogue: Catalogue, item: int, notes: Iterable[str] = (), marked: bool = False) -> Card:
    """The card of an item; a picture that cannot be read is none."""
    return Card(
        catalogue.item_ids[item], title_of(catalogue.texts[item]), _small(catalogue, item), tuple(notes), marked
    )


def title_of(text: str) -> str:
    """The first sentence of an item's text, which is its title where it has one; cut where it is long."""
    end = _SENTENCE.search(text)
    title = text[: end.start()] if end else text
    return title if len(title) <= _LONGEST else f"{title[: _LONGEST - 1].rstrip()}…"


def _small(catalogue: Catalogue, item: int) -> bytes | None:
    path = catalogue.images[item]
    if path is None:
        return None
    try:
        picture = to_rgb(open_picture(path))
    except UnreadablePicture:
        return None
    picture.thumbnail((_SIDE, _SIDE))
    written = io.BytesIO()
    picture.save(written, "WEBP", quality=_QUALITY)
    return written.getvalue()
