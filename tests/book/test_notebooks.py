"""The notebooks are thin, clean and complete on every track, with and without results."""

import ast
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from lmmrec_core.book.pages import pages
from lmmrec_core.flow import Result, Table
from lmmrec_core.names import TRACKS
from lmmrec_core.report.html import NOT_RUN
from lmmrec_core.study import Study
from tests.book.executing import execute, load, synthetic
from tests.report.training_records import aligned, tuned

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHARED = [page.source for page in pages(ROOT, ["shared"])]  # of no track
LOGIC = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.Try, ast.With,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip
COMMON = ("track", "seeds", "run", "data")
EXPECTED = ("00_data", "01_motivation", "02_rq1_pretrained", "03_rq2_training", "04_rq3_modalities")


def sources(path: Path, kind: str) -> list[str]:
    return [cell.source for cell in load(path).cells if cell.cell_type == kind]


def answers(path: Path) -> bool:
    """Whether a page answers a question of the study: that on the data, or one whose comparisons it concludes from."""
    return path.stem == "00_data" or any("conclude(" in source for source in sources(path, "code"))


QUESTIONS = [path for path in NOTEBOOKS if answers(path)]


def test_the_papers_questions_all_have_a_notebook() -> None:
    assert {path.stem for path in QUESTIONS} >= set(EXPECTED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestForm:
    def test_is_valid_and_names_its_kernel(self, path: Path) -> None:
        notebook = load(path)
        nbformat.validate(notebook)
        spec = notebook.metadata.kernelspec
        assert (spec.name, spec.language) == ("python3", "python")

    def test_holds_no_outputs_and_readable_ids(self, path: Path) -> None:
        cells = load(path).cells
        assert [cell.id for cell in cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)] == []
        assert len({cell.id for cell in cells}) == len(cells)
        assert all(cell.id.replace("-", "").isalnum() and len(cell.id) > 2 for cell in cells)
        assert all(cell.source.strip() for cell in cells)

    def test_is_thin(self, path: Path) -> None:
        for source in sources(path, "code"):
            found = [type(node).__name__ for node in ast.walk(ast.parse(source)) if isinstance(node, LOGIC)]
            assert found == [], source
            assert len(source.splitlines()) <= 20

    def test_starts_with_label_and_title(self, path: Path) -> None:
        lines = load(path).cells[0].source.splitlines()
        assert lines[0].startswith("(") and lines[0].endswith(")=")
        assert lines[1].startswith("# ")
        titles = [line for text in sources(path, "markdown") for line in text.splitlines() if line.startswith("# ")]
        assert len(titles) == 1

    def test_has_one_cell_of_explained_parameters(self, path: Path) -> None:
        tagged = [cell for cell in load(path).cells if "parameters" in cell.metadata.get("tags", [])]
        assert len(tagged) == 1
        assert load(path).cells.index(tagged[0]) == 1
        lines = tagged[0].source.splitlines()
        assert all(": " in line and " = " in line and "  # " in line for line in lines)
        if path not in SHARED:
            assert {line.split(":")[0] for line in lines} >= set(COMMON)

    def test_uses_every_parameter(self, path: Path) -> None:
        cells = [ast.parse(source) for source in sources(path, "code")]
        given = {node.target.id for node in cells[0].body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
        used = {node.id for cell in cells[1:] for node in ast.walk(cell) if isinstance(node, ast.Name)}
        assert given <= used

    def test_imports_only_what_it_uses(self, path: Path) -> None:
        nodes = [node for source in sources(path, "code") for node in ast.walk(ast.parse(source))]
        aliases = [alias for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        assert {alias.asname or alias.name for alias in aliases} <= used

    def test_types_no_number_of_a_result(self, path: Path) -> None:
        for text in sources(path, "markdown"):
            assert "0." not in text.replace("0.05", ""), text

    def test_every_kept_table_is_placed_and_captioned(self, path: Path) -> None:
        kept = {
            node.args[0].value  # type: ignore[attr-defined]
            for source in sources(path, "code")
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "show"
        }
        directives = [text.splitlines() for text in sources(path, "markdown") if text.startswith("```{glue-")]
        assert {lines[0].split()[1] for lines in directives} == kept
        assert all(len(lines) >= 3 and lines[1] for lines in directives)

    def test_every_figure_has_caption_and_text_for_the_blind(self, path: Path) -> None:
        for cell in load(path).cells:
            if cell.id.endswith("-figure"):
                assert cell.metadata["mystnb"]["figure"]["caption"]
                assert cell.metadata["mystnb"]["image"]["alt"]


def nothing_run(path: Path, track: str) -> str:
    """How a page ends without runs: no verdict on the paper where the data, or the question, cannot give one."""
    unasked = track != "paper" if path.stem == "00_data" else (track, path.stem) == ("controls", "02_rq1_pretrained")
    return "no verdict" if unasked else "not run"


@pytest.mark.parametrize("track", TRACKS)
@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_without_any_run_every_measured_cell_says_so(path: Path, track: str, glued: dict, empty_study: None) -> None:
    space = execute(path, track)
    told = [str(value) for name, value in glued.items() if name.startswith("verdict-")] or [str(glued["verdict"])]
    assert {text.partition(" (none of its ")[0] for text in told} == {nothing_run(path, track)}
    assert len(told) == (4 if track == "films" and path.stem != "00_data" else 1)
    tables = [value for value in space.values() if isinstance(value, Table)]
    measured = [table for table in tables if not table.name.startswith("changes")]
    assert all((table.origin == "not run").all().all() for table in measured)
    assert measured or path.stem == "00_data"
    for html in [glued[name].to_html() for name in glued if not name.startswith("verdict")]:
        assert "nan" not in html.lower()
        assert NOT_RUN in html or "printed" in html


@pytest.mark.parametrize("path", QUESTIONS[1:], ids=lambda path: path.stem)
def test_measured_numbers_reach_the_tables(
    path: Path, glued: dict, empty_study: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = synthetic("complementary")
    monkeypatch.setattr(Study, "results", lambda self, question=None: runs)
    space = execute(path, "controls", seeds=[1, 2])
    tables = [value for value in space.values() if isinstance(value, Table)]
    means = np.array([n for t in tables for n in t.values[t.origin == "measured"].to_numpy(dtype=float).ravel()])
    means = means[~np.isnan(means)]
    expected = {"03_rq2_training": set()}  # none of them was run
    assert set(np.round(means, 1)) == expected.get(path.stem, {0.1, 0.2})
    if path.stem == "01_motivation":
        assert "↓" in glued["table1"].to_html()  # one modality is below both, significantly
    if path.stem == "04_rq3_modalities":
        # complementary is found, the other two have no runs
        assert glued["verdict"].startswith("not run (planted: ") and "comparisons agree" in glued["verdict"]
        assert "Complementary: found" in space["answer"].sentence
    assert space["judged"].empty  # no claim of the paper is judged on synthetic data
    assert (
        glued["verdict"] == "no verdict" if path.stem == "02_rq1_pretrained" else space["answer"].question == "planted"
    )


def test_what_is_known_of_the_encoders_reaches_its_sections(
    glued: dict, empty_study: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rq1, rq2 = (ROOT / "notebooks" / f"{name}.ipynb" for name in ("02_rq1_pretrained", "03_rq2_training"))
    before, untrained = execute(rq1, "controls")["shown"], execute(rq2, "controls")["shown"]
    assert before["alignment"] == "No features of this track have been diagnosed yet."
    assert all(untrained[name].startswith("No ") for name in ("training", "retrieval", "end-to-end"))

    measured = {"pair.adjusted_overlap@10": 0.25, "pair.cka": 0.5}
    case = {"dataset": "null", "encoder": "clip", "paradigm": "PT", "time": "2026-01-01"}
    monkeypatch.setattr(Study, "diagnostics", lambda self: pd.DataFrame([{**case, **measured}]))
    assert "<td" in execute(rq1, "controls")["shown"]["alignment"]

    run = synthetic("null")[-1]
    notes = {"reading": "e2", "settings": {"part": "all", "policy": "window"}, "updates": 5}
    notes["feature_change"] = {"visual": 0.125}
    joint = Result(
        {**run.case, "encoder": "clip", "paradigm": "ETE", "control": "none"}, run.per_user, run.overall,
        {**run.record, "training": {"features": notes}},
    )  # fmt: skip
    monkeypatch.setattr(Study, "results", lambda self, question=None: [joint])
    monkeypatch.setattr(Study, "encoder_records", lambda self: [aligned(), tuned("null")])
    shown = execute(rq2, "controls")["shown"]
    assert "closed form: regularised CCA" in shown["training"] and "0.11 → 0.31 (0.025)" in shown["training"]
    assert "0.1 → 0.3" in shown["retrieval"]
    assert "the whole encoder" in shown["end-to-end"] and "0.125" in shown["end-to-end"]
