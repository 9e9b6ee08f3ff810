"""Command line of the notebook runner: ``python -m lmmrec_core.cli.book run | all | page | check | build``.

``run`` executes any notebook, ``all`` those of the book whose inputs changed, ``page`` one of them, ``check``
says which are missing, unfinished or run with other parameters, and ``build`` renders the book.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from lmmrec_core.book import pages as book
from lmmrec_core.book.runner import ROOT, faults, read, run_notebook
from lmmrec_core.config import read_yaml
from lmmrec_core.errors import ConfigError, LmmrecError
from lmmrec_core.names import TRACKS


def parse_values(assignments: Sequence[str], file: Path | None) -> dict[str, Any]:
    """Values of a YAML file, then those of ``NAME=YAML`` entries, which win.

    Raises ConfigError for an entry without ``=`` or with a value that YAML cannot read.
    """
    values = read_yaml(file) if file else {}
    for entry in assignments:
        name, separator, text = entry.partition("=")
        if not separator or not name.strip():
            raise ConfigError(f"-p {entry!r} is not NAME=VALUE; write for instance -p seeds='[1, 2]'")
        try:
            values[name.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"-p {entry!r}: the value is not YAML; write for instance -p seeds='[1, 2]'") from None
    return values


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="python -m lmmrec_core.cli.book", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="execute one notebook; its result is replaced only by a whole one")
    run.add_argument("source", type=Path)
    run.add_argument("target", type=Path)
    run.add_argument("-p", dest="assignments", metavar="NAME=YAML", action="append", default=[])
    run.add_argument("-f", dest="file", type=Path, help="YAML file of parameters")
    run.add_argument("--cwd", type=Path, help="folder the kernel works in (default: the notebook's)")
    run.add_argument("--timeout", type=int, help="seconds a single cell may take")
    every = commands.add_parser("all", help="execute the book's notebooks whose inputs changed")
    every.add_argument("--jobs", type=int, default=2, help="notebooks at the same time (default 2)")
    every.add_argument("--track", action="append", choices=TRACKS, help="only this track (may be repeated)")
    every.add_argument("--force", action="store_true", help="also those whose inputs are unchanged")
    page = commands.add_parser("page", help="execute one notebook of the book, whatever its state")
    page.add_argument("track", choices=TRACKS)
    page.add_argument("name", help="for instance 01_motivation")
    check = commands.add_parser("check", help="are the executed notebooks whole and run as the book declares?")
    check.add_argument("paths", type=Path, nargs="*", help="only look whether these are whole")
    commands.add_parser("build", help="render the book unless nothing changed")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 a notebook or page failed, 2 a wrong parameter, 130 interrupted."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)  # else the kernel would be left behind for a while
    try:
        return _run(options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except LmmrecError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; results that were there before are unchanged", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "run":
            values = parse_values(options.assignments, options.file)
            run_notebook(options.source, options.target, values, cwd=options.cwd, timeout=options.timeout)
        case "all":
            book.execute_all(ROOT, tracks=options.track or TRACKS, jobs=options.jobs, force=options.force)
        case "page":
            book.execute_page(ROOT, options.track, options.name)
        case "check":
            problems = [f"{path}: {fault}" for path in options.paths for fault in faults(read(path))]
            problems += [] if options.paths else book.unfit(ROOT)
            for problem in problems:
                print(problem, file=sys.stderr)
            return 1 if problems else 0
        case "build":
            book.build(ROOT)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
