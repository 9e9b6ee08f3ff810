"""The text of an item: its fields without markup, joined in a stated order."""

import html
import re
from collections.abc import Iterable

# what is inside these is not for readers; comments and declarations hold office markup
_HIDDEN = re.compile(r"<(script|style|xml)\b[^>]*>.*?</\1\s*>|<!--.*?-->|<[!?][^<>]*>", re.IGNORECASE | re.DOTALL)
# removed without a trace, so that "<b>bold</b>er" stays one word; every other tag separates words
_INLINE = re.compile(r"</?(a|b|i|u|em|strong|span|font|small|big|sub|sup)(\s[^<>]*)?/?>", re.IGNORECASE)
# a tag has a letter right after "<": "5 < 6 and 7 > 3" is no markup
_TAG = re.compile(r"</?[A-Za-z][\w:.-]*(\s[^<>]*)?/?>")
_BLANKS = re.compile(r"\s+")
_ENDS = ".!?:;…"
# reviews are the interactions, and related lists and ranks are made of them: no encoder may read them
_LEAKS = re.compile(
    r"(user|customer)?review|related|also(buy|bought|view)|boughttogether|buyafterview|salesrank|rating"
)


def leaks(field: str) -> bool:
    """Whether a field's name says that it tells of interactions: reviews, ratings, related items, sales ranks."""
    return _LEAKS.match(re.sub(r"[^a-z]", "", field.lower())) is not None


def without_markup(text: str) -> str:
    """``text`` with entities decoded and tags removed; runs of blanks and line breaks become one blank."""
    text = html.unescape(text)
    text = _HIDDEN.sub(" ", text)
    text = _INLINE.sub("", text)
    text = _TAG.sub(" ", text)
    return _BLANKS.sub(" ", text.replace("\x00", " ")).strip()


def compose(fields: Iterable[str]) -> str:
    """The non-empty fields in order, joined by ``". "``, or by a blank after a closing mark; "" if all are empty.

    MMRec joins with blanks and keeps markup (enoche/MMRec: its preprocessing notebooks). We remove it because encoders
    cut long texts, so markup would cost words.
    """
    text = ""
    for field in map(without_markup, fields):
        if field and text:
            text += (" " if text[-1] in _ENDS else ". ") + field
        else:
            text += field
    return text
