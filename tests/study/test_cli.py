"""The command line as a person meets it."""

import json

import numpy as np
import pytest
from PIL import Image

from lmmrec_core.cli import main


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path / "home"))


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
    for command in ("data", "features", "run", "reproduce", "import-mmrec", "export-mmrec"):
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


def test_reproduce_says_what_it_would_do_and_refuses_what_it_cannot(capsys):
    assert main(["reproduce", "--dry-run", "--rq", "2"]) == 0
    out = capsys.readouterr().out
    assert "cannot yet" in out and "encoder clip" in out
    assert main(["reproduce", "--track", "movielens"]) == 1
    assert "DATA=FOLDER" in capsys.readouterr().err
    assert main(["reproduce", "--rq", "7"]) == 1
    assert "unknown research question" in capsys.readouterr().err
    assert main(["reproduce", "--seeds", "one"]) == 1
    assert "whole number" in capsys.readouterr().err
