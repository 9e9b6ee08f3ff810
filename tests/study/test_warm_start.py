"""Joint training that starts from a recommender trained under PT: the same two trainings, however often interrupted."""

import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.names import WARM
from lmmrec_core.report.tables import table4
from lmmrec_core.study import run as running
from lmmrec_core.study.cases import Case, all_cases, reason_not_run
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.joint.warm_start import end_of_first_phase
from lmmrec_core.study.run import plan, run_case
from lmmrec_core.study.weights.recipes import end_to_end_settings
from tests.study.conftest import tiny_track


def case_of(model="vbpr", paradigm=WARM, **fields):
    cell = {"track": "controls", "dataset": "complementary", "encoder": "clip", "modalities": "V&T", **fields}
    return Case.build({**cell, "model": model, "paradigm": paradigm}, "case")


@pytest.mark.parametrize("model", ["vbpr", "lattice"])
def test_the_first_phase_is_the_run_of_pt_and_the_second_goes_on_from_it(model, workspace):
    found = {p: run_case(plan(case_of(model, p), workspace), workspace).record for p in ("PT", "ETE", WARM)}
    alone, both = found["PT"]["training"], found[WARM]["training"]
    phase = both["features"]["warm_start"]
    kept = alone["history"][alone["best_epoch"] - 1]
    assert (phase["best_epoch"], phase["epochs"], phase["stopped"]) == (
        alone["best_epoch"], alone["epochs"], alone["stopped"],
    )  # fmt: skip
    assert phase["valid"] == kept["valid"]
    assert both["history"][0]["loss"] < found["ETE"]["training"]["history"][0]["loss"]  # it has learnt something
    assert both["features"]["settings"]["start"] == "warm" and both["features"]["trained"]
    assert found["ETE"]["training"]["features"]["settings"]["start"] == "scratch"
    assert "warm_start" not in found["ETE"]["training"]["features"]
    assert found[WARM]["cost"]["seconds"] > phase["seconds"]
    assert not list(workspace.checkpoints.glob(f"{found[WARM]['key']}*"))


@pytest.mark.parametrize(
    "at", [2, 4, 7]
)  # of 4 evaluations in either phase: within the first, at its end, in the second
@pytest.mark.parametrize("model", ["vbpr", "mmgcn", "lattice"])
def test_an_interruption_in_either_phase_changes_nothing(model, at, workspace, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    more = {"checkpoint_seconds": 0.0, "patience": 9}
    whole = run_case(plan(case_of(model), workspace, more), workspace)
    elsewhere = type(workspace)(workspace.track, tmp_path / "other", workspace.cache, None, progress=False)
    todo = plan(case_of(model), elsewhere, more)
    plain, calls = running.validation, []

    def stopping(split):
        validate = plain(split)

        def counted(scorer):
            calls.append(1)
            if len(calls) == at:
                raise Stop
            return validate(scorer)

        return counted

    monkeypatch.setattr(running, "validation", stopping)
    with pytest.raises(Stop):
        run_case(todo, elsewhere)
    again = run_case(todo, elsewhere)
    assert len(calls) == 9  # the evaluation that was interrupted is made again, and no other
    assert not end_of_first_phase(elsewhere.checkpoints / f"{todo.key}.pt").is_file()
    for part in ("metrics", "overall"):
        assert again.record[part] == whole.record[part]
    assert again.record["features"]["trained"] == whole.record["features"]["trained"]
    history = [[(e["loss"], e["valid"]) for e in r.record["training"]["history"]] for r in (again, whole)]
    assert history[0] == history[1]


def test_it_is_a_case_of_its_own_where_the_track_asks_for_it():
    warm = [case for case in all_cases(read_track("controls"), [1, 2]) if case.paradigm == WARM]
    assert {(c.dataset, c.model, c.encoder, c.modalities) for c in warm} == {("complementary", "vbpr", "clip", "V&T")}
    assert len(warm) == 2 and warm[0].slug == "vbpr-clip-ETE-warm-VT-s1"
    assert all(reason_not_run(case, read_track("controls")) is None for case in warm)
    assert all(case.questions() == {"rq2"} for case in warm)
    with pytest.raises(ConfigError, match=r"warm_start.*latice"):
        tiny_track(warm_start={"datasets": ["complementary"], "models": ["latice"], "encoders": ["clip"]})


def test_one_run_may_start_warm_and_the_name_must_be_true(workspace):
    cold = plan(case_of(paradigm="ETE"), workspace)
    asked = plan(case_of(paradigm="ETE"), workspace, {"end_to_end.start": "warm"})
    named = plan(case_of(), workspace)
    assert asked.end_to_end == named.end_to_end and asked.end_to_end.start == "warm" != cold.end_to_end.start
    assert len({cold.key, asked.key, named.key}) == 3
    with pytest.raises(ConfigError, match=r"ETE-warm starts warm; leave end_to_end\.start out"):
        plan(case_of(), workspace, {"end_to_end.start": "scratch"})
    with pytest.raises(ConfigError, match=r"does not use .*start"):
        end_to_end_settings(tiny_track(), "clip", {"reading": "e0", "start": "warm"})


def test_its_row_follows_ete_and_is_never_averaged_with_it(workspace):
    results = [run_case(plan(case_of(paradigm=p), workspace), workspace) for p in ("ETE", WARM)]
    table = table4(results, ["complementary"], ["vbpr"], ["recall@20"])
    labels = table.values.index.get_level_values("label").tolist()
    assert labels[-4:] == ["VBPR CLIP-PT", "VBPR CLIP-FT", "VBPR CLIP-ETE", "VBPR CLIP-ETE-warm"]
    assert table.values.iloc[-2:, 0].tolist() == [result.mean("recall@20") for result in results]
    assert not any(
        "warm" in label for label in table4([], ["complementary"], ["vbpr"]).values.index.get_level_values(1)
    )
