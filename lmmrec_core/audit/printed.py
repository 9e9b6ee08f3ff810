"""A printed table, read from a CSV file and checked while it is read: one number a line, or as it is printed.

The *long* form has a line for each number, with columns for the metric and the value. The *wide* form has a line for
each system and a column for each metric, ``R@10`` or ``Baby R@10``.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmmrec_core.audit.relations import PrintedValue
from lmmrec_core.disk import read_regular
from lmmrec_core.errors import DataError, nearest

CHECKED = ("recall", "ndcg", "hit", "mrr")  # metrics that a relation is known for
_READ = (*CHECKED, "precision", "map")  # the names that a slip is compared with
_LONG = ("model", "dataset", "metric", "value")
_FURTHER = ("system", "star")
_SHORT = {
    "r": "recall", "n": "ndcg", "h": "hit", "hr": "hit", "hits": "hit", "hitrate": "hit", "hitratio": "hit",
    "p": "precision", "prec": "precision",
}  # fmt: skip
LONGEST_TABLE = 2**26  # bytes
_LONGEST_CELL = 1000  # characters; names of models and data sets are shorter
_LONGEST = 200  # characters of a head or metric; the time for these patterns grows with the cube of them
_METRIC = re.compile(r"([a-z]+(?:[ _-]?(?:rate|ratio))?)\s*[@_ ]\s*(\d+)", re.IGNORECASE)
_HEAD = re.compile(rf"(.*\S)[\s:/|]+({_METRIC.pattern})", re.IGNORECASE)
_STARS = {"": False, "0": False, "no": False, "false": False, "1": True, "*": True, "yes": True, "true": True}
_ABSENT = {"", "-", "–", "—", "n/a", "na", "nan", "none", "/"}


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


class PrintedTable(dict[System, dict[tuple[str, int], PrintedCell]]):
    """Every printed number by system, then by (metric, cutoff); ``absent`` counts the cells without a number."""

    absent: int = 0

    @property
    def unchecked(self) -> list[str]:
        """Metrics that no relation is known for, as they are called here."""
        names = {f"{metric}@{k}" for cells in self.values() for metric, k in cells if metric not in CHECKED}
        return sorted(names)


def read_printed(path: Path, percent: bool = False) -> PrintedTable:
    """The table of a CSV file in long or wide form.

    A number may be printed twice if it is the same; the star of either place counts. An empty cell or a dash is no
    number. With ``percent`` all numbers are percentages; one with a ``%`` is one in any case.

    Raises DataError, with file and line, for a missing column, a metric or number that cannot be read, a share outside
    0 to 1, and a cell that is printed with two values.
    """
    table = PrintedTable()
    try:
        reader = csv.DictReader(io.StringIO(_text(path), newline=""))
        heads = [(name or "").strip() for name in reader.fieldnames or []]
        reader.fieldnames = heads
        columns = _wide_columns(heads, path)
        for row in reader:
            if None in row:
                raise DataError(
                    f"{path}, line {reader.line_num}: more cells than heads; put text with commas in quotes"
                )
            texts = {key: (text or "").strip() for key, text in row.items()}
            place = f"{path}, line {reader.line_num}"
            if long := next((text for text in texts.values() if len(text) > _LONGEST_CELL), ""):
                raise DataError(f"{place}: a cell of {len(long):,} characters; close the quotes before it")
            for cell in _wide(texts, columns, place) if columns else [_long(texts, place)]:
                _add(table, cell, place, reader.line_num, percent)
    except csv.Error as error:
        hint = "close the quotes before it" if "field larger" in str(error) else "correct the quotes"
        raise DataError(f"{path}, line {reader.line_num + 1}: cannot be read as CSV ({error}); {hint}") from None
    if not table:
        raise DataError(f"{path}: has a header and no rows; write one printed number a line, or one system a line")
    return table


def _text(path: Path) -> str:
    """The text of the file. Raises DataError if it is none, or its cells are not separated by commas."""
    try:
        content = read_regular(path, LONGEST_TABLE + 1)
    except OSError as error:
        raise DataError(f"{str(path)[:_LONGEST]}: cannot be read ({error.strerror}); give a CSV file") from None
    if len(content) > LONGEST_TABLE:
        raise DataError(f"{path}: more than {LONGEST_TABLE:,} bytes are no printed table; give a smaller file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: cannot be read as text; give a CSV file in UTF-8") from None
    first = text.partition("\n")[0]
    for mark, words in {";": "semicolons", "\t": "tabs"}.items():
        if mark in first and "," not in first:
            raise DataError(f"{path}, line 1: separated by {words}; save the table with commas")
    return text


@dataclass(frozen=True)
class _Text:
    """A cell as it stands in the file."""

    system: System
    metric: str
    value: str
    starred: bool


def _wide_columns(heads: Sequence[str], path: Path) -> dict[str, tuple[str, str]]:
    """Head → (data set or "", metric) of a wide table; nothing for a long one, whose heads are checked."""
    found = {head: parts for head in heads if (parts := _head(head))}
    if {"metric", "value"} & set(heads) or not found:
        _check_heads(heads, _LONG, (*_LONG, *_FURTHER), path)
        return {}
    if repeated := [head for head in found if heads.count(head) > 1]:
        raise DataError(
            f"{path}, line 1: two columns {repeated[0]!r}; name the data set too, for instance 'Baby {repeated[0]}'"
        )
    bare = [head for head, (dataset, _) in found.items() if not dataset]
    cures = (
        {"dataset": f"add one, or name the data set before each metric, for instance 'Baby {bare[0]}'"} if bare else {}
    )
    _check_heads(heads, ["model", *cures], ["model", "dataset", "system", *found], path, cures)
    return found


def _head(head: str) -> tuple[str, str] | None:
    """(data set or "", metric) of the head of a column of numbers; without an @ it must name a known metric."""
    if len(head) > _LONGEST:
        return None
    whole, parts = _METRIC.fullmatch(head), _HEAD.fullmatch(head)
    dataset, metric, name = ("", head, whole[1]) if whole else (parts[1], parts[2], parts[3]) if parts else ("", "", "")
    return (dataset, metric) if metric and ("@" in metric or _name(name) in _READ) else None


def _name(text: str) -> str:
    plain = re.sub(r"[ _-]", "", text.lower())
    return _SHORT.get(plain, plain)


def _check_heads(
    heads: Sequence[str], needed: Sequence[str], known: Sequence[str], path: Path, cures: Mapping[str, str] = {}
) -> None:
    for name in needed:
        if name not in heads:
            close = nearest(name, [head for head in heads if head not in known])
            hint = f"rename {close!r}" if close else cures.get(name, f"the first line must name {', '.join(needed)}")
            raise DataError(f"{path}, line 1: no column {name!r}; {hint}")
    for name in heads:
        if name in known and heads.count(name) > 1:
            raise DataError(f"{path}, line 1: two columns {name!r}; rename or remove one")
        if name not in known:
            raise DataError(f"{path}, line 1: unknown column {name!r}; the columns are {', '.join(known)}")


def _wide(row: Mapping[str, str], columns: Mapping[str, tuple[str, str]], place: str) -> Iterator[_Text]:
    _need(row, ["model", *(["dataset"] if "dataset" in row else [])], place)
    for head, (dataset, metric) in columns.items():
        value = row[head].rstrip("*")
        system = System(dataset or row["dataset"], row["model"], row.get("system", ""))
        yield _Text(system, metric, value.strip(), value != row[head])


def _long(row: Mapping[str, str], place: str) -> _Text:
    _need(row, ["model", "dataset", "metric"], place)
    star = row.get("star", "").lower()
    if star not in _STARS:
        raise DataError(f"{place}: star {star!r} is not understood; write 1 or *, and 0 or nothing without a star")
    system = System(row["dataset"], row["model"], row.get("system", ""))
    return _Text(system, row["metric"], row["value"], _STARS[star])


def _need(row: Mapping[str, str], names: Sequence[str], place: str) -> None:
    if missing := [name for name in names if not row.get(name)]:
        raise DataError(f"{place}: nothing in column {missing[0]!r}; every row needs it")


def _add(table: PrintedTable, cell: _Text, place: str, line: int, percent: bool) -> None:
    metric = _metric(cell.metric, place)
    if cell.value.lower() in _ABSENT:
        table.absent += 1
        return
    number = _number(cell.value, place, percent)
    cells = table.setdefault(cell.system, {})
    before = cells.get(metric)
    if before and before.number.value != number.value:
        raise DataError(
            f"{place}: {cell.system}, {cell.metric} is {number.value:g} here and {before.number.value:g} in line "
            f"{before.line}; tell them apart in column 'system'"
        )
    cells[metric] = PrintedCell(number, cell.starred or bool(before and before.starred), line)


def _metric(text: str, place: str) -> tuple[str, int]:
    found = _METRIC.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if not found or int(found[2]) < 1:
        raise DataError(
            f"{place}: metric {text[:_LONGEST]!r} has no name and cutoff; write for instance recall@20 or ndcg@10"
        )
    name = _name(found[1])
    if name not in _READ and (close := nearest(name, _READ)):
        raise DataError(f"{place}: unknown metric {text!r}; did you mean {close}@{found[2]}?")
    return name, int(found[2])


def _number(text: str, place: str, percent: bool) -> PrintedValue:
    share = text.removesuffix("%").strip()
    if not re.fullmatch(r"\d*\.?\d+", share):
        hint = "write a point for the comma" if re.fullmatch(r"\d+,\d+", share) else "a star goes to column 'star'"
        raise DataError(f"{place}: value {text!r} is not a plain number such as 0.0371; {hint}")
    number = PrintedValue.parse(share)
    if percent or share != text:
        number = PrintedValue(number.value / 100, number.half / 100)
    if number.value > 1:
        raise DataError(
            f"{place}: value {text} is above 1; write a percentage as a share, 3.71 % as 0.0371, or say --percent"
        )
    return number
