"""Rendered pages made fit for every reader: names, roles and heads, tables and figures to take home, shared scripts."""

import base64
import html
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from lmmrec_core.book.aids import definitions_of, with_definitions, with_drawings, with_near_links
from lmmrec_core.book.runner import read_notebook
from lmmrec_core.disk import write_file
from lmmrec_core.report.figure_files import FIGURE_KEPT
from lmmrec_core.report.html import TABLES_KEPT


def _as_lines(match: re.Match[str]) -> str:
    """The parameters of a signature, each on a line."""
    return f'<div class="sig-lines">\n{match[1].replace("<dd>", "<div>").replace("</dd>", "</div>")}</div>'


#: What the theme and the tools leave amiss → what stands there instead, and why.
_MENDED: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    # the button shows “Search Ctrl+K”; a shorter name would hide that from whoever speaks to the browser
    (re.compile(r'(<button class="btn search-button-field[^>]*?) aria-label="Search"'), r"\1"),
    # so does this name: each fold says what it hides
    (re.compile(r'<summary aria-label="Toggle hidden content">'), "<summary>"),
    # of a field for searching, off means nothing
    (re.compile(r'(<input\b(?=[^>]*type="search")[^>]*?)\s+autocomplete="off"'), r"\1"),
    # a list has list items
    (re.compile(r'(<div class="citation"[^>]*?) role="doc-biblioentry"'), r'\1 role="listitem"'),
    # a list of definitions has terms, and a signature in several lines is none
    (re.compile(r'<dl>\n((?:<dd><em class="sig-param">.*</em>,</dd>\n)+)</dl>'), _as_lines),
    # a head without text is an empty cell
    (re.compile(r"<th(?=[\s>])([^>]*)>((?:\s|&nbsp;|&#160;|<p>\s*</p>)*)</th>"), r"<td\1></td>"),
)
# the code of interactive tables, 700 kB on every page that has one
_LIBRARY = re.compile(r"<script>\s*(function injectCSS\(.*?)</script>", re.DOTALL)
_LIBRARY_FILE = "_static/interactive-tables.js"
_GLOSSARY = "book/chapters/glossary.html"
_TABLE = re.compile(r'<table id="([^"]+)".*?</table>', re.DOTALL)
_FIGURE = re.compile(r"<figure\b.*?</figure>", re.DOTALL)
_PICTURE = re.compile(r'<img\b[^>]*\bsrc="([^"]+\.svg)"')


def finish_pages(site: Path, root: Path) -> None:
    """Finish every page of the rendered book in ``site``, made from the sources in ``root``; once after rendering.

    Tables and figures that notebooks show get files beside the page, and links to them; terms of the glossary get their
    definition.
    """
    glossary = site / _GLOSSARY
    definitions = definitions_of(glossary.read_text(encoding="utf-8")) if glossary.is_file() else {}
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site)
        if name.parts[0].startswith("_"):
            continue
        found = path.read_text(encoding="utf-8")
        up = "../" * (len(name.parts) - 1)
        page = with_near_links(with_definitions(mended(found), definitions), up)
        page = with_drawings(page, root / "book" / "_static")
        if library := _LIBRARY.search(page):
            write_file(site / _LIBRARY_FILE, library[1])
            page = _LIBRARY.sub(f'<script src="{up}{_LIBRARY_FILE}"></script>', page)
        source = (root / name).with_suffix(".ipynb")
        if source.is_file():
            page = with_files(page, tables_of(source), path.with_suffix(""))
            page = with_figure_files(page, figures_of(source), path)
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
            links.append(_kept(folder, f"{match[1].removeprefix('T_')}.{kind}", text))
        return match[0] + _told(links)

    return _TABLE.sub(linked, page)


def figures_of(notebook: Path) -> dict[str, dict[str, str | bytes]]:
    """SVG of each figure that an executed notebook shows → name of file → its content; files are named by the cell."""
    figures: dict[str, dict[str, str | bytes]] = {}
    for cell in read_notebook(notebook).cells:
        shown = [output for output in cell.get("outputs", []) if FIGURE_KEPT in output.get("metadata", {})]
        for number, output in enumerate(shown, start=1):
            files, svg = output["metadata"][FIGURE_KEPT], str(output["data"]["image/svg+xml"])
            name = f"{cell['id']}{f'-{number}' if len(shown) > 1 else ''}"
            contents: dict[str, str | bytes] = {"svg": svg, "pdf": base64.b64decode(files["pdf"]), "csv": files["csv"]}
            figures[_lines(svg)] = {f"{name}.{kind}": content for kind, content in contents.items()}
    return figures


def with_figure_files(page: str, figures: Mapping[str, Mapping[str, str | bytes]], path: Path) -> str:
    """The page at ``path`` with links below each of ``figures``, whose files are written to a folder beside it."""

    def linked(match: re.Match[str]) -> str:
        picture = _PICTURE.search(match[0])
        file = path.parent / html.unescape(picture[1]) if picture else None
        if file is None or not file.is_file():
            return match[0]
        files = figures.get(_lines(file.read_text(encoding="utf-8")), {})
        return match[0] + _told([_kept(path.with_suffix(""), name, content) for name, content in files.items()])

    return _FIGURE.sub(linked, page) if figures else page


def _lines(svg: str) -> str:
    """A picture's text, however its lines end: what two copies of it have in common."""
    return "\n".join(svg.splitlines())


def _kept(folder: Path, name: str, content: str | bytes) -> str:
    """A link to a file that is written to the page's folder."""
    write_file(folder / name, content)
    return f'<a href="{folder.name}/{name}" download>{_KINDS[name.rpartition(".")[2]]}</a>'


def _told(links: list[str]) -> str:
    return f'<p class="table-files">{" · ".join(links)}</p>' if links else ""


_KINDS = {"csv": "CSV", "tex": "LaTeX", "svg": "SVG", "pdf": "PDF"}
