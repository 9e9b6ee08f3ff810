"""Aids in rendered pages: definitions of terms, drawings in the page's colours, links that hold wherever it lies."""

import html
import re
from collections.abc import Mapping
from pathlib import Path

_TAG = re.compile(r"<[^>]+>")
_ENTRY = re.compile(r'<dt id="(term-[^"]+)">.*?</dt>|<dd>\s*<p>(.*?)</p>', re.DOTALL)
_TERM = re.compile(r'<a class="reference internal" href="([^"#]*)#(term-[^"]+)">(?=<span class="xref std std-term">)')
_FROM_ROOT = re.compile(r'href="/(book/[^"]+)"')
_DRAWING = re.compile(r'<img (?=[^>]*\bsrc="[^"]*_images/([\w-]+)\.svg")[^>]*?\balt="([^"]*)"[^>]*/?>')
_STYLE = re.compile(r"<style>.*?</style>\s*", re.DOTALL)
_PROLOGUE = re.compile(r"^.*?(?=<svg\b)", re.DOTALL)


def definitions_of(glossary: str) -> dict[str, str]:
    """Id of each term of a rendered glossary → its definition as plain text: the first paragraph below it."""
    found: dict[str, str] = {}
    waiting: list[str] = []  # terms that share the next definition
    for term, definition in _ENTRY.findall(glossary):
        if term:
            waiting.append(term)
        elif waiting:
            text = " ".join(html.unescape(_TAG.sub("", definition)).split())
            found |= dict.fromkeys(waiting, text)
            waiting = []
    return found


def with_definitions(page: str, definitions: Mapping[str, str]) -> str:
    """The page with each link to a term carrying its definition, which the style sheet shows on hover and focus."""

    def linked(match: re.Match[str]) -> str:
        if match[2] not in definitions:
            return match[0]
        text = html.escape(definitions[match[2]], quote=True)
        return f'<a class="reference internal term" href="{match[1]}#{match[2]}" data-definition="{text}">'

    return _TERM.sub(linked, page)


def with_near_links(page: str, up: str) -> str:
    """Links from the book's root, which tables made by code hold, relative to this page: ``up`` leads to the root."""
    return _FROM_ROOT.sub(rf'href="{up}\1"', page)


def with_drawings(page: str, drawings: Path) -> str:
    """Hand-made drawings as part of the page instead of a picture, so that they follow its theme.

    ``drawings`` holds them as SVG. Their own style is for those who open the file alone; the page's style sheet has the
    same classes.
    """

    def drawn(match: re.Match[str]) -> str:
        path = drawings / f"{match[1]}.svg"
        if not path.is_file():
            return match[0]
        svg = _PROLOGUE.sub("", _STYLE.sub("", path.read_text(encoding="utf-8")), count=1).strip()
        return svg.replace("<svg ", f'<svg role="img" aria-label="{match[2]}" ', 1)

    return _DRAWING.sub(drawn, page)
