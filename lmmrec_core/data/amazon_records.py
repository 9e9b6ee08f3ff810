"""The records of the 2014 Amazon release: reviews as JSON, metadata as Python literals that are never evaluated."""

import ast
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from lmmrec_core.data.assemble import Rows
from lmmrec_core.data.faults import Faults
from lmmrec_core.data.files import read_text
from lmmrec_core.errors import DataError, nearest

# a name of a file and nothing else: no record may name a picture outside the folder
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LATER = "the releases of 2018 and 2023, of which we read none: write it as a catalogue folder, see the book"
_FIRST_KEY = re.compile(r"\{'asin': '([^'\\]*)'")


def read_reviews(file: Path, faults: Faults) -> Rows:
    """One row per review, with the lines that are none in ``faults``. Raises DataError with them if no line is one."""
    rows = Rows(str(file), rating=(ratings := []), timestamp=(times := []))
    for line, text in _lines(file):
        try:
            user, item, rating, time = _review(text, f"{file} line {line}")
        except DataError as error:
            faults.add(str(error))
            continue
        rows.line.append(line)
        rows.user_id.append(user)
        rows.item_id.append(item)
        ratings.append(rating)
        times.append(time)
    if not rows.line:
        faults.refuse()
    return rows


def _review(text: str, place: str) -> tuple[str, str, float, int]:
    try:
        review = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of thousands of digits
        raise DataError(f"{place}: not a JSON object ({error}); fetch the file again") from None
    if not isinstance(review, dict):
        raise DataError(f"{place}: not a JSON object; fetch the file again")
    if "reviewerID" not in review and "parent_asin" in review:
        raise DataError(f"{place}: has parent_asin, as in {_LATER}")
    return (
        _id(review, "reviewerID", place),
        _asin(review, place),
        float(_numeric(review, "overall", place)),
        _seconds(review, place),
    )


def _asin(record: dict[str, object], place: str) -> str:
    asin = _id(record, "asin", place)
    if not _PLAIN_ID.fullmatch(asin):
        raise DataError(f"{place}: asin {asin!r} is no ASIN, which has letters and digits alone; correct the record")
    return asin


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    for line, text in enumerate(read_text(file).split("\n"), start=1):
        if text.strip():
            yield line, text


def _id(record: dict[str, object], key: str, place: str) -> str:
    value = _there(record, key, place)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place}: {key} is {value!r}, not text; write ids as text, those of digits too")
    return value.strip()


def _there(record: dict[str, object], key: str, place: str) -> object:
    if key not in record:
        close = nearest(key, record)
        hint = f"did you mean {close!r}? Rename it" if close else "add it, or fetch the file again"
        raise DataError(f"{place}: no key {key!r}; {hint}")
    return record[key]


def _numeric(record: dict[str, object], key: str, place: str) -> float:
    value = _there(record, key, place)
    if isinstance(value, int) and not abs(value) < 2**63:  # may have more digits than can be printed
        raise DataError(f"{place}: {key} is a number of {value.bit_length()} bits; correct the record")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 2**63:
        raise DataError(f"{place}: {key} is {value!r}, not a number; correct the record")
    return value


def _seconds(review: dict[str, object], place: str) -> int:
    value = _numeric(review, "unixReviewTime", place)
    if value != int(value):
        raise DataError(f"{place}: unixReviewTime is {value!r}, not in whole seconds; correct the record")
    return int(value)


def read_metadata(file: Path, wanted: set[str], faults: Faults) -> tuple[dict[str, dict[str, object]], dict[str, int]]:
    """Records of the reviewed items by ASIN (of repeated records the first), and what was counted.

    The full files hold many times more items than were reviewed. Their lines start with the ASIN, so the lines of
    other items are passed over unparsed.
    """
    records: dict[str, dict[str, object]] = {}
    unreviewed = repeated = 0
    for line, text in _lines(file):
        first = _FIRST_KEY.match(text)
        if first and first[1] not in wanted:
            unreviewed += 1
            continue
        place = f"{file} line {line}"
        try:
            record = _literal(text, place)
            asin = _asin(record, place)
        except DataError as error:
            faults.add(str(error))
            continue
        if asin not in wanted:
            unreviewed += 1
        elif asin in records:
            repeated += 1
        else:
            records[asin] = record
    return records, {
        "metadata_records_unreviewed": unreviewed,
        "metadata_records_repeated": repeated,
        "items_without_metadata": len(wanted) - len(records),
    }


def _literal(text: str, place: str) -> dict[str, object]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # stray backslashes in descriptions
            record = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        if _is_json(text):
            raise DataError(f"{place}: JSON, not a Python dict literal, as in {_LATER}") from None
        raise DataError(f"{place}: not a Python dict literal ({error}); fetch the file again") from None
    if not isinstance(record, dict):
        raise DataError(f"{place}: not a Python dict literal; fetch the file again")
    return record


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def field_text(record: dict[str, object], field: str) -> str:
    """A field as text: of category paths their distinct names in order, of an absent field ""."""
    value = record.get(field)
    if isinstance(value, (list, tuple)):
        names = [name for path in value for name in (path if isinstance(path, (list, tuple)) else [path])]
        return ", ".join(dict.fromkeys(str(name) for name in names))
    return "" if value is None else str(value)
