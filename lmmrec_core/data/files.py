"""Strict reading of text tables and matrices: whatever is wrong is named, with file, line and cure."""

import csv
import gzip
import io
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from lmmrec_core.errors import DataError, nearest
from lmmrec_core.flow import Float32Array

NumberedRow = tuple[int, dict[str, str]]  # line number in the file, cells by column name


ARCHIVE_LIMIT = 8 * 2**30  # bytes that the arrays of an archive may take
_SMALL = 2**16
GZIP_LIMIT = 16 * 2**30  # bytes that one compressed file may hold
_PLENTY = 2**26  # what a file may hold whatever its size: a short table can be very regular
_GZIP_RATIO = 200  # text shrinks to a third or a tenth; zeros to a thousandth
_PIECE = 2**20


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, decompressed if its name ends in ``.gz``.

    Raises DataError for a file that is absent, damaged or not UTF-8, and for a compressed one that holds more than
    64 MiB and 200 times its own size, as no text does, or more than ``GZIP_LIMIT`` bytes.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; add it or correct the name")
    try:
        content = _decompressed(path) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); fetch or write the file again") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path} line {line}: not UTF-8 text; save the file as UTF-8") from None


def _decompressed(path: Path) -> bytes:
    """What a gzip file holds; no more than the limit is ever in memory."""
    limit = min(GZIP_LIMIT, max(_PLENTY, _GZIP_RATIO * path.stat().st_size))
    pieces, held = [], 0
    with gzip.open(path) as file:
        while piece := file.read(_PIECE):
            pieces.append(piece)
            held += len(piece)
            if held > limit:
                raise DataError(
                    f"{path}: {path.stat().st_size:,} bytes that hold more than {limit:,}, as no table does; "
                    "fetch the file again, or decompress it yourself if it is right"
                )
    return b"".join(pieces)


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
        matrix = np.array(values, dtype=np.float32, order="C")  # a copy: ``values`` may be a map of a file
    broken = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(broken):
        raise DataError(
            f"{place} row {broken[0]} (from 0): NaN or infinity, as have {len(broken) - 1} other rows; "
            "compute these features again, or leave the file out"
        )
    return matrix


def load_arrays(path: Path, archives: bool = True) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file, or ``{"": array}`` of an ``.npy`` file, which may be a read-only map of it.

    The first bytes decide which it is, not the name. Nothing is read of a file that is too short for what it claims,
    nor of an archive that is not wanted (``archives`` false); a pickle is never read.
    Raises DataError for any such file, and for an archive that holds more than ``ARCHIVE_LIMIT`` bytes.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; add it or correct the name")
    try:
        if _is_archive(path):
            if not archives:
                raise DataError(f"{path}: an .npz archive; save one matrix with numpy.save")
            _check_archive(path)
            with np.load(path, allow_pickle=False) as loaded:
                return {key: loaded[key] for key in loaded.files}
        # a map needs no memory, and is refused if the file is too short; one of no rows cannot be mapped
        mode: Literal["r"] | None = "r" if path.stat().st_size > _SMALL else None
        return {"": np.load(path, allow_pickle=False, mmap_mode=mode)}
    except DataError:
        raise
    except Exception as error:  # NumPy raises many kinds for a damaged file, zip errors among them
        raise DataError(f"{path}: not a plain NumPy array file ({error}); save it again with numpy.save") from None


def _is_archive(path: Path) -> bool:
    """Whether a file is an ``.npz``, whatever its name."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _check_archive(path: Path) -> None:
    """Raises DataError for a zip that claims more than the limit; zipfile gives no more than it claims."""
    with zipfile.ZipFile(path) as archive:
        claimed = sum(entry.file_size for entry in archive.infolist())
    if claimed > ARCHIVE_LIMIT:
        raise DataError(
            f"{path}: its arrays take {claimed:,} bytes, more than {ARCHIVE_LIMIT:,}; save one matrix with numpy.save"
        )


def load_matrix(path: Path, n_rows: int, row_name: str = "items of items.csv") -> Float32Array:
    """The matrix of an ``.npy`` file, checked by :func:`as_matrix`; an archive of that name is refused unread."""
    return as_matrix(load_arrays(path, archives=False)[""], str(path), n_rows, row_name)
