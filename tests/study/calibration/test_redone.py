"""Cases redone: what the first runs said is stored whole; what is said today is what the tables' test says."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from lmmrec_core.flow import Result
from lmmrec_core.questions import SHUFFLED, Variant
from lmmrec_core.report.html import signed_percent
from lmmrec_core.report.labels import PAPER_LABELS
from lmmrec_core.study.calibration.redone import (
    REDONE,
    REDONE_NAME,
    REDONE_TRACK,
    _of_unit_rows,
    _side,
    redone,
    redone_listing,
)
from lmmrec_core.study.cases import all_cases, reason_not_run
from lmmrec_core.study.comparisons import comparisons
from lmmrec_core.study.declared.settings import resolve
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.workspace import Workspace
from tests.study.made import made_results

METRIC = "ndcg@20"


def made_study(results: list[Result]) -> Any:
    titles = {"sparse": "ML-sparse", "dense": "ML-dense"}
    counted = SimpleNamespace(counted=tuple(results))
    return SimpleNamespace(results=lambda: counted, labels=PAPER_LABELS, titles=titles)


def runs_of_today() -> list[Result]:
    """Made runs with VBPR's content and its controls, under the name of a data set of the cases."""
    found = []
    for number, result in enumerate(made_results(METRIC, seeds=(1, 2, 3))):
        record = {**result.record, "training": {"best_step": 60 * number}}
        found.append(Result({**result.case, "dataset": "sparse"}, result.per_user, result.overall, record))
    return found


def test_what_the_first_runs_said_is_whole_and_agrees_with_itself() -> None:
    for case in yaml.safe_load(REDONE.read_text(encoding="utf-8"))["cases"]:
        then = case["then"]
        assert [run["seed"] for run in then["a"]] == [run["seed"] for run in then["b"]] == [1, 2, 3]
        for metric, tested in then["tests"].items():
            a, b = (sum(run[metric] for run in then[side]) for side in "ab")
            assert a / b - 1 == pytest.approx(tested["change"], abs=2e-4)
            assert 0 < tested["p"] < 0.01  # all of them had stars


def test_what_was_not_run_says_so() -> None:
    shown = redone(made_study([]))
    assert shown["runs"].tolist() == ["first runs", "today"] * 3 + ["first runs", "today", "today, unit rows"] * 3
    today = shown[shown["runs"] != "first runs"].drop(columns=["decided_by", "compared", "runs"])
    assert (today == "not run").all(axis=None)


def test_today_it_says_what_the_tables_say() -> None:
    results = runs_of_today()
    shown = redone(made_study(results), METRIC).set_index(["compared", "runs"])
    row = shown.loc[("ML-sparse: VBPR baseline against baseline (shuffled)", "today")]
    tests = comparisons("rq3", results, ["sparse"], [METRIC])
    test = next(t for t in tests.to_dict("records") if t["model"] == "vbpr" and t["pair"] == SHUFFLED)
    assert row["change"] == f"{100 * test['relative']:+.1f} %".replace("-", "−")
    assert row["interval"] == " to ".join(signed_percent(test[f"relative_{end}"]) for end in ("low", "high"))
    assert row["p"] == pytest.approx(test["p"], abs=0.02)  # there the spread is learnt from the question's cells alone
    assert str(row["keys"]) == "sparse-vbpr-baseline-VT, sparse-vbpr-baseline-VT-shuffled"
    assert row["kept"].startswith("step ") and len(row["by seed"].split(", ")) == 3


def test_its_track_runs_both_sides_of_each_comparison_and_nothing_else() -> None:
    track = read_track(str(REDONE_TRACK))
    assert track.name == REDONE_NAME
    planned = {
        (case.dataset, case.model, Variant.of(case.model_dump()))
        for case in all_cases(track, track.seeds)
        if reason_not_run(case, track) is None
    }
    asked = set()
    for case in yaml.safe_load(REDONE.read_text(encoding="utf-8"))["cases"]:
        for side in (_side(case[name], case["model"]) for name in "ab"):
            asked.add((case["dataset"], *side))
            if case["decided_by"] == "scale":
                asked.add((case["dataset"], *_of_unit_rows(side)))
    assert planned == asked


def test_its_settings_are_those_of_the_first_runs() -> None:
    track = read_track(str(REDONE_TRACK))
    for name, then in yaml.safe_load(REDONE.read_text(encoding="utf-8"))["settings"].items():
        model, training = resolve(Workspace.open(track), name)
        now = {**training.model_dump(mode="json"), **model.model_dump(mode="json")}
        assert {key: now[key] for key in then} == then, name


def test_rows_are_scaled_where_there_are_any() -> None:
    whole = Variant("baseline", modalities="V&T")
    assert _of_unit_rows(("vbpr", whole)) == ("vbpr", replace(whole, arm="unit"))
    for side in (("bpr", Variant()), ("vbpr", replace(whole, control="zero"))):
        assert _of_unit_rows(side) == side


def test_one_listing_a_cause() -> None:
    cases = redone(made_study([]), METRIC)
    shown = [redone_listing(cases, cause).to_html() for cause in ("stopping", "scale")]
    assert [html.count("<tr>") for html in shown] == [1 + 6, 1 + 9]
    assert ["BM3" in html for html in shown] == [True, False]
    assert ["VLMo-PT" in html for html in shown] == [False, True]
    assert "2e-18" in shown[0]  # a small p is not shown as 0
