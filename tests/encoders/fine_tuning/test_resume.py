import os
import signal

import pytest
import torch

from lmmrec_core import checkpoints
from lmmrec_core.encoders.fine_tuning import loop
from lmmrec_core.encoders.fine_tuning.loop import fine_tune
from lmmrec_core.errors import TrainingError
from tests.encoders.fine_tuning.running import ALL, PAIRS, run, same, settings_of, state, unmeasured
from tests.encoders.fine_tuning.toys import FusingToy, factor_pairs


@pytest.mark.parametrize("cut", [1, 2])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, monkeypatch, cut):
    changes = {"objectives": ALL, "epochs": 4, "augment": "crop", "micro_batch": 9, "weight_decay": 0.1}
    straight, reference = run(FusingToy(dropout=0.2), **changes)
    compare = loop._Loop._compare

    def interrupt(self, number, standing):
        compare(self, number, standing)
        if number == cut:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop._Loop, "_compare", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(FusingToy(dropout=0.2), path=tmp_path / "tuning.pt", **changes)
    monkeypatch.setattr(loop._Loop, "_compare", compare)
    torch.manual_seed(99)
    resumed, tuning = run(FusingToy(dropout=0.2), path=tmp_path / "tuning.pt", **changes)
    assert same(state(resumed), state(straight)) and tuning.weights == reference.weights
    assert unmeasured(tuning.history) == unmeasured(reference.history) and len(tuning.history) == 4
    assert (tuning.before, tuning.after, tuning.best_epoch) == (reference.before, reference.after, reference.best_epoch)
    assert tuning.plain()["seconds"] > 0


def test_a_crash_resumes_from_the_last_epoch(tmp_path, monkeypatch):
    straight, _ = run(epochs=4)
    stand = loop._Loop._stand

    def crash(self, number):
        if number == 3:
            raise RuntimeError("power cut")
        return stand(self, number)

    monkeypatch.setattr(loop._Loop, "_stand", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        run(path=tmp_path / "tuning.pt", epochs=4, checkpoint_seconds=0)
    monkeypatch.setattr(loop._Loop, "_stand", stand)
    resumed, tuning = run(path=tmp_path / "tuning.pt", epochs=4, checkpoint_seconds=0)
    assert same(state(resumed), state(straight)) and len(tuning.history) == 4


def test_a_finished_tuning_is_read_back(tmp_path):
    first, tuning = run(path=tmp_path / "tuning.pt", checkpoint_seconds=0)
    again, other = run(path=tmp_path / "tuning.pt", checkpoint_seconds=0)
    assert same(state(first), state(again)) and other.plain() == tuning.plain()


@pytest.mark.parametrize("change", ["settings", "pairs", "identity"])
def test_a_checkpoint_of_another_tuning_is_refused(tmp_path, change):
    path = tmp_path / "tuning.pt"
    run(path=path, checkpoint_seconds=0)
    pairs = factor_pairs(seed=1) if change == "pairs" else PAIRS
    settings = settings_of(checkpoint_seconds=0, seed=int(change == "settings"))
    identity = "run b" if change == "identity" else "run a"
    with pytest.raises(TrainingError, match="belongs to run"):
        fine_tune(FusingToy(), pairs, settings, checkpoint=path, identity=identity, progress=False)


def test_short_tunings_write_no_checkpoint(tmp_path):
    run(path=tmp_path / "tuning.pt")
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_hold_only_what_the_safe_reader_takes(tmp_path):
    run(path=tmp_path / "tuning.pt", checkpoint_seconds=0)
    content = torch.load(tmp_path / "tuning.pt", weights_only=True)
    assert content["state"]["stepper"]["done"] == 9
    assert checkpoints.load(tmp_path / "tuning.pt", content["identity"]) is not None
