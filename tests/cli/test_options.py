"""What was asked is done, or refused with the cure: no option is without effect."""

import json
import re
import shutil

import numpy as np
import pytest

from lmmrec_core.cli import main
from tests.cli.shops import QUICK, mmrec, record, rows_of, told, with_split


def test_ready_rows_of_one_modality_are_used_and_the_other_is_encoded(shop, capsys):
    np.save(shop / "visual.npy", np.random.default_rng(0).normal(size=(12, 5)).astype("float32"))
    found = record(capsys, "--data", shop, "--model", "vbpr", *QUICK)
    assert found["case"]["modalities"] == "V&T"
    assert {m: entry["dim"] for m, entry in found["features"]["card"]["modalities"].items()} == {"textual": 384}
    assert found["features"]["card"]["ready"] == ["visual"]
    np.save(shop / "visual.npy", np.random.default_rng(9).normal(size=(12, 5)).astype("float32"))
    other = record(capsys, "--data", shop, "--model", "vbpr", *QUICK)
    assert other["features"]["digest"] != found["features"]["digest"]  # the rows were read


def test_min_rating_of_an_mmrec_folder_is_honoured(tmp_path, capsys):
    folder = mmrec(tmp_path / "toy")
    shown = told(capsys, "data", folder, "--min-rating", 2)
    assert "40 rows below min_rating" in shown and "120 read, 80 kept" in shown
    assert "given" in shown


def test_what_a_catalogue_became_is_told_once_and_without_empty_lines(shop, capsys):
    shown = told(capsys, "data", shop)
    keys = [line.split()[0] for line in shown.splitlines()]
    assert keys[:6] == ["catalogue", "rows", "dropped", "core", "split", "modalities"]
    assert len(set(keys)) == len(keys) and "None" not in shown
    assert not any(key.startswith(("rows_", "split_")) or "_dropped_" in key for key in keys)
    assert all(len(line.split()[1]) <= 8 for line in shown.splitlines() if line.split()[0] in ("density", "gini_items"))


def test_interactions_alone_are_a_catalogue_and_a_missing_table_beside_pictures_is_a_fault(shop, capsys):
    for file in ("items.csv", "visual.npy", "textual.npy"):
        (shop / file).unlink(missing_ok=True)
    beside = [path for path in shop.iterdir() if path.name != "interactions.csv"]
    if not beside:
        (shop / "images").mkdir()
        beside = [shop / "images"]
    assert "items.csv: no such file" in told(capsys, "data", shop, rc=1)
    for path in beside:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert re.search(r"modalities +none\n", told(capsys, "data", shop))


PARITY = {"user": [0, 0, 0, 1], "item": [0, 1, 2, 2], "split": [0, 1, 2, 0]}


def test_an_option_that_the_format_does_not_have_is_refused(tmp_path, capsys):
    np.savez(tmp_path / "interactions.npz", n_users=2, n_items=3, **{k: np.array(v) for k, v in PARITY.items()})
    np.savez(tmp_path / "features.npz", visual=np.ones((3, 2)), text=np.ones((3, 2)))
    for option in (("--min-rating", 4), ("--interactions", "x.csv"), ("--unreadable", "drop")):
        assert f"{option[0]} has no effect" in told(capsys, "data", tmp_path, *option, rc=1)


def test_the_features_of_one_of_several_models_are_chosen_by_the_option_that_the_error_names(tmp_path, capsys):
    layers, rows = ("torch/ResNet50/avgpool", "torch/VGG19/fc"), []
    for n in range(60):
        rows.append(f"u{n % 10}\ti{(n // 10 + n) % 8}")
    for root, layer, width in (("visual_embeddings", layers[0], 3), ("visual_embeddings_1", layers[1], 4)):
        (tmp_path / root / layer).mkdir(parents=True)
        for item in range(8):
            np.save(tmp_path / root / layer / f"i{item}.npy", np.full((1, width), item, dtype=np.float32))
    (tmp_path / "reviews.tsv").write_text("\n".join(rows) + "\n")
    error = told(capsys, "data", tmp_path, rc=1)
    assert "2 models or layers: 'torch/ResNet50/avgpool', 'torch/VGG19/fc'" in error and error.count("2 models") == 1
    option, value = re.search(r"choose one, as (--\w+) '(.*?)'", error).groups()
    call = ("--data", tmp_path, "--model", "vbpr", "--modalities", "V", "--k-core", 1, *QUICK)
    digests = {record(capsys, *call, option, layer)["features"]["digest"] for layer in (value, layers[1])}
    assert len(digests) == 2
    assert "--visual has no effect: no visual features are read" in told(
        capsys, "run", "--data", tmp_path, "--model", "bpr", *QUICK, option, value, rc=1
    )


def test_an_option_of_ducho_is_refused_for_other_folders(shop, capsys):
    assert "--textual has no effect: the folder is of format 'folder'" in told(
        capsys, "data", shop, "--textual", "a", rc=1
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--k-core", "-3"), "--k-core -3: give 1 or more"),
        (("--k-core", "0"), "--k-core 0: give 1 or more"),
        (("--split-seed", "-1"), "--split-seed -1"),
        (("--split", "random"), "unknown split rule 'random'"),
        (("--split", "global_time", "--split-seed", "3"), "draws nothing; leave it out"),
        (("--split", "given"), "needs a column of parts"),
        (("--min-rating", "nan"), "min_rating: nan is not a finite number"),
        (("--interactions", "../rows.csv"), "outside the folder"),
        (("--unreadable", "drop", "--modalities", "T"), "--unreadable has no effect: no pictures are read"),
        (("--seed", "-1"), "--seed -1"),
        (("--set", "device=cuda:99"), "set device=cpu"),
        (("--set", "device=tpu"), "is no device"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(shop, capsys, options, message):
    assert message in told(capsys, "run", "--data", shop, "--model", "vbpr", *QUICK, *options, rc=1)


def test_a_core_or_a_seed_beside_a_given_split_is_refused(shop, capsys):
    with_split(shop, "user_id,item_id,split")
    assert "--split mmrec" in told(capsys, "data", shop, "--k-core", 4, rc=1)
    assert "draws nothing" in told(capsys, "data", shop, "--split-seed", 4, rc=1)
    assert "given" in told(capsys, "data", shop, "--k-core", 1)  # asks for what is done anyway
    assert "mmrec, seed 4" in told(capsys, "data", shop, "--split", "mmrec", "--k-core", 4, "--split-seed", 4)


@pytest.mark.parametrize(
    "option", [("--encoder", "clip"), ("--paradigm", "PT"), ("--modalities", "T"), ("--control", "shuffled")]
)
def test_content_options_of_a_model_without_content_are_refused(shop, capsys, option):
    for call in (("run", "--data", shop, "--model", "ease"), ("search", "--catalogue", shop, "--model", "itemknn")):
        if call[0] == "search" and option[0] in ("--paradigm", "--control"):
            continue
        assert f"{option[0]} has no effect: model" in told(capsys, *call, *option, rc=1)


def test_a_setting_of_training_is_refused_where_nothing_is_trained(shop, capsys):
    error = told(capsys, "run", "--data", shop, "--model", "ease", "--set", "epochs=3", rc=1)
    assert "setting 'epochs' has no effect: model 'ease' is not trained" in error and "its settings: reg" in error
    assert "ease" in told(capsys, "run", "--data", shop, "--model", "ease", "--set", "reg=9")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("visual: lite0\ntextual: minilm\nprecison: bf16\n", "unknown setting 'precison'"),
        ("visual: {encoder: lite0, settings: {sise: 3}}\ntextual: minilm\n", "unknown setting 'sise'"),
        ("visual: {encoder: lite0, seting: {}}\ntextual: minilm\n", "seting"),
        ("visual: lite1\ntextual: minilm\n", "unknown encoder 'lite1'; did you mean 'lite0'"),
        ("encoder: clip-tiny\nsettings: {modle: clip-tiny-32}\n", "unknown setting 'modle'; did you mean 'model'"),
        ("encoder: clip-tiny\nfine_tune: {epoch: 3}\n", "unknown setting 'epoch'; did you mean 'epochs'"),
        ("textual: minilm\n", "names none for pictures; add `visual:` to it, or use --modalities T"),
    ],
)
def test_an_unknown_key_of_an_encoder_entry_is_refused(shop, tmp_path, capsys, entry, message):
    (tmp_path / "mine.yaml").write_text(entry)
    call = ("run", "--data", shop, "--model", "vbpr", *QUICK, "--encoder", tmp_path / "mine.yaml")
    assert message in told(capsys, *call, rc=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("data", "--k-core", "3"), "--k-core is for a catalogue of your own"),
        (("data", "SHOP", "--track", "films"), "--track has no effect"),
        (("features", "--missing-text", "keep"), "--missing-text is for a catalogue of your own"),
        (("features", "--catalogue", "SHOP", "--track", "controls"), "--track has no effect"),
        (("search", "--dataset", "null", "--model", "vbpr", "--min-rating", "3"), "--min-rating is for a catalogue"),
        (("search", "--dataset", "null", "--model", "vbpr", "--jobs", "3"), "--jobs is for the search of all cells"),
        (("search", "--cells", "--seed", "3"), "--seed is for the search of one model"),
        (("search", "--apply", "--model", "vbpr"), "--model has no effect: --apply alone writes what is stored of all"),
        (("search", "--apply", "--jobs", "3"), "--jobs has no effect: --apply alone"),
        (("search", "--apply", "--dry-run"), "--dry-run has no effect: --apply alone"),
        (("search", "--apply", "--track", "mine.yaml"), "is a file of your own; put the settings under `searched`"),
        (
            ("search", "--cells", "--dry-run", "--model", "bpr", "--encoder", "clip"),
            "the searched cells: no case has model bpr, ",
        ),
        (("search", "--cells", "--dry-run", "--model", ","), "--model ',' names nothing"),
        (("reproduce", "--dry-run", "--dataset", " ,"), "--dataset ' ,' names nothing"),
        (("reproduce", "--dry-run", "--data", "SHOP"), "--data has no effect: the data of track 'controls' are drawn"),
        (("features", "--data", "SHOP"), "--data has no effect"),
        (("data", "--track", "controls", "--data", "SHOP"), "--data has no effect"),
        (("search", "--dataset", "null", "--model", "bpr", "--data", "SHOP"), "--data has no effect"),
        (("search", "--cells", "--dry-run", "--data", "SHOP"), "--data has no effect"),
        (("calibrate", "--dry-run", "--parts", "coverage", "--worlds", "3"), "--worlds 3 has no effect: no worlds"),
        (("fetch", "--dataset", "nul"), "unknown dataset 'nul'; did you mean 'null'"),
        (("import-mmrec", "SHOP/nowhere", "SHOP/new"), "nowhere: no such folder"),
    ],
)
def test_options_of_the_other_use_of_a_command_are_refused(shop, capsys, call, message):
    assert message in told(capsys, *(word.replace("SHOP", str(shop)) for word in call), rc=1)


def test_run_says_what_it_used(shop, capsys):
    out = told(capsys, "run", "--data", shop, "--model", "ease", "--min-rating", 2, "--k-core", 3)
    assert "shop, format folder: 30 users, 12 items" in out
    below = sum(line.split(",")[2] == "1" for line in rows_of(shop))
    assert f"180 read, {180 - below} kept" in out and f"{below} rows below min_rating" in out
    assert re.search(r"core +3\n", out) and "mmrec, seed 2026: " in out
    assert "none, ease reads no content" in out and "every seed gives the same lists" in out
    both = capsys
    assert main(["run", "--data", str(shop), "--model", "ease", "--json"]) == 0
    seen = both.readouterr()
    assert json.loads(seen.out)["case"]["model"] == "ease" and "180 read, 180 kept" in seen.err


def test_a_device_that_is_none_is_refused_for_a_stored_result_too(shop, capsys):
    call = ("run", "--data", shop, "--model", "bpr", *QUICK)
    told(capsys, *call)
    assert "device = 'gpu' is no device" in told(capsys, *call, "--set", "device=gpu", rc=1)


def test_a_folder_that_is_not_there_is_told(tmp_path, capsys):
    assert "nowhere: no such folder; give one of folder" in told(capsys, "data", tmp_path / "nowhere", rc=1)


def test_a_model_that_is_not_trained_lists_no_settings_of_training(shop, capsys):
    error = told(capsys, "run", "--data", shop, "--model", "itemknn", "--set", "k=3", rc=1)
    assert error.rstrip().endswith("unknown setting 'k'; known: neighbours, shrink")
