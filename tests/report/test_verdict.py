import math

import pandas as pd
import pytest

from lmmrec_core.names import PAPER_MODELS
from lmmrec_core.questions import MODALITY_SPECIFIC, PICTURES_AND_NOISE, QUESTIONS, Pair, single, trained
from lmmrec_core.report.changes import claimed_changes
from lmmrec_core.report.planted import PLANTED_TRAINING, answer, planted_listing, planted_verdict
from lmmrec_core.report.published import DATASETS
from lmmrec_core.report.statistics import data_verdict, density_check
from lmmrec_core.report.verdict import judge, judge_all, judged_listing, overall, verdict
from tests.report.conftest import comparison

NONE = pd.DataFrame()
PRETRAINED = Pair(trained("clip", "PT"), MODALITY_SPECIFIC)
KINDS = ("complementary", "redundant", "null")


@pytest.mark.parametrize(
    ("printed", "difference", "p", "status"),
    [
        (0.05, 0.01, 0.01, "reproduced"),
        (0.05, 0.01, 0.05, "same direction"),
        (0.05, -0.01, 0.01, "not reproduced"),
        (0.05, 0.0, 1.0, "not reproduced"),
        (-0.05, -0.01, 0.01, "reproduced"),
        (-0.05, 0.01, 0.9, "not reproduced"),
        (0.0, 0.01, 0.01, "not reproduced"),
        (0.0, 0.01, 0.5, "reproduced"),
        (0.05, None, None, "not run"),
        (0.05, math.nan, 0.01, "not run"),
    ],
)
def test_rule_of_one_comparison(printed: float, difference: float | None, p: float | None, status: str) -> None:
    assert judge(printed, difference, p) == status


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ((0, 0, 0, 4), "not run"),
        ((1, 0, 0, 2), "not run"),
        ((2, 0, 0, 2), "reproduced"),
        ((2, 1, 1, 0), "same direction"),
        ((3, 0, 1, 0), "reproduced"),
        ((1, 1, 2, 0), "not reproduced"),
    ],
)
def test_rule_of_a_question(counts: tuple[int, ...], status: str) -> None:
    names = ("reproduced", "same direction", "not reproduced", "not run")
    assert overall(dict(zip(names, counts, strict=True))) == status


def _measured(sign: float, p: float) -> pd.DataFrame:
    """All claimed comparisons of RQ1 on the paper's data sets, measured with ``sign`` times the printed change."""
    frame = claimed_changes("rq1", DATASETS, PAPER_MODELS, "ndcg@20")
    return frame.assign(difference=sign * frame["printed"], relative=sign * frame["printed"], p_holm=p)


def test_a_perfect_copy_is_reproduced_and_its_mirror_is_not() -> None:
    assert verdict("rq1", _measured(1.0, 0.001), DATASETS).status == "reproduced"
    assert verdict("rq1", _measured(1.0, 0.4), DATASETS).status == "same direction"
    assert verdict("rq1", _measured(-1.0, 0.001), DATASETS).status == "not reproduced"


def test_the_sentence_states_the_counts() -> None:
    found = verdict("rq1", _measured(1.0, 0.001).head(3), DATASETS)
    assert found.status == "not run"
    assert found.counts == {"reproduced": 3, "same direction": 0, "not reproduced": 0, "not run": 27}
    assert "Of 30 planned comparisons on NDCG@20: 3 reproduced, 0 in the same direction only" in found.sentence
    assert found.markdown().startswith("**Verdict: not run.**")
    assert "adjusted p below 0.05" in found.markdown()


@pytest.mark.parametrize("question", [name for name, question in QUESTIONS.items() if question.claimed])
def test_nothing_measured_is_not_run(question: str) -> None:
    found = verdict(question, NONE, ["complementary", "null"])
    assert found.status == "not run"
    assert "nan" not in found.markdown()


def test_other_data_sets_are_named_in_the_sentence() -> None:
    pairs = [single(MODALITY_SPECIFIC, modality) for modality in ("V", "T")]
    tests = pd.DataFrame([comparison(pair=pair, model="lattice", dataset="sparse") for pair in pairs])
    found = verdict("motivation", tests, ["sparse"], ["lattice"])
    assert "ML-sparse is not in the paper" in found.sentence
    assert found.status != "not run"


def test_judged_rows_carry_their_numbers() -> None:
    tests = pd.DataFrame([comparison(dataset="baby", pair=PRETRAINED, relative=None)])
    judged = judge_all("rq1", tests, ["baby"], ["vbpr"])
    assert judged["status"].tolist() == ["not run", "reproduced"]
    assert judged["p_holm"].tolist()[1] == 0.01
    assert math.isnan(judged["measured"].tolist()[1])  # mean of b is zero: no relative change
    assert judged_listing(judged)["comparison"].tolist()[1] == "VBPR: CLIP-PT / baseline"


@pytest.mark.parametrize(
    ("expected", "fields", "found"),
    [
        ("gain", {}, "found"),
        ("gain", {"p_holm": 0.05}, "not found"),
        ("gain", {"difference": -0.02}, "not found"),
        ("none", {}, "not found"),
        ("none", {"p": 0.06}, "cannot tell"),  # no difference seen, but none excluded
        ("none", {"p": 0.6, "equivalence_p": 0.04}, "found"),
        ("none", {"equivalence_p": 0.04}, "found"),  # certain, but too small to matter
        ("none", {"p": 0.04, "p_holm": 0.9}, "not found"),  # the adjusted p does not excuse it
        ("none", {"p": 1.0, "equivalence_p": 1.0, "testable": False}, "cannot tell"),
    ],
)
def test_rule_of_a_planted_answer(expected: str, fields: dict[str, float], found: str) -> None:
    assert answer(expected, comparison(**fields)) == found  # type: ignore[arg-type]


def _planted() -> list[dict[str, object]]:
    pictures = single(MODALITY_SPECIFIC, "V")
    return [
        comparison(dataset="complementary"),
        comparison(dataset="complementary", pair=PICTURES_AND_NOISE),
        comparison(dataset="redundant"),
        comparison(dataset="redundant", pair=pictures, equivalence_p=0.01),
        comparison(dataset="null", equivalence_p=0.01),
    ]


def test_planted_answers_are_found() -> None:
    found = planted_verdict(pd.DataFrame(_planted()), KINDS)
    assert found.status == "found"
    assert found.counts == {"found": 3, "not found": 0, "cannot tell": 0, "not run": 0}
    assert planted_listing(pd.DataFrame(_planted()))["answer"].tolist() == ["found"] * 5


def test_an_effect_on_the_null_is_not_found() -> None:
    rows = [*_planted()[:-1], comparison(dataset="null", p=0.001)]
    found = planted_verdict(pd.DataFrame(rows), KINDS)
    assert found.status == "not found"
    assert "Null: not found, 0 of 1 comparisons agree" in found.sentence


def test_a_null_that_few_users_leave_open_is_not_a_null_that_was_found() -> None:
    rows = [*_planted()[:-1], comparison(dataset="null", p=0.4)]
    found = planted_verdict(pd.DataFrame(rows), KINDS)
    assert found.status == "cannot tell"
    assert "Null: cannot tell, 0 of 1 comparisons agree, 1 cannot tell" in found.sentence
    listed = planted_listing(pd.DataFrame(rows))
    assert listed["answer"].tolist()[-1] == "cannot tell" and listed["p"].tolist()[-1] == 0.99


def test_a_control_that_was_not_run_is_not_found_either() -> None:
    assert planted_verdict(pd.DataFrame(_planted()[:2]), KINDS).status == "not run"
    assert planted_verdict(NONE, KINDS).counts["not run"] == 3
    assert planted_listing(NONE).empty


def test_planted_answers_of_training_are_asked_of_the_model_they_were_planted_for() -> None:
    def step(model: str, a: str, b: str, **fields: object) -> dict[str, object]:
        return comparison(model=model, pair=Pair(trained("clip", a), trained("clip", b)), **fields)

    rows = [
        step("vbpr", "ETE", "FT"),
        step("lattice", "ETE", "FT", p_holm=0.9),  # nothing was planted for it
        step("vbpr", "FT", "PT", dataset="null", equivalence_p=0.01),
        step("lattice", "ETE", "FT", dataset="null"),
    ]
    listed = planted_listing(pd.DataFrame(rows), expectations=PLANTED_TRAINING)
    assert sorted(listed["answer"]) == ["found", "found", "not found"]
    found = planted_verdict(pd.DataFrame(rows), KINDS, expectations=PLANTED_TRAINING)
    assert found.counts == {"found": 1, "not found": 1, "cannot tell": 0, "not run": 0}


def test_other_tracks_have_no_planted_answer() -> None:
    assert planted_verdict(pd.DataFrame(_planted()), ["sparse"]).status == "not applicable"


def test_printed_density_of_baby_contradicts_its_counts() -> None:
    ratio = density_check().set_index("data set")["ratio"]
    assert ratio["Amazon Sports"] == pytest.approx(1, abs=0.02)
    assert ratio["Amazon Clothing"] == pytest.approx(1, abs=0.02)
    assert ratio["Amazon Baby"] == pytest.approx(0.00012 * 19445 * 7037 / 160522)


def test_counts_of_the_paper_against_counted_ones() -> None:
    exact = {"sports": (35598, 18287, 295366), "clothing": (39387, 22499, 271001), "baby": (19445, 7037, 160522)}
    frame = pd.DataFrame.from_dict(exact, orient="index", columns=["users", "items", "interactions"])
    assert data_verdict(frame).status == "reproduced"
    close = data_verdict(frame.assign(items=frame["items"] + 13))
    assert close.status == "same direction"
    assert "Amazon Baby items 7,050 (7,037 printed)" in close.sentence
    assert data_verdict(frame.assign(users=2 * frame["users"])).status == "not reproduced"
    assert data_verdict(frame.drop(index="baby")).counts["not run"] == 3
    assert data_verdict(pd.DataFrame({"dataset": ["Null"]}, index=["null"])).status == "not run"
