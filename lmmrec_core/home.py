"""Where the package works: in the repository it runs from, or wherever an installed copy is used."""

import os
from pathlib import Path

from lmmrec_core.errors import ConfigError

_AROUND = Path(__file__).resolve().parents[1]  # the folder that holds the package


def checkout() -> Path | None:
    """The repository that this package runs from; None for an installed copy."""
    return _AROUND if (_AROUND / "pyproject.toml").is_file() else None


def path_name(text: str) -> str:
    """A file or folder as it is typed: ``~`` is the user's own folder, as a shell has it; of an unknown user it stays.

    ``Path.expanduser`` would raise RuntimeError there.
    """
    return os.path.expanduser(text)  # noqa: PTH111  (and a Path makes "." of "")


def named_path(name: str | Path) -> Path:
    """:func:`path_name` as a ``Path``."""
    return Path(path_name(str(name)))


def default_home() -> Path:
    """The folder of ``results/`` and ``.cache/``: ``LMMREC_HOME`` if set, else the repository, else the current folder.

    An installed package never writes beside its own files. Raises ConfigError where ``LMMREC_HOME`` is set to nothing.
    """
    home = os.environ.get("LMMREC_HOME")
    if home is not None:
        if not home.strip():
            raise ConfigError("LMMREC_HOME is empty; give it a folder, or unset it")
        return named_path(home)
    return checkout() or Path.cwd()
