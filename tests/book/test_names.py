"""An encoder that a track makes itself carries its own name wherever something measured is shown."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from lmmrec_core.book.runner import read_notebook
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import Table
from lmmrec_core.names import ENCODER_TITLES, MEMBER_TITLES, TRACKS
from lmmrec_core.report.alignment import alignment_figure, alignment_listing
from lmmrec_core.report.changes import change_table
from lmmrec_core.report.compared import compared_listing
from lmmrec_core.report.encoder_training import loss_curves, retrieval_listing, training_listing
from lmmrec_core.report.end_to_end import end_to_end_listing
from lmmrec_core.report.figures import coverage_and_cost, forest, printed_and_measured, seed_strip, training_curves
from lmmrec_core.report.planted import PLANTED_TRAINING, planted_listing
from lmmrec_core.report.tables import ablation, table3, table4, table5
from lmmrec_core.report.verdict import judge_all, judged_listing
from lmmrec_core.study import Study
from lmmrec_core.study.comparisons import comparisons
from tests.report.training_records import aligned, tuned
from tests.study.made import made_results

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
OWN = {"controls": ("CLIP-tiny", "VLMo-tiny"), "films": ("CLIP-small", "VLMo-small")}
BARE = re.compile(r"\b(?:CLIP|VLMo)\b(?!-(?:tiny|small))(?!\S* / \S* \(paper\))")


def bare(text: str) -> list[str]:
    """Where a text names the paper's encoder without saying that it is the paper's."""
    return [line for line in re.split(r"(?<=\(paper\)),\s", text) if BARE.search(line) and "(paper)" not in line]


@pytest.mark.parametrize("track", OWN)
def test_a_track_names_its_own_encoders(track: str) -> None:
    study = Study.open(track)
    assert (study.labels.encoders["clip"], study.labels.encoders["vlmo"]) == OWN[track]
    assert all(f"**{title}**" in study.describe() for title in OWN[track])


def test_pages_of_a_track_without_data_sets_are_refused_with_the_cure() -> None:
    with pytest.raises(ConfigError, match=r"track 'user' names no data sets.*own_catalogue\.md"):
        Study.open("user").describe()


def test_the_papers_names_are_those_of_its_track() -> None:
    study = Study.open("paper")
    assert dict(study.labels.encoders) == ENCODER_TITLES and "not the paper's" not in study.describe()
    entries = {**study.track.encoders, "clip": {**study.track.encoders["clip"], "pretrain": {"source": "folder"}}}
    assert study.track.model_copy(update={"encoders": entries}).encoder_titles["clip"] == "clip-b16"


def test_only_the_papers_networks_bear_its_names() -> None:
    named = {member for member, title in MEMBER_TITLES.items() if title in ENCODER_TITLES.values()}
    assert named == {"clip-b16", "vlmo-base-plus"}


def test_the_front_page_names_the_encoders_of_each_track() -> None:
    rows = (ROOT / "book" / "index.md").read_text(encoding="utf-8").splitlines()
    for track in TRACKS:
        (row,) = (row for row in rows if row.startswith("| [") and f"_generated/{track}/00_data)" in row)
        cell = row.split("|")[3]
        titles = Study.open(track).labels.encoders
        assert re.search(rf"\b{titles['clip']} ", cell) and re.search(rf"\b{titles['vlmo']}\b", cell), track


def text_of(shown: object) -> Iterator[str]:
    """Every word that a table or a figure shows."""
    if isinstance(shown, Table):
        yield shown.caption
        shown = shown.values
    if isinstance(shown, pd.DataFrame):
        for axis in (shown.index, shown.columns):
            yield from (str(part) for label in axis for part in (label if isinstance(label, tuple) else (label,)))
        yield from (str(value) for value in shown.to_numpy().ravel())
        return
    assert isinstance(shown, Figure)
    for axes in shown.axes:
        ticks = (*axes.get_xticklabels(), *axes.get_yticklabels())
        yield from (text.get_text() for text in (axes.title, axes._left_title, *axes.texts, *ticks))
        yield from (axes.get_xlabel(), axes.get_ylabel())
    yield from (text.get_text() for legend in shown.legends for text in legend.get_texts())


def everything_measured(study: Study) -> Iterator[tuple[str, object]]:
    """Each table and figure of the result pages that can name an encoder, filled from made results."""
    results, labels, where = made_results(), study.labels, ["null"]
    for result in results:
        result.record["training"] = {
            "best_epoch": 1, "history": [{"number": 1, "loss": 1.0, "valid": 0.1}],
            "features": {"reading": "e1", "feature_change": {}, "updates": 1, "settings": {}},
        }  # fmt: skip
    tests = pd.concat([comparisons(name, results, where, ["ndcg@20"]) for name in ("rq1", "rq2", "rq3")])
    features = pd.DataFrame(
        {
            "dataset": "null", "encoder": ["clip", "vlmo", "clip"], "paradigm": ["PT", "FT", "ETE+vbpr"],
            "time": "2026", "pair.cka": 0.5,
        }
    )  # fmt: skip
    records = [aligned(), tuned(), tuned(encoder="vlmo")]
    yield "table3", table3(results, where, ["vbpr"], ["ndcg@20"], labels=labels)
    yield "table4", table4(results, where, ["vbpr"], ["ndcg@20"], labels=labels)
    yield "table5", table5(results, where, ["vbpr"], labels=labels)
    yield "ablation", ablation(results, where, ["vbpr"])
    for question in ("rq1", "rq2", "rq3"):
        changes = change_table(question, results, where, ["vbpr"], labels=labels)
        yield f"changes {question}", changes
        yield f"figure of changes {question}", printed_and_measured(changes)
        yield f"verdicts {question}", judged_listing(judge_all(question, tests, where, ["vbpr"]), labels=labels)
    yield "compared", compared_listing(tests, labels=labels)
    yield "planted", planted_listing(tests, expectations=PLANTED_TRAINING, labels=labels)
    yield "forest", forest(tests, labels=labels)
    yield "seeds", seed_strip(results, labels=labels)
    yield "coverage", coverage_and_cost(results, coverage="ndcg@20", labels=labels)
    yield "curves", training_curves(results, labels=labels)
    yield "alignment", alignment_listing(features, labels=labels)
    yield "figure of alignment", alignment_figure(features, "pair.cka", labels=labels)
    yield "encoders", training_listing(records, labels=labels)
    yield "retrieval", retrieval_listing(records, labels=labels)
    yield "losses", loss_curves(records, labels=labels)
    yield "end to end", end_to_end_listing(results, labels=labels)


@pytest.mark.parametrize("track", OWN)
def test_nothing_measured_there_bears_the_papers_names(track: str) -> None:
    study, named = Study.open(track), set()
    for what, shown in everything_measured(study):
        words = list(text_of(shown))
        assert not [hit for text in words for hit in bare(text)], what
        named |= {title for title in OWN[track] for text in words if title in text}
    assert named == set(OWN[track])


def test_a_row_of_printed_and_measured_numbers_names_both() -> None:
    table = change_table("rq1", [], ["ml-sparse"], ["vbpr"], labels=Study.open("films").labels)
    labels = table.values.index.get_level_values("label")
    assert labels[1] == "VBPR: CLIP-PT / baseline (paper),\nCLIP-small-PT / baseline (here)"
    paper = change_table("rq1", [], ["baby"], ["vbpr"], labels=Study.open("paper").labels)
    assert paper.values.index.get_level_values("label")[1] == "VBPR: CLIP-PT / baseline"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_pass_the_labels_of_their_track(path: Path) -> None:
    code = "\n".join(cell.source for cell in read_notebook(path).cells if cell.cell_type == "code")
    tree = ast.parse(code)
    functions = {
        alias.asname or alias.name: getattr(importlib.import_module(node.module), alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lmmrec_core.report")
        for alias in node.names
    }
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        function = functions.get(call.func.id) if isinstance(call.func, ast.Name) else None
        if function is not None and "labels" in inspect.signature(function).parameters:
            given = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert given.get("labels") == "study.labels", f"{path.stem}: {ast.unparse(call)}"


@pytest.mark.parametrize("track", OWN)
def test_executed_pages_bear_no_name_of_the_papers_on_what_was_measured(track: str) -> None:
    pages = sorted((ROOT / "book" / "_generated" / track).glob("*.ipynb"))
    if not pages:
        pytest.skip("no executed pages here; `make book` makes them")
    for path in pages:
        for cell in read_notebook(path).cells:
            if cell.cell_type != "code" or "printed_summary" in cell.source:
                continue  # the paper's own numbers
            for output in cell.outputs:
                if html := output.get("data", {}).get("text/html"):
                    measured = re.sub(r'<table id="T_printed.*?</table>', "", html, flags=re.DOTALL)
                    for text in re.findall(r">([^<>]+)<", measured):
                        assert not bare(text) or "in the place of" in text, f"{path.stem}: {text}"
