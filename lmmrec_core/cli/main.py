"""``lmmrec``: parse, call what the command names, and print an error as one readable line."""

import sys
from collections.abc import Sequence
from pkgutil import resolve_name

from lmmrec_core.cli.arguments import parser
from lmmrec_core.cli.paths import paths_told
from lmmrec_core.errors import ConfigError, LmmrecError
from lmmrec_core.process import is_launched, plain_warnings, wait_asleep


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. The exit status: 0 done, 1 failed and said why, 2 not understood, 130 interrupted."""
    wait_asleep()
    command = "lmmrec"
    try:
        arguments = parser().parse_args(argv)
        command = f"lmmrec {arguments.command}"
        if is_launched() and arguments.command != "features":
            raise ConfigError("does not work in several processes of one launcher; only `lmmrec features` does")
        with plain_warnings(command), paths_told():
            return int(resolve_name(arguments.action)(arguments) or 0)
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
        return 0
