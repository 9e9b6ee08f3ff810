"""Items → a row of small pictures with titles, whole in itself: it is shown without a file or a request.

The look is written into the elements, so that it is the same in the book and in JupyterLab; colours are the page's.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_SIDE = 76  # pixels on the page
_LIST = "display:flex;flex-wrap:wrap;gap:.6rem .5rem;list-style:none;margin:.2rem 0 1rem;padding:0"
_CARD = f"width:{_SIDE + 16}px;margin:0;font-size:.7rem;line-height:1.2;overflow-wrap:anywhere"
_PICTURE = f"display:block;width:{_SIDE}px;height:{_SIDE}px;object-fit:contain;margin:0 0 .15rem"
_EMPTY = f"{_PICTURE};border:1px dashed currentColor;box-sizing:border-box"


@dataclass(frozen=True)
class Card:
    """One item. ``picture`` is a WebP file, None if the item has none; ``notes`` are lines below the title."""

    item_id: str
    title: str
    picture: bytes | None
    notes: tuple[str, ...] = ()
    marked: bool = False  # a line beside the card

    def html(self) -> str:
        """The card as a list item."""
        name = escape(self.item_id, quote=True)
        if self.picture is None:
            shown = f'<span style="{_EMPTY}" role="img" aria-label="{name} has no picture"></span>'
        else:
            data = base64.b64encode(self.picture).decode()
            shown = f'<img src="data:image/webp;base64,{data}" alt="picture of {name}" style="{_PICTURE}">'
        lines = [f"<b>{escape(self.title) or name}</b>", *map(escape, self.notes)]
        line = ";border-left:3px solid currentColor;padding-left:.3rem" * self.marked
        return f'<li style="{_CARD}{line}">{shown}{"<br>".join(lines)}</li>'


@dataclass(frozen=True, repr=False)
class Gallery:
    """Rows of cards, each under its heading. Shown in a notebook as HTML."""

    rows: tuple[tuple[str, Sequence[Card]], ...]

    def to_html(self) -> str:
        """Every row as a heading and an ordered list; a heading that is a sentence may stand without cards."""
        parts = []
        for heading, cards in self.rows:
            parts.append(f'<p style="margin:.4rem 0 .1rem"><b>{escape(heading)}</b></p>')
            if cards:
                listed = "".join(card.html() for card in cards)
                parts.append(f'<ol class="gallery" style="{_LIST}">{listed}</ol>')
        return f'<div class="galleries">{"".join(parts)}</div>'

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        return "; ".join(f"{heading}: {', '.join(card.item_id for card in cards)}" for heading, cards in self.rows)
