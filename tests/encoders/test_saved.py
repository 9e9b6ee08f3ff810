"""Files of weights that we trained, whatever the encoder."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from lmmrec_core.encoders.saved import SavedNote, read_note, read_saved, restore, write_saved
from lmmrec_core.errors import FeatureError

NOTE = SavedNote("toy", 3, "ft", {"epochs": 2}, {"width": 4}, {"source": "random"}, {"words": ["ä", "b"]})


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


@pytest.fixture
def path(tmp_path):
    write_saved(tmp_path / "toy.safetensors", network(), NOTE)
    return tmp_path / "toy.safetensors"


def rewritten(path, **changes):
    """The same weights with another note; a change to None removes the field."""
    with safe_open(path, framework="pt") as file:
        note = {**json.loads(file.metadata()["lmmrec"]), **changes}
    kept = {name: value for name, value in note.items() if value is not None}
    save_file(load_file(path), path, metadata={"lmmrec": json.dumps(kept)})
    return path


def test_weights_and_note_come_back(path):
    note = read_saved(path, "toy", 3)
    assert (note.stage, note.training, note.settings, note.source, note.more) == (
        "ft", {"epochs": 2}, {"width": 4}, {"source": "random"}, {"words": ["ä", "b"]},
    )  # fmt: skip
    other = network(seed=1).train()
    restore(other, path, note)
    assert not other.training
    expected = network().state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in other.state_dict().items())


def test_files_from_elsewhere_have_no_note(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors", metadata={"format": "pt"})
    torch.save({"a": torch.zeros(1)}, tmp_path / "plain.pt")
    for name in ("plain.safetensors", "plain.pt", "absent.safetensors"):
        assert read_note(tmp_path / name) is None
    with pytest.raises(FeatureError, match="not weights that encoder 'toy' saved"):
        read_saved(tmp_path / "plain.pt", "toy", 3)
    with pytest.raises(FeatureError, match="no such weights; train and save encoder 'toy' first"):
        read_saved(tmp_path / "absent.safetensors", "toy", 3)


@pytest.mark.parametrize(("name", "version"), [("toy", 4), ("other", 3)])
def test_another_encoder_or_version_is_refused(path, name, version):
    with pytest.raises(FeatureError, match=f"weights of toy version 3, expected {name} version {version}; name toy"):
        read_saved(path, name, version)


@pytest.mark.parametrize("changes", [{"state_sha256": None}, {"state_sha256": ""}, {"stage": None}, {"note": {}}])
def test_notes_of_earlier_versions_are_refused(path, changes):
    with pytest.raises(FeatureError, match=r"incomplete or of an earlier version.*delete it and run the same command"):
        read_note(rewritten(path, **changes))


def test_notes_that_are_no_json_object_are_refused(path):
    for written in ("[1, 2]", "null", "{"):
        save_file(load_file(path), path, metadata={"lmmrec": written})
        with pytest.raises(FeatureError, match="incomplete or of an earlier version"):
            read_note(path)


def test_weights_that_changed_after_saving_are_refused(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(FeatureError, match="the weights are not the ones saved"):
        restore(network(), path, read_saved(path, "toy", 3))
    path.write_bytes(content[:20])
    with pytest.raises(FeatureError, match="not a file of tensors"):
        read_note(path)


def test_another_network_is_refused(path):
    with pytest.raises(FeatureError, match=r"no weights for '2\.weight'"):
        restore(nn.Sequential(*network(), nn.Linear(4, 1)), path, read_saved(path, "toy", 3))


def test_low_rank_factors_are_refused(tmp_path):
    from lmmrec_core.encoders.lora import LowRank

    module = network()
    factors = LowRank(module[0].weight.detach(), 1, 1.0, torch.Generator().manual_seed(0))
    nn.utils.parametrize.register_parametrization(module[0], "weight", factors)
    with pytest.raises(FeatureError, match="'toy' has low-rank factors, which no plain module"):
        write_saved(tmp_path / "toy.safetensors", module, NOTE)
    assert list(tmp_path.iterdir()) == []
