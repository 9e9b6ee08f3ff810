"""Takes raw files of one of several formats, gives a Catalogue and its Split."""

from pathlib import Path
from typing import TYPE_CHECKING

from lmmrec_core.errors import DataError
from lmmrec_core.registry import Registry

if TYPE_CHECKING:  # naming a format must not load its libraries
    from lmmrec_core.source import Source

_HERE = "lmmrec_core.data"
#: Every data format by name, in the order in which a folder's format is looked for; see ``source.Source``.
SOURCES: Registry["Source"] = Registry(
    "data format",
    "lmmrec.sources",
    {
        "folder": f"{_HERE}.folder:CatalogueFolder",
        "parity": f"{_HERE}.parity:ParityFolder",
        "mmrec": f"{_HERE}.mmrec:MMRecFolder",
        "amazon": f"{_HERE}.amazon:AmazonCategory",
        "movielens": f"{_HERE}.movielens:MovieLens",
        "controls": f"{_HERE}.controls:Controls",
    },
)


def recognise(folder: Path) -> str:
    """The name of the format that a folder has: the first of :data:`SOURCES` that recognises it.

    Raises DataError naming the folder and every format that can be recognised.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one of {_formats()}")
    for name, source in SOURCES.items():
        if source.recognises(folder):
            return name
    raise DataError(f"{folder}: of no known data format; known: {_formats()}; see the data chapter for the first")


def _formats() -> str:
    return ", ".join(f"{name} ({source.marks})" for name, source in SOURCES.items() if source.marks)
