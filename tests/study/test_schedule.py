"""The whole path on a tiny track: skipped when done, resumed when killed, damaged parts named, disk full survived."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pandas as pd
import psutil
import pytest
import torch

from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.results.store import ResultStore
from lmmrec_core.study import inputs
from lmmrec_core.study.cases import Case
from lmmrec_core.study.schedule import _planned, run_cases, worker_pool
from lmmrec_core.study.workspace import Workspace
from tests.study.conftest import tiny_workspace


def cases(*models, seeds=(1,)):
    cells = {"track": "controls", "dataset": "complementary"}
    return [Case.build({**cells, "model": model, "seed": seed}, "case") for model in models for seed in seeds]


def test_everything_runs_once_and_is_skipped_the_second_time(workspace):
    first = run_cases(cases("popularity", "bpr"), workspace, jobs=2)
    assert (first.done_before, first.computed, first.failures) == (0, 2, ())
    second = run_cases(cases("popularity", "bpr", "itemknn"), workspace, jobs=1)
    assert (second.done_before, second.computed) == (2, 1)


def test_the_number_of_processes_changes_no_bit(tmp_path):
    wanted, found = cases("bpr", "lightgcn", "itemknn"), []
    for name, jobs in (("one", 1), ("two", 2)):
        home = tiny_workspace(tmp_path / name / "results", tmp_path / name / "cache")
        run_cases(wanted, home, jobs=jobs)
        found.append({record.key: home.store.load_record(record) for record in home.store.find_records()})
    one, two = found
    assert one.keys() == two.keys() and len(one) == len(wanted)
    for key, result in one.items():
        pd.testing.assert_frame_equal(result.per_user, two[key].per_user, check_exact=True)


def test_a_damaged_result_is_named_and_neither_trusted_nor_overwritten(workspace):
    run_cases(cases("popularity", "itemknn"), workspace, jobs=1)
    record = next(workspace.results.glob("controls/complementary/popularity-*/run.json"))
    record.write_text(record.read_text().replace('"recall@20": 0', '"recall@20": 9', 1))
    outcome = run_cases(cases("popularity", "itemknn"), workspace, jobs=1)
    assert outcome.done_before == 1
    ((case, text),) = outcome.failures
    assert case.model == "popularity"
    assert "run.json" in text and "delete the folder" in text


def test_one_failing_case_leaves_the_others(workspace):
    models = {**workspace.track.models, "bpr": {"training": {"learning_rate": 1e30}}}
    broken = replace(workspace, track=workspace.track.model_copy(update={"models": models}))
    outcome = run_cases(cases("bpr", "popularity"), broken, jobs=1)
    assert outcome.computed == 1
    assert [case.model for case, _ in outcome.failures] == ["bpr"]
    assert "lower learning_rate" in outcome.failures[0][1]


def test_jobs_below_one_are_refused(workspace):
    with pytest.raises(ConfigError, match="JOBS=0"):
        run_cases(cases("bpr"), workspace, jobs=0)


def test_encoders_made_in_processes_are_those_made_here(tmp_path):
    content = {"track": "controls", "dataset": "complementary", "model": "vbpr", "seed": 1}
    chosen = [("baseline", "none"), ("clip", "PT"), ("clip", "FT"), ("clip", "ETE")]
    wanted = [
        Case.build({**content, "modalities": "V&T", "encoder": encoder, "paradigm": paradigm}, "case")
        for encoder, paradigm in chosen
    ]
    keys, made = [], []
    for name, jobs in (("here", 1), ("processes", 2)):
        home = tiny_workspace(tmp_path / name / "results", tmp_path / name / "cache")
        keys.append([todo.key for todo in _planned(wanted, home, jobs)[0]])
        made.append({file.name: file.read_bytes() for file in home.encoders.rglob("*.safetensors")})
        assert len(list(home.features.glob("*.safetensors"))) == 3  # end-to-end training starts from those of PT
    assert keys[0] == keys[1]
    assert made[0].keys() == made[1].keys() and len(made[0]) == 4
    assert all(made[1][file] == content for file, content in made[0].items())


EPOCHS = 150
_CHILD = """
import sys
from pathlib import Path
from lmmrec_core.study.schedule import run_cases
from tests.study.conftest import tiny_workspace
from tests.study.test_schedule import cases

if __name__ == "__main__":
    training = {"epochs": int(sys.argv[3]), "batch_size": 64, "patience": 10**6, "checkpoint_seconds": 0.2}
    long = tiny_workspace(Path(sys.argv[1]), Path(sys.argv[2]), training=training)
    outcome = run_cases(cases("popularity", "lightgcn"), long, jobs=1)
    print(outcome.done_before, outcome.computed, len(outcome.failures))
"""


def _child(workspace: Workspace, root, epochs: int) -> subprocess.Popen:
    script = workspace.results.parent / "child.py"
    script.write_text(_CHILD)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen(
        [sys.executable, str(script), str(workspace.results), str(workspace.cache), str(epochs)],
        env=environment, cwd=root, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path, root):
    workspace = tiny_workspace(tmp_path / "results", tmp_path / "cache")
    child = _child(workspace, root, 10**6)
    deadline = time.monotonic() + 120
    while not list(workspace.checkpoints.glob("[!.]*.pt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = psutil.Process(child.pid).children(recursive=True)
    assert workers
    child.kill()
    child.wait()
    _, alive = psutil.wait_procs(workers, timeout=90)
    assert not alive and list(workspace.checkpoints.glob("[!.]*.pt"))


@pytest.mark.slow
def test_killed_half_way_it_keeps_what_is_done_and_continues_from_the_checkpoint(tmp_path, root):
    workspace = tiny_workspace(tmp_path / "results", tmp_path / "cache")
    child = _child(workspace, root, EPOCHS)
    deadline = time.monotonic() + 120
    while not list(workspace.checkpoints.glob("[!.]*.pt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    store = ResultStore(workspace.results)
    assert [record.case["model"] for record in store.find_records()] == ["popularity"]
    assert list(workspace.checkpoints.glob("[!.]*.pt"))
    again = _child(workspace, root, EPOCHS)
    out, _ = again.communicate(timeout=300)
    assert out.split() == ["1", "1", "0"]
    interrupted = next(r for r in store.find_records() if r.case["model"] == "lightgcn")
    assert interrupted.data["training"]["epochs"] == EPOCHS
    # the same run, never interrupted, gives the same numbers
    whole = replace(workspace, results=tmp_path / "whole")
    _child(whole, root, EPOCHS).communicate(timeout=300)
    reference = next(r for r in ResultStore(whole.results).find_records() if r.case["model"] == "lightgcn")
    assert interrupted.data["metrics"] == reference.data["metrics"]
    assert not list(workspace.checkpoints.glob("[!.]*.pt"))


def _small_disk(folder) -> bool:
    folder.mkdir()
    return (
        shutil.which("mount") is not None
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(folder)], capture_output=True
        ).returncode
    )


def test_full_disk_loses_nothing_finished_and_says_what_to_do(shared_cache, tmp_path):
    disk = tmp_path / "disk"
    if not _small_disk(disk):
        pytest.skip("mounting a small tmpfs needs privileges this user does not have")
    try:
        workspace = tiny_workspace(disk / "results", shared_cache)
        outcome = run_cases(cases("popularity", "itemknn", "bpr", seeds=(1, 2, 3)), workspace, jobs=1)
        assert outcome.failures
        told = [text for _, text in outcome.failures]
        assert all("No space left" in text and "run the same command again" in text for text in told), told
        for record in ResultStore(workspace.results).find_records():  # whatever was stored is whole
            ResultStore(workspace.results).load_record(record)
        assert len(ResultStore(workspace.results).find_records()) == outcome.computed
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_data_weights_and_features_that_cannot_be_had_cost_their_own_cases(workspace, monkeypatch):
    settings = workspace.track.dataset("complementary")
    gone = settings.model_copy(update={"source": "folder", "path": "gone", "options": {}})
    track = workspace.track.model_copy(update={"datasets": {"complementary": settings, "gone": gone}})
    clip = {**track.encoders["clip"], "settings": {"weights": "nowhere.safetensors"}}
    track = track.model_copy(update={"encoders": {**track.encoders, "clip": clip}})
    here = replace(workspace, track=track, data=workspace.results.parent)
    seen = inputs.load_features

    def load(workspace, dataset, encoder, *rest):
        if encoder == "vlmo":
            raise FeatureError("the pictures of a test are broken")
        return seen(workspace, dataset, encoder, *rest)

    monkeypatch.setattr(inputs, "load_features", load)
    content = {"track": "controls", "dataset": "complementary", "model": "vbpr", "modalities": "V&T"}
    asked = [
        *cases("popularity"),
        Case.build({"track": "controls", "dataset": "gone", "model": "popularity"}, "case"),
        Case.build({**content, "encoder": "clip", "paradigm": "PT"}, "case"),
        Case.build({**content, "encoder": "vlmo", "paradigm": "PT"}, "case"),
        Case.build({**content, "encoder": "baseline"}, "case"),
    ]
    plans, kept_out = inputs.prepare_cases(asked, here)
    assert [todo.case for todo in plans] == [asked[0], asked[4]]
    told = {(case.dataset, case.encoder): text for case, text in kept_out}
    assert set(told) == {("gone", "none"), ("complementary", "clip"), ("complementary", "vlmo")}
    assert "must hold gone" in told["gone", "none"]
    assert "nowhere.safetensors not found" in told["complementary", "clip"]
    assert told["complementary", "vlmo"] == "the pictures of a test are broken"
    outcome = run_cases(asked, here, jobs=1)
    assert outcome.computed == 2 and dict(outcome.failures) == dict(kept_out)


def _gpus_of_workers(workspace, jobs):
    """What each process of a pool sees as its GPUs; every one is asked once, because each waits for the others."""
    pool = worker_pool(workspace, jobs)
    with multiprocessing.get_context("spawn").Manager() as manager:
        together = manager.Barrier(jobs)
        futures = [pool.submit(_seen_gpus, together) for _ in range(jobs)]
        found = sorted(future.result(timeout=120) for future in futures)
        pool.shutdown()
    return found


def _seen_gpus(together):
    together.wait(timeout=100)
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all")


@pytest.mark.parametrize(
    ("device", "given", "count", "expected"),
    [
        ("auto", None, 2, ["0", "0", "1"]),
        ("cuda", "4,GPU-5a,6", 3, ["4", "6", "GPU-5a"]),
        ("auto", None, 0, ["all"] * 3),
        ("cpu", None, 2, ["all"] * 3),
        ("cuda:1", None, 2, ["all"] * 3),
    ],
)
def test_processes_are_spread_over_the_visible_gpus(workspace, monkeypatch, device, given, count, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    here = replace(workspace, track=workspace.track.model_copy(update={"device": device}))
    if expected[0] == "all":
        assert worker_pool(here, 3)._initargs[-1] is None  # nothing is said to the processes
    else:
        assert _gpus_of_workers(here, 3) == expected


def test_two_processes_that_want_the_same_features_make_them_once(workspace, monkeypatch):
    """The second waits for the first, as on two machines that share a folder."""
    waits, made = threading.Event(), []

    def slow(*_):
        made.append(threading.get_ident())
        waits.wait(0.5)
        made.append(threading.get_ident())
        raise FeatureError("enough")

    monkeypatch.setattr(inputs, "load_features", slow)
    workspace.dataset("complementary")
    step = ("complementary", "baseline", "none")
    threads = [
        threading.Thread(target=inputs.make_all, args=("features", [step], inputs._make_features, here, None, print))
        for here in (workspace, replace(workspace))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made[0] == made[1] and made[2] == made[3] and made[0] != made[2]
