"""Strict reading of text tables and matrices: whatever is wrong is named, with file, line and cure."""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lmmrec_core.errors import DataError, nearest
from lmmrec_core.flow import Float32Array

NumberedRow = tuple[int, dict[str, str]]  # line number in the file, cells by column name


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, decompressed if its name ends in ``.gz``.

    Raises DataError for a file that is absent, damaged or not UTF-8.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; add it or correct the name")
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); fetch or write the file again") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path} line {line}: not UTF-8 text; save the file as UTF-8") from None


def read_rows(path: Path, required: Sequence[str], separator: str = ",") -> tuple[list[str], Iterator[NumberedRow]]:
    """Column names and rows of a table with a header; blank lines are skipped.

    Cells stay text (an id of digits keeps its zeros), without the blanks around it.
    Raises DataError for an empty file, a missing or repeated column, and a row with too many or too few cells.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=separator, strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        raise DataError(f"{path} line 1: not a table ({error}); correct the quotes") from None
    if not any(header):
        raise DataError(f"{path}: empty file; the first line must name the columns {', '.join(required)}")
    repeated = sorted({column for column in header if header.count(column) > 1})
    if repeated:
        raise DataError(f"{path} line 1: column {repeated[0]!r} appears twice; rename or remove one")
    for column in required:
        if column not in header:
            close = nearest(column, header)
            hint = f"rename {close!r} if that is it" if close else "add it"
            raise DataError(f"{path} line 1: no column {column!r} among {', '.join(header)}; {hint}")
    return header, _rows(path, header, reader)


def _rows(path: Path, header: list[str], reader: Iterator[list[str]]) -> Iterator[NumberedRow]:
    line = 2
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path} line {line}: not a table row ({error}); correct the quotes") from None
        if cells is None:
            return
        if cells:
            if len(cells) != len(header):
                raise DataError(
                    f"{path} line {line}: {len(cells)} cells, but the header names {len(header)} columns; "
                    "quote cells that contain the separator"
                )
            yield line, {column: cell.strip() for column, cell in zip(header, cells, strict=True)}
        line = reader.line_num + 1  # type: ignore[attr-defined]


def identifier(text: str, place: str, column: str) -> str:
    """A non-empty id, kept as text."""
    if not text:
        raise DataError(f"{place}: {column} is empty; give every row its id")
    return text


def finite_number(text: str, place: str, column: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{place}: {column} {text!r} is not a number; correct it, or leave the whole column out")
    return value


def whole_number(text: str, place: str, column: str) -> int:
    """A whole number that fits 64 bits; "874965478.0" counts as one."""
    try:
        value = int(text)
    except ValueError:
        as_float = finite_number(text, place, column)
        if not as_float.is_integer():
            raise DataError(f"{place}: {column} {text!r} is not a whole number; correct it") from None
        value = int(as_float)
    if not -(2**63) <= value < 2**63:
        raise DataError(f"{place}: {column} {text!r} does not fit 64 bits; correct it")
    return value


def as_matrix(values: np.ndarray, place: str, n_rows: int, row_name: str) -> Float32Array:
    """``values`` as float32 [item, dim]; refused if misshapen or not finite (rows are counted from 0)."""
    if values.ndim != 2 or values.dtype.kind not in "fiu" or values.shape[1] == 0:
        raise DataError(f"{place}: shape {values.shape} of {values.dtype}; save a matrix of numbers [item, dim]")
    if len(values) != n_rows:
        raise DataError(f"{place}: {len(values)} rows for {n_rows} {row_name}; give one row per item, in that order")
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(values, dtype=np.float32)
    broken = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(broken):
        raise DataError(
            f"{place} row {broken[0]} (from 0): NaN or infinity, as have {len(broken) - 1} other rows; "
            "compute these features again, or leave the file out"
        )
    return matrix


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file, or ``{"": array}`` of an ``.npy`` file; never a pickle."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; add it or correct the name")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return {key: loaded[key] for key in loaded.files}
    except Exception as error:  # NumPy raises many kinds for a damaged file, zip errors among them
        raise DataError(f"{path}: not a plain NumPy array file ({error}); save it again with numpy.save") from None


def load_matrix(path: Path, n_rows: int, row_name: str = "items of items.csv") -> Float32Array:
    """The matrix of an ``.npy`` file, checked by :func:`as_matrix`."""
    arrays = load_arrays(path)
    if "" not in arrays:
        raise DataError(f"{path}: an .npz archive; save one matrix with numpy.save")
    return as_matrix(arrays[""], str(path), n_rows, row_name)
