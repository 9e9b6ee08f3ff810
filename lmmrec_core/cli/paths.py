"""What a file system says of a path that was given: told in one line, with the path cut short."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from lmmrec_core.errors import ConfigError

_OF_A_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EILSEQ)
_SHOWN = 100  # characters of a path


@contextmanager
def paths_told() -> Iterator[None]:
    """An error of the system about the name of a file inside, or its rights, is a ConfigError; other errors pass."""
    try:
        yield
    except PermissionError as error:  # where no stage has told it better
        place = _cut(str(error.filename or "a file"))
        raise ConfigError(f"{place}: {error.strerror or error}; allow reading and writing there") from None
    except OSError as error:
        if error.errno not in _OF_A_PATH or error.filename is None:
            raise
        raise ConfigError(f"{_cut(str(error.filename))}: {error.strerror}; give the path of what is there") from None
    except RuntimeError as error:  # how pathlib tells of a circle of links
        if not str(error).startswith("Symlink loop from "):
            raise
        raise ConfigError(f"{_cut(str(error))}; give the path of what is there") from None


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}…{text[-_SHOWN // 2 :]} ({len(text):,} characters)"
