"""What a search chooses, on which part, and what it leaves behind."""

import json

import pytest

from lmmrec_core.errors import ResultError
from lmmrec_core.results.store import ResultStore
from lmmrec_core.study import Study
from lmmrec_core.study.cases import Case
from lmmrec_core.study.run import plan, run_case
from lmmrec_core.study.search import search as searching
from lmmrec_core.study.search import validation
from lmmrec_core.study.search.summary import read_summary, summary_path
from tests.study.conftest import SEARCH_RATES as RATES


def test_settings_are_chosen_on_validation(search, made_up):
    found = search()
    assert found.best["learning_rate"] == max(RATES) and found.score == max(RATES)
    assert found.best["reg_weight"] == 0.1  # of equal scores the first
    assert "test" not in found.trials and "leak" not in found.summary


def test_the_test_part_is_not_looked_at_unless_asked(search, monkeypatch):
    real, parts = searching.recall_20, []

    def watched(scorer, split, part, **more):
        parts.append(part)
        return real(scorer, split, part, **more)

    for place in (searching, validation):
        monkeypatch.setattr(place, "recall_20", watched)
    search("itemknn")
    assert set(parts) == {"valid"}
    found = search("itemknn", measure_leak=True)
    assert set(parts) == {"valid", "test"}
    assert found.trials["test"].between(0, 1).all() and found.summary["select_on"] == "valid"


def test_measured_test_scores_are_those_of_a_run(search, own_trials):
    found = search("itemknn", measure_leak=True)
    case = Case.build({"track": "controls", "dataset": "complementary", "model": "itemknn", "seed": 0}, "case")
    for _, row in found.trials.iterrows():
        overrides = {name: row[name] for name in ("shrink", "neighbours")}
        result = run_case(plan(case, own_trials, overrides), own_trials)
        assert row["test"] == pytest.approx(result.mean("recall@20"), abs=1e-12)


def test_the_leak_is_the_gain_in_test_score_from_choosing_on_test(search, made_up, capsys):
    honest = search(measure_leak=True)
    assert capsys.readouterr().err == ""
    leak = honest.summary["leak"]
    assert leak["chosen_on_validation"]["test"] == 1 - max(RATES)
    assert leak["chosen_on_test"]["test"] == 1 - min(RATES) and leak["chosen_on_test"]["valid"] == min(RATES)
    assert leak["gap"] == pytest.approx(max(RATES) - min(RATES))
    assert leak["relative"] == pytest.approx(leak["gap"] / (1 - max(RATES)))
    assert honest.best["learning_rate"] == max(RATES)
    leaky = search(select_on="test")
    assert "chosen by their TEST score" in capsys.readouterr().err
    assert leaky.best["learning_rate"] == min(RATES) and leaky.score == min(RATES)
    assert leaky.summary["leak"] == leak and "is not a result" in leaky.summary["warning"]
    assert len(made_up.asked) == 6  # the same points, another choice


def test_the_leak_cannot_be_negative(search, made_up):
    made_up.test = made_up.valid
    leak = search(measure_leak=True).summary["leak"]
    assert leak["gap"] == 0 and leak["chosen_on_test"] == leak["chosen_on_validation"]


def test_the_summary_says_what_was_tried_and_is_written_once(search, made_up, own_trials):
    found = search()
    path = own_trials.results / "controls" / "search" / "complementary-bpr.json"
    stored = read_summary(path)
    assert stored == found.summary
    assert stored["case"]["model"] == "bpr" and stored["seed"] == 0 and not stored["seed_in_study"]
    assert stored["grid"]["distinct"] == len(stored["trials"]) == 6
    assert stored["best"] == {"settings": found.best, "valid": found.score}
    assert stored["settings"]["model"]["embedding_dim"] == 8 and "reg_weight" not in stored["settings"]["model"]
    assert stored["wall_seconds"] == pytest.approx(sum(trial["seconds"] for trial in stored["trials"]))
    assert stored["provenance"]["versions"]["torch"]
    before = path.stat().st_mtime_ns
    assert search().summary == stored and path.stat().st_mtime_ns == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ResultError, match=r"complementary-bpr\.json: damaged"):
        read_summary(path)
    remade = search().summary
    again = ("provenance", "digest")  # the time, and with it the seal
    assert {k: v for k, v in remade.items() if k not in again} == {k: v for k, v in stored.items() if k not in again}


def test_files_tell_content_grid_and_a_measured_leak_apart(own_trials):
    case = Case.build({"track": "t", "dataset": "d", "model": "vbpr", "encoder": "baseline", "modalities": "V&T"}, "c")
    names = [summary_path(own_trials.results, case, *rest).name for rest in (("study", False), ("mmrec", True))]
    assert names == ["d-vbpr-baseline-VT.json", "d-vbpr-baseline-VT-mmrec-leak.json"]


def test_trials_are_not_results(search, own_trials):
    search()
    assert ResultStore(own_trials.results).find_records() == []
    assert ResultStore(own_trials.results).find_records(track="controls", dataset="search") == []
    study = Study(own_trials, (0, 1))
    assert list(study.results()) == [] and study.receipt().empty


def test_the_frame_and_the_summary_hold_the_same(search, made_up):
    found = search(trials=4)
    rows = json.loads(json.dumps(found.summary["trials"]))
    assert [row["valid"] for row in rows] == found.trials["valid"].tolist()
    assert [row["settings"]["learning_rate"] for row in rows] == found.trials["learning_rate"].tolist()
