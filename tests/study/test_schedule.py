"""The whole path on a tiny track: skipped when done, resumed when killed, damaged parts named, disk full survived."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.results.store import ResultStore
from lmmrec_core.study.cases import Case
from lmmrec_core.study.schedule import _planned, run_cases
from lmmrec_core.study.workspace import Places
from tests.study.conftest import tiny_track


def cases(*models, seeds=(1,)):
    cells = {"track": "controls", "dataset": "complementary"}
    return [Case.build({**cells, "model": model, "seed": seed}, "case") for model in models for seed in seeds]


@pytest.fixture
def places(tiny_places, tmp_path) -> Places:
    """Results of its own, the session's cache."""
    return Places(results=tmp_path / "results", cache=tiny_places.cache)


def test_everything_runs_once_and_is_skipped_the_second_time(places):
    first = run_cases(cases("popularity", "bpr"), tiny_track(), places, None, jobs=2, progress=False)
    assert (first.done_before, first.computed, first.failures) == (0, 2, ())
    second = run_cases(cases("popularity", "bpr", "itemknn"), tiny_track(), places, None, jobs=1, progress=False)
    assert (second.done_before, second.computed) == (2, 1)


def test_a_damaged_result_is_named_and_neither_trusted_nor_overwritten(places):
    run_cases(cases("popularity", "itemknn"), tiny_track(), places, None, jobs=1, progress=False)
    record = next(places.results.glob("controls/complementary/popularity-*/run.json"))
    record.write_text(record.read_text().replace('"recall@20": 0', '"recall@20": 9', 1))
    outcome = run_cases(cases("popularity", "itemknn"), tiny_track(), places, None, jobs=1, progress=False)
    assert outcome.done_before == 1
    ((case, text),) = outcome.failures
    assert case.model == "popularity"
    assert "run.json" in text and "delete the folder" in text


def test_one_failing_case_leaves_the_others(places):
    track = tiny_track()
    broken = track.model_copy(update={"models": {**track.models, "bpr": {"training": {"learning_rate": 1e30}}}})
    outcome = run_cases(cases("bpr", "popularity"), broken, places, None, jobs=1, progress=False)
    assert outcome.computed == 1
    assert [case.model for case, _ in outcome.failures] == ["bpr"]
    assert "lower learning_rate" in outcome.failures[0][1]


def test_jobs_below_one_are_refused(places):
    with pytest.raises(ConfigError, match="JOBS=0"):
        run_cases(cases("bpr"), tiny_track(), places, None, jobs=0)


def test_encoders_made_in_processes_are_those_made_here(tmp_path):
    track, content = tiny_track(), {"track": "controls", "dataset": "complementary", "model": "vbpr", "seed": 1}
    chosen = [("baseline", "none"), ("clip", "PT"), ("clip", "FT"), ("clip", "ETE")]
    wanted = [
        Case.build({**content, "modalities": "V&T", "encoder": encoder, "paradigm": paradigm}, "case")
        for encoder, paradigm in chosen
    ]
    keys, made = [], []
    for name, jobs in (("here", 1), ("processes", 2)):
        home = Places(results=tmp_path / name / "results", cache=tmp_path / name / "cache")
        keys.append([todo.key for todo in _planned(wanted, track, home, None, jobs, progress=False)])
        made.append({file.name: file.read_bytes() for file in home.encoders.rglob("*.safetensors")})
        assert len(list(home.features.glob("*.safetensors"))) == 3  # end-to-end training starts from those of PT
    assert keys[0] == keys[1]
    assert made[0].keys() == made[1].keys() and len(made[0]) == 4
    assert all(made[1][file] == content for file, content in made[0].items())


EPOCHS = 150
_CHILD = """
import sys
from pathlib import Path
from lmmrec_core.study.workspace import Places
from lmmrec_core.study.schedule import run_cases
from tests.study.conftest import tiny_track
from tests.study.test_schedule import cases

if __name__ == "__main__":
    places = Places(results=Path(sys.argv[1]), cache=Path(sys.argv[2]))
    epochs = int(sys.argv[3])
    long = tiny_track(
        training={"epochs": epochs, "batch_size": 64, "patience": 10**6, "checkpoint_seconds": 0.2}
    )
    outcome = run_cases(cases("popularity", "lightgcn"), long, places, None, jobs=1, progress=False)
    print(outcome.done_before, outcome.computed, len(outcome.failures))
"""


def _child(places: Places, root, epochs: int) -> subprocess.Popen:
    script = places.results.parent / "child.py"
    script.write_text(_CHILD)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen(
        [sys.executable, str(script), str(places.results), str(places.cache), str(epochs)],
        env=environment, cwd=root, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
def test_killed_half_way_it_keeps_what_is_done_and_continues_from_the_checkpoint(tmp_path, root):
    places = Places(results=tmp_path / "results", cache=tmp_path / "cache")
    child = _child(places, root, EPOCHS)
    deadline = time.monotonic() + 120
    while not list(places.checkpoints.glob("*.pt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    store = ResultStore(places.results)
    assert [record.case["model"] for record in store.find_records()] == ["popularity"]
    assert list(places.checkpoints.glob("*.pt"))
    again = _child(places, root, EPOCHS)
    out, _ = again.communicate(timeout=300)
    assert out.split() == ["1", "1", "0"]
    interrupted = next(r for r in store.find_records() if r.case["model"] == "lightgcn")
    assert interrupted.data["training"]["epochs"] == EPOCHS
    # the same run, never interrupted, gives the same numbers
    whole = Places(results=tmp_path / "whole", cache=places.cache)
    _child(whole, root, EPOCHS).communicate(timeout=300)
    reference = next(r for r in ResultStore(whole.results).find_records() if r.case["model"] == "lightgcn")
    assert interrupted.data["metrics"] == reference.data["metrics"]
    assert not list(places.checkpoints.glob("*.pt"))


def _small_disk(folder) -> bool:
    folder.mkdir()
    return (
        shutil.which("mount") is not None
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(folder)], capture_output=True
        ).returncode
    )


def test_full_disk_loses_nothing_finished_and_says_what_to_do(tiny_places, tmp_path):
    disk = tmp_path / "disk"
    if not _small_disk(disk):
        pytest.skip("mounting a small tmpfs needs privileges this user does not have")
    try:
        places = Places(results=disk / "results", cache=tiny_places.cache)
        outcome = run_cases(
            cases("popularity", "itemknn", "bpr", seeds=(1, 2, 3)), tiny_track(), places, None, 1, progress=False
        )
        assert outcome.failures
        told = [text for _, text in outcome.failures]
        assert all("No space left" in text and "run the same command again" in text for text in told), told
        for record in ResultStore(places.results).find_records():  # whatever was stored is whole
            ResultStore(places.results).load_record(record)
        assert len(ResultStore(places.results).find_records()) == outcome.computed
    finally:
        subprocess.run(["umount", str(disk)], check=False)
