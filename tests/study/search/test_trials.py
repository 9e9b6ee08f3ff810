"""The folder of trials: the same points however often a search is interrupted, and none of them twice."""

import multiprocessing
import os
import subprocess
import sys

import pytest

from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.study.search.grids import combinations
from lmmrec_core.study.search.trials import Trial, open_trials, points_to_try

POINTS = combinations({"rate": (0.1, 0.01, 0.001), "layers": (2, None), "norm": (True, False)})


def test_all_points_come_in_order_and_fewer_are_drawn_without_repetition():
    assert points_to_try(POINTS, len(POINTS), seed=3) == list(POINTS)
    drawn = points_to_try(POINTS, 7, seed=3)
    assert len({tuple(point.values()) for point in drawn}) == 7
    assert points_to_try(POINTS, 7, seed=3) == drawn != points_to_try(POINTS, 7, seed=4)


def test_a_larger_budget_begins_with_the_same_points():
    assert points_to_try(POINTS, 9, seed=0)[:4] == points_to_try(POINTS, 4, seed=0)


def test_every_point_is_drawn_equally_often():
    firsts = [points_to_try(POINTS, 1, seed=seed)[0] for seed in range(600)]
    counts = [firsts.count(point) for point in POINTS]
    assert min(counts) > 25 and max(counts) < 80  # 50 expected; four deviations are 27


def test_a_stored_trial_keeps_every_bit_and_none_stays_none(tmp_path):
    worked = Trial(POINTS[2], 0.1 + 0.2, None, {"seconds": 1.5})
    failed = Trial(POINTS[0], None, "the loss is nan", {"seconds": 0.5})
    with open_trials(tmp_path / "x") as trials:
        assert trials.get(POINTS[2]) is None
        for trial in (worked, failed):
            trials.put(trial)
    with open_trials(tmp_path / "x") as trials:
        assert [trials.get(trial.settings) for trial in (worked, failed)] == [worked, failed]
        assert type(trials.get(POINTS[2]).settings["layers"]) is type(None)


def _die_in_a_trial(path):
    with open_trials(path) as trials:
        trials.put(Trial(POINTS[0], 0.25, None, {}))
        os._exit(9)


def test_a_killed_process_leaves_its_finished_trials_and_no_lock(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_die_in_a_trial, args=(tmp_path / "x",))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    with open_trials(tmp_path / "x") as trials:
        assert trials.get(POINTS[0]).valid == 0.25 and trials.get(POINTS[1]) is None


def test_two_processes_cannot_search_the_same_at_once(tmp_path):
    with (
        open_trials(tmp_path / "x"),
        pytest.raises(ConfigError, match="running in another process"),
        open_trials(tmp_path / "x"),
    ):
        raise AssertionError("opened twice")


def test_a_damaged_trial_is_named_with_the_cure(tmp_path):
    with open_trials(tmp_path / "x") as trials:
        trials.put(Trial(POINTS[0], 0.25, None, {}))
        (file,) = (tmp_path / "x").iterdir()
        file.write_text(file.read_text().replace("0.25", "0.95"))
        with pytest.raises(ResultError, match=rf"{file.name}: damaged .*delete it"):
            trials.get(POINTS[0])


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError, match="cannot be written"), open_trials(tmp_path / "file" / "x"):
        raise AssertionError("opened")


def test_naming_grids_and_trials_loads_no_torch(root):
    modules = [f"lmmrec_core.{name}" for name in ("study", "cli.main", "study.search.trials", "study.search.grids")]
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
