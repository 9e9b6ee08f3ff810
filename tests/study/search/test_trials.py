"""The file of trials: the same points however often the search is interrupted, and none of them twice."""

import math
import multiprocessing
import os
import subprocess
import sys

import pytest

from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.study.search.grids import combinations
from lmmrec_core.study.search.trials import open_trials

SEARCH = {"rate": (0.1, 0.01, 0.001), "layers": (2, None), "norm": (True, False)}
POINTS = combinations(SEARCH)


def score(point) -> float:
    return -abs(math.log10(point["rate"]) + 2) - (point["layers"] or 5) + 0.5 * point["norm"]


def search(path, budget, sampler, evaluated, stop_after=None, seed=0):
    """Spend a budget; ``evaluated`` collects the points that had to be evaluated; stop as if killed."""
    with open_trials(path, SEARCH, sampler, seed) as store:
        while len(store.tried()) < budget:
            trial = store.start()
            if trial is None:
                continue
            if stop_after is not None and len(evaluated) == stop_after:
                return None  # the trial stays as a dead process leaves it: running
            evaluated.append(store.settings_of(trial))
            store.finish(trial, score(evaluated[-1]), {"seconds": 1.5})
        return store.tried()


@pytest.mark.parametrize(("sampler", "budget"), [("grid", len(POINTS)), ("tpe", 11)])
def test_interrupted_or_not_the_points_are_the_same_and_none_is_evaluated_twice(tmp_path, sampler, budget):
    whole: list[dict] = []
    expected = search(tmp_path / "whole.db", budget, sampler, whole)
    parts: list[dict] = []
    for stop in (0, 1, 7):
        assert search(tmp_path / "parts.db", budget, sampler, parts, stop_after=stop) is None
    assert search(tmp_path / "parts.db", budget, sampler, parts) == expected
    assert parts == whole == [trial.settings for trial in expected]
    assert len({tuple(point.items()) for point in whole}) == budget
    assert [trial.valid for trial in expected] == [score(point) for point in whole]  # every bit is kept
    assert all(trial.notes == {"seconds": 1.5} for trial in expected)


def test_the_grid_is_tried_whole_and_in_order(tmp_path):
    evaluated: list[dict] = []
    search(tmp_path / "x.db", len(POINTS), "grid", evaluated)
    assert evaluated == list(POINTS)
    assert [type(point["layers"]) for point in evaluated[::2][:2]] == [int, type(None)]


def test_a_larger_budget_goes_on_and_the_other_sampler_answers_from_what_is_stored(tmp_path):
    evaluated: list[dict] = []
    first = search(tmp_path / "x.db", 4, "tpe", evaluated)
    more = search(tmp_path / "x.db", 6, "tpe", evaluated)
    assert more[:4] == first and len(evaluated) == 6
    everything = search(tmp_path / "x.db", len(POINTS), "grid", evaluated)
    assert len(evaluated) == len(POINTS)
    assert [trial.settings for trial in everything] == list(POINTS)


def test_seeds_choose_different_points_and_the_sampler_finds_the_better_part(tmp_path):
    chosen = {seed: [t.settings for t in search(tmp_path / f"{seed}.db", 9, "tpe", [], seed=seed)] for seed in (0, 1)}
    assert chosen[0] != chosen[1]
    best = max(map(score, POINTS))
    assert all(max(map(score, points)) == best for points in chosen.values())


def test_a_failed_trial_counts_keeps_its_text_and_is_not_tried_again(tmp_path):
    evaluated = []
    for budget in (2, len(POINTS)):
        with open_trials(tmp_path / "x.db", SEARCH, "grid", 0) as store:
            while len(store.tried()) < budget:
                trial = store.start()
                evaluated.append(store.settings_of(trial))
                if evaluated[-1]["rate"] == 0.1:
                    store.fail(trial, "the loss is nan", {"seconds": 0.5})
                else:
                    store.finish(trial, 0.5, {})
            done = store.tried()
    assert evaluated == list(POINTS)
    failed = [trial for trial in done if trial.settings["rate"] == 0.1]
    assert all(trial.valid is None and trial.error == "the loss is nan" for trial in failed)
    assert failed[0].notes == {"seconds": 0.5} and done[-1].error is None


def _die_in_a_trial(path):
    with open_trials(path, SEARCH, "grid", 0) as store:
        store.finish(store.start(), 0.25, {})
        store.start()
        os._exit(9)


def test_a_killed_process_leaves_its_finished_trials_and_no_lock(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_die_in_a_trial, args=(tmp_path / "x.db",))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    with open_trials(tmp_path / "x.db", SEARCH, "grid", 0) as store:
        assert [(trial.settings, trial.valid) for trial in store.tried()] == [(POINTS[0], 0.25)]
        assert store.settings_of(store.start()) == POINTS[1]


def test_two_processes_cannot_search_the_same_at_once(tmp_path):
    with (
        open_trials(tmp_path / "x.db", SEARCH, "grid", 0),
        pytest.raises(ConfigError, match="running in another process"),
        open_trials(tmp_path / "x.db", SEARCH, "grid", 0),
    ):
        raise AssertionError("opened twice")


def test_a_damaged_file_is_named_with_the_cure(tmp_path):
    (tmp_path / "x.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(ResultError, match=r"x\.db: the stored trials cannot be used .*delete the file"):  # noqa: SIM117
        with open_trials(tmp_path / "x.db", SEARCH, "grid", 0):
            raise AssertionError("opened")


def test_a_folder_may_be_called_anything(tmp_path):
    path = tmp_path / "a b#c%20?{d}" / "x.db"
    search(path, 2, "grid", [])
    assert path.is_file()


def test_nothing_is_logged_and_the_callers_level_is_kept(tmp_path, capfd):
    import optuna

    before = optuna.logging.get_verbosity()
    search(tmp_path / "x.db", 3, "tpe", [])
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


def test_optuna_is_loaded_by_a_search_only(root):
    modules = ["study", "cli.main", "study.search.trials", "study.search.grids"]
    modules = [f"lmmrec_core.{name}" for name in modules]
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\n"
    code += "sys.exit(bool({'optuna', 'sqlalchemy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
