"""Where the package works: in the repository it runs from, or wherever an installed copy is used."""

import os
from pathlib import Path

_AROUND = Path(__file__).resolve().parents[1]  # the folder that holds the package


def checkout() -> Path | None:
    """The repository that this package runs from; None for an installed copy."""
    return _AROUND if (_AROUND / "pyproject.toml").is_file() else None


def default_home() -> Path:
    """The folder of ``results/`` and ``.cache/``: ``LMMREC_HOME`` if set, else the repository, else the current folder.

    An installed package never writes beside its own files.
    """
    if home := os.environ.get("LMMREC_HOME"):
        return Path(home).expanduser()
    return checkout() or Path.cwd()
