"""The command line: thin commands over the study. ``lmmrec --help`` teaches them."""

from lmmrec_core.cli.main import main

__all__ = ["main"]
