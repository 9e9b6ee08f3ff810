from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lmmrec_core.names import PAPER_MODELS, SYNTHETIC
from lmmrec_core.questions import MODALITY_SPECIFIC, PICTURES_AND_NOISE, QUESTIONS, Pair, Variant, trained
from lmmrec_core.report.changes import claimed_changes, printed_direction
from lmmrec_core.report.planted import (
    PLANTED,
    PLANTED_CONTENT,
    PLANTED_TRAINING,
    answer,
    conclude,
    planted_listing,
    planted_verdict,
)
from lmmrec_core.report.published import DATASETS
from lmmrec_core.report.rule import read_rule
from lmmrec_core.report.statistics import data_verdict, density_check
from lmmrec_core.report.verdict import claims_listing, judge_all, judged_listing, verdict
from lmmrec_core.study.calibration.worlds import GROUPS
from lmmrec_core.study.cases import all_cases, reason_not_run
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.study import Study
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.workspace import Workspace
from tests.report.conftest import comparison, measured_claims

NONE = pd.DataFrame()
PRETRAINED = Pair(trained("clip", "PT"), MODALITY_SPECIFIC)
KINDS = ("complementary", "redundant", "null")
CLAIMING = [name for name, question in QUESTIONS.items() if question.claimed]


def test_a_perfect_copy_supports_its_mirror_contradicts_and_noise_decides_nothing() -> None:
    assert verdict("rq1", measured_claims(1.0, 0.005), DATASETS).status == "supports"
    assert verdict("rq1", measured_claims(-1.0, 0.005), DATASETS).status == "contradicts"
    assert verdict("rq1", measured_claims(1.0, 2.0), DATASETS).status == "inconclusive"
    assert verdict("rq1", measured_claims(0.0, 0.0001), DATASETS).status == "contradicts"  # nothing there, and certain


def test_other_data_has_words_of_its_own() -> None:
    assert verdict("rq1", measured_claims(1.0, 0.005, ("ml-sparse",)), ["ml-sparse"]).status == "transfers"
    found = verdict("rq1", measured_claims(-1.0, 0.005, ("ml-sparse",)), ["ml-sparse"])
    assert found.status == "does not transfer" and "ML-sparse is not in the paper" in found.sentence
    assert "transfers" in found.rule and "supports" not in found.rule
    judged = judge_all("rq1", measured_claims(1.0, 0.005, ("ml-sparse",)), ["ml-sparse"])
    # the paper's three signs differ for VBPR with VLMo and for MMGCN with either encoder
    undirected = judged[judged["direction"] == 0]
    assert [(row["model"], str(row["pair"])) for row in undirected.to_dict("records")] == [
        ("vbpr", "VLMo-PT / baseline"), ("mmgcn", "VLMo-PT / baseline"), ("mmgcn", "CLIP-PT / baseline"),
    ]  # fmt: skip
    assert set(undirected["word"]) == {"inconclusive"}
    assert set(undirected["because"]) == {"printed signs differ, or alike"}


def test_printed_signs_differ_in_three_of_four_and_three_of_ten() -> None:
    def without(question: str) -> int:
        frame = claimed_changes(question, ["ml-sparse"], PAPER_MODELS, "ndcg@20", read_rule().rounding)
        return int((frame["direction"] == 0).sum())

    assert (without("motivation"), without("rq1")) == (3, 3)


def test_figures_a_last_digit_apart_have_no_direction() -> None:
    fine_tuned = Pair(trained("clip", "FT"), trained("clip", "PT"))
    assert printed_direction("baby", "mmgcn", fine_tuned, "ndcg@20", 0.0001) == 0
    assert printed_direction("baby", "vbpr", PRETRAINED, "ndcg@20", 0.0001) == 1  # 0.0336 against 0.0329
    assert printed_direction("baby", "vbpr", PRETRAINED, "ndcg@20", 0.0007) == 0


def test_the_sentence_states_counts_lead_and_evidence() -> None:
    found = verdict("rq1", measured_claims(1.0, 0.005).head(3), DATASETS)
    assert found.status == "not run"
    assert (found.counts["supports"], found.counts["not run"]) == (3, 27)
    assert "Of 30 comparisons on NDCG@20: 3 *supports*, 0 *contradicts*, 0 *inconclusive*, 27 *not" in found.sentence
    assert (
        found.markdown().startswith("**Verdict: not run.**")
        and found.brief == "not run (3 of its 30 comparisons have results yet)"
    )
    assert read_rule().digest in found.markdown() and "95 % interval" in found.markdown()
    whole = verdict("rq1", measured_claims(1.0, 0.005), DATASETS)
    assert "direction: 29; chance seldom gives a lead of 4." in whole.sentence
    assert "over these data sets together. Each has items of its own; reviewers may shop in several." in whole.sentence
    assert not whole.apart and list(whole.quoted) == ["verdict"]
    for part in (
        "1,000 users (800 persons), 3 seeds",
        "detectable 15 %",
        "median change in the printed direction +",
        "for, 0 against, of 29",
    ):
        assert part in whole.brief, part


@pytest.mark.parametrize("question", CLAIMING)
def test_nothing_measured_is_not_run(question: str) -> None:
    found = verdict(question, NONE, ["ml-sparse"])
    assert found.status == "not run"
    mixed = verdict(question, NONE, ["baby", "ml-sparse", "sports"])
    assert mixed.status == "Amazon Baby and Amazon Sports: not run; ML-sparse: not run"
    assert "supports" in mixed.rule and "transfers" in mixed.rule
    assert "nan" not in found.markdown() + mixed.markdown()
    assert conclude(question, NONE, ["baby"]).status == "not run"
    assert found.brief.startswith("not run (none of its ") and found.brief.endswith(" comparisons has results yet)")


@pytest.mark.parametrize("question", list(QUESTIONS))
def test_the_controls_have_no_verdict_on_the_paper(question: str) -> None:
    """Not even on results that would decide every claim."""
    rows = [
        comparison(dataset=dataset, model=model, pair=pair)
        for dataset in SYNTHETIC
        for model in PAPER_MODELS
        for pair in QUESTIONS[question].planned
    ]
    tests = pd.DataFrame(rows)
    judged = judge_all(question, tests, SYNTHETIC)
    assert judged.empty and judged_listing(judged).empty and claims_listing(judged).empty
    words = {word for words in read_rule().words.values() for word in words}
    for found in (verdict(question, tests, SYNTHETIC), conclude(question, tests, SYNTHETIC)):
        assert found.status not in words - {"not run"}
        assert not words & set(found.counts) - {"not run"}
    assert conclude(question, tests, SYNTHETIC).question == ("planted" if question in PLANTED else question)


def test_a_mixed_track_judges_what_is_not_synthetic() -> None:
    synthetic = pd.DataFrame([comparison(dataset="null", pair=PRETRAINED)])
    tests = pd.concat([measured_claims(1.0, 0.005, ("baby",)), synthetic])
    assert set(judge_all("rq1", tests, ["baby", "null"])["dataset"]) == {"baby"}


def test_drawn_data_is_told_by_its_source_and_not_by_its_name() -> None:
    """A reader's own drawn data has planted answers under any name, and real data called "null" has verdicts."""
    values = read_track("controls").model_dump()
    drawn = dict(values["datasets"]["null"])
    faint = values["datasets"]["complementary"] | {"options": {"kind": "complementary", "seed": 3, "content": 0.4}}
    values["datasets"] = {"mine": drawn, "faint": faint}
    values |= {"warm_start": None, "left_out": (), "arms": {}}
    study = Study(Workspace(TrackSettings.build(values, "a reader's track"), Path(), Path(), None), (1,))
    assert study.drawn == {"mine": "null", "faint": ""}  # of a faint effect no size was planted
    tests = pd.DataFrame([comparison(dataset="mine", equivalence_p=0.01), comparison(dataset="mine", pair=PRETRAINED)])
    found = conclude("rq3", tests, study.datasets, drawn=study.drawn)
    assert (found.question, found.status) == ("planted", "found") and "Mine: found" in found.sentence
    assert planted_listing(tests, drawn=study.drawn)["answer"].tolist() == ["found"]
    assert judge_all("rq1", tests, study.datasets, drawn=study.drawn).empty
    real = pd.DataFrame([comparison(dataset="null", pair=PRETRAINED)])
    assert set(judge_all("rq1", real, ["null"], drawn={})["dataset"]) == {"null"}


def test_judged_rows_carry_their_numbers() -> None:
    tests = pd.DataFrame([comparison(dataset="baby", pair=PRETRAINED)])
    judged = judge_all("rq1", tests, ["baby"], ["vbpr"])
    assert judged["word"].tolist() == ["not run", "supports"]
    row = judged.to_dict("records")[1]
    assert (row["low"], row["high"], row["n"], row["persons"], row["seeds"]) == (0.1, 0.3, 1000, 800, 3)
    assert row["error"] == pytest.approx(0.05) and row["mde"] == 0.15  # 0.005 of 0.1
    assert row["because"] == "in direction, size differs: larger"  # printed +2.1 %
    listed = judged_listing(judged)
    assert listed["comparison"].tolist()[1] == "VBPR: CLIP-PT / baseline"
    assert {"from", "to", "users", "persons", "seeds", "detectable"} <= set(listed.columns)


@pytest.mark.parametrize(
    ("low", "high", "because"),
    [
        (0.01, 0.03, "in direction and size"),
        (0.001, 0.01, "in direction, size differs: smaller"),
        (-0.3, -0.1, "the other direction"),
        (-0.01, 0.01, "no change of note"),
        (-0.01, 0.03, "zero and the printed change possible"),
        (-0.2, 0.01, "zero possible, the printed change not"),
        (None, None, "interval without end"),
    ],
)
def test_every_word_says_why(low: float | None, high: float | None, because: str) -> None:
    """Printed: 0.0336 / 0.0329, +2.1 %."""
    middle = 0.0 if low is None or high is None else (low + high) / 2
    row = comparison(dataset="baby", pair=PRETRAINED, relative=middle, relative_low=low, relative_high=high)
    assert judge_all("rq1", pd.DataFrame([row]), ["baby"], ["vbpr"])["because"].tolist()[1] == because


def test_claims_are_counted_pair_by_pair() -> None:
    listed = claims_listing(judge_all("rq1", measured_claims(1.0, 0.005), DATASETS))
    assert listed["claim"].tolist() == ["VLMo-PT / baseline", "CLIP-PT / baseline", "all of them"]
    assert listed["comparisons"].tolist() == [15, 15, 30]
    assert listed["with a direction"].tolist()[2] == 29 and listed["lead needed"].tolist()[2] == 4
    assert set(listed["verdict"]) == {"supports"}
    assert set(listed["data"]) == {"Amazon Sports, Amazon Clothing and Amazon Baby"}
    row = listed.to_dict("records")[2]
    evidence = ("users", "persons", "seeds", "detectable")
    assert tuple(row[name] for name in evidence) == ("1,000", "800", "3", "15 %")
    assert row["median change"].startswith("+") and " to +" in row["interval"]


@pytest.mark.parametrize(
    ("expected", "fields", "found"),
    [
        ("gain", {}, "found"),
        ("gain", {"p_holm": 0.05}, "cannot tell"),  # a gain of note is not excluded
        ("gain", {"difference": -0.02, "ci_low": -0.03, "ci_high": -0.01}, "not found"),
        ("gain", {"difference": 0.001, "ci_low": -0.002, "ci_high": 0.004, "p_holm": 0.9}, "not found"),
        ("none", {}, "not found"),
        ("none", {"p": 0.06}, "cannot tell"),  # no difference seen, but none excluded
        ("none", {"p": 0.6, "equivalence_p": 0.04}, "found"),
        ("none", {"equivalence_p": 0.04}, "found"),  # certain, but too small to matter
        ("none", {"p": 0.04, "p_holm": 0.9}, "not found"),  # the adjusted p does not excuse it
        ("none", {"p": 1.0, "equivalence_p": 1.0, "testable": False}, "cannot tell"),
    ],
)
def test_rule_of_a_planted_answer(expected: str, fields: dict[str, float], found: str) -> None:
    assert answer(expected, comparison(**fields))[0] == found  # type: ignore[arg-type]


def changed(relative: float, **fields: object) -> dict[str, object]:
    low, high = relative - 0.1, relative + 0.1
    return comparison(**{"relative": relative, "relative_low": low, "relative_high": high, **fields})


@pytest.mark.parametrize(
    ("relative", "fields", "found"),
    [
        (0.05, {}, "found"),
        (0.1, {}, "cannot tell"),  # p .15
        (0.2, {}, "cannot tell"),  # as much there: a difference of 5 % is not excluded
        (0.5, {}, "not found"),
        (0.05, {"relative_low": None, "relative_high": None}, "cannot tell"),
    ],
)
def test_rule_of_a_change_that_is_to_be_less(relative: float, fields: dict[str, object], found: str) -> None:
    assert answer("less", changed(relative, **fields), changed(0.2))[0] == found


def test_less_by_hand() -> None:
    """Each error is a tenth over the quantile of t with 12 degrees of freedom; the difference has √2 of it."""
    error = 0.1 / stats.t.isf(0.025, 12) * np.sqrt(2)
    wide = 0.1 * stats.t.isf(0.025, 40) / stats.t.isf(0.025, 12)
    other = comparison(relative=0.2, relative_low=0.2 - wide, relative_high=0.2 + wide, df=40.0)
    said, p = answer("less", changed(0.05), other)
    assert said == "found" and p == pytest.approx(2 * stats.t.sf(0.15 / error, 12))


def _planted() -> list[dict[str, object]]:
    return [
        comparison(dataset="complementary"),
        comparison(dataset="complementary", pair=PICTURES_AND_NOISE),
        comparison(dataset="redundant"),
        changed(0.02, dataset="redundant", pair=PICTURES_AND_NOISE),
        comparison(dataset="null", equivalence_p=0.01),
    ]


def test_what_a_second_modality_adds_is_read_from_models_of_one_size_that_the_controls_run() -> None:
    content = [e for e in PLANTED_CONTENT if e.dataset in ("complementary", "redundant")]
    assert all(e.pair.a.modalities == e.pair.b.modalities == "V&T" for e in content)
    track = read_track("controls")
    cases = all_cases(track, track.seeds)
    for expected in PLANTED_CONTENT:
        for model in ("vbpr",) if expected.dataset == "redundant" else ("vbpr", "lattice"):
            for side in (expected.pair.a, expected.pair.b):
                cell = [c for c in cases if (c.dataset, c.model) == (expected.dataset, model)
                        and Variant.of(c.model_dump()) == side]  # fmt: skip
                assert len(cell) == len(track.seeds) and not any(reason_not_run(c, track) for c in cell), expected
    (drawn,) = (group for group in GROUPS if (group.part, group.kind) == ("planted", "redundant"))
    asked = {side for e in PLANTED_CONTENT if e.dataset == "redundant" for side in (e.pair.a, e.pair.b)}
    assert set(drawn.variants) == asked and "lattice" in drawn.models  # which the track's one world does not ask


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
    assert planted_verdict(NONE, KINDS).brief == "not run (none of its comparisons has results yet)"
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
    assert planted_verdict(pd.DataFrame(_planted()), ["ml-sparse"]).status == "not applicable"


def test_printed_density_of_baby_contradicts_its_counts() -> None:
    ratio = density_check().set_index("data set")["ratio"]
    assert ratio["Amazon Sports"] == pytest.approx(1, abs=0.02)
    assert ratio["Amazon Clothing"] == pytest.approx(1, abs=0.02)
    assert ratio["Amazon Baby"] == pytest.approx(0.00012 * 19445 * 7037 / 160522)


def test_counts_of_the_paper_against_counted_ones() -> None:
    exact = {"sports": (35598, 18287, 295366), "clothing": (39387, 22499, 271001), "baby": (19445, 7037, 160522)}
    frame = pd.DataFrame.from_dict(exact, orient="index", columns=["users", "items", "interactions"])
    assert data_verdict(frame).status == "as printed"
    close = data_verdict(frame.assign(items=frame["items"] + 13))
    assert close.status == "close"
    assert "Amazon Baby items 7,050 (7,037 printed)" in close.sentence
    assert data_verdict(frame.assign(users=2 * frame["users"])).status == "different"
    assert data_verdict(frame.drop(index="baby")).counts["not run"] == 3
    assert data_verdict(pd.DataFrame({"dataset": ["Null"]}, index=["null"])).status == "no verdict"
