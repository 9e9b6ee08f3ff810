"""Checkpoint files: whole or absent, of one run, and never a reason to crash."""

import pytest
import torch

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


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "other"])
def test_a_damaged_file_is_reported_and_ignored(tmp_path, damage):
    path = tmp_path / "run.pt"
    checkpoints.save(path, "run a", {"w": torch.randn(1000)})
    whole = path.read_bytes()
    if damage == "other":
        torch.save([1, 2], path)
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "noise": b"\x80\x02nothing" * 50}[damage])
    with pytest.warns(UserWarning, match=r"run\.pt: the checkpoint cannot be read .* starts over"):
        assert checkpoints.load(path, "run a") is None


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
