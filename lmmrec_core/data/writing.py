"""Writing a folder whole or not at all, and never over something that is there."""

import csv
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lmmrec_core.errors import DataError


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside ``target`` that takes its name when the block ends well, and vanishes otherwise.

    Raises DataError when ``target`` exists (an empty folder may) or cannot be written.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(f"{target}: exists already; give the name of a new folder, or remove it yourself")
    partial = target.with_name(f".partial-{target.name}-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(target)
    except OSError as error:
        raise DataError(
            f"{target}: could not be written ({error.strerror or error}); free space or permissions"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], separator: str = ",") -> None:
    """A UTF-8 table with Unix line ends; cells that need it are quoted."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
