"""Takes raw files of one of several formats, gives a Catalogue and its Split."""

import re
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from lmmrec_core.disk import readable
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
        "recbole": f"{_HERE}.recbole:RecBoleFolder",
        "mmrec": f"{_HERE}.mmrec:MMRecFolder",
        "lattice": f"{_HERE}.lattice:LatticeFolder",
        "ducho": f"{_HERE}.ducho:DuchoFolder",
        "amazon": f"{_HERE}.amazon:AmazonCategory",
        "movielens": f"{_HERE}.movielens:MovieLens",
        "controls": f"{_HERE}.controls:Controls",
    },
)

# interactions in a form that is not read
_PACKED = (
    "interactions.csv.bz2", "interactions.csv.xz", "interactions.csv.zst", "interactions.csv.zip",
    "interactions.csv.7z", "interactions.parquet", "interactions.xls", "interactions.zip", "interactions.json",
    "interactions.feather", "interactions.pkl", "interactions.db",
)  # fmt: skip


def recognise(folder: Path) -> str:
    """The name of the format that a folder has.

    Raises DataError naming the folder and every format that can be recognised, for a folder of two formats too.
    """
    with readable(folder):
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give one of {_formats()}")
        found = {name: source.marks for name, source in SOURCES.items() if source.recognises(folder)}
    if len(found) > 1:
        told = " and ".join(f"{name} ({marks})" for name, marks in found.items())
        raise DataError(f"{folder}: has the files of {told}; keep one of the two in a folder")
    if found:
        return next(iter(found))
    raise DataError(
        f"{folder}: of no known data format; {_near_miss(folder)}known: {_formats()}; "
        "see the data chapter for the first"
    )


def _near_miss(folder: Path) -> str:
    """What the files of a folder may have been meant for, as the start of a sentence; "" if nothing is known."""
    from lmmrec_core.source import TellsNearMisses

    names = sorted(file.name for file in folder.iterdir())[:1000]
    if not names:
        return "it is empty; "
    for source in _sources():
        with suppress(OSError):  # an inner folder that cannot be read says nothing
            if isinstance(source, TellsNearMisses) and (told := source.nearly(folder)):
                return f"{told}; "
    if any(re.fullmatch(r"(meta_)?\w+?(_5)?\.jsonl?(\.gz)?", name) for name in names):
        return (
            "its files are named as in the Amazon releases of 2018 and 2023, of which we read none: write them as a "
            "catalogue folder; "
        )
    packed = next((name for name in names if name.lower().startswith(_PACKED)), None)
    if packed is not None:
        return f"{packed} is not read as it is; unpack it or write it as interactions.csv, UTF-8 text; "
    tables = [
        name for name in names if name != "items.csv" and name.lower().endswith((".csv", ".csv.gz", ".tsv", ".txt"))
    ]
    close = get_close_matches("interactions.csv", [name.lower() for name in tables], n=1, cutoff=0.6)
    table = next((name for name in tables if close and name.lower() == close[0]), None)
    if table is None:
        table = next((name for name in tables if re.match(r"ratings|reviews|events|clicks", name.lower())), None)
    if table is not None:
        return f"did you mean {table} as its interactions? Rename it interactions.csv, or say --interactions {table}; "
    inner = [
        name for name in names if (folder / name).is_dir() and any(s.recognises(folder / name) for s in _sources())
    ]
    return f"did you mean its folder {inner[0]}? " if inner else f"it holds {', '.join(names[:8])}; "


def _sources() -> "list[Source]":
    return [source for _, source in SOURCES.items()]


def _formats() -> str:
    return ", ".join(f"{name} ({source.marks})" for name, source in SOURCES.items() if source.marks)
