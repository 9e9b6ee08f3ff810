"""The notebooks are thin, clean and complete on every track, with and without results."""

import ast
import itertools
from html import escape
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat import NotebookNode

from lmmrec_core.audit.ledger import read_ledger
from lmmrec_core.book.pages import pages
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import Result, Table
from lmmrec_core.names import FLOOR_MODELS, TRACKS
from lmmrec_core.report.html import NOT_RUN
from lmmrec_core.report.rule import read_rule
from lmmrec_core.study import Study
from lmmrec_core.study.calibration.files import add_line, part_path
from lmmrec_core.study.calibration.worlds import worlds_of
from lmmrec_core.study.track import read_track
from tests.report.training_records import aligned, tuned
from tests.study.calibration.conftest import made_line

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHARED = [page.source for page in pages(ROOT, ["shared"])]  # of no track
_NAMES = ("06_audit", "07_public_code", "09_verdicts")
AUDIT, PUBLIC_CODE, VERDICTS = (ROOT / "notebooks" / f"{name}.ipynb" for name in _NAMES)
QUESTIONS = [path for path in NOTEBOOKS if path.stem != "05_receipt" and path not in SHARED]
LOGIC = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.Try, ast.With,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip
COMMON = ("track", "seeds", "run", "data")
EXPECTED = ("00_data", "01_motivation", "02_rq1_pretrained", "03_rq2_training", "04_rq3_modalities")


def load(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def sources(path: Path, kind: str) -> list[str]:
    return [cell.source for cell in load(path).cells if cell.cell_type == kind]


def test_the_papers_questions_all_have_a_notebook() -> None:
    assert {path.stem for path in NOTEBOOKS} >= set(EXPECTED)


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
        directives = [text.splitlines() for text in sources(path, "markdown") if text.startswith("```{glue-table}")]
        assert {lines[0].split()[1] for lines in directives} == kept
        assert all(len(lines) >= 3 and lines[1] for lines in directives)

    def test_every_figure_has_caption_and_text_for_the_blind(self, path: Path) -> None:
        for cell in load(path).cells:
            if cell.id.endswith("-figure"):
                assert cell.metadata["mystnb"]["figure"]["caption"]
                assert cell.metadata["mystnb"]["image"]["alt"]


def execute(path: Path, track: str | None, **parameters: Any) -> dict[str, Any]:
    """Run the code cells in this process, the parameters set after their cell; the last expressions are rendered."""
    space: dict[str, Any] = {}
    for cell in load(path).cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source)
        if shows := isinstance(tree.body[-1], ast.Expr):
            tree.body[-1] = ast.parse(f"_last = {ast.unparse(tree.body[-1])}").body[0]
        exec(compile(tree, f"{path.name}:{cell.id}", "exec"), space)  # our own notebooks
        if shows:
            space.setdefault("shown", {})[cell.id] = _rendered(space["_last"])
        if cell.id == "parameters":
            space.update({"track": track} if track else {}, **parameters)
    return space


def _rendered(value: Any) -> str:
    for way in ("_repr_html_", "_repr_markdown_"):
        if hasattr(value, way):
            return str(getattr(value, way)())
    return repr(value)


@pytest.fixture
def glued(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    monkeypatch.setattr("myst_nb.glue", lambda name, value, display=True: kept.update({name: value}))
    return kept


@pytest.fixture
def empty_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path))


def nothing_run(path: Path, track: str) -> str:
    """How a page ends without runs: no verdict on the paper where the data, or the question, cannot give one."""
    unasked = track != "paper" if path.stem == "00_data" else (track, path.stem) == ("controls", "02_rq1_pretrained")
    return "no verdict" if unasked else "not run"


@pytest.mark.parametrize("track", TRACKS)
@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_without_any_run_every_measured_cell_says_so(path: Path, track: str, glued: dict, empty_study: None) -> None:
    space = execute(path, track)
    assert str(glued["verdict"]).partition(" (none of its ")[0] == nothing_run(path, track)
    tables = [value for value in space.values() if isinstance(value, Table)]
    measured = [table for table in tables if not table.name.startswith("changes")]
    assert all((table.origin == "not run").all().all() for table in measured)
    assert measured or path.stem == "00_data"
    for html in [glued[name].to_html() for name in glued if name != "verdict"]:
        assert "nan" not in html.lower()
        assert NOT_RUN in html or "printed" in html


def synthetic(dataset: str) -> list[Result]:
    """Two models on one data set, with real content best by a margin that users do not blur."""
    rng = np.random.default_rng(0)
    noise = rng.random(40) * 0.01
    cases = [(model, "none", "none", "none") for model in FLOOR_MODELS]
    for model in ("vbpr", "lattice"):
        cases += [(model, "baseline", m, "none") for m in ("V&T", "V", "T")]
        cases += [(model, "baseline", "V&T", c) for c in ("shuffled", "noise", "zero")]
    results = []
    for (model, encoder, modalities, control), seed in itertools.product(cases, (1, 2)):
        level = 0.2 if modalities == "V&T" and control == "none" else 0.1
        values = level + noise + rng.random(40) * 0.01
        metrics = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
        per_user = pd.DataFrame(dict.fromkeys(metrics, values), index=pd.RangeIndex(40, name="user"))
        case = {"track": "controls", "dataset": dataset, "model": model, "encoder": encoder, "paradigm": "none"}
        case |= {"modalities": modalities, "control": control, "seed": seed}
        record = {
            "key": "0" * 16, "case": case, "training": None, "cost": {"seconds": 1.0},
            "data": {"split": "s", "catalogue": "c"}, "features": None, "settings": {},
        }  # fmt: skip
        results.append(Result(case, per_user, {"coverage@20": 0.5}, record))
    return results


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


# --- pages of no track


def test_the_audit_shows_every_claim_and_every_impossible_system(glued: dict) -> None:
    shown = execute(AUDIT, None)["shown"]
    assert glued["verdict"].startswith("27 claims: 6 hold, 1 hold roughly")
    assert "9 of 135 printed quadruples" in shown["verdict"] and "33 of 36 cells" in shown["verdict"]
    assert (
        glued["verdicts"].to_html().count('<th id="T_verdicts') in (0, 27 + 6)
        and "83/120" in glued["verdicts"].to_html()
    )
    assert shown["impossible"].count("Amazon") == 6 and "0.0489" in shown["impossible"]
    assert "0.001173" in shown["counts"] and ">inside<" not in shown["bands-outside"]
    assert "MMGCN" in shown["bands-outside"] and "4 of 12" in shown["gaps"]
    assert all("nan" not in text.lower() for text in shown.values())


def test_with_other_held_out_items_the_audit_counts_otherwise(glued: dict) -> None:
    assert "0 of 135 printed quadruples" in execute(AUDIT, None, held_out="any")["shown"]["verdict"]


def test_the_ledger_shows_every_difference_or_those_of_one_part(glued: dict) -> None:
    shown = execute(PUBLIC_CODE, None)["shown"]
    names = [difference.name for difference in read_ledger().differences]
    assert all(any(f">{escape(name)}<" in text for text in shown.values()) for name in names)
    one = execute(PUBLIC_CODE, None, part="MMGCN")["shown"]
    assert "ids and preferences" in one["mmgcn"] and one["lattice"] == one["data-evidence"] == ""
    with pytest.raises(ConfigError, match="did you mean 'MMGCN'"):
        execute(PUBLIC_CODE, None, part="MMGC")


@pytest.mark.parametrize(
    ("track", "dataset", "words"),
    [("paper", "baby", ("supports", "contradicts")), ("movielens", "sparse", ("transfers", "does not transfer"))],
)
def test_a_page_gives_words_with_their_evidence_on_real_data(
    track: str, dataset: str, words: tuple[str, str], glued: dict, empty_study: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = synthetic(dataset)
    monkeypatch.setattr(Study, "results", lambda self, question=None: runs)
    space = execute(ROOT / "notebooks" / "01_motivation.ipynb", track, seeds=[1, 2])
    judged = space["judged"][space["judged"]["outcome"] != "absent"]
    assert set(judged["dataset"]) == {dataset} and set(judged["model"]) == {"lattice"}
    assert set(judged["word"]) <= {*words, "inconclusive"}
    shown = space["shown"]
    assert all(text in shown["judged"] for text in ("detectable", "persons", "because"))
    assert "the printed changes are true" in shown["characteristics"] and "lead needed" in shown["claims"]
    assert read_rule().digest in shown["verdict"]


def test_the_page_of_the_rule_states_it_and_what_it_would_say(glued: dict) -> None:
    shown = execute(VERDICTS, None, draws=500)["shown"]
    assert glued["verdict"] == read_rule().digest and read_rule().digest in shown["rule"]
    for page in ("characteristics", "elsewhere"):
        assert shown[page].count("nothing exists") == 12  # four questions, three sizes
    assert "does not transfer" in shown["elsewhere"] and "contradicts" in shown["characteristics"]
    assert "% at most" in shown["verdict"] and read_rule().history[0].digest in shown["history"]


CALIBRATION = next(path for path in SHARED if path.stem == "08_calibration")


def test_without_any_world_the_calibration_says_not_run(glued: dict, empty_study: None) -> None:
    shown = execute(CALIBRATION, None)["shown"]
    listings = set(shown) - {"open", "bars", "p-value-figure", "power-figure", "verdict"}
    assert {shown[name] for name in listings} == {"*Not run yet: `make calibrate`.*"} and len(listings) == 11
    assert shown["bars"].count(">not run<") == 2 * 4 and shown["verdict"].count("not run") == 6
    assert "0 null worlds, 0 planted worlds, 0 power worlds, 0 capacity worlds, 0 pairs" in shown["open"]
    assert {glued[f"{name}_rate"] for name in ("null", "aa", "aa_worlds")} == {"not run"}
    with pytest.raises(ConfigError, match="did you mean 'ndcg@20'"):
        execute(CALIBRATION, None, metric="ndcg@10")


def test_what_worlds_say_reaches_the_calibration(glued: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path))
    track = read_track("controls")
    for part, gain in (("null", 0.0), ("planted", 0.3), ("power", 0.05), ("capacity", 0.2)):
        for world in worlds_of(part, 4):
            add_line(part_path(tmp_path / "results", part), made_line(world, track, gain), "committed")
    space = execute(CALIBRATION, None)
    shown, page = space["shown"], space["page"]
    assert "4 null worlds, 8 planted worlds, 20 power worlds, 4 capacity worlds" in shown["open"]
    assert ">holds<" in shown["bars"] and "100.0 %" in shown["bars"]
    assert "too few yet" in shown["bars"]  # four worlds are not 200
    assert shown["null-rates"].count("LATTICE") == 2 and shown["divisions"].count("<tr>") == 4
    assert "VBPR: baseline real / T shuffled" in shown["planted"] and "Redundant" in shown["planted"]
    assert page.curve["content"].tolist() == [0.0, 0.05, 0.1, 0.2, 0.4, 1.0, 1.0]
    assert shown["capacity"].count("MMGCN") == 3 and shown["against-itself-worlds"].count("<tr>") == 7
    assert (glued["null_worlds"], glued["power_complementary"], glued["aa_worlds_pairs"]) == ("4", "100.0 %", "48")
    assert [axes.get_xlabel() for axes in page.power().axes] == ["planted effect"]
    labels = [text.get_text() for text in page.null_figure().axes[0].get_legend().get_texts()]
    assert labels == ["a right test, 95 %", "users and seeds (the book)", "users only"]
    assert all("nan" not in text.lower() for text in shown.values())
