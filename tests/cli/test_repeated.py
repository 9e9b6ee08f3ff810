"""Options given twice, folders without a name, numbers that are none: refused, never decided in silence."""

import pytest

from lmmrec_core.cli import main
from lmmrec_core.cli.book import parse_values
from lmmrec_core.errors import ConfigError
from lmmrec_core.home import default_home


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["run", "--data", "shop", "--model", "bpr", "--model", "vbpr"], "--model"),
        (["run", "--data", "shop", "--model", "bpr", "--seed", "1", "--seed", "1"], "--seed"),
        (["run", "--data", "shop", "--model", "bpr", "--split", "mmrec", "--split", "given"], "--split"),
        (["reproduce", "--seeds", "1", "--seeds", "2"], "--seeds"),
        (["fetch", "--from", "here", "--from", "there"], "--from"),
        (["check-table", "t.csv", "--held-out", "one", "--held-out", "few"], "--held-out"),
        (["results", "status", "--track", "films", "--track", "controls"], "--track"),
        (["book", "run", "a.ipynb", "b.ipynb", "-f", "x.yaml", "-f", "y.yaml"], "-f"),
    ],
)
def test_an_option_given_twice_is_refused(arguments, option, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert f"argument {option}: given twice; leave one out" in capsys.readouterr().err


def test_options_whose_values_all_count_may_be_repeated(shop, capsys):
    arguments = ["run", "--data", str(shop), "--model", "popularity", "--set", "a=1", "--set", "b=2", "--k-core", "1"]
    assert main(arguments) == 1 and "unknown setting 'a'" in capsys.readouterr().err


def test_a_parameter_given_twice_is_refused():
    with pytest.raises(ConfigError, match="-p metric is given twice"):
        parse_values(["metric=recall@20", " metric = ndcg@20"], None)


@pytest.mark.parametrize("setting", ["epochs=2", "steps=100"])
def test_two_lengths_of_a_search_are_refused(setting, capsys):
    arguments = ["search", "--model", "bpr", "--dataset", "null", "--epochs", "1", "--set", setting]
    assert main(arguments) == 1
    assert f"--epochs and --set {setting.split('=')[0]} say how long" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", ""], "'' names no folder"),
        (["run", "--data", " ", "--model", "bpr"], "' ' names no folder"),
        (["features", "--catalogue", ""], "'' names no folder"),
        (["import-mmrec", "", "there"], "'' names no folder"),
        (["search", "--model", "vbpr", "--dataset", "null", "--seed", "-1"], "--seed -1: give a whole number from 0"),
        (["reproduce", "--dry-run", "--jobs", "0"], "--jobs 0: at least one process"),
        (["calibrate", "--dry-run", "--jobs", "-2"], "--jobs -2: at least one process"),
        (["book", "all", "--jobs", "0"], "--jobs 0: at least one process"),
    ],
)
def test_what_means_nothing_is_refused(arguments, message, capsys):
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--seed", "1_0"], ["--k-core", "1_0"], ["--min-rating", "4_5"]])
def test_numbers_have_no_underscores(option, capsys):
    with pytest.raises(SystemExit):
        main(["run", "--data", "shop", "--model", "bpr", *option])
    assert f"'{option[1]}' is not a" in capsys.readouterr().err


def test_an_empty_home_is_refused(monkeypatch):
    monkeypatch.setenv("LMMREC_HOME", "")
    with pytest.raises(ConfigError, match="LMMREC_HOME is empty; give it a folder, or unset it"):
        default_home()


def test_what_may_not_be_read_is_told_without_a_traceback(shop, monkeypatch, capsys):
    def refused(path, *more):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.is_file", refused)
    assert main(["run", "--data", str(shop), "--model", "bpr", "--interactions", "interactions.csv"]) == 1
    assert "Permission denied; allow reading and writing there" in capsys.readouterr().err
