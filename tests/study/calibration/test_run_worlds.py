"""Tiny worlds from drawing to line: run twice, resumed, killed, run again after a commit."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.results.provenance import ALLOW
from lmmrec_core.significance.comparison import compare
from lmmrec_core.study.calibration import run_worlds as running
from lmmrec_core.study.calibration.files import add_line, part_path, read_lines
from lmmrec_core.study.calibration.reading import read_calibration
from lmmrec_core.study.calibration.run_world import run_world
from lmmrec_core.study.calibration.run_worlds import run_worlds, waiting
from lmmrec_core.study.calibration.world_tests import worlds_tested
from lmmrec_core.study.calibration.worlds import worlds_of
from lmmrec_core.study.run import plan, run_case

TIMES = ("cpu_seconds", "provenance", "digest")


def plain(line: dict) -> dict:
    return {name: value for name, value in line.items() if name not in TIMES}


def test_a_world_gives_the_tests_of_its_runs_and_leaves_nothing_else(tiny) -> None:
    world = worlds_of("null", 1)[0]
    line = run_world(world, tiny)
    assert list(line["models"]) == ["vbpr", "lattice"] and not list((tiny.cache / "calibration").iterdir())
    assert not tiny.results.exists()
    runs = line["models"]["vbpr"]["runs"]
    assert [(run["control"], run["seed"]) for run in runs] == [(c, s) for c in ("none", "shuffled") for s in (1, 2, 3)]
    assert {run["stopped"] for run in runs} <= {"patience", "cap"} and all(run["steps"] <= 6 for run in runs)
    # the same runs by the ordinary way, stored and compared
    here = replace(tiny, track=world.track(tiny.track))
    per_seed = {}
    for case, run in zip(world.cases("vbpr", tiny.track), runs, strict=True):
        todo = plan(case, here)
        assert todo.key == run["key"]
        per_seed.setdefault(case.control, {})[case.seed] = run_case(todo, here).values("ndcg@20")
    expected = compare(per_seed["none"], per_seed["shuffled"])
    found = worlds_tested([(world, line)]).set_index("model").loc["vbpr"]
    assert found["p_own"] == pytest.approx(expected.p, rel=1e-6)
    assert found["difference"] == pytest.approx(expected.difference, rel=1e-9)


def test_worlds_of_every_part_can_be_run(tiny) -> None:
    power = worlds_of("power", 1)
    assert [world.group.content for world in power] == sorted({world.group.content for world in power})
    for world in (*worlds_of("planted", 1), power[1], *worlds_of("capacity", 1)):
        line = run_world(world, tiny)
        found = worlds_tested([(world, line)])
        expected = {"planted": 3, "power": 1, "capacity": 3}[world.part]
        assert len(found) == expected * len(world.models)
        assert world.dataset(tiny.track).options.get("content", 1.0) == world.group.content


def test_what_is_stored_is_not_run_again_and_in_parts_gives_the_same(tiny, tmp_path, code, monkeypatch) -> None:
    whole, parts = tiny, replace(tiny, results=tmp_path / "parts")
    assert run_worlds(worlds_of("null", 2), whole, jobs=2).computed == 2
    monkeypatch.setattr(running, "worker_pool", lambda *_: _Here())
    monkeypatch.setattr(running, "_work", lambda world: run_world(world, parts))
    assert run_worlds(worlds_of("null", 1), parts, jobs=1).computed == 1
    outcome = run_worlds(worlds_of("null", 2), parts, jobs=1)
    assert (outcome.done_before, outcome.computed, outcome.failures) == (1, 1, ())
    lines = [read_lines(part_path(one.results, "null")) for one in (whole, parts)]
    assert [plain(line) for line in lines[0]] == [plain(line) for line in lines[1]]
    assert waiting(worlds_of("null", 2), whole) == []
    assert len(read_calibration(whole.results, whole.track).worlds["null"]) == 2


def test_worlds_of_uncommitted_code_are_run_again_once_it_is_committed(tiny, code, monkeypatch) -> None:
    code(True)
    worlds = worlds_of("null", 1)
    monkeypatch.setattr(running, "_work", _nothing)
    monkeypatch.setattr(running, "worker_pool", lambda *_: _Here())
    assert run_worlds(worlds, tiny, jobs=1).computed == 1
    assert waiting(worlds, tiny) == []
    assert read_calibration(tiny.results, tiny.track).worlds["null"] == ()
    code(False)
    assert waiting(worlds, tiny) == worlds
    monkeypatch.setenv(ALLOW, "1")
    assert waiting(worlds, tiny) == []


def test_a_world_that_fails_costs_no_other(tiny, code, monkeypatch) -> None:
    def work(world):
        if world.seed == 5027:
            raise ZeroDivisionError("no users")
        return _nothing(world)

    monkeypatch.setattr(running, "_work", work)
    monkeypatch.setattr(running, "worker_pool", lambda *_: _Here())
    outcome = run_worlds(worlds_of("null", 3), tiny, jobs=1)
    assert outcome.computed == 2 and [world.seed for world, _ in outcome.failures] == [5027]
    assert "unexpected ZeroDivisionError: no users" in outcome.failures[0][1]
    assert [line["seed"] for line in read_lines(part_path(tiny.results, "null"))] == [5026, 5028]


def test_a_stop_between_two_worlds_keeps_the_first(tiny, code, monkeypatch) -> None:
    kept = []

    def stopped_after_one(path, line, started):
        if kept:
            raise KeyboardInterrupt
        kept.append(line["world"])
        add_line(path, line, started)

    monkeypatch.setattr(running, "worker_pool", lambda *_: _Here())
    monkeypatch.setattr(running, "_work", _nothing)
    with monkeypatch.context() as stopping:
        stopping.setattr(running, "add_line", stopped_after_one)
        with pytest.raises(KeyboardInterrupt):
            run_worlds(worlds_of("null", 3), tiny, jobs=1)
    assert [line["world"] for line in read_lines(part_path(tiny.results, "null"))] == kept
    outcome = run_worlds(worlds_of("null", 3), tiny, jobs=1)
    assert (outcome.done_before, outcome.computed) == (1, 2)


def test_two_at_once_and_no_process_are_refused(tiny) -> None:
    with pytest.raises(ConfigError, match="JOBS=0"):
        run_worlds(worlds_of("null", 1), tiny, jobs=0)
    with running._alone(tiny), pytest.raises(ConfigError, match="running in another process"):
        run_worlds(worlds_of("null", 1), tiny, jobs=1)


def _nothing(world) -> dict:
    """A line without runs, declared as the tiny track's."""
    return {
        "world": world.name, "kind": world.kind, "seed": world.seed, "declared": _nothing.declared(world),
        "models": {}, "cpu_seconds": 0.0,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def _declared(tiny):
    _nothing.declared = lambda world: world.declared(tiny.track)


class _Here:
    """A pool that works in this process, one after another, when it is asked."""

    def submit(self, function, world):
        from concurrent.futures import Future

        future: Future = Future()
        try:
            future.set_result(function(world))
        except BaseException as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_) -> None:
        pass


_CHILD = """
import sys
from pathlib import Path
from lmmrec_core.study.calibration.run_worlds import run_worlds
from lmmrec_core.study.calibration.worlds import worlds_of
from tests.study.calibration.conftest import tiny_worlds

if __name__ == "__main__":
    outcome = run_worlds(worlds_of("null", 2), tiny_worlds(Path(sys.argv[1]), Path(sys.argv[2])), jobs=1)
    print(outcome.done_before, outcome.computed, len(outcome.failures))
"""


@pytest.mark.slow
def test_killed_it_keeps_what_is_done_and_goes_on(tiny, tmp_path, root) -> None:
    script = tmp_path / "child.py"
    script.write_text(_CHILD)

    def child() -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": str(root)}
        command = [sys.executable, str(script), str(tiny.results), str(tiny.cache)]
        return subprocess.Popen(
            command, env=environment, cwd=root, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    first, path, deadline = child(), part_path(tiny.results, "null"), time.monotonic() + 120
    while not path.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert [line["world"] for line in read_lines(path)][:1] == ["null-5026"]
    done = len(read_lines(path))
    out, _ = child().communicate(timeout=300)
    assert out.split() == [str(done), str(2 - done), "0"]
    assert [line["world"] for line in read_lines(path)] == ["null-5026", "null-5027"]
