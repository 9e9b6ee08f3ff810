"""The planned comparisons end to end: the tables' numbers, the right sign, and a question that is one entry."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.flow import Result
from lmmrec_core.questions import MODALITY_SPECIFIC, QUESTIONS, Pair, Question, Variant, parse_question, trained
from lmmrec_core.report.changes import change_table, printed_summary
from lmmrec_core.report.compared import compared_listing
from lmmrec_core.report.layout import Layout, TableRow, by_case, fill_measured, metric_columns, run_mean
from lmmrec_core.report.tables import table3, table4
from lmmrec_core.report.verdict import judge_all, verdict
from lmmrec_core.study.cases import all_cases
from lmmrec_core.study.comparisons import comparisons, planned_pairs
from lmmrec_core.study.declared.track_file import read_track
from tests.study.made import made_results

STORED = list(csv.DictReader((Path(__file__).parent / "comparisons.csv").read_text(encoding="utf-8").splitlines()))
METRIC = "ndcg@20"


def spelled(side: tuple[str, Variant]) -> str:
    model, variant = side
    return " ".join((model, variant.encoder, variant.paradigm, variant.modalities, variant.control))


@pytest.mark.parametrize("question", ["motivation", "rq1", "rq2", "rq3"])
def test_comparisons_are_those_of_the_stored_file(question: str) -> None:
    """Which pairs, in which direction, in which family, with which p values."""
    found = comparisons(question, made_results(METRIC), ["null", "absent"], [METRIC])
    sides = [[spelled(side) for side in test["pair"].sides(test["model"])] for test in found.to_dict("records")]
    stored = {(row["a"], row["b"]): row for row in STORED if row["question"] == question}
    assert sorted(map(tuple, sides)) == sorted(stored)
    for (a, b), test in zip(sides, found.to_dict("records"), strict=True):
        row = stored[a, b]
        assert test["family"] == row["family"]
        numbers = [test[name] for name in ("difference", "p", "p_holm")]
        assert numbers == pytest.approx([float(row[name]) for name in ("difference", "p", "p_holm")], rel=1e-9)


def test_an_arm_that_changes_nothing_teaches_nothing_about_seeds() -> None:
    """Its runs are those of its cell: counted twice, they would double the degrees of freedom."""
    results = made_results(METRIC, seeds=(1, 2, 3))
    again = [
        Result({**r.case, "arm": "raw"}, r.per_user, r.overall, {**r.record, "shared": True})
        for r in results
        if r.case["model"] == "vbpr" and Variant.of(r.case).whole
    ]
    assert again
    for question in ("rq1", "rq2"):
        tests = [comparisons(question, some, ["null"], [METRIC]) for some in (results, [*results, *again])]
        pd.testing.assert_frame_equal(*tests)


@pytest.mark.parametrize("question", ["motivation", "rq1", "rq2", "rq3"])
def test_what_is_compared_are_the_cells_of_the_tables(question: str) -> None:
    """One estimand: bit for bit the means that the tables show, though sixty users are forty persons."""
    results = made_results(METRIC, seeds=(1, 2, 3))
    cells = by_case(results)
    found = comparisons(question, results, ["null"], [METRIC])
    for test in found.to_dict("records"):
        shown = [
            float(np.mean([run_mean(run, METRIC) for run in cells["null", model, variant].values()]))
            for model, variant in test["pair"].sides(test["model"])
        ]
        assert [test["mean_a"], test["mean_b"]] == shown
        assert test["difference"] == shown[0] - shown[1]
        assert test["relative"] == (shown[0] - shown[1]) / shown[1]
        assert (test["n"], test["persons"], test["seeds"]) == (60, 40, 3)
    layout = Layout(
        tuple(TableRow("g", f"{number}", model, variant) for number, (_, model, variant) in enumerate(cells)),
        metric_columns(["null"], [METRIC]),
    )
    values = dict(zip(cells, fill_measured("t", "", layout, results).values.iloc[:, 0], strict=True))
    for test in found.to_dict("records"):
        assert values["null", test["model"], test["pair"].a] == test["mean_a"]


def test_one_seed_has_no_stars_and_says_so() -> None:
    results = [result for result in made_results(METRIC) if result.case["seed"] == 1]
    found = comparisons("rq2", results, ["null"], [METRIC])
    assert not found["testable"].any() and (found["p_holm"] == 1).all() and np.isinf(found["mde"]).all()
    marks = table4(results, ["null"], metrics=[METRIC], comparisons=found).marks
    assert marks is not None and (marks == "").all().all()
    assert set(compared_listing(found)["p"]) == {"not testable"}


def test_a_pair_has_one_p_value_whatever_was_read_with_it() -> None:
    """The spread over seeds is learnt from the cells of the question, not from what else happens to be at hand."""
    results = made_results(METRIC, seeds=(1, 2, 3))
    few = [result for result in results if QUESTIONS["motivation"].reads(Variant.of(result.case))]
    assert len(few) < len(results)
    one, other = (comparisons("motivation", given, ["null"], [METRIC]) for given in (results, few))
    assert one["p"].tolist() == other["p"].tolist()


def results_of(values: dict[tuple[str, Variant], float]) -> list[Result]:
    """Two runs per (recommender, variant) on Baby, 50 users around the value."""
    noise = np.random.default_rng(3).normal(0, 0.001, 50)
    found = []
    for number, ((model, variant), value) in enumerate(values.items()):
        for seed in (1, 2):
            case = {"track": "paper", "dataset": "baby", "model": model, "seed": seed, **vars(variant)}
            values_of = {METRIC: value + np.roll(noise, number) + 0.001 * (seed - 1.5)}
            frame = pd.DataFrame(values_of, index=pd.Index(range(50), name="user"))
            found.append(Result(case, frame, {}, {"key": f"{number}-{seed}", "schema": 1, "data": {"split": "s"}}))
    return found


def test_a_run_whose_encoder_was_not_trained_is_tested_against_nothing() -> None:
    sides = {("vbpr", MODALITY_SPECIFIC): 0.2, ("vbpr", trained("clip", "ETE")): 0.3}
    whole = results_of(sides)
    notes = {"training": {"features": {"trained": False}}}
    idle = [replace(r, record={**r.record, **notes}) if r.case["paradigm"] == "ETE" else r for r in whole]
    assert [str(pair) for pair in comparisons("rq2", whole, ["baby"], [METRIC])["pair"]] == ["CLIP-ETE / baseline"]
    assert comparisons("rq2", idle, ["baby"], [METRIC]).empty


def test_the_sign_of_a_pair_reaches_table_and_verdict() -> None:
    """The paper prints 0.0336 with CLIP-PT and 0.0329 with the baseline (VBPR, Baby): measured the same way round."""
    values = {("vbpr", MODALITY_SPECIFIC): 0.2, ("vbpr", trained("clip", "PT")): 0.3, ("bpr", Variant()): 0.1}
    results = results_of(values)
    tests = comparisons("rq1", results, ["baby"], [METRIC])
    assert [str(pair) for pair in tests["pair"]] == ["baseline / twin", "CLIP-PT / baseline"]
    assert tests["difference"].tolist() == pytest.approx([0.1, 0.1], abs=1e-3)
    assert tests["relative"].tolist() == pytest.approx([1.0, 0.5], rel=1e-2)
    marks = table3(results, ["baby"], ["vbpr"], [METRIC], tests).marks
    assert marks is not None
    assert marks.iloc[:, 0].to_dict() == {("VBPR", "VBPR"): "", ("VBPR", "VBPR VLMo"): "", ("VBPR", "VBPR CLIP"): "↑"}
    judged = judge_all("rq1", tests, ["baby"], ["vbpr"]).set_index("pair")
    assert judged.loc[Pair(trained("clip", "PT"), MODALITY_SPECIFIC), "word"] == "supports"

    turned = results_of({side: 0.5 - value for side, value in values.items()})
    tests = comparisons("rq1", turned, ["baby"], [METRIC])
    assert (tests["difference"] < 0).all()
    marks = table3(turned, ["baby"], ["vbpr"], [METRIC], tests).marks
    assert marks is not None and marks.iloc[2, 0] == "↓"
    judged = judge_all("rq1", tests, ["baby"], ["vbpr"]).set_index("pair")
    assert judged.loc[Pair(trained("clip", "PT"), MODALITY_SPECIFIC), "word"] == "contradicts"


def test_a_further_question_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(trained("vlmo", "PT"), trained("clip", "PT"))
    added = Question("rq4", "One encoder or two", lambda variant: variant.paradigm == "PT", (pair,), (pair,), (pair,))
    monkeypatch.setitem(QUESTIONS, "rq4", added)
    assert parse_question("4") == "rq4"
    read = {case.paradigm for case in all_cases(read_track("paper"), [1]) if "rq4" in case.questions()}
    assert read == {"PT"}
    assert len(planned_pairs("rq4")) == 5
    results = results_of({("vbpr", pair.a): 0.3, ("vbpr", pair.b): 0.2})
    tests = comparisons("rq4", results, ["baby"], [METRIC])
    assert tests["difference"].tolist() == pytest.approx([0.1], abs=1e-3)
    assert printed_summary("rq4")["pair"].tolist() == ["VLMo-PT / CLIP-PT"]
    assert "One encoder or two" in change_table("rq4", results, ["baby"], ["vbpr"]).caption
    assert verdict("rq4", tests, ["baby"], ["vbpr"]).counts["not run"] == 0
