"""Checkpoint files: whole or absent, of one run, and never a reason to crash."""

import os
import subprocess
import sys

import pytest
import torch
from tqdm import tqdm

from lmmrec_core import checkpoints
from lmmrec_core.errors import TrainingError


def test_round_trip_keeps_tensors_and_plain_values(tmp_path):
    path = tmp_path / "deep" / "run.pt"
    checkpoints.save(path, "run a", {"weights": {"w": torch.arange(3.0)}, "history": [(1, 0.5, None, 0.1)]})
    state = checkpoints.load(path, "run a")
    assert torch.equal(state["weights"]["w"], torch.arange(3.0)) and state["history"] == [(1, 0.5, None, 0.1)]
    assert [file.name for file in path.parent.iterdir()] == ["run.pt"]


def test_another_runs_checkpoint_is_refused(tmp_path):
    checkpoints.save(tmp_path / "run.pt", "run a", {})
    with pytest.raises(TrainingError, match=r"run\.pt: .*'run a', not to 'run b'; delete it"):
        checkpoints.load(tmp_path / "run.pt", "run b")


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "other", "unsealed"])
def test_a_damaged_file_is_reported_and_ignored(tmp_path, damage):
    path = tmp_path / "run.pt"
    checkpoints.save(path, "run a", {"w": torch.randn(1000)})
    whole = path.read_bytes()
    if damage == "other":
        torch.save([1, 2], path)
    elif damage == "unsealed":
        torch.save({"schema": 2, "identity": "run a", "state": {}}, path)
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "noise": b"\x80\x02nothing" * 50}[damage])
    with pytest.warns(UserWarning, match=r"run\.pt: the checkpoint cannot be read .* starts over"):
        assert checkpoints.load(path, "run a") is None


def test_every_changed_byte_is_noticed(tmp_path):
    path = tmp_path / "run.pt"
    checkpoints.save(path, "run a", {"w": torch.randn(20), "history": [(1, 0.5)]})
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.warns(UserWarning, match=r"run\.pt: .*another digest.*starts over"):
            assert checkpoints.load(path, "run a") is None, place


def test_no_file_is_no_state(tmp_path):
    assert checkpoints.load(tmp_path / "none.pt", "run a") is None


class Harmful:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    torch.save({"schema": 1, "identity": "run a", "state": {"x": Harmful()}}, tmp_path / "run.pt")
    with pytest.warns(UserWarning, match="cannot be read"):
        assert checkpoints.load(tmp_path / "run.pt", "run a") is None
    assert "must not run" not in capsys.readouterr().out


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    checkpoints.save(path, "run a", {"epoch": 1})

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(TrainingError, match="disk full"):
        checkpoints.save(path, "run a", {"epoch": 2})
    monkeypatch.undo()
    assert checkpoints.load(path, "run a") == {"epoch": 1} and len(list(tmp_path.iterdir())) == 1


class Counting(checkpoints.CheckpointedLoop):
    """Five epochs of counting."""

    count = 0

    @property
    def epochs_done(self):
        return self.count

    def bar(self):
        return tqdm(disable=True)

    def epoch(self, number, bar):
        self.count = number
        self.stopped = "cap" if number == 5 else ""

    def state(self):
        return {"count": self.count}

    def restore(self, saved):
        self.count = saved["count"]


def test_a_disk_that_takes_no_checkpoint_is_told_once_and_training_goes_on(tmp_path):
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    loop = Counting(tmp_path / "checkpoints" / "run.pt", "run a", save_seconds=0)
    with pytest.warns(UserWarning, match=r"could not be written .*goes on without") as told:
        loop.run_epochs()
    assert loop.count == 5 and len(told) == 1


def test_once_the_disk_takes_them_again_checkpoints_are_written(tmp_path, monkeypatch):
    loop = Counting(tmp_path / "run.pt", "run a", save_seconds=0)
    saved, asked = checkpoints.save, []

    def sometimes(*arguments):
        asked.append(len(asked))
        if len(asked) < 3:
            raise TrainingError("no room")
        saved(*arguments)

    monkeypatch.setattr(checkpoints, "save", sometimes)
    with pytest.warns(UserWarning, match="no room"):
        loop.run_epochs()
    assert len(asked) == 5 and checkpoints.load(loop.path, "run a") == {"count": 5}


FULL = """
import resource, signal, sys
from pathlib import Path
import torch
from lmmrec_core import checkpoints
from lmmrec_core.errors import TrainingError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # bytes: the tensor does not fit
try:
    checkpoints.save(Path(sys.argv[1]) / "run.pt", "run a", {"w": torch.zeros(100_000)})
except TrainingError as error:
    print(error)
"""


def test_why_a_checkpoint_does_not_fit_is_said(tmp_path, root):
    told = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], cwd=root, env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "run.pt: could not be written (File too large); free" in told.stdout, told.stderr
    assert list(tmp_path.iterdir()) == []


def test_removing_takes_the_phases_too_and_nothing_else(tmp_path):
    for name in ("ab.pt", "ab.warm.pt", "ab.first.pt", "abc.pt", "ab.json"):
        (tmp_path / name).touch()
    checkpoints.remove(tmp_path / "ab.pt")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ab.json", "abc.pt"]
    checkpoints.remove(tmp_path / "none" / "ab.pt")


def test_a_checkpoint_that_may_not_be_read_is_told_and_stays(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    path.write_bytes(b"precious")

    def refused(where, *more, **options):
        raise PermissionError(13, "Permission denied", str(where))

    for method in ("is_file", "open"):
        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path." + method, refused)
            with pytest.raises(TrainingError, match=r"run\.pt: cannot be read \(Permission denied\); allow reading it"):
                checkpoints.load(path, "me")
    assert path.read_bytes() == b"precious"
