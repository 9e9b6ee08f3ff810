"""The chapter that the guide adds: its cells are a notebook like ours, and its pages are executed and rendered."""

import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lmmrec_core.book.execution import execute_page
from lmmrec_core.book.rendering import render
from lmmrec_core.book.runner import faults, read_notebook
from lmmrec_core.names import TRACKS
from lmmrec_core.study import Study
from tests.book import test_notebooks as notebooks
from tests.book.executing import execute
from tests.guides import ROOT, block

NAME = "20_costs"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebook, made of the guide's blocks as they stand there."""
    markdown = {number: block("add_chapter", "markdown", number) for number in (1, 2)}
    code = {number: block("add_chapter", "python", number) for number in (1, 2, 3)}
    cells = [
        new_markdown_cell(markdown[1].strip(), id="title"),
        new_code_cell(code[1].strip(), id="parameters", metadata={"tags": ["parameters"]}),
        new_code_cell(code[2].strip(), id="open"),
        new_code_cell(code[3].strip(), id="costs-table", metadata={"tags": ["remove-output"]}),
        new_markdown_cell(markdown[2].strip(), id="costs-caption"),
    ]
    kernel = read_notebook(ROOT / "notebooks" / "00_data.ipynb").metadata
    path = tmp_path_factory.mktemp("own") / f"{NAME}.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    return path


@pytest.mark.parametrize("check", [name for name in vars(notebooks.TestForm) if name.startswith("test_")])
def test_the_notebook_passes_the_checks_that_the_guide_points_to(check: str, own: Path) -> None:
    getattr(notebooks.TestForm(), check)(own)


def test_the_checks_of_pages_that_answer_a_question_are_not_asked_of_it(own: Path) -> None:
    assert not notebooks.answers(own)


def test_the_numbers_are_those_of_the_runs(
    own: Path, glued: dict, empty_study: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "nan" not in execute(own, "controls")["study"].describe() and glued["runs"] == 0
    receipt = pd.DataFrame(
        {"dataset": ["null", "null", "redundant"], "model": ["bpr", "bpr", "vbpr"], "seconds": [60.0, 30.0, 120.0],
         "peak MiB": [10.0, 20.0, 30.0]}
    )  # fmt: skip
    monkeypatch.setattr(Study, "receipt", lambda self: receipt)
    execute(own, "controls")
    assert glued["runs"] == 3
    assert glued["costs"].numbers["minutes"].tolist() == [1.5, 2.0]


@pytest.mark.slow
def test_its_pages_are_executed_and_rendered(
    own: Path, tmp_path: Path, empty_study: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A book of this chapter alone, its notebook executed by the runner on a machine without results."""
    site = tmp_path / "site"
    shutil.copytree(
        ROOT / "book", site / "book", ignore=shutil.ignore_patterns("_generated", "__pycache__", "chapters")
    )
    shutil.copy(ROOT / "_config.yml", site)
    (site / "notebooks").mkdir()
    shutil.copy(own, site / "notebooks")
    for track in TRACKS:
        execute_page(site, track, NAME)
    chapters = site / "book" / "chapters"
    chapters.mkdir()
    (chapters / "costs.md").write_text(block("add_chapter", "markdown", 3), encoding="utf-8")
    (site / "book" / "index.md").write_text("# A book\n\nOf one chapter: [](costs).\n", encoding="utf-8")
    listed = [*yaml.safe_load(block("add_chapter", "yaml")), {"file": "book/chapters/costs"}]
    toc = {"format": "jb-book", "root": "book/index", "parts": [{"caption": "Own", "chapters": listed}]}
    (site / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")
    done = render(site)
    assert done.returncode == 0, done.stdout + done.stderr
    for entry in listed:
        page = BeautifulSoup((site / "_build" / "html" / f"{entry['file']}.html").read_text(encoding="utf-8"), "lxml")
        text = " ".join(page.find("article").get_text(" ").split())
        if entry["file"].endswith(NAME):
            assert not faults(read_notebook(site / f"{entry['file']}.ipynb"))
            assert page.select_one("figure.results-table figcaption") and "What training costs" in text
        else:
            assert "rest on 0 runs" in text
