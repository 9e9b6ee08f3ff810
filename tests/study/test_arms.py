"""Arms whose settings a cell has anyway, as after a search that chose them: one run, shown as such."""

from dataclasses import replace

import pytest

from lmmrec_core.flow import Result
from lmmrec_core.questions import MODALITY_SPECIFIC, QUESTIONS, Pair, Question
from lmmrec_core.report.arms import arms_table
from lmmrec_core.report.html import results_table
from lmmrec_core.study.cases import Case
from lmmrec_core.study.comparisons import comparisons
from lmmrec_core.study.run import plan
from lmmrec_core.study.schedule import run_cases
from lmmrec_core.study.study import Study
from lmmrec_core.study.track import ArmSettings, settings_that_count
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.joint.settings import EndToEndSettings
from tests.study.made import made_result

CELL = Case.build(
    {"track": "controls", "dataset": "complementary", "model": "vbpr", "encoder": "baseline", "modalities": "V&T"},
    "case",
)


def with_arm(workspace: Workspace, settings: dict) -> Workspace:
    arms = {"same": {"settings": settings, "models": ("vbpr",), "encoders": ("baseline",), "why": "a test"}}
    values = workspace.track.model_dump() | {"seeds": (1,), "arms": arms}
    return replace(workspace, track=type(workspace.track).build(values, "a test"))


@pytest.mark.parametrize("settings", [{"normalise_features": True}, {"learning_rate": 0.01, "threads": 1}])
def test_it_is_trained_once_and_its_row_says_that_it_is_the_same_run(workspace, settings):
    here = with_arm(workspace, settings)
    arm = CELL.model_copy(update={"arm": "same"})
    assert plan(arm, here) == plan(CELL, here)
    done = run_cases([CELL, arm], here, jobs=1)
    assert (done.computed, done.failures) == (1, ())
    assert len(list((here.results / "controls" / "complementary").glob("vbpr-*"))) == 1
    assert run_cases([arm], here, jobs=1).done_before == 1
    study = Study(here, (1,))
    results = study.results("rq1")
    assert [(result.case["arm"], result.shared) for result in results] == [("none", False), ("same", True)]
    assert len({result.record["key"] for result in results}) == 1
    table = arms_table(results, ["complementary"], ("none",), ["ndcg@20"])
    assert table is not None and table.origin.iloc[:, 0].tolist() == ["measured", "same run"]
    assert "As in the table" in table.caption and "as in the table" in results_table(table).to_html()
    assert len(study.receipt()) == 1 and "same" not in set(study.not_run()["arm"])


def test_an_arm_that_changes_something_is_a_run_of_its_own(workspace):
    here = with_arm(workspace, {"normalise_features": False})
    assert plan(CELL.model_copy(update={"arm": "same"}), here).key != plan(CELL, here).key
    run_cases([CELL], here, jobs=1)
    assert [result.case["arm"] for result in Study(here, (1,)).results("rq1")] == ["none"]


def test_settings_of_the_encoder_are_held_against_those_that_the_run_had():
    run = {
        "settings": {"model": {"reg_weight": 0.1}, "training": {"learning_rate": 0.01}},
        "training": {"features": {"settings": {"part": "all", "kept_rows": [1, 2]}}},
    }

    def changes_nothing(settings: dict, run: dict) -> bool:
        return ArmSettings(settings=settings, why="a test").changes_nothing(run)

    assert changes_nothing({"end_to_end.part": "all", "end_to_end.kept_rows": (1, 2), "reg_weight": 0.1}, run)
    assert not changes_nothing({"end_to_end.part": "heads"}, run)
    assert not changes_nothing({"end_to_end.part": "all"}, run | {"training": None})
    assert not changes_nothing({"part": "all"}, run)  # of the recommender, which has none
    assert changes_nothing({"end_to_end.warm_up_updates": 0}, run)  # newer than the record
    assert not changes_nothing({"end_to_end.weights": "FT"}, run)


def test_a_record_from_before_a_setting_has_the_settings_of_one_from_after():
    def run(joint: dict) -> dict:
        return {
            "settings": {"model": {"reg_weight": 0.1}, "training": {"epochs": 3, "device": "cpu", "threads": 2}},
            "training": {"features": {"settings": joint}},
        }

    now = EndToEndSettings().model_dump(mode="json")
    then = {name: value for name, value in now.items() if name not in ("weights", "warm_up_updates")}
    assert settings_that_count(run(then)) == settings_that_count(run(now))
    found = settings_that_count(run(then))
    assert (found["epochs"], found["reg_weight"], found["end_to_end.weights"]) == (3, 0.1, "PT")
    assert {"device", "threads"}.isdisjoint(found)
    plain = run({}) | {"training": {"features": None}}
    assert settings_that_count(plain) == {"epochs": 3, "reg_weight": 0.1}


def test_no_run_is_compared_with_itself(monkeypatch):
    both = Pair(replace(MODALITY_SPECIFIC, arm="same"), MODALITY_SPECIFIC)
    monkeypatch.setitem(QUESTIONS, "own", Question("own", "An arm", lambda variant: True, planned=(both,)))
    cell = []
    for seed in (1, 2):
        made = made_result(("vbpr", "baseline", "none", "V&T", "none"), seed, "ndcg@20")
        cell.append(replace(made, record={**made.record, "key": f"{seed}" * 16}))

    def arm(more: float, shared: bool) -> list[Result]:
        return [
            replace(
                one, case={**one.case, "arm": "same"}, record={**one.record, "shared": shared},
                per_user=one.per_user.assign(**{"ndcg@20": one.per_user["ndcg@20"] + more}),
            )
            for one in cell
        ]  # fmt: skip

    where = [str(cell[0].case["dataset"])]
    assert len(comparisons("own", [*cell, *arm(0.1, shared=False)], where, ["ndcg@20"])) == 1
    assert comparisons("own", [*cell, *arm(0.0, shared=True)], where, ["ndcg@20"]).empty
