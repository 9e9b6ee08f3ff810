"""The text of an item: its fields without markup, joined in a stated order."""

import html
import re
from collections.abc import Iterable

# what is inside these is not for readers; comments and declarations hold office markup
_OPENS = re.compile(r"<(?:(script|style|xml)\b|!--)", re.IGNORECASE)
_CLOSES = {
    name: re.compile(rf"</{name}\s*>" if name != "!--" else "-->", re.IGNORECASE)
    for name in ("script", "style", "xml", "!--")
}
_DECLARATION = re.compile(r"<[!?][^<>]*>")
# removed without a trace, so that "<b>bold</b>er" stays one word; every other tag separates words
_INLINE = frozenset(("a", "b", "i", "u", "em", "strong", "span", "font", "small", "big", "sub", "sup"))
_NAMES = """
    abbr acronym address applet area article aside audio base basefont bdi bdo blink blockquote body br button canvas
    caption center cite code col colgroup data datalist dd del details dfn dialog dir div dl dt embed fieldset
    figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html iframe img image input ins
    kbd label legend li link main map mark marquee menu meta meter nav nobr noframes noscript object ol optgroup option
    output p param picture pre progress q rp rt ruby s samp script search section select slot source spacer strike style
    summary svg table tbody td template textarea tfoot th thead time title tr track tt ul var video wbr xml xmp
"""
_ELEMENTS = _INLINE.union(_NAMES.split())
_SWITCHES = """
    async autofocus autoplay checked compact controls declare default defer disabled hidden ismap itemscope loop
    multiple muted nohref noresize noshade novalidate nowrap open readonly required reversed selected allowfullscreen
"""
_VALUELESS = frozenset(_SWITCHES.split())  # attributes that stand without a value
# a tag has a letter right after "<": "5 < 6 and 7 > 3" is no markup; what follows the name may hold no "<", and ">" in
# a quoted value alone. Nothing is tried twice (possessive): the time stays linear
_TAG = re.compile(r"""<(/?)([A-Za-z][\w:.-]*)((?:[\s/](?:=\s*+(?:"[^"<]*+"|'[^'<]*+')|[^<>])*+)?)>""")
_OFFICE = re.compile(r"[a-z]\w*:[a-z][\w.-]*")  # o:p
_LONG_NUMBER = re.compile(r"&#[0-9]{1000,};?")  # Python refuses to convert numbers of 4300 digits
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
    """``text`` with entities decoded and tags removed; runs of blanks and line breaks become one blank.

    Only what HTML calls a tag is one: ``a<b and c>d`` and ``List<String>`` keep their words. The time needed grows
    with the length of the text and no faster, whatever is in it.
    """
    text = html.unescape(_LONG_NUMBER.sub("\ufffd", text))
    text = _DECLARATION.sub(" ", _without_hidden(text))
    text = _TAG.sub(_replaced, text)
    return _BLANKS.sub(" ", text.replace("\x00", " ")).strip()


def _without_hidden(text: str) -> str:
    """``text`` with a blank in the place of scripts, style sheets, office markup and comments that have an end."""
    kept: list[str] = []
    endless: set[str] = set()  # what was not found from some place on is not looked for again
    done = place = 0
    while opened := _OPENS.search(text, place):
        place = opened.end()
        name = (opened[1] or "!--").lower()
        if name != "!--":
            place = _find(">", text, place, endless)
        closed = None if name in endless or place < 0 else _CLOSES[name].search(text, place)
        if closed is None:
            endless.add(name)
            if len(endless) > len(_CLOSES):
                break
            place = opened.end()
            continue
        kept += (text[done : opened.start()], " ")
        done = place = closed.end()
    return "".join([*kept, text[done:]])


def _find(mark: str, text: str, place: int, endless: set[str]) -> int:
    found = -1 if mark in endless else text.find(mark, place)
    if found < 0:
        endless.add(mark)
    return found + 1 if found >= 0 else found


def _replaced(tag: re.Match[str]) -> str:
    """What stands in the place of a tag: nothing, a blank, or, if it is none, itself."""
    name, rest = tag[2].lower(), tag[3].strip(" \t\r\n\f\v/")
    known = name in _ELEMENTS or _OFFICE.fullmatch(name)
    if not known or not ("=" in rest or _VALUELESS.issuperset(rest.lower().split())):
        return tag[0]
    return "" if name in _INLINE else " "


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
