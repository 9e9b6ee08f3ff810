"""The search for settings: which trainings it is made of, what it costs, and what happens when it is stopped."""

import pytest

from lmmrec_core.errors import ConfigError, TrainingError
from lmmrec_core.study.cases import Case
from lmmrec_core.study.memory import plans
from lmmrec_core.study.memory.demand import GIB
from lmmrec_core.study.memory.room import Room
from lmmrec_core.study.run import plan, run_case
from lmmrec_core.study.search import search as searching
from lmmrec_core.study.search.grids import Grid, ModelGrid
from tests.study.conftest import SEARCH_GRID as GRID
from tests.study.conftest import tiny_track


def test_a_trial_is_the_training_of_a_run_and_its_score_that_of_the_best_epoch(search, own_trials):
    found = search()
    assert len(found.trials) == 6 and found.summary["order"] == "all points"
    case = Case.build({"track": "controls", "dataset": "complementary", "model": "bpr", "seed": 0}, "case")
    for _, row in found.trials.iloc[[0, 4]].iterrows():
        overrides = {"embedding_dim": 8, "learning_rate": row["learning_rate"], "reg_weight": row["reg_weight"]}
        result = run_case(plan(case, own_trials, overrides), own_trials)
        history = result.record["training"]["history"]
        assert row["valid"] == max(epoch["valid"] for epoch in history)
        assert row["valid"] == pytest.approx(result.record["metrics"]["valid"]["recall@20"], abs=1e-12)
        assert row["epochs"] == len(history) and row["best_epoch"] == result.record["training"]["best_epoch"]
    best = found.trials["valid"].idxmax()  # the first of equal ones
    assert found.score == found.trials.loc[best, "valid"]
    assert found.best == {name: found.trials.loc[best, name] for name in ("learning_rate", "reg_weight")}


def test_a_model_without_epochs_is_scored_too(search):
    found = search("itemknn")
    assert len(found.trials) == 4
    assert found.trials["valid"].between(0, 1, inclusive="neither").all()
    assert found.trials["neighbours"].tolist() == [5, None, 5, None]


def test_an_interrupted_search_goes_on_and_trains_no_point_twice(search, made_up, monkeypatch, capsys):
    measure = searching._measure

    def interrupted(*arguments):
        if len(made_up.asked) == 2:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(searching, "_measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search()
    assert "2 of 6 trials are stored; the same call goes on" in capsys.readouterr().err
    monkeypatch.setattr(searching, "_measure", measure)
    search()
    assert len(made_up.asked) == 6
    assert len({tuple(point.values()) for point in made_up.asked}) == 6
    search()
    assert len(made_up.asked) == 6


def test_a_training_stopped_by_a_signal_goes_on_from_its_checkpoint(search, own_trials, monkeypatch):
    whole = search(settings={"checkpoint_seconds": 0})
    real, seen = searching.fit, []

    def stopped(todo, split, inputs, checkpoint, progress):
        from lmmrec_core import checkpoints

        save = checkpoints.save

        def then_stop(*arguments):
            save(*arguments)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "save", then_stop)
            return real(todo, split, inputs, checkpoint, progress)

    with monkeypatch.context() as patch:
        patch.setattr(searching, "fit", stopped)
        with pytest.raises(KeyboardInterrupt):
            search(settings={"checkpoint_seconds": 0, "lr_decay": 0.99})
    assert len(left := list(own_trials.checkpoints.glob("search-*.pt"))) == 1

    def watched(todo, split, inputs, checkpoint, progress):
        seen.append(checkpoint.is_file())
        return real(todo, split, inputs, checkpoint, progress)

    monkeypatch.setattr(searching, "fit", watched)
    resumed = search(settings={"checkpoint_seconds": 0, "lr_decay": 0.99})
    assert seen == [True] + [False] * 5
    assert not left[0].exists()
    assert resumed.trials["epochs"].tolist() == whole.trials["epochs"].tolist()


def test_a_smaller_budget_than_the_grid_is_searched_and_its_trials_are_kept(search, made_up):
    first = search(trials=3)
    assert first.summary["order"] == "drawn without repetition" and len(first.trials) == len(made_up.asked) == 3
    assert first.summary["budget"] == {"trials": 3, "failed": 0, "share_of_distinct": 0.5}
    more = search(trials=5)
    assert more.trials.head(3).equals(first.trials) and len(made_up.asked) == 5
    everything = search(trials=99)
    assert everything.summary["order"] == "all points" and len(everything.trials) == len(made_up.asked) == 6
    again = search(trials=3)
    assert again.trials.equals(first.trials) and len(made_up.asked) == 6


def test_the_grids_own_budget_holds_unless_another_is_given(search, made_up):
    limited = GRID.model_copy(update={"trials": 2})
    assert len(search(grid=limited).trials) == 2
    assert len(search(grid=limited, trials=4).trials) == 4


def test_a_failed_point_is_recorded_and_the_search_goes_on(search):
    grid = Grid(name="study", source="a test", models={"bpr": ModelGrid(search={"learning_rate": (1e30, 0.01)})})
    found = search(grid=grid)
    assert "learning_rate" in found.trials["error"].iloc[0] and "bpr: the loss is" in found.trials["error"].iloc[0]
    assert found.best == {"learning_rate": 0.01} and found.summary["budget"]["failed"] == 1
    assert found.summary["trials"][0]["valid"] is None


def test_a_search_without_any_success_names_the_first_failure(search, made_up, own_trials):
    def fails(point):
        raise TrainingError(f"the loss is nan at {point['learning_rate']}")

    made_up.valid = fails
    with pytest.raises(TrainingError, match=r"each of the 6 points failed; the first, .*0\.001.*: the loss is nan"):
        search()
    assert not (own_trials.results / "controls" / "search").exists()


def test_features_and_data_are_read_once(search, monkeypatch):
    from lmmrec_core.study import run
    from lmmrec_core.study import workspace as workspace_module

    calls = []
    real_features, real_data = run.load_features, workspace_module.read_dataset
    monkeypatch.setattr(run, "load_features", lambda *given: calls.append("features") or real_features(*given))
    monkeypatch.setattr(workspace_module, "read_dataset", lambda *given: calls.append("data") or real_data(*given))
    found = search("vbpr", modalities="V")
    assert len(found.trials) == 2 and calls == ["data", "features"]
    assert found.summary["data"]["features"]


def test_what_determines_a_training_starts_another_search_and_nothing_else_does(search, made_up, track):
    def asked(**changes) -> int:
        before = len(made_up.asked)
        search(**changes)
        return len(made_up.asked) - before

    dataset = track.datasets["complementary"].model_dump()
    other_data = tiny_track(datasets={"complementary": {**dataset, "k_core": 8}})
    other_split = tiny_track(datasets={"complementary": {**dataset, "split": {"seed": 1}}})
    other_values = GRID.model_copy(update={"models": {"bpr": ModelGrid(search={"learning_rate": (0.001, 0.5)})}})
    assert asked() == 6
    assert asked(settings={"threads": 1}) == 0
    for changed in (
        {"track": other_data}, {"track": other_split}, {"seed": 5}, {"settings": {"epochs": 3}},
        {"measure_leak": True}, {"grid": other_values},
    ):  # fmt: skip
        assert asked(trials=2, **changed) == 2, changed
    assert asked() == 0


def test_settings_without_effect_are_not_searched_until_they_act(search):
    grid = Grid(
        name="study", source="a test",
        models={"bpr": ModelGrid(search={"learning_rate": (0.01,), "reg_weight": (0.1, 0.2)},
                                 no_effect=("reg_weight",), acts_when={"mode": "described"})},
    )  # fmt: skip
    assert search(grid=grid).trials["learning_rate"].tolist() == [0.01]
    assert search(grid=grid, settings={"mode": "described"}).trials["reg_weight"].tolist() == [0.1, 0.2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "vbrp"}, "grid 'study': unknown model 'vbrp'; did you mean 'vbpr'"),
        ({"grid": "mrec"}, "unknown grid 'mrec'; did you mean 'mmrec'"),
        ({"trials": 0}, "trials = 0: at least one point"),
        ({"select_on": "tset"}, "select_on: unknown part 'tset'; did you mean 'test'"),
        ({"settings": {"reg_weight": 1}}, "'reg_weight' is searched by grid 'study', so it cannot be fixed to 1"),
        ({"settings": {"epoch": 1}}, "unknown setting 'epoch'; did you mean 'epochs'"),
        ({"settings": {"epochs": 0}}, "epochs = 0 is not valid"),
        ({"model": "vbpr", "encoder": "basline"}, "unknown encoder 'basline'; did you mean 'baseline'"),
        ({"model": "vbpr", "modalities": "A"}, "modalities = 'A' is not valid"),
        ({"model": "vbpr", "modalities": "none"}, "model 'vbpr' needs content"),
    ],
)
def test_words_that_mean_nothing_are_refused_before_any_training(search, made_up, changes, message):
    with pytest.raises(ConfigError, match=message):
        search(**changes)
    assert made_up.asked == []


def test_an_unknown_data_set_is_refused(own_trials):
    with pytest.raises(ConfigError, match="unknown dataset 'complementry'; did you mean 'complementary'"):
        searching.search_settings(own_trials, "bpr", "complementry", grid=GRID)


def test_a_point_that_cannot_fit_is_refused_before_it_is_built_and_is_no_trial(search, own_trials, monkeypatch):
    monkeypatch.setattr(searching, "fit", None)  # is not reached
    monkeypatch.setattr(plans, "room", lambda device: Room(GIB // 10))
    with pytest.raises(TrainingError, match=r"needs about .* 0\.1 GiB of memory are free here"):
        search()
    assert not list(own_trials.cache.glob("search/*/*.json"))
