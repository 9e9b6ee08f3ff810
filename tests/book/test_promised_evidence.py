"""What the chapters promise about tests, verdicts, data and receipts is kept."""

import json
import re

import pandas as pd
import pytest

from lmmrec_core.flow import Table
from lmmrec_core.questions import ALPHA, MARGIN, QUESTIONS
from lmmrec_core.report.figures import forest, printed_and_measured
from lmmrec_core.report.planted import conclude
from lmmrec_core.report.receipt import listing
from lmmrec_core.report.tables import table2
from lmmrec_core.results.provenance import ALLOW, COMPUTES
from lmmrec_core.significance.power import POWER
from lmmrec_core.study import Study
from lmmrec_core.study.calibration.summary import FEWEST
from lmmrec_core.study.calibration.worlds import GROUPS, WORLDS, DrawnWorld
from lmmrec_core.study.cases import Case, all_cases, reason_not_run
from lmmrec_core.study.comparisons import comparisons, planned_pairs
from lmmrec_core.study.declared.searched import SearchedCell
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.inputs import prepare_cases
from lmmrec_core.study.run import plan, run_case
from tests.book.source import NOTEBOOKS, QUESTION_PAGES, ROOT, SHOWING, cells, chapter, table_under
from tests.study.conftest import tiny_workspace

# --- significance


def test_families_have_the_sizes_that_the_chapter_states() -> None:
    stated = {row[0].lower(): int(row[2]) for row in table_under(chapter("significance"), "question")}
    assert stated == {name: len(planned_pairs(name)) for name, question in QUESTIONS.items() if question.planned}


def test_comparisons_hold_what_the_chapter_says_they_hold() -> None:
    held = set(comparisons("rq1", [], ["baby"]).columns)
    assert {"relative", "relative_low", "relative_high", "p_holm", "mde", "mde_holm", "share_gained", "family"} <= held
    for path in QUESTION_PAGES:  # the difference with its interval, effect, share of users and detectable change, p
        code = cells(path, "code")
        shown = ("forest", "change_table", "compared_listing", "judged_listing")
        assert all(f"{name}(" in code for name in shown), path


def test_margin_and_level_are_those_that_the_chapter_states() -> None:
    text = chapter("significance")
    assert f"{MARGIN:.0%}".replace("%", " % of the reference's mean") in text.replace("\n", " ")
    outcomes = {row[0] for row in table_under(text, "outcome")}
    assert outcomes == {"equivalent", "different", "cannot tell"} and f"p < {ALPHA}" in text


def test_the_page_of_rq3_reads_the_baselines_pairs_from_the_family_of_the_motivation() -> None:
    code = cells(next(path for path in QUESTION_PAGES if "rq3" in path.name), "code")
    assert 'study.comparisons("motivation"' in code and 'conclude("rq3", tested,' in code


def test_the_calibration_is_what_its_page_says() -> None:
    text = " ".join(cells(next(path for path in NOTEBOOKS if "calibration" in path.stem), "markdown").split())
    assert "their seeds, from 5026 on, are used nowhere else" in text
    used = {int(dataset.options["seed"]) for dataset in read_track("controls").datasets.values()}
    assert min(group.first for group in GROUPS) == 5026 > max(used)
    assert "The worlds 5001 to 5025 were looked at when the test was chosen and do not count" in text
    assert "VBPR and LATTICE are trained three times with the content and three times with the content shuffled" in text
    (null,) = (group for group in GROUPS if group.part == "null")
    assert null.models == ("vbpr", "lattice") and len(null.variants) == 2 and len(read_track("controls").seeds) == 3
    assert "five worlds in a row learn it together" in text and null.block == 5
    assert "four times in five" in text and POWER == 0.8
    whole = [group for group in GROUPS if group.kind == "complementary" and group.content == 1]
    assert [group.part for group in whole] == ["planted"]
    assert min(group.content for group in GROUPS if group.part == "power") == 0
    assert WORLDS["null"] >= 200 and min(WORLDS["planted"], WORLDS["power"]) >= 20
    assert "the settings that the track of the controls declares, before any search" in text
    cell = SearchedCell(dataset="null", model="vbpr", encoder="baseline", settings={"learning_rate": 0.001})
    track = read_track("controls").model_copy(update={"searched": (cell,)})
    world = DrawnWorld(null, null.first)
    assert world.track(track).searched == () and world.declared(track) == world.declared(read_track("controls"))
    assert "MMGCN is trained with V&T, with V, with V *twice*" in text and "and with V and texts of other items" in text
    (capacity,) = (group for group in GROUPS if group.part == "capacity")
    assert WORLDS["capacity"] >= 10 and "Fewer than ten clusters" in text and FEWEST == 10
    assert capacity.kind == "null" and capacity.models == ("mmgcn",)
    assert [(v.modalities, v.control) for v in capacity.variants] == [
        ("V&T", "none"), ("V", "none"), ("V&V", "none"), ("V&T", "shuffled-T")
    ]  # fmt: skip


# --- data


def test_sessions_and_persons_are_counted_apart() -> None:
    study = Study.open("films")
    counted = study.statistics().loc["ml-sparse"]
    shown = table2(study.statistics()).values
    assert shown.loc["Users", "ML-sparse"] == counted["users"] and shown.loc["Items", "ML-sparse"] == counted["items"]
    assert shown.loc["Persons behind the users", "ML-sparse"] == counted["persons"] < counted["users"]
    assert f"{counted['users']:,.0f} users, behind whom are {counted['persons']:,.0f} persons" in chapter(
        "data"
    ).replace("\n", " ")


# --- reading


def test_every_page_of_results_begins_with_its_verdict_and_says_why_something_was_not_run() -> None:
    for path in NOTEBOOKS:
        if path.stem in SHOWING:
            continue
        headings = re.findall(r"^## (.+)$", cells(path, "markdown"), flags=re.MULTILINE)
        assert headings[0] == "Verdict", path
        assert ("What was not run" in headings) == (path in QUESTION_PAGES), path


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A few small runs of a tiny track: one of content, one without."""
    home = tmp_path_factory.mktemp("home")
    workspace = tiny_workspace(home / "results", home / "cache")
    fields = {"track": "controls", "dataset": "complementary"}
    content = {"model": "vbpr", "encoder": "baseline", "modalities": "V&T"}
    for more in ({"model": "bpr"}, content):
        case = Case.build({**fields, **more}, "case")
        prepare_cases([case], workspace)
        run_case(plan(case, workspace), workspace)
    return Study(workspace, (1,))


def test_the_receipt_and_the_run_record_lead_from_a_number_to_its_run(stored: Study) -> None:
    shown = listing(stored.receipt()).set_index("key")
    promised = {"catalogue", "split", "features", "weights", "settings", "commit"}
    assert promised <= set(shown.columns) and len(shown)
    folder = next((stored.workspace.results / "controls" / "complementary").glob("vbpr-baseline-VT-s1-*"))
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    row = shown.loc[record["key"]]
    full = (record["data"]["catalogue"], record["data"]["split"], record["features"]["digest"])
    assert [row[name] for name in ("catalogue", "split", "features")] == [found[:8] for found in full]
    assert all(len(found) == 64 for found in full) and (folder / "per_user.parquet").is_file()


def test_the_receipt_lists_every_distinct_source_of_its_runs(stored: Study) -> None:
    sources, receipt = stored.sources(), stored.receipt()
    assert len(receipt) == 2
    assert "study.sources()" in cells(next(path for path in NOTEBOOKS if "receipt" in path.name), "code")
    assert sources["from"].map(bool).all()
    for what in ("catalogue", "split"):
        listed = sources[sources["what"] == what]["digest"].str[:8]
        assert sorted(listed) == sorted(set(receipt[what]))
    weights = {found for row in receipt["weights"] if row != "none" for found in row.split(", ")}
    assert weights == set(sources[sources["what"] == "weights"]["digest"].str[:8])
    features = sources[sources["what"] == "features"]["digest"].str[:8]
    assert set(features) <= set(receipt["features"])


def test_a_cell_of_uncommitted_code_is_what_the_chapter_says() -> None:
    assert "`lmmrec_core/`, `pyproject.toml`, `requirements.txt`" in chapter("results")
    assert COMPUTES == ("lmmrec_core", "pyproject.toml", "requirements.txt")
    assert f"{ALLOW}=1 make book" in chapter("results")


def compared(low: float, high: float) -> pd.DataFrame:
    pair = QUESTIONS["rq1"].planned[1]
    row = {
        "dataset": "baby", "model": "vbpr", "metric": "ndcg@20", "pair": pair, "difference": (low + high) / 2,
        "ci_low": low, "ci_high": high, "p_holm": 0.01,
    }  # fmt: skip
    return pd.DataFrame([row])


@pytest.mark.parametrize("side", [1, -1])
def test_axes_of_differences_show_zero(side: int) -> None:
    axes = forest(compared(*sorted((side * 0.5, side * 0.6)))).axes[0]
    assert "95 % interval" in axes.get_xlabel()
    index = pd.MultiIndex.from_tuples([("VBPR", "VBPR: a / b")], names=["group", "label"])
    columns = pd.MultiIndex.from_tuples([("Printed", "Amazon Baby"), ("Measured", "Amazon Baby")])
    values = pd.DataFrame([[side * 0.5, side * 0.6]], index=index, columns=columns)
    origin = pd.DataFrame("derived", index=index, columns=columns)
    for shown in (axes, printed_and_measured(Table("changes", "", values, origin)).axes[0]):
        low, high = sorted(shown.get_xlim())
        assert low <= 0 <= high


def test_on_a_phone_the_first_column_stays() -> None:
    style = (ROOT / "book" / "_static" / "custom.css").read_text(encoding="utf-8")
    rule = style[style.index("table.results th.row_heading,") :].partition("}")[0]
    assert "position: sticky" in rule and "left: 0" in rule
    assert re.search(r"div\.cell_output \{ overflow-x: auto", style)


def test_a_track_without_results_says_so_in_words(tmp_path) -> None:
    study = Study(tiny_workspace(tmp_path / "results", tmp_path / "cache"), (1,))
    assert "**This track has no results yet**" in study.describe()
    assert conclude("rq1", pd.DataFrame(), ["ml-sparse"]).brief.startswith("not run (none of its ")
    front = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    assert "A track without any says so in words, here and on its pages" in front
    for path in QUESTION_PAGES:
        assert "Markdown(study.describe())" in cells(path, "code")


def test_mmgcn_has_no_controls_on_the_track_of_the_controls_as_page_and_track_say() -> None:
    text = " ".join(cells(next(path for path in QUESTION_PAGES if "rq3" in path.name), "markdown").split())
    assert "MMGCN has neither one modality alone nor controls of its own" in text
    track = read_track("controls")
    run = [case for case in all_cases(track, track.seeds) if case.model == "mmgcn" and not reason_not_run(case, track)]
    assert run and {(case.modalities, case.control) for case in run} == {("V&T", "none")}
    rq1 = " ".join(cells(next(path for path in QUESTION_PAGES if "rq1" in path.name), "markdown").split())
    reading = " ".join((ROOT / "book" / "chapters" / "reading.md").read_text(encoding="utf-8").split())
    assert all("MMGCN has one run a cell" in page for page in (rq1, reading)) and {case.seed for case in run} == {1}
