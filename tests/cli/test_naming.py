"""Folders of any name, and however they are pointed to."""

import re

import numpy as np
import pytest

from lmmrec_core.cli import main
from lmmrec_core.cli.naming import catalogue_name, is_plain, plain_name
from lmmrec_core.errors import ConfigError

ODD = ("my shop", "каталог", "Möbel & Co", ".hidden", "..", "", "x\ny", "-rf", "a" * 300, "a\udcff", "店")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path / "home"))


def write_catalogue(folder):
    """30 users, 24 items without content."""
    folder.mkdir(parents=True)
    rows = "".join(f"u{u},i{(u * 7 + step * step) % 24}\n" for u in range(30) for step in (0, 1, 2, 3, 4, 5, 7))
    (folder / "interactions.csv").write_text("user_id,item_id\n" + rows, encoding="utf-8")
    items = "".join(f"i{i},Thing {i},,,,\n" for i in range(24))
    (folder / "items.csv").write_text("item_id,title,brand,categories,description,image\n" + items, encoding="utf-8")
    for modality in ("visual", "textual"):
        np.save(folder / f"{modality}.npy", np.random.default_rng(0).standard_normal((24, 4)).astype(np.float32))
    return folder


def stored(tmp_path):
    return {path.parent.name for path in (tmp_path / "home" / "results" / "user").glob("*/*")}


def run(folder, *more):
    return main(["run", "--data", str(folder), "--model", "popularity", "--k-core", "1", "--quiet", *more])


@pytest.mark.parametrize("name", ODD)
def test_a_made_name_is_plain_and_tells_names_apart(name):
    made = plain_name(name)
    assert is_plain(made) and re.search(r"-[0-9a-f]{8}$", made)
    assert made not in {plain_name(other) for other in ODD if other != name} and plain_name(name) == made


def test_plain_names_stay_as_they_are(tmp_path, capsys):
    for name in ("mine", "ml-100k", "A.b_c+1"):
        assert catalogue_name(tmp_path / name) == name
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["my shop", "каталог 1"])
def test_a_folder_of_any_name_is_run_and_its_name_in_results_told(tmp_path, name, capsys):
    folder = write_catalogue(tmp_path / "a folder" / name)
    assert run(folder) == 0
    assert stored(tmp_path) == {plain_name(name)}
    assert f"{name!r} is called {plain_name(name)} in results/; --name gives" in capsys.readouterr().err
    assert main(["data", str(folder), "--k-core", "1"]) == 0


def test_name_gives_another_name(tmp_path, capsys):
    folder = write_catalogue(tmp_path / "my shop")
    assert run(folder, "--name", "shop") == 0
    assert stored(tmp_path) == {"shop"} and "is called" not in capsys.readouterr().err
    for bad in ("a b", "../x", "-x", "магазин"):
        assert run(folder, f"--name={bad}") == 1
        told = capsys.readouterr().err
        assert repr(bad) in told and f"--name {plain_name(bad)}" in told
    assert stored(tmp_path) == {"shop"}


def test_a_folder_is_the_same_however_it_is_pointed_to(tmp_path, monkeypatch, capsys):
    folder = write_catalogue(tmp_path / "mine")
    (folder / "images").mkdir()
    link = tmp_path / "other name"
    link.symlink_to(folder)
    for place, given in ((folder, "."), (folder, "images/.."), (folder / "images", ".."), (tmp_path, "other name")):
        monkeypatch.chdir(place)
        assert run(given) == 0
        ran = capsys.readouterr()
        assert main(["data", given, "--k-core", "1"]) == 0
        assert "catalogue  mine, " in capsys.readouterr().out, given
        assert "popularity on mine" in ran.out and ran.err == ""
    assert stored(tmp_path) == {"mine"}
    runs = [path.parent.name.split("-")[0] for path in (tmp_path / "home").rglob("run.json")]
    assert sorted(runs) == ["itemknn", "popularity"]  # one each: item-kNN is computed beside


def test_other_commands_take_them_too(tmp_path, monkeypatch, capsys):
    folder = write_catalogue(tmp_path / "my shop")
    monkeypatch.chdir(folder)
    assert main(["export-mmrec", ".", "../to mmrec", "--k-core", "1"]) == 0
    monkeypatch.chdir(tmp_path / "to mmrec")
    assert main(["import-mmrec", ".", "../and back"]) == 0
    assert main(["data", "../and back"]) == 0
    assert main(["search", "--catalogue", ".", "--model", "itemknn", "--trials", "1", "--quiet", "--name", "x"]) == 0
    assert [path.name for path in (tmp_path / "home" / "results" / "user" / "search").glob("*x*")]


def test_a_name_without_a_catalogue_of_ones_own_is_refused(capsys):
    assert main(["search", "--dataset", "complementary", "--model", "bpr", "--name", "x"]) == 1
    assert "--name is for a catalogue of your own" in capsys.readouterr().err
    assert main(["search", "--cells", "--dry-run", "--name", "x"]) == 1


def test_a_name_that_is_asked_for_is_refused_with_the_next_best(tmp_path):
    with pytest.raises(ConfigError, match="write for instance --name my-shop-"):
        catalogue_name(tmp_path, "my shop")
