"""Rendered pages made fit for every reader: names, roles and heads, tables to take home, scripts that pages share."""

import html
import re
from collections.abc import Mapping
from pathlib import Path

from lmmrec_core.book.runner import read_notebook
from lmmrec_core.disk import write_file
from lmmrec_core.report.html import TABLES_KEPT

#: What the theme and the tools leave amiss → what stands there instead, and why.
_MENDED = (
    # the button shows “Search Ctrl+K”; a shorter name would hide that from whoever speaks to the browser
    (re.compile(r'(<button class="btn search-button-field[^>]*?) aria-label="Search"'), r"\1"),
    # so does this name: each fold says what it hides
    (re.compile(r'<summary aria-label="Toggle hidden content">'), "<summary>"),
    # a list has list items
    (re.compile(r'(<div class="citation"[^>]*?) role="doc-biblioentry"'), r'\1 role="listitem"'),
    # a head without text is an empty cell
    (re.compile(r"<th(?=[\s>])([^>]*)>((?:\s|&nbsp;|&#160;|<p>\s*</p>)*)</th>"), r"<td\1></td>"),
)
# the code of interactive tables, 700 kB on every page that has one
_LIBRARY = re.compile(r"<script>\s*(function injectCSS\(.*?)</script>", re.DOTALL)
_LIBRARY_FILE = "_static/interactive-tables.js"
_TABLE = re.compile(r'<table id="([^"]+)".*?</table>', re.DOTALL)


def finish_pages(site: Path, root: Path) -> None:
    """Finish every page of the rendered book in ``site``, made from the sources in ``root``; once after rendering.

    Tables that notebooks show get files beside the page, and links to them.
    """
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site)
        if name.parts[0].startswith("_"):
            continue
        found = path.read_text(encoding="utf-8")
        page = mended(found)
        if library := _LIBRARY.search(page):
            write_file(site / _LIBRARY_FILE, library[1])
            up = "../" * (len(name.parts) - 1)
            page = _LIBRARY.sub(f'<script src="{up}{_LIBRARY_FILE}"></script>', page)
        source = (root / name).with_suffix(".ipynb")
        if source.is_file():
            page = with_files(page, tables_of(source), path.with_suffix(""))
        if page != found:
            write_file(path, page)


def mended(page: str) -> str:
    """The page with what assistive technology stumbles over set right."""
    for found, instead in _MENDED:
        page = found.sub(instead, page)
    return page


def tables_of(notebook: Path) -> dict[str, dict[str, str]]:
    """Id of each table that an executed notebook shows → kind of file (csv, tex) → its text."""
    tables: dict[str, dict[str, str]] = {}
    for cell in read_notebook(notebook).cells:
        for output in cell.get("outputs", []):
            tables |= output.get("metadata", {}).get(TABLES_KEPT, {})
    return tables


def with_files(page: str, tables: Mapping[str, Mapping[str, str]], folder: Path) -> str:
    """The page with links below each of ``tables``, whose files are written to ``folder``, a sibling of the page."""

    def linked(match: re.Match[str]) -> str:
        files = tables.get(html.unescape(match[1]), {})
        links = []
        for kind, text in files.items():
            name = f"{match[1].removeprefix('T_')}.{kind}"
            write_file(folder / name, text)
            links.append(f'<a href="{folder.name}/{name}" download>{_KINDS[kind]}</a>')
        told = f'<p class="table-files">{" · ".join(links)}</p>' if links else ""
        return match[0] + told

    return _TABLE.sub(linked, page)


_KINDS = {"csv": "CSV", "tex": "LaTeX"}
