"""Writing a new folder, whole or not at all and never over an existing one; and tables in it."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lmmrec_core.disk import require_new, whole_folder
from lmmrec_core.errors import DataError


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside ``target`` that takes its name if the block ends well, and vanishes otherwise.

    Raises DataError if ``target`` exists (an empty folder may), or cannot be written.
    """
    require_new(target, DataError)
    with whole_folder(target, DataError) as partial:
        yield partial


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], separator: str = ",") -> None:
    """Write a UTF-8 table with Unix line ends; cells are quoted if they need it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
