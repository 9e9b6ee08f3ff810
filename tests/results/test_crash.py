"""Killed, raced, out of space: a run is there complete or not at all."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lmmrec_core.errors import ResultError
from lmmrec_core.results.store import ResultStore
from tests.results.samples import find, save


def python(code: str, root: Path, *arguments: str) -> subprocess.Popen[str]:
    """Run ``code`` in a process of its own, from the repository's root."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=root, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


STOP_BEFORE = """
import sys, time
from pathlib import Path
import lmmrec_core.disk as disk
from tests.results.samples import save

def stop(*_):
    print("here", flush=True)
    time.sleep(60)

if sys.argv[2] == "rename":
    Path.rename = stop
else:
    disk.os.fsync = stop  # all is written, nothing has its name yet
save(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("moment", ["rename", "flush"])
def test_a_killed_process_leaves_no_visible_run(tmp_path: Path, root: Path, moment: str) -> None:
    process = python(STOP_BEFORE, root, str(tmp_path), moment)
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert find(ResultStore(tmp_path)) == []
    left = [entry.name for entry in (tmp_path / "controls" / "null").iterdir()]
    assert len(left) == 1 and left[0].startswith(".partial-")
    assert len(ResultStore(tmp_path).load(save(tmp_path)).per_user) == 5  # and the run can be saved now


KEEP_SAVING = """
import sys
from pathlib import Path
from tests.results.samples import save
print("start", flush=True)
for seed in range(100_000):
    save(Path(sys.argv[1]), seed=seed)
"""


def test_whatever_the_moment_of_the_kill_visible_runs_are_complete(tmp_path: Path, root: Path) -> None:
    process = python(KEEP_SAVING, root, str(tmp_path))
    assert process.stdout is not None and process.stdout.readline() == "start\n"
    deadline = time.monotonic() + 30
    while len(list(tmp_path.glob("*/*/[!.]*/run.json"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    runs = find(ResultStore(tmp_path))  # raises when any is damaged
    assert len(runs) >= 5


SAVE_TOGETHER = """
import os, sys, time
from pathlib import Path
from tests.results.samples import per_user, save
root, start = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
while not start.exists():
    time.sleep(0.0005)
for seed in range(8):
    print(save(root, per_user(seed=int(sys.argv[3])), seed=seed).name, flush=True)
os._exit(0)  # the store is tested here, not how the libraries' threads end with the interpreter
"""


def test_two_processes_saving_the_same_runs_agree_on_one(tmp_path: Path, root: Path) -> None:
    store_root, start = tmp_path / "results", tmp_path / "start"
    processes = [python(SAVE_TOGETHER, root, str(store_root), str(start), number) for number in ("1", "2")]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    start.touch()
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert len(find(ResultStore(store_root))) == 8
    assert not list(store_root.rglob(".partial*"))


def test_losing_the_race_keeps_the_others_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def slower(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        save(tmp_path)  # another process saves the same run just before us
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", slower)
    path = save(tmp_path)
    assert len(ResultStore(tmp_path).load(path).per_user) == 5
    assert not list(tmp_path.rglob(".partial*"))


FULL_DISK = """
import resource, sys
from pathlib import Path
from lmmrec_core.errors import ResultError
from tests.results.samples import save
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # bytes: the table does not fit
try:
    save(Path(sys.argv[1]))
except ResultError as error:
    print(error)
"""


def test_a_file_that_cannot_be_written_to_its_end_leaves_nothing(tmp_path: Path, root: Path) -> None:
    output, errors = python(FULL_DISK, root, str(tmp_path)).communicate(timeout=60)
    assert "could not be written (File too large); free " in output, errors
    assert list((tmp_path / "controls" / "null").iterdir()) == []
    assert find(ResultStore(tmp_path)) == []


def test_a_full_disk_is_told_with_the_space_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultError, match=r"No space left on device.*free [\d,]+ bytes"):
        save(tmp_path)
    assert not list(tmp_path.rglob(".partial*"))


def test_an_interrupt_while_saving_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path)
    assert not list(tmp_path.rglob(".partial*")) and find(ResultStore(tmp_path)) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "controls").write_text("a file where a folder should be")
    with pytest.raises(ResultError, match="could not be written"):
        save(tmp_path)


def test_folders_abandoned_a_day_ago_are_removed_and_fresh_ones_kept(tmp_path: Path) -> None:
    place = tmp_path / "controls" / "null"
    old, fresh = place / ".partial-old", place / ".partial-fresh"
    for folder in (old, fresh):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 90_000,) * 2)
    save(tmp_path)
    assert not old.exists() and fresh.exists()


def test_importing_results_metrics_and_significance_needs_no_torch(root: Path) -> None:
    code = """
import sys
import lmmrec_core.metrics.evaluate, lmmrec_core.metrics.overlap, lmmrec_core.significance.families
import lmmrec_core.significance, lmmrec_core.results.store, lmmrec_core.results.pooling, lmmrec_core.results.provenance
assert "torch" not in sys.modules, "torch was imported"
"""
    process = python(code, root)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
