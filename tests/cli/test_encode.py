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
