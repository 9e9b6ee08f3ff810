"""``--help``: quick, true, and complete, with the members that other packages bring."""

import argparse
import os
import shlex
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from pkgutil import resolve_name

import pytest

from lmmrec_core import registry
from lmmrec_core.cli import main
from lmmrec_core.cli.arguments import EXAMPLES, parser
from lmmrec_core.config import parse_assignments
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.errors import ConfigError
from lmmrec_core.metrics import METRICS
from lmmrec_core.names import GRIDS, SPLIT_RULES, TRACKS
from lmmrec_core.questions import QUESTIONS
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.study.declared.settings import resolve
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "pandas", "numpy", "pydantic", "nbformat", "papermill", "optuna", "yaml")
SECONDS = 1.5  # of CPU, on a loaded machine; 0.1 on an idle one
LINES = [line.split("  ")[1] for line in EXAMPLES.splitlines() if line.startswith("  lmmrec ")]


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (entry for entry in parser()._actions if isinstance(entry, argparse._SubParsersAction))
    return {sub.prog.split()[-1]: sub for sub in action.choices.values()}  # an alias is the same parser


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The help of a command, its line breaks taken out."""
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    return " ".join(capsys.readouterr().out.replace("-\n", "-").split()).replace("- ", "-")


@pytest.mark.parametrize("command", [(), *((name,) for name in commands()), ("book", "run")], ids=" ".join)
def test_help_comes_at_once(command: tuple[str, ...]) -> None:
    code = (
        "import sys, time\nfrom lmmrec_core.cli import main\ntry:\n    main(sys.argv[1:])\nfinally:\n"
        f"    print([n for n in {HEAVY} if n in sys.modules], time.process_time(), file=sys.stderr)"
    )
    call = [sys.executable, "-c", code, *command, "--help"]
    done = subprocess.run(
        call, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    loaded, seconds = done.stderr.rsplit(maxsplit=1)
    assert done.stdout.startswith(" ".join(["usage: lmmrec", *command]))
    assert loaded == "[]"
    assert float(seconds) < SECONDS


def test_every_command_has_a_function_that_does_it() -> None:
    for name, sub in commands().items():
        assert callable(resolve_name(sub.get_default("action"))), name


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_understood_and_its_settings_exist(line: str) -> None:
    words = shlex.split(line)
    assert words[0] == "lmmrec"
    arguments = parser().parse_args(words[1:])
    if getattr(arguments, "model", "") and arguments.command != "recommend":  # which names a stored run
        assert arguments.model in RECOMMENDERS
        resolve(Workspace.open("user"), arguments.model, parse_assignments(arguments.set))
    if getattr(arguments, "track", None):
        assert arguments.track in TRACKS
    if arguments.command == "search" and not arguments.cells:
        assert arguments.dataset in read_track(arguments.track or "controls").datasets


def test_every_command_has_an_example_or_is_one_of_few() -> None:
    shown = {shlex.split(line)[1] for line in LINES}
    assert set(commands()) - shown == {"features"}


def test_the_example_of_an_error_message_is_a_setting() -> None:
    with pytest.raises(ConfigError, match="for instance --set embedding_dim=32"):
        parse_assignments(["embedding_dim"])
    resolve(Workspace.open("user"), "vbpr", {"embedding_dim": 32})


def test_help_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    run = help_of("run", capsys)
    for name in (*RECOMMENDERS, *ENCODERS, *METRICS, *SPLIT_RULES):
        assert name in run, name
    for command, names in (("search", (*GRIDS, *TRACKS)), ("reproduce", (*QUESTIONS, *TRACKS)), ("data", TRACKS)):
        text = help_of(command, capsys)
        assert [name for name in names if name not in text] == []


def test_help_lists_what_other_packages_bring(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for members in (RECOMMENDERS, ENCODERS, METRICS):
        guest = EntryPoint(f"guest-{members.kind}", "no.such.module:Guest", members.group)
        monkeypatch.setattr(
            registry, "entry_points", lambda group, guest=guest: [guest] if group == guest.group else []
        )
        fresh = registry.Registry(members.kind, members.group, members.own)
        monkeypatch.setattr(members, "_places", fresh._places)
    text = help_of("run", capsys)
    for kind in ("model", "encoder", "metric"):
        assert f"guest-{kind}" in text
