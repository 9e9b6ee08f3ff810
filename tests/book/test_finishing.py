"""Rendered pages are finished: names, roles and heads set right, files of tables beside the page, one shared script."""

import base64
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from lmmrec_core.book.finishing import finish_pages, mended, tables_of, with_files
from lmmrec_core.report.figure_files import FIGURE_KEPT
from lmmrec_core.report.html import TABLES_KEPT

TABLE = '<div><table id="T_main" class="results"><tr><td>0.12</td></tr></table></div>'
LIBRARY = "<script>\n\nfunction injectCSS(base64CSS) { return 1; }\n</script>"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '<button class="btn search-button-field x" title="Search" aria-label="Search" data-y="1">Search Ctrl+K',
            '<button class="btn search-button-field x" title="Search" data-y="1">Search Ctrl+K',
        ),
        ('<button class="btn search-button" aria-label="Search"></button>', None),  # a picture alone needs its name
        ('<summary aria-label="Toggle hidden content">\n<p>Code</p>', "<summary>\n<p>Code</p>"),
        ('<div class="citation" id="a" role="doc-biblioentry">', '<div class="citation" id="a" role="listitem">'),
        (
            '<dl>\n<dd><em class="sig-param">a</em>,</dd>\n<dd><em class="sig-param">b</em>,</dd>\n</dl>',
            '<div class="sig-lines">\n<div><em class="sig-param">a</em>,</div>\n'
            '<div><em class="sig-param">b</em>,</div>\n</div>',
        ),
        ("<dl>\n<dt>term</dt><dd>what it is</dd>\n</dl>", None),
        ('<input type="search" name="q" autocomplete="off" x="y">', '<input type="search" name="q" x="y">'),
        ('<input type="text" autocomplete="off">', None),
        ('<th class="head"></th>', '<td class="head"></td>'),
        ('<th class="head"><p> </p></th><th>a</th>', '<td class="head"></td><th>a</th>'),
        ("<th>&nbsp;</th>", "<td></td>"),
        ("<thead></thead><th>x&nbsp;</th>", None),
    ],
)
def test_what_readers_aids_stumble_over_is_mended(before: str, after: str | None) -> None:
    assert mended(before) == (before if after is None else after)


def executed(path: Path) -> Path:
    """A notebook that shows a table, and one output without any."""
    kept = {TABLES_KEPT: {"T_main": {"csv": "a\n0.1234567\n", "tex": "\\begin{tabular}"}}}
    outputs = [new_output("display_data", {"text/html": TABLE}, metadata=kept), new_output("stream", text="x")]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_code_cell("1", outputs=outputs)]), path)
    return path


def test_tables_are_found_by_their_ids(tmp_path: Path) -> None:
    assert tables_of(executed(tmp_path / "a.ipynb")) == {"T_main": {"csv": "a\n0.1234567\n", "tex": "\\begin{tabular}"}}


def test_a_table_without_numbers_has_no_links(tmp_path: Path) -> None:
    page = TABLE.replace("T_main", "T_other")
    assert with_files(page, {"T_main": {"csv": "a"}}, tmp_path / "a") == page
    assert not (tmp_path / "a").exists()


def test_pages_get_files_and_one_shared_script(tmp_path: Path) -> None:
    root, site = tmp_path / "root", tmp_path / "site"
    executed(root / "book" / "x" / "a.ipynb")
    for name in ("book/x/a.html", "index.html", "_static/mine.html"):
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{TABLE}{LIBRARY}<th></th>", encoding="utf-8")
    finish_pages(site, root)
    page, front, apart = (
        (site / name).read_text(encoding="utf-8") for name in ("book/x/a.html", "index.html", "_static/mine.html")
    )
    assert '</table><p class="table-files"><a href="a/main.csv" download>CSV</a> · <a href="a/main.tex"' in page
    assert (site / "book/x/a/main.csv").read_text(encoding="utf-8") == "a\n0.1234567\n"
    assert '<script src="../../_static/interactive-tables.js"></script>' in page and "injectCSS" not in page
    assert '<script src="_static/interactive-tables.js"></script>' in front and "table-files" not in front
    assert "injectCSS(base64CSS)" in (site / "_static" / "interactive-tables.js").read_text(encoding="utf-8")
    assert "<th>" in apart and "<td></td>" in page


def test_figures_get_their_files_and_links_below_them(tmp_path: Path) -> None:
    svg = '<?xml version="1.0"?>\n<svg>curve</svg>\n'
    kept = {FIGURE_KEPT: {"csv": "epoch,valid\n1,0.5\n", "pdf": base64.b64encode(b"%PDF-1.4").decode()}}
    root, site = tmp_path / "root", tmp_path / "site"
    (root / "book").mkdir(parents=True)
    output = new_output("display_data", {"image/svg+xml": svg}, metadata=kept)
    nbformat.write(
        new_notebook(cells=[new_code_cell("1", id="curve-figure", outputs=[output])]), root / "book" / "a.ipynb"
    )
    (site / "book").mkdir(parents=True)
    (site / "_images").mkdir()
    (site / "_images" / "1.svg").write_bytes(
        svg.rstrip().replace("\n", "\r\n").encode()
    )  # as another system ends lines
    (site / "_images" / "2.svg").write_text("<svg>drawn by hand</svg>")
    figures = [
        f'<figure class="align-default" id="controls-{n}"><img alt="x" src="../_images/{n}.svg" /></figure>'
        for n in (1, 2)
    ]
    (site / "book" / "a.html").write_text("".join(figures), encoding="utf-8")
    finish_pages(site, root)
    page = (site / "book" / "a.html").read_text(encoding="utf-8")
    links = ("SVG</a> · ", "PDF</a> · ", "CSV</a></p>")
    assert page.count('<p class="table-files">') == 1 and all(link in page for link in links)
    assert page.startswith(figures[0] + '<p class="table-files"><a href="a/curve-figure.svg" download>')
    files = {file.name: file.read_bytes() for file in (site / "book" / "a").iterdir()}
    assert files == {
        "curve-figure.svg": svg.encode(),
        "curve-figure.pdf": b"%PDF-1.4",
        "curve-figure.csv": b"epoch,valid\n1,0.5\n",
    }
