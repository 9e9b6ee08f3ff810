"""Cases as jobs: submitit's local executor runs them here, and what SLURM would be given is read."""

import importlib.util
import json
import os
import signal
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml

from lmmrec_core.cli import main
from lmmrec_core.errors import ConfigError
from lmmrec_core.study.cases import Case
from lmmrec_core.study.cluster import jobs as cluster
from lmmrec_core.study.cluster.jobs import JobPart, require_cluster, run_as_jobs
from lmmrec_core.study.schedule import run_cases
from lmmrec_core.study.workspace import Workspace

there = pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None, reason="the extra `cluster` (submitit) is not installed"
)
TRACK = {
    "name": "tiny", "title": "Tiny", "description": "A track of a test.", "where": "anywhere", "seeds": [1, 2, 3],
    "datasets": {"null": {"title": "Null", "source": "controls",
                          "options": {"kind": "null", "seed": 5, "users": 60, "items": 40}}},
    "encoders": {}, "models": {"bpr": {}}, "training": {"epochs": 3, "batch_size": 512}, "device": "cpu",
}  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch, root):
    """A working folder; jobs find this code, and what these tests find."""
    places = [str(root)]
    if (found := importlib.util.find_spec("submitit")) and found.origin:
        places.append(str(Path(found.origin).parents[1]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "home"


def opened(tmp_path: Path, name: str = "home", **training) -> tuple[Workspace, list[Case]]:
    track = tmp_path / "tiny.yaml"
    track.write_text(yaml.safe_dump({**TRACK, "training": {**TRACK["training"], **training}}))
    workspace = Workspace.open(str(track), home=tmp_path / name, progress=False)
    cell = {"track": "tiny", "dataset": "null", "model": "bpr"}
    return workspace, [Case.build({**cell, "seed": seed}, "case") for seed in TRACK["seeds"]]


def metrics(workspace: Workspace) -> dict[str, pd.DataFrame]:
    return {record.key: workspace.store.load_record(record).per_user for record in workspace.store.find_records()}


def assert_same(found: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> None:
    assert found.keys() == expected.keys()
    for key, frame in expected.items():
        pd.testing.assert_frame_equal(found[key], frame, check_exact=True)


@there
@pytest.mark.slow
def test_jobs_fill_one_folder_and_a_second_call_has_nothing_to_submit(home, tmp_path, capsys):
    opened(tmp_path)
    call = ["reproduce", "--track", str(tmp_path / "tiny.yaml"), "--engine", "local", "--jobs", "2"]
    assert main(call) == 0
    told = capsys.readouterr().out
    assert "2 jobs submitted" in told and "0 were stored before, 3 computed now, 0 failed." in told
    assert main(call) == 0
    told = capsys.readouterr().out
    assert "submitted" not in told and "3 were stored before, 0 computed now, 0 failed." in told
    assert not (home / ".cache/cluster/tiny/jobs.json").exists()


@there
@pytest.mark.slow
def test_a_killed_job_is_told_and_the_next_call_does_what_is_left(home, tmp_path, monkeypatch):
    workspace, cases = opened(tmp_path)
    wait = cluster._wait

    def kill(jobs, *more):
        task = psutil.Process(int(jobs[0].job_id))
        for process in [*task.children(recursive=True), task]:
            process.kill()
        wait(jobs, *more)

    monkeypatch.setattr(cluster, "_wait", kill)
    first = run_as_jobs(cases, workspace, 2, "local", {})
    assert (first.computed, [case.seed for case, _ in first.failures]) == (1, [1, 3])
    assert "ended early" in first.failures[0][1] and "the same command goes on" in first.failures[0][1]
    monkeypatch.setattr(cluster, "_wait", wait)
    second = run_as_jobs([case for case, _ in first.failures], workspace, 2, "local", {})
    assert (second.computed, second.failures) == (2, ())
    straight, cases = opened(tmp_path, "straight")
    run_cases(cases, straight, 1)
    assert_same(metrics(workspace), metrics(straight))


@there
@pytest.mark.slow
def test_a_job_whose_time_is_over_is_queued_again_and_goes_on(home, tmp_path, monkeypatch):
    workspace, cases = opened(tmp_path, epochs=60, patience=60, checkpoint_seconds=0)
    wait = cluster._wait

    def announce(jobs, *more):
        """As SLURM does: the signal goes to all processes of the job, once it trains."""
        end = time.monotonic() + 120
        while not list(workspace.checkpoints.glob("*.pt")) and time.monotonic() < end:
            time.sleep(0.05)
        for process in psutil.Process(int(jobs[0].job_id)).children(recursive=True):
            process.send_signal(signal.SIGUSR2)
        wait(jobs, *more)
        assert "Requeued job" in jobs[0].paths.stdout.read_text()

    monkeypatch.setattr(cluster, "_wait", announce)
    done = run_as_jobs(cases[:1], workspace, 1, "local", {})
    assert (done.computed, done.failures) == (1, ())
    straight, cases = opened(tmp_path, "straight", epochs=60, patience=60, checkpoint_seconds=0)
    run_cases(cases[:1], straight, 1)
    assert_same(metrics(workspace), metrics(straight))


@there
def test_what_slurm_is_given(home, tmp_path, monkeypatch):
    """With stubs of its commands: an array, one GPU each, a signal before the end; the user's options go before."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, line in {"srun": "", "sbatch": f'cp "$1" {tmp_path}/script; echo Submitted batch job 4711'}.items():
        (bin_ / name).write_text(f"#!/bin/sh\n{line}\n")
        (bin_ / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}{os.pathsep}{os.environ['PATH']}")
    workspace, cases = opened(tmp_path)
    seen: list[JobPart] = []
    monkeypatch.setattr(cluster, "_wait", lambda jobs, parts, *_: seen.extend(parts))
    monkeypatch.setattr(cluster, "_outcome", lambda job, part: cluster.Outcome(0, len(part.cases), ()))
    options = require_cluster("slurm", ["partition=gpu", "time=2-00:00:00"])
    assert run_as_jobs(cases, workspace, 2, "slurm", options).computed == 3
    script = (tmp_path / "script").read_text()
    for line in ("array=0-1%2", "gpus-per-node=1", "partition=gpu", "time=2-00:00:00", "signal=USR2@120", "mem=32GB"):
        assert f"#SBATCH --{line}\n" in script
    assert [[case.seed for case in part.cases] for part in seen] == [[1, 3], [2]]
    run_as_jobs(cases, workspace, 9, "slurm", require_cluster("slurm", ["gres=gpu:a100:1", "mem-per-gpu=64G"]))
    script = (tmp_path / "script").read_text()
    assert "--gres=gpu:a100:1\n" in script and "gpus-per-node" not in script and "--mem=" not in script
    assert "array=0-2%3" in script, "no more jobs than cases"


@there
def test_jobs_of_an_earlier_call_are_waited_for(home, tmp_path, monkeypatch, capsys):
    workspace, cases = opened(tmp_path)
    stopped = []

    def stop(*_):
        stopped.append(True)
        raise KeyboardInterrupt

    wait = cluster._wait
    monkeypatch.setattr(cluster, "_wait", stop)
    with pytest.raises(KeyboardInterrupt):
        run_as_jobs(cases[:1], workspace, 1, "local", {})
    monkeypatch.setattr(cluster, "_wait", wait)
    done = run_as_jobs(cases, workspace, 2, "local", {})
    assert "1 jobs of an earlier call have not ended: they are waited for, none is submitted" in capsys.readouterr().out
    assert (done.computed, len(metrics(workspace))) == (1, 1)
    note = home / ".cache/cluster/tiny/jobs.json"
    assert stopped and not note.exists()
    note.write_text(json.dumps({"engine": "none", "jobs": []}))
    with pytest.raises(ConfigError, match=r"jobs\.json: damaged; see whether jobs run still"):
        run_as_jobs(cases, workspace, 2, "local", {})


@pytest.mark.parametrize(
    ("engine", "words", "message"),
    [
        ("slurm", [], "no sbatch and srun here"),
        ("local", ["partition=gpu"], "--slurm has no effect with --engine local"),
    ],
)
def test_an_engine_that_is_not_there_is_refused(monkeypatch, engine, words, message):
    monkeypatch.setattr(cluster, "find_spec", lambda name: object())
    monkeypatch.setattr(cluster.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=message):
        require_cluster(engine, words)
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"--engine {engine} needs submitit: .*lmmrec\[cluster\]"):
        require_cluster(engine, words)


@pytest.mark.parametrize("word", ["partition", "=gpu", "--time=9", "Time=9", "time="])
def test_options_of_sbatch_are_names_with_values(monkeypatch, word):
    monkeypatch.setattr(cluster, "find_spec", lambda name: object())
    monkeypatch.setattr(cluster.shutil, "which", lambda name: name)
    assert require_cluster("slurm", ["mem-per-gpu=9G", "gres=gpu:a100:1"]) == {
        "mem-per-gpu": "9G",
        "gres": "gpu:a100:1",
    }
    with pytest.raises(ConfigError, match="is not NAME=VALUE"):
        require_cluster("slurm", [word])


def test_options_of_slurm_need_slurm(capsys):
    assert main(["reproduce", "--slurm", "partition=gpu"]) == 1
    assert "--slurm has no effect without --engine slurm" in capsys.readouterr().err
