"""``lmmrec``: parse, call what the command names, and print an error as one readable line."""

import os
import select
import sys
from collections.abc import Sequence
from contextlib import suppress
from pkgutil import resolve_name

from lmmrec_core.cli.arguments import parser
from lmmrec_core.cli.paths import paths_told
from lmmrec_core.errors import ConfigError, LmmrecError
from lmmrec_core.process import is_launched, plain_warnings, wait_asleep


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    The exit status: 0 done, 1 failed and said why, 2 not understood, 130 interrupted, 141 nobody reads what it prints.
    """
    wait_asleep()
    command = "lmmrec"
    try:
        arguments = parser().parse_args(argv)
        command = f"lmmrec {arguments.command}"
        if is_launched() and arguments.command != "features":
            raise ConfigError("does not work in several processes of one launcher; only `lmmrec features` does")
        with plain_warnings(command), paths_told():
            status = int(resolve_name(arguments.action)(arguments) or 0)
        sys.stdout.flush()
        return status
    except LmmrecError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if str(error.name).startswith("lmmrec_core"):
            raise  # a fault of ours
        print(
            f"{command}: module {error.name!r} is not installed; install the extra that brings it: "
            "lmmrec[encoders], lmmrec[small], lmmrec[graph] or lmmrec[book]",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(
            "\ninterrupted: finished results are stored; the same command goes on where this one stopped",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        if not _nobody_reads():
            raise  # of another pipe, that of a worker perhaps
        return 128 + 13  # as a shell says of a command that a closed pipe (SIGPIPE) ended


def _nobody_reads() -> bool:
    """Whether standard output is a pipe whose reader has gone; then what is left to print is dropped."""
    with suppress(OSError, ValueError, AttributeError):  # no file of the system, or a system that cannot tell
        number, watch = sys.stdout.fileno(), select.poll()
        watch.register(number, 0)
        if any(event & select.POLLERR for _, event in watch.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            return True
    return False
