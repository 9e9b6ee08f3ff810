"""What is wrong with an encoder's entry is told with the entry and the key; new items for ready features likewise."""

import shutil

import numpy as np
import pytest

from tests.cli.shops import QUICK, told, write_items

TINY = "encoder: clip-tiny\nsettings: {model: clip-tiny-32, seed: 4}\n"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("{model: clip-tiny-33}", ", settings: encoder 'clip-tiny': unknown model 'clip-tiny-33'"),
        ("{model: clip-tiny-32, sed: 4}", ", settings of clip-tiny: unknown setting 'sed'"),
        ("{pretrained: openai}", ", settings: encoder 'clip-tiny' has no published weights"),
        ("{weights: nowhere.pt}", ", settings: weights"),
        ("{weights: /nowhere.pt}", ", settings: weights /nowhere.pt not found"),
    ],
)
def test_settings_of_an_encoder_are_told_with_their_entry(shop, tmp_path, capsys, settings, words):
    refused(shop, tmp_path, capsys, f"encoder: clip-tiny\nsettings: {settings}\n", words)


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [
        ("visual: lite0\ntextual: minilmm\n", (), ", textual: unknown encoder 'minilmm'"),
        ("visual: {encoder: lit0}\ntextual: ready\n", (), ", visual: unknown encoder 'lit0'"),
        ("seed: 3\n", (), "names no encoder; write visual, textual, or encoder"),
        (f"{TINY}rotated: picture\n", (), ": rotated = 'picture'"),
        (f"{TINY}rotated: visual\n", ("--modalities", "T"), ", rotated: 'visual' is not read here"),
        (f"{TINY}rotated: visual\n", ("--paradigm", "ETE"), ": its features are rotated"),
    ],
)
def test_entry_and_key_are_named(shop, tmp_path, capsys, text, more, words):
    refused(shop, tmp_path, capsys, text, words, *more)


def refused(shop, tmp_path, capsys, text, words, *more):
    (tmp_path / "mine.yaml").write_text(text)
    call = ("run", "--data", shop, "--model", "vbpr", "--encoder", tmp_path / "mine.yaml", "--k-core", "1")
    where, _, rest = told(capsys, *call, *QUICK, *more, rc=1).partition("track 'user', encoders, own")
    assert where == "lmmrec run: " and words in rest


def test_new_items_of_a_model_of_ready_features_bring_them_too(shop, tmp_path, capsys):
    rng = np.random.default_rng(2)
    for name in ("visual", "textual"):
        np.save(shop / f"{name}.npy", rng.normal(size=(12, 4)).astype("float32"))
    told(capsys, "run", "--data", shop, "--model", "vbpr", "--k-core", "1", *QUICK, "--keep-model")
    (model,) = (tmp_path / "home").rglob("vbpr-*/model.safetensors")
    new = tmp_path / "new"
    shutil.copytree(shop, new)
    write_items(new, {i: f"images/{i % 12}.png" for i in range(20, 32)})
    call = ("recommend", "--model", model, "--items", new, "--only-new", "--k", "3")
    told(capsys, *call)
    (new / "textual.npy").unlink()
    error = told(capsys, *call, rc=1)
    assert "new: textual.npy not there; the model was trained on ready features" in error
    (new / "visual.npy").unlink()
    error = told(capsys, *call, rc=1)
    assert "visual.npy and textual.npy not there" in error and "name an encoder" not in error


def test_new_pictures_that_fail_are_told_with_a_cure_that_recommend_has(shop, tmp_path, capsys):
    entry = tmp_path / "mine.yaml"
    entry.write_text(TINY)
    call = ("run", "--data", shop, "--model", "vbpr", "--k-core", "1", *QUICK, "--encoder", entry, "--keep-model")
    told(capsys, *call)
    (model,) = (tmp_path / "home").rglob("vbpr-*/model.safetensors")
    new = tmp_path / "new"
    shutil.copytree(shop, new)
    write_items(new, {i: f"images/{i - 20}.png" for i in range(20, 32)})
    (new / "images" / "0.png").unlink()
    (new / "images" / "1.png").write_bytes(b"none")
    call = ("recommend", "--model", model, "--items", new, "--only-new", "--k", "3")
    error = told(capsys, *call, rc=1)
    assert "2 pictures cannot be read" in error and "`image` cells" in error and "--unreadable" not in error
    shutil.copy(shop / "images" / "0.png", new / "images" / "0.png")
    error = told(capsys, *call, rc=1)  # now only one that shows when it is decoded
    assert "1 picture cannot be read" in error and "`image` cells" in error and "--unreadable" not in error
