"""A printed table in long form, one number a line, read from a CSV file and checked while it is read."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lmmrec_core.audit.relations import PrintedValue
from lmmrec_core.errors import DataError, nearest

_COLUMNS = ("model", "dataset", "metric", "value")
_FURTHER = ("system", "star")
_SHORT = {"r": "recall", "n": "ndcg", "hr": "hit", "hitrate": "hit", "hit_rate": "hit", "p": "precision"}
_METRIC = re.compile(r"([a-z_]+)@(\d+)")
_STARS = {"": False, "0": False, "no": False, "false": False, "1": True, "*": True, "yes": True, "true": True}


@dataclass(frozen=True, order=True)
class System:
    """A row of a printed table on one data set: a model, and which of its systems ("" if it has one only)."""

    dataset: str
    model: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.model} {self.name} on {self.dataset}".replace("  ", " ")


@dataclass(frozen=True)
class PrintedCell:
    """One printed number, its star, and the line of the file that holds it."""

    number: PrintedValue
    starred: bool
    line: int


#: Every printed number by system, then by (metric, cutoff).
PrintedTable = Mapping[System, Mapping[tuple[str, int], PrintedCell]]


def read_printed(path: Path) -> PrintedTable:
    """The table of a CSV file. A number may be printed twice if it is the same; the star of either line counts.

    Raises DataError, with file and line, for a missing column, a metric or number that cannot be read, a share outside
    0 to 1, and a cell that is printed with two values.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _check_header(path, reader.fieldnames or [])
            table: dict[System, dict[tuple[str, int], PrintedCell]] = {}
            for row in reader:
                _add(table, {key: (text or "").strip() for key, text in row.items() if key}, path, reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}); give a text file in UTF-8") from None
    if not table:
        raise DataError(f"{path}: has a header and no rows; write one printed number a line")
    return table


def _check_header(path: Path, header: list[str] | tuple[str, ...] | object) -> None:
    names = list(header) if isinstance(header, list | tuple) else []
    for name in _COLUMNS:
        if name not in names:
            close = nearest(name, names)
            hint = f"rename {close!r}" if close else f"the first line must name {', '.join(_COLUMNS)}"
            raise DataError(f"{path}, line 1: no column {name!r}; {hint}")
    for name in names:
        if name not in (*_COLUMNS, *_FURTHER):
            raise DataError(
                f"{path}, line 1: unknown column {name!r}; the columns are {', '.join((*_COLUMNS, *_FURTHER))}"
            )


def _add(
    table: dict[System, dict[tuple[str, int], PrintedCell]], row: Mapping[str, str], path: Path, line: int
) -> None:
    place = f"{path}, line {line}"
    if missing := [name for name in _COLUMNS if not row.get(name)]:
        raise DataError(f"{place}: nothing in column {missing[0]!r}; leave a number out that is not printed")
    system = System(row["dataset"], row["model"], row.get("system", ""))
    metric, number, starred = _metric(row["metric"], place), _number(row["value"], place), _star(row, place)
    cells = table.setdefault(system, {})
    before = cells.get(metric)
    if before and before.number.value != number.value:
        raise DataError(
            f"{place}: {system}, {row['metric']} is {number.value:g} here and {before.number.value:g} in line "
            f"{before.line}; tell them apart in column 'system'"
        )
    cells[metric] = PrintedCell(number, starred or bool(before and before.starred), line)


def _metric(text: str, place: str) -> tuple[str, int]:
    found = _METRIC.fullmatch(text.lower().replace(" ", ""))
    if not found or int(found[2]) < 1:
        raise DataError(f"{place}: metric {text!r} has no name and cutoff; write for instance recall@20 or ndcg@10")
    return _SHORT.get(found[1], found[1]), int(found[2])


def _number(text: str, place: str) -> PrintedValue:
    plain = text if re.fullmatch(r"\d*\.?\d+", text) else ""
    if not plain:
        raise DataError(f"{place}: value {text!r} is not a plain number such as 0.0371; a star goes to column 'star'")
    number = PrintedValue.parse(plain)
    if number.value > 1:
        raise DataError(f"{place}: value {text} is above 1; write a percentage as a share, 3.71 % as 0.0371")
    return number


def _star(row: Mapping[str, str], place: str) -> bool:
    text = row.get("star", "").lower()
    if text not in _STARS:
        raise DataError(f"{place}: star {text!r} is not understood; write 1 or *, and 0 or nothing without a star")
    return _STARS[text]
