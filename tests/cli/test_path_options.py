"""Options that name files and folders: ``~`` is the user's own folder in all of them, an empty name is none."""

import argparse
import warnings
from pathlib import Path

import pytest

from lmmrec_core.cli.arguments import parser
from lmmrec_core.cli.main import main
from lmmrec_core.process import plain_warnings
from tests.cli.shops import told

#: What takes a name or the path of a file that is none of FOLDER and FILE.
EITHER = {"--run", "--encoder", "--track", "--data", "--model"}
NOT_PATHS = {  # of a track or a model: names alone
    ("reproduce", "--encoder"), ("search", "--encoder"), ("reproduce", "--model"), ("search", "--model"),
    ("run", "--model"), ("all", "--track"),
}  # fmt: skip


def options(top: argparse.ArgumentParser, command: str = ""):
    """(command, option or argument) of all commands."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from options(sub, name)
        else:
            yield command, action


def names_a_path(command: str, action: argparse.Action) -> bool:
    if any((command, name) in NOT_PATHS for name in action.option_strings):
        return False
    shown = str(action.metavar or "") + " " + action.dest
    return (
        any(word in shown for word in ("FOLDER", "FILE"))
        or action.dest in ("source", "target", "file", "folder", "paths", "cwd", "items", "out")
        or not EITHER.isdisjoint(action.option_strings)
    )


PATHS = [pair for pair in options(parser()) if names_a_path(*pair)]


@pytest.mark.parametrize(
    ("command", "action"), PATHS, ids=[f"{c} {(a.option_strings or [a.dest])[0]}" for c, a in PATHS]
)
def test_every_path_may_begin_with_a_tilde(command, action, monkeypatch):
    monkeypatch.setenv("HOME", "/of/somebody")
    assert action.type is not None
    assert str(action.type("~/x y")) == "/of/somebody/x y"
    assert str(action.type("plain")) == "plain" and str(action.type("~nobody.here/x")) == "~nobody.here/x"


def test_there_are_as_many_paths_as_there_were():
    assert len(PATHS) >= 30


def test_a_catalogue_below_the_home_is_found(shop, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(shop.parent))
    assert "12 items" in told(capsys, "data", f"~/{shop.name}")
    told(capsys, "export-mmrec", f"~/{shop.name}", "~/layout v1.0")
    assert (shop.parent / "layout v1.0").is_dir() and not Path("~").exists()


@pytest.mark.parametrize("option", ["--out", "--items"])
def test_an_empty_name_is_none(option, capsys):
    assert "names no f" in told(capsys, "recommend", "--model", "0" * 16, option, " ", rc=1)


def test_a_warning_is_one_line_without_code(shop, capsys, recwarn):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with plain_warnings("lmmrec run"):
            line = warnings.formatwarning("few items", UserWarning, "/somewhere/code.py", 7, "x = 1")
    assert line == "lmmrec run: warning: few items\n"
    before = warnings.formatwarning
    assert main(["data", str(shop)]) == 0 and warnings.formatwarning is before
