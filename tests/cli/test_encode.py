"""The encoder of an end-to-end run is kept, or not, and encodes new items from the command line."""

import csv
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from lmmrec_core.cli.main import main
from lmmrec_core.data.folder import read_folder
from lmmrec_core.study.workspace import Workspace
from tests.cli.shops import write_items

SETTINGS = "end_to_end: {reading: e3, part: heads, updates_per_epoch: 1, encoder_learning_rate: 0.01}\n"


@pytest.fixture
def train(shop, tmp_path, capsys):
    """``lmmrec run`` on the shop under ETE with a tiny encoder; its record."""
    entry = tmp_path / "mine.yaml"
    entry.write_text(f"encoder: clip-tiny\nsettings: {{model: clip-tiny-32, seed: 4}}\n{SETTINGS}")

    def call(*more, code=0):
        arguments = ["run", "--data", str(shop), "--model", "vbpr", "--encoder", str(entry), "--k-core", "1"]
        arguments += ["--set", "epochs=2", "--set", "embedding_dim=8", "--json", "--quiet", *more]
        assert main(arguments) == code
        told = capsys.readouterr()
        return json.loads(told.out) if code == 0 else told.err

    return call


def encode(key, folder, target):
    return main(["encode", "--run", key, "--items", str(folder), "--out", str(target)])


def test_known_items_get_the_rows_that_the_run_ended_with(train, shop, tmp_path, capsys):
    record = train("--paradigm", "ETE")
    assert record["encoder_file"] and record["features"]["trained"]["weights"]
    assert encode(record["key"], shop, tmp_path / "out") == 0
    told = capsys.readouterr().out
    visual, textual = (np.load(tmp_path / "out" / f"{m}.npy") for m in ("visual", "textual"))
    assert f"visual 12 x {visual.shape[1]}" in told and record["key"] in told
    stored = load_file(Workspace.open("user").features / f"{record['features']['trained']['key']}.safetensors")
    order = [int(item_id[1:]) for item_id in read_folder(shop).item_ids]  # a catalogue's own, not the file's
    assert sorted(order) == list(range(12))
    assert np.allclose(visual[order], stored["visual"], atol=1e-5)
    assert np.allclose(textual[order], stored["textual"], atol=1e-5)
    with (tmp_path / "out" / "features.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["item_id"] for row in rows] == [f"i{i}" for i in range(12)]
    assert {row["has_visual"] for row in rows} == {"1"}


def test_new_items_are_told_apart_by_what_they_show(train, shop, tmp_path, capsys):
    key = train("--paradigm", "ETE")["key"]
    new = tmp_path / "new"
    (new / "images").mkdir(parents=True)
    shutil.copy(shop / "images" / "11.png", new / "images" / "a.png")
    write_items(new, {20: "images/a.png", 21: ""})
    assert encode(key, new, tmp_path / "out") == 0
    assert encode(key, shop, tmp_path / "known") == 0
    fresh, known = np.load(tmp_path / "out" / "visual.npy"), np.load(tmp_path / "known" / "visual.npy")
    assert np.allclose(fresh[0], known[11], atol=1e-5) and np.allclose(fresh[1], fresh[0])  # the mean of one
    assert (tmp_path / "out" / "features.csv").read_text().splitlines()[1:] == ["i20,1,1", "i21,0,1"]
    assert encode(key, new, tmp_path / "out") == 1
    assert "nothing is overwritten" in capsys.readouterr().err


def test_an_encoder_that_was_not_kept_is_told_and_made_again_when_asked_for(train, shop, tmp_path, capsys):
    record = train("--paradigm", "ETE", "--no-keep-encoder")
    assert record["encoder_file"] is None
    assert encode(record["key"], shop, tmp_path / "out") == 1
    assert "unless that was told --no-keep-encoder" in capsys.readouterr().err
    assert train("--paradigm", "ETE")["encoder_file"] is None  # the stored run, as it is
    again = train("--paradigm", "ETE", "--keep-encoder")
    assert again["encoder_file"] and again["key"] == record["key"]
    assert again["features"]["trained"] == record["features"]["trained"]
    assert encode(record["key"], shop, tmp_path / "out") == 0


def test_a_run_without_an_encoder_has_none_to_keep(train, tmp_path, capsys, shop):
    assert "--keep-encoder has no effect" in train("--keep-encoder", code=1)
    key = train()["key"]  # PT
    assert encode(key, shop, tmp_path / "out") == 1
    assert f"run {key} trained no encoder" in capsys.readouterr().err


def break_pictures(folder):
    """Three kinds of faults: not there, no picture, broken off."""
    (folder / "images" / "1.png").unlink()
    (folder / "images" / "2.png").write_bytes(b"no picture")
    whole = (folder / "images" / "3.png").read_bytes()
    (folder / "images" / "3.png").write_bytes(whole[: len(whole) // 2])


def test_pictures_that_fail_are_named_all_at_once_with_a_cure_that_the_command_has(train, shop, tmp_path, capsys):
    key = train("--paradigm", "ETE")["key"]
    new = tmp_path / "new"
    shutil.copytree(shop, new)
    break_pictures(new)
    assert encode(key, new, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert all(f"images/{number}.png" in error for number in (1, 2, 3)) and "3 pictures cannot be read" in error
    assert "leave the `image` cells of these items empty" in error
    assert "--unreadable" not in error and "track file" not in error
    with (new / "items.csv").open("a") as file:
        file.write("i5,Again,,,,\n")
    assert encode(key, new, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "already in line" in error and "images/3.png" in error
    write_items(new, dict.fromkeys(range(3), "") | {3: "images/4.png"})  # what was advised
    assert encode(key, new, tmp_path / "out") == 0


def test_one_run_is_named(train, shop, tmp_path, capsys):
    key = train("--paradigm", "ETE")["key"]
    for asked in (f"{key},{key}", f"{key}, {'0' * 16}"):
        assert encode(asked, shop, tmp_path / "out") == 1
        assert "names several runs; give the one" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["cut", "flipped", "another", "empty"])
def test_a_damaged_encoder_is_noticed_and_keep_encoder_makes_it_again(train, shop, tmp_path, capsys, way):
    record = train("--paradigm", "ETE")
    file = Workspace.open("user").results.parent / record["encoder_file"]
    sound = file.read_bytes()
    if way == "another":
        other = train("--paradigm", "ETE", "--seed", "2")
        shutil.copy(Workspace.open("user").results.parent / other["encoder_file"], file)
    else:
        flipped = sound[:-1] + bytes([sound[-1] ^ 1])
        file.write_bytes({"cut": sound[:-100], "flipped": flipped, "empty": b""}[way])
    assert encode(record["key"], shop, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert str(file) in error and "run the case again with --keep-encoder" in error
    assert "delete" not in error and "save the weights" not in error
    with pytest.warns(UserWarning, match=file.name):
        assert train("--paradigm", "ETE")["encoder_file"] is None  # not trusted
    with pytest.warns(UserWarning, match=file.name):
        again = train("--paradigm", "ETE", "--keep-encoder")
    assert again["encoder_file"] and again["key"] == record["key"]
    assert encode(record["key"], shop, tmp_path / "out") == 0


def test_the_rows_appear_whole_or_not_at_all(train, shop, tmp_path, capsys, monkeypatch):
    key = train("--paradigm", "ETE")["key"]

    def full(*given):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("lmmrec_core.cli.encode.write_table", full)  # the last file of the folder
        assert encode(key, shop, tmp_path / "new" / "out") == 1
    assert "No space left" in capsys.readouterr().err and not list((tmp_path / "new").iterdir())
    (tmp_path / "file").write_text("mine")
    for target, words in ((tmp_path / "file", "as a file"), (shop, "not empty")):
        assert encode(key, shop, target) == 1
        assert words in capsys.readouterr().err
    (tmp_path / "v1.2").mkdir()
    assert encode(key, shop, tmp_path / "v1.2") == 0
    assert sorted(path.name for path in (tmp_path / "v1.2").iterdir()) == ["features.csv", "textual.npy", "visual.npy"]


def test_a_model_that_was_kept_is_not_lost_when_the_encoder_is_asked_for(train, shop, capsys):
    first = train("--paradigm", "ETE", "--no-keep-encoder", "--keep-model")
    assert train("--paradigm", "ETE", "--keep-encoder")["encoder_file"]
    assert main(["recommend", "--model", first["key"], "--users", "u1", "--k", "1"]) == 0
    with pytest.raises(SystemExit):
        train("--paradigm", "ETE", "--keep-encoder", "--no-keep-encoder", code=2)
    assert "given twice" in capsys.readouterr().err
    assert "--no-keep-encoder has no effect" in train("--no-keep-encoder", code=1)
