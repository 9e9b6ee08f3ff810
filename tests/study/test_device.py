import pytest
import torch

from lmmrec_core.errors import ConfigError
from lmmrec_core.study.device import device_of
from lmmrec_core.study.run import resolve
from lmmrec_core.study.track import read_track


@pytest.mark.parametrize(("wanted", "gpu", "found"), [
    ("cpu", True, "cpu"), ("auto", True, "cuda"), ("auto", False, "cpu"), ("cuda:1", True, "cuda:1"),
])  # fmt: skip
def test_the_device_of_a_track_reaches_the_training(monkeypatch, wanted, gpu, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    track = read_track("paper").model_copy(update={"device": wanted})
    assert device_of(track) == found == resolve(track, "vbpr")[1].device
    assert resolve(track, "vbpr", {"device": "cpu"})[1].device == "cpu"


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"device 'cuda' is not there; set device: auto or cpu"):
        device_of(read_track("paper").model_copy(update={"device": "cuda"}))


def test_tracks_for_large_machines_use_a_gpu_where_there_is_one():
    assert {name: read_track(name).device for name in ("paper", "user", "controls", "movielens")} == {
        "paper": "auto", "user": "auto", "controls": "cpu", "movielens": "cpu"
    }  # fmt: skip
