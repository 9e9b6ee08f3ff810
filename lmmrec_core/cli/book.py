"""``lmmrec book``: execute notebooks and render the book."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from lmmrec_core.book.execution import execute_all, execute_page
from lmmrec_core.book.pages import PLACES, unfit
from lmmrec_core.book.rendering import build
from lmmrec_core.book.runner import checked, faults, parameters_of, read_notebook, run_notebook
from lmmrec_core.book.values import check_values
from lmmrec_core.cli.paths import paths_told
from lmmrec_core.config import parse_yaml, read_yaml
from lmmrec_core.errors import ConfigError
from lmmrec_core.home import checkout


def book(arguments: argparse.Namespace) -> int:
    """Do the task. The exit status: 0 done, 2 a wrong parameter or notebook, 130 interrupted, 1 a problem was found.

    Raises ResultError when a notebook or page failed.
    """
    signal.signal(signal.SIGTERM, _interrupt)  # else the kernel would be left behind for a while
    try:
        with paths_told():
            return _TASKS[arguments.task](arguments) or 0
    except ConfigError as error:
        print(f"lmmrec book: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; results that were there before are unchanged", file=sys.stderr)
        return 130


def parse_values(assignments: Sequence[str], file: Path | None) -> dict[str, object]:
    """Values of a YAML file, then those of ``NAME=YAML`` entries, which win.

    Raises ConfigError for an entry without ``=``, of a name given before, or with a value that YAML cannot read.
    """
    values: dict[str, object] = read_yaml(file) if file else {}
    given: dict[str, object] = {}
    for entry in assignments:
        name, separator, text = entry.partition("=")
        name = name.strip()
        if not separator or not name:
            raise ConfigError(f"-p {entry!r} is not NAME=VALUE; write for instance -p seeds='[1, 2]'")
        if name in given:
            raise ConfigError(f"-p {name} is given twice; leave one out")
        try:
            given[name] = parse_yaml(text, f"-p {entry!r}")
        except ConfigError as error:
            raise ConfigError(f"{error}; write for instance -p seeds='[1, 2]'") from None
    return values | given


def _run(arguments: argparse.Namespace) -> None:
    values = parse_values(arguments.assignments, arguments.file)
    where = arguments.source.name
    declared = parameters_of(read_notebook(arguments.source), where)
    check_values(checked(values, declared, where), declared, where)
    run_notebook(arguments.source, arguments.target, values, cwd=arguments.cwd, timeout=arguments.timeout)


def _all(arguments: argparse.Namespace) -> None:
    execute_all(_repository(), places=arguments.track or PLACES, jobs=arguments.jobs, force=arguments.force)


def _page(arguments: argparse.Namespace) -> None:
    execute_page(_repository(), arguments.place, arguments.name)


def _check(arguments: argparse.Namespace) -> int:
    problems = [f"{path}: {fault}" for path in arguments.paths for fault in faults(read_notebook(path))]
    problems += [] if arguments.paths else unfit(_repository())
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _build(arguments: argparse.Namespace) -> None:
    build(_repository())


_TASKS = {"run": _run, "all": _all, "page": _page, "check": _check, "build": _build}


def _repository() -> Path:
    """The checkout, which holds notebooks and chapters. Raises ConfigError for a package installed elsewhere."""
    root = checkout()
    if root is None:
        raise ConfigError(
            "the book is made in the repository, and this package is installed outside it; "
            "clone the repository and run `make book` there"
        )
    return root


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
