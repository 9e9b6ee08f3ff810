"""Definitions at the words they define, drawings in the page's colours, links that hold wherever the book lies."""

from pathlib import Path

import pytest

from lmmrec_core.book.aids import definitions_of, with_definitions, with_drawings, with_near_links
from lmmrec_core.book.finishing import finish_pages

GLOSSARY = """<dl class="glossary">
<dt id="term-Recall-K">Recall@K<a class="headerlink" href="#term-Recall-K">#</a></dt><dd><p>The <em>share</em> &amp;
found.</p>
<p>More.</p></dd>
<dt id="term-a">a<a>#</a></dt><dt id="term-b">b<a>#</a></dt><dd><p>Both say "this".</p>
</dd></dl>"""
LINK = '<a class="reference internal" href="glossary.html#term-{}"><span class="xref std std-term">it</span></a>'


def test_a_definition_is_the_first_paragraph_below_its_terms() -> None:
    both = 'Both say "this".'
    assert definitions_of(GLOSSARY) == {"term-Recall-K": "The share & found.", "term-a": both, "term-b": both}


def test_a_link_to_a_term_carries_its_definition() -> None:
    page = with_definitions(LINK.format("a") + LINK.format("none"), definitions_of(GLOSSARY))
    assert (
        'class="reference internal term" href="glossary.html#term-a" data-definition="Both say &quot;this&quot;."'
        in page
    )
    assert LINK.format("none") in page


def test_other_links_stay_as_they_are() -> None:
    page = '<a class="reference internal" href="glossary.html#term-a"><span class="doc">it</span></a>'
    assert with_definitions(page, definitions_of(GLOSSARY)) == page


@pytest.mark.parametrize(("up", "found"), [("../", "../book/x.html#y"), ("", "book/x.html#y")])
def test_links_from_the_root_become_relative(up: str, found: str) -> None:
    assert with_near_links('<a href="/book/x.html#y"> <a href="/other">', up) == f'<a href="{found}"> <a href="/other">'


def test_a_drawing_becomes_part_of_the_page_with_its_description(tmp_path: Path) -> None:
    style = "<style>\n.drawn { color: #222; }\n</style>"
    drawing = f'<?xml version="1.0"?>\n<svg class="drawn" viewBox="0 0 1 1">\n{style}\n<path/></svg>\n'
    (tmp_path / "mine.svg").write_text(drawing, encoding="utf-8")
    page = '<img alt="Six &quot;boxes&quot;" src="../../_images/mine.svg" /><img alt="" src="_images/other.svg"/>'
    assert with_drawings(page, tmp_path) == (
        '<svg role="img" aria-label="Six &quot;boxes&quot;" class="drawn" viewBox="0 0 1 1">\n<path/></svg>'
        '<img alt="" src="_images/other.svg"/>'
    )


def test_pages_are_finished_with_all_three(tmp_path: Path) -> None:
    site, page = tmp_path / "site", tmp_path / "site" / "book" / "chapters" / "x.html"
    page.parent.mkdir(parents=True)
    (page.parent / "glossary.html").write_text(GLOSSARY, encoding="utf-8")
    drawings = tmp_path / "root" / "book" / "_static"
    drawings.mkdir(parents=True)
    (drawings / "flow.svg").write_text('<svg class="drawn"></svg>', encoding="utf-8")
    page.write_text(
        f'{LINK.format("b")}<a href="/book/i.html"><img alt="f" src="../../_images/flow.svg">', encoding="utf-8"
    )
    finish_pages(site, tmp_path / "root")
    found = page.read_text(encoding="utf-8")
    assert (
        "data-definition=" in found
        and 'href="../../book/i.html"' in found
        and '<svg role="img" aria-label="f"' in found
    )
