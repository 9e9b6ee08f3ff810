"""What helps a reader in: the front page, the drawings, the glossary, and pages that are all built alike."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lmmrec_core.report.abstract import ABSTRACT
from lmmrec_core.study.evidence.printed import PrintedAudit
from tests.book.source import NOTEBOOKS, QUESTION_PAGES, ROOT, SHOWING, cells

FRONT = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
CHAPTERS = sorted((ROOT / "book").glob("**/*.md"))
DRAWINGS = sorted((ROOT / "book" / "_static").glob("*.svg"))
FIGURE = re.compile(r"```\{figure\} \.\./_static/([\w-]+\.svg)\n(?::name: \S+\n)?:alt: (.+)\n")
TERM = re.compile(r"\{term\}`(?:[^`<]*<)?([^`<>]+)>?`")


def glossary() -> dict[str, str]:
    """Term → definition, as written."""
    text = (ROOT / "book" / "chapters" / "glossary.md").read_text(encoding="utf-8")
    entries = [
        entry for block in re.findall(r"```\{glossary\}\n(.*?)```", text, re.DOTALL) for entry in block.split("\n\n")
    ]
    return {entry.strip().partition("\n")[0]: " ".join(entry.strip().partition("\n")[2].split()) for entry in entries}


def test_the_front_page_begins_with_the_abstract_on_trial_and_two_commands_and_how_to_cite() -> None:
    first = FRONT.partition("\n## ")[0]
    assert "```{glue-table} trial" in first and "```{glue-figure} story" in first
    assert re.findall(r"^make \w+.*?(?=  +#)", first, re.MULTILINE) == ["make reproduce", "make reproduce RQ=2"]
    assert "CITATION.cff" in first
    title = re.search(r'^title: "(.+)"$', (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert title and title[1] in first


def test_the_front_page_explains_every_word_of_its_table() -> None:
    for word in ("supports", "contradicts", "inconclusive", "not run", "transfers", "does not transfer"):
        assert f"*{word}*" in FRONT.replace("\n", " ")
    assert all(f"*{word}*" in FRONT.replace("\n", " ") for word in ("found", "not found", "cannot tell", "no verdict"))
    assert "agreement between them is not further evidence" in " ".join(FRONT.split())


def test_the_claims_of_the_abstract_lead_to_pages_and_to_claims_of_the_audit() -> None:
    audited = {claim.name for claim in PrintedAudit().claims}
    for claim in ABSTRACT:
        assert ROOT / "notebooks" / f"{claim.page}.ipynb" in QUESTION_PAGES
        assert claim.audited in audited
        assert f'conclude("{claim.question}"' in cells(ROOT / "notebooks" / f"{claim.page}.ipynb", "code")


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.stem)
def test_a_drawing_is_small_names_no_colour_of_its_own_outside_its_style_and_fetches_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    assert len(text) < 8_000 and text.startswith('<svg class="drawn"')
    drawn = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    assert not re.search(r"#[0-9a-f]{3}|\burl\(|href|<image|\bid=", drawn.replace("http://www.w3.org/2000/svg", ""))
    styled = (ROOT / "book" / "_static" / "custom.css").read_text(encoding="utf-8")
    classes = {name for names in re.findall(r'class="([^"]+)"', drawn) for name in names.split()}
    assert all(f".{name}" in styled for name in classes), "the page's style sheet lacks a class"


def test_every_drawing_is_in_a_chapter_with_a_description() -> None:
    found = {name: alt for path in CHAPTERS for name, alt in FIGURE.findall(path.read_text(encoding="utf-8"))}
    assert set(found) == {path.name for path in DRAWINGS}
    assert all(len(alt) > 80 for alt in found.values())


def test_the_drawing_of_the_flow_names_folders_of_the_package_in_their_order() -> None:
    text = (ROOT / "book" / "_static" / "flow.svg").read_text(encoding="utf-8")
    folders = " ".join(re.findall(r'class="file[^>]*>([^<]+)<', text)).split()
    assert folders == [
        "data/",
        "encoders/",
        "recommenders/",
        "training/",
        "metrics/",
        "results/",
        "significance/",
        "report/",
    ]
    assert all((ROOT / "lmmrec_core" / folder).is_dir() for folder in folders)


def test_every_term_is_defined_shortly_and_used() -> None:
    defined = glossary()
    used = {name for path in CHAPTERS for name in TERM.findall(path.read_text(encoding="utf-8"))}
    assert used <= set(defined)
    assert len(defined) > 40 and all(40 < len(text) < 260 for text in defined.values())


def test_a_chapter_links_a_term_once() -> None:
    for path in CHAPTERS:
        found = TERM.findall(path.read_text(encoding="utf-8"))
        assert len(found) == len(set(found)) or path.stem == "index", path.name


def test_pages_have_the_same_bones() -> None:
    for path in NOTEBOOKS:
        headings = re.findall(r"^## (.+)$", cells(path, "markdown"), flags=re.MULTILINE)
        if path.stem in SHOWING:
            continue
        assert headings[0] == "Verdict", path
        if path in QUESTION_PAGES or path.stem[:2] in ("06", "07", "08", "10"):
            bones = [
                name for name in headings if name in ("What we did", "What could explain it", "What we did not do")
            ]
            assert bones == ["What we did", "What could explain it", "What we did not do"], path
            assert (
                re.search(r"^\*\*The (claim|question)\.\*\*", cells(path, "markdown"), re.MULTILINE)
                or path.stem[:2] == "10"
            )
