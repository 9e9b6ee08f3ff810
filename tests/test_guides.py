"""What the guides tell a reader to type works: README, CONTRIBUTING, the chapters and ``lmmrec --help``.

Blocks are taken from the Markdown itself, so a new one is tested by being there. A command that takes a GPU, real data,
or many minutes is not run as it stands: ``OTHERWISE`` says what is done instead, and why.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

import pytest

from lmmrec_core import __version__
from lmmrec_core.book.runner import faults, read_notebook
from lmmrec_core.cli import main
from lmmrec_core.cli.arguments import parser
from lmmrec_core.config import parse_assignments, read_yaml
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.fetching.sources import read_publications
from lmmrec_core.questions import QUESTIONS, parse_question
from lmmrec_core.study.collection.wanted import wanted_by
from lmmrec_core.study.declared.searched import SEARCHED
from lmmrec_core.study.declared.settings import resolve
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.search.apply import searched_of
from lmmrec_core.study.search.grids import read_grid
from lmmrec_core.study.weights.recipes import MultimodalSettings
from lmmrec_core.study.workspace import Workspace
from tests.guides import ROOT, all_commands, commands_in, install_package, make_place, run_with

COMMANDS = all_commands()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: Commands that need a package of the reader's own, or a process of their own
GUEST = re.compile(r"lmmrec-mine|centroid|tests/contracts|lmmrec run --help|book run")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the commands name: catalogues, notebooks, a package of a reader's own."""
    return make_place(tmp_path_factory.mktemp("guides"))


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the working folder; results go below a folder beside it."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("LMMREC_HOME", str(place.parent / "home"))
    return place


@pytest.fixture(scope="module")
def site(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's package, installed."""
    return install_package(place / "lmmrec-mine", tmp_path_factory.mktemp("site"))


# --- commands: what is done instead of running them


def dry_run(arguments: list[str]) -> None:
    """``reproduce`` is asked what it would do."""
    assert main([*arguments, *([] if "--dry-run" in arguments else ["--dry-run"])]) == 0


def settings_checked(arguments: list[str]) -> None:
    """The real parser reads the command, and what it names exists."""
    read = parser().parse_args(arguments)
    track = read_track(getattr(read, "track", None) or ("controls" if read.command == "search" else "user"))
    if read.command == "search":
        assert read.dataset in track.datasets and set(read_grid(read.grid).model(read.model).search)
        resolve(Workspace.open(track), read.model, parse_assignments(read.set))
    elif read.command == "fetch":
        assert wanted_by(track, read_publications(), read.dataset, read.only)
    elif read.command == "features":
        assert track.paradigms(read.encoder)
    elif read.command == "run" and read.encoder in track.encoders:
        assert read.paradigm in track.paradigms(read.encoder)
    elif read.command == "encode":
        assert (read.run, read.items, read.out) != ("", "", "")
    elif read.command == "run":
        entry = MultimodalSettings.build(read_yaml(Path(read.encoder)), read.encoder)
        ENCODERS[entry.encoder].Settings.build(entry.settings, read.encoder)
    else:
        assert (read.command, read.task) in {("book", "check"), ("results", "crate"), ("results", "merge")}


def applied_already(arguments: list[str]) -> None:
    """What ``search --apply`` would write is in the package: the stored trials say the same."""
    read = parser().parse_args(arguments)
    found = searched_of(read_track(read.track), read_grid(read.grid), ROOT / "results")
    assert read.apply and (SEARCHED / f"{read.track}.yaml").read_text(encoding="utf-8") == found.text


def meter_asked(arguments: list[str]) -> None:
    """Energy is measured where codecarbon is installed, and refused with the cure where it is not."""
    assert main(arguments) == (0 if find_spec("codecarbon") else 1)


def with_keys(arguments: list[str]) -> None:
    """Keys of runs that are made here, two seeds of two models, take the place of ``KEY``; then it is run."""
    short = ["--set", "steps=20", "--set", "embedding_dim=4", "--quiet"]
    keys: list[str] = []
    for model, more in (("vbpr", ["--keep-model"]), ("bpr", [])):
        for seed in ("1", "2"):
            call = ["run", "--data", "my_shop", "--model", model, "--name", "keyed", "--seed", seed, *short, *more]
            assert main(call) == 0
            (folder,) = Path(os.environ["LMMREC_HOME"]).glob(f"results/user/keyed/{model}*-s{seed}-*")
            keys.append(folder.name.rpartition("-")[2])
    given = "\n".join(arguments)
    wanted = keys if "," in given.split("--metrics")[0] else keys[::2]
    for key in wanted:
        given = given.replace("KEY", key, 1)
    words = given.split("\n")
    if "--out" in words:
        Path(words[words.index("--out") + 1]).unlink(missing_ok=True)
    assert main(words) == 0


#: Start of an ``lmmrec`` command → what is done instead of running it, and why.
OTHERWISE: dict[str, tuple[Callable[[list[str]], None], str]] = {
    "reproduce": (dry_run, "a track takes minutes to days, and the real data"),
    "search --cells": (dry_run, "hours of training"),
    "search --apply": (applied_already, "writes into the package"),
    "search --dataset": (settings_checked, "eight trainings; tests/cli runs searches on a small catalogue"),
    "search --track films": (settings_checked, "real data, and a whole published grid"),
    "fetch": (settings_checked, "asks the publishers; tests/cli/test_fetch.py asks a server on this machine"),
    "features": (settings_checked, "pre-trains an encoder first, for minutes"),
    "run --data my_shop --model vbpr --energy": (meter_asked, "the extra `energy` may not be there"),
    "run --data my_shop --model vbpr --encoder": (settings_checked, "a file of weights that only the reader has"),
    "run --data my-catalogue --model vbpr --encoder clip": (settings_checked, "published weights, and hours"),
    "encode": (settings_checked, "the key of such a run; tests/cli/test_encode.py makes one with a tiny encoder"),
    "recommend": (with_keys, "the reader's own key"),
    "compare": (with_keys, "the reader's own keys"),
    "results crate": (settings_checked, "nothing of films is stored there; tests/results/test_crate.py makes crates"),
    "results merge": (settings_checked, "results of other machines; tests/results/test_merging.py makes some"),
    "book check": (settings_checked, "judges the executed notebooks of this checkout, if there are any"),
}
#: Other commands that are not run as they stand, and why.
NOT_RUN = {
    "python -m pip wheel --no-deps -w dist .": "tests/test_packaging.py builds the wheel",
    "python -m pip install 'dist/lmmrec-0.1.0-py3-none-any.whl[small]'": "it, too, uses the wheel; names checked below",
    ".venv/bin/python -m pytest tests/book/test_notebooks.py -q": "tests/book/test_own_chapter.py makes its checks",
    ".venv/bin/python -m pip install --no-deps --no-build-isolation -e lmmrec-mine": "the fixture `site` installs it",
}


#: Program → what makes the parser of its options
LAUNCHERS = {
    "torchrun": "torch.distributed.run:get_args_parser",
    "accelerate": "accelerate.commands.launch:launch_command_parser",
}


def words_of(command: str) -> tuple[dict[str, str], list[str]]:
    """The variables set in front of a command, and its words."""
    words = shlex.split(command)
    assigned = [word for word in words if re.match(r"^[A-Z_]+=", word) and words[0] != "make"]
    return dict(word.split("=", 1) for word in assigned), words[len(assigned) :]


def kind_of(command: str) -> str:
    if command in NOT_RUN:
        return "not run"
    program = Path(words_of(command)[1][0]).name
    if program in LAUNCHERS:
        return "launcher"
    return "guest" if GUEST.search(command) and program != "make" else program


def of_kind(kind: str) -> list[str]:
    """The commands of a kind; what the environment's folder is called makes no difference."""
    found = [command for command in COMMANDS if kind_of(command) == kind]
    return [command for command in found if f".venv/bin/{command}" not in COMMANDS]


def test_every_command_is_of_a_kind_that_is_tested() -> None:
    assert {kind_of(command) for command in COMMANDS} == {
        "make",
        "lmmrec",
        "guest",
        "nbstripout",
        "launcher",
        "not run",
    }
    assert set(NOT_RUN) <= set(COMMANDS)
    shown = [shlex.join(words_of(command)[1][1:]) for command in COMMANDS]
    assert [start for start in OTHERWISE if not any(line.startswith(start) for line in shown)] == []


@pytest.mark.parametrize("command", of_kind("make"))
def test_a_make_target_exists_and_calls_what_is_understood(command: str, tmp_path: Path) -> None:
    variables, words = words_of(command)
    done = subprocess.run(
        [*words, "--dry-run", f"VENV={tmp_path / 'none'}"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **variables},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        if "/bin/lmmrec " in line:
            read = parser().parse_args(shlex.split(line)[1:])
            if read.command == "reproduce":
                assert parse_question(read.rq) in {None, *QUESTIONS}
                assert set(read_track(read.track).seeds) >= set(map(int, read.seeds))


@pytest.mark.parametrize("command", of_kind("lmmrec"))
def test_an_lmmrec_command_works(command: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables, words = words_of(command)
    if variables:  # a folder of this test for the reader's
        assert set(variables) == {"LMMREC_HOME"}
        monkeypatch.setenv("LMMREC_HOME", str(tmp_path / "elsewhere"))
    line = shlex.join(words[1:])
    for start, (instead, _) in OTHERWISE.items():
        if line.startswith(start):
            instead(words[1:])
            return
    for target in ("my-baby", "to-mmrec"):
        shutil.rmtree(here / target, ignore_errors=True)
    if "import-mmrec" in words:
        shutil.rmtree(here / words[-1], ignore_errors=True)  # the help's example writes my-catalogue
    if "--help" in words:
        with pytest.raises(SystemExit) as stop:
            main(words[1:])
        assert stop.value.code == 0
    else:
        assert main(words[1:]) == 0
    if variables:
        assert (tmp_path / "elsewhere" / "results").is_dir() and (tmp_path / "elsewhere" / ".cache").is_dir()


@pytest.mark.parametrize("command", of_kind("launcher"))
def test_a_launcher_is_installed_and_starts_a_command_that_is_understood(command: str) -> None:
    """Trains on real data; tests/cli/test_features_together.py starts two processes on a small catalogue."""
    _, words = words_of(command)
    assert Path(sys.executable).with_name(Path(words[0]).name).is_file()
    options = words[2:] if words[1] == "launch" else words[1:]
    read = resolve_name(LAUNCHERS[Path(words[0]).name])().parse_args(options)
    assert read.module and read.training_script == "lmmrec_core.cli"
    settings_checked(read.training_script_args)


@pytest.mark.slow
@pytest.mark.parametrize("command", of_kind("guest"))
def test_a_command_works_with_a_package_of_ones_own(command: str, here: Path, site: Path, tmp_path: Path) -> None:
    _, words = words_of(command)
    arguments, folder = words[1:], here
    if arguments[:2] == ["-m", "pytest"]:  # the whole contract takes minutes; its tests of the reader's members run
        folder, arguments = ROOT, [*arguments, "-p", "no:cacheprovider", "-k", MEMBERS]
        arguments.append(f"--junitxml={tmp_path / 'report.xml'}")
    elif arguments[0] == "reproduce":
        arguments += [] if "--dry-run" in arguments else ["--dry-run"]
    arguments = [argument.replace("$PWD", str(here)) for argument in arguments]  # as a shell does
    program = [] if arguments[0] == "-m" else ["-m", "lmmrec_core.cli"]
    home = ROOT if "track=films" in arguments else tmp_path / "home"  # a page reads the results that we have
    done = run_with(site, folder, home, *program, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    if "--help" in arguments:
        assert all(name in done.stdout for name in ("centroid", "brightness", "mrr"))
    elif arguments[:2] == ["book", "run"]:
        assert not faults(read_notebook(here / arguments[3]))
    elif "pytest" in arguments:
        report = (tmp_path / "report.xml").read_text(encoding="utf-8")
        named = ("brightness",) if "test_encoders" in command else ("centroid", "brightness", "mrr", "pairs")
        assert all(len(re.findall(rf'name="test_\w+\[{name}', report)) >= 5 for name in named)


MEMBERS = "(centroid or brightness or mrr or pairs) and not strangers and not guest"  # the package's, not other tests'


@pytest.mark.parametrize("command", of_kind("nbstripout"))
def test_the_command_that_clears_outputs_leaves_our_notebooks_as_they_are(command: str, here: Path) -> None:
    _, words = words_of(command)
    before = {path.name: read_notebook(path) for path in here.glob("notebooks/*.ipynb")}
    tool = Path(sys.executable).with_name("nbstripout")
    subprocess.run([tool, *words[1:-1], *map(str, here.glob(words[-1]))], check=True)
    assert {path.name: read_notebook(path) for path in here.glob("notebooks/*.ipynb")} == before


def test_the_wheel_that_run_md_installs_has_the_name_and_extras_of_ours() -> None:
    (line,) = (command for command in NOT_RUN if ".whl" in command)
    name, extra = re.search(r"dist/(\S+)-py3-none-any\.whl\[(\w+)\]", line).groups()
    assert name == f"{PROJECT['name']}-{__version__}" and extra in PROJECT["optional-dependencies"]
    text = (ROOT / "book" / "chapters" / "run.md").read_text(encoding="utf-8")
    table = text.partition("| extra |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE) == list(PROJECT["optional-dependencies"])


def test_code_within_a_sentence_is_understood_too() -> None:
    options = {option for sub in subparsers() for action in sub._actions for option in action.option_strings}
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "book" / "chapters").glob("*.md")]
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", " ".join([*texts, (ROOT / "README.md").read_text(encoding="utf-8")]))
    assert [span for span in spans if span.startswith("--") and span.split()[0] not in options] == []
    lines = [span for span in spans if re.match(r"(\.venv/bin/)?lmmrec \w", span)]
    for line in lines:
        (words,) = (shlex.split(command)[1:] for command in commands_in(line))
        assert words[0] in {sub.prog.split()[1] for sub in subparsers()}, line
    assert lines


def subparsers() -> list:
    (choices,) = (action.choices for action in parser()._actions if action.dest == "command")
    book = [action.choices for action in choices["book"]._actions if action.dest == "task"]
    return [*choices.values(), *book[0].values()]
