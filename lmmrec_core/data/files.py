"""Strict reading of text tables and matrices: whatever is wrong is named, with file, line and cure."""

import csv
import gzip
import io
import math
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import numpy as np

from lmmrec_core.data.columns import PartWords, in_words, meant_for, near_misses, no_header, other_separator
from lmmrec_core.data.faults import Faults
from lmmrec_core.errors import DataError
from lmmrec_core.flow import Float32Array
from lmmrec_core.marks import no_table, other_format

NumberedRow = tuple[int, dict[str, str]]  # line number in the file, cells by column name
_FIELD_LIMIT = 2**31 - 1  # characters of a cell; the csv module's own limit is 131,072

ARCHIVE_LIMIT = 8 * 2**30  # bytes that the arrays of an archive may take
_SMALL = 2**16
GZIP_LIMIT = 16 * 2**30  # bytes that one compressed file may hold
_PLENTY = 2**26  # what a file may hold whatever its size: a short table can be very regular
_RATIO = 200  # text shrinks to a third or a tenth; zeros to a thousandth
_PIECE = 2**20


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, decompressed if its name ends in ``.gz``.

    Raises DataError for a file that is absent, damaged or not UTF-8, and for a compressed one that holds more than
    64 MiB and 200 times its own size, as no text does, or more than ``GZIP_LIMIT`` bytes.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; {_did_you_mean(path)}add it or correct the name")
    try:
        content = _decompressed(path) if path.suffix == ".gz" else path.read_bytes()
    except gzip.BadGzipFile as error:
        if _begins(path, b"\x1f\x8b"):
            raise DataError(f"{path}: damaged ({error}); fetch or write the file again") from None
        raise DataError(f"{path}: not compressed by gzip, as its name says; rename it, or compress it") from None
    except PermissionError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); allow reading it") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); fetch or write the file again") from None
    found = other_format(content)
    if found == "gzip":
        raise DataError(f"{path}: compressed by gzip; decompress it, or give it a name that ends in .gz")
    if found is not None:
        raise DataError(f"{path}: {found}, not UTF-8 text; save the file as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path} line {line}: not UTF-8 text (byte {content[error.start]:#x}, as in Latin-1 or Windows-1252); "
            "save the file as UTF-8"
        ) from None
    if fault := no_table(text):
        raise DataError(f"{path}{fault}")
    return text


def _decompressed(path: Path) -> bytes:
    """What a gzip file holds; no more than the limit is ever in memory."""
    limit = min(GZIP_LIMIT, max(_PLENTY, _RATIO * path.stat().st_size))
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


def _did_you_mean(path: Path) -> str:
    """The file of the same folder whose name is nearest, as the start of a sentence; "" if none is near."""
    try:
        names = [file.name for file in path.parent.iterdir() if file.is_file()]
    except OSError:
        return ""
    close = get_close_matches(path.name, names, n=1, cutoff=0.75)
    return f"did you mean {close[0]}? Else " if close else ""


def read_rows(
    path: Path,
    required: Sequence[str],
    separator: str = ",",
    *,
    optional: Sequence[str] = (),
    faults: Faults | None = None,
) -> tuple[list[str], Iterator[NumberedRow]]:
    """Column names and rows of a table with a header; blank lines are skipped.

    Cells stay text (an id of digits keeps its zeros), without the blanks around it. ``optional`` columns may be absent,
    but a near miss of their names is refused. With ``faults``, rows that cannot be read are noted there and left out.
    Raises DataError for an empty file, a header that cannot be used, and a row with too many or too few cells.
    """
    csv.field_size_limit(_FIELD_LIMIT)
    text = read_text(path)
    if text.strip() and (fault := no_header(text.split("\n", 1)[0])):
        raise DataError(f"{path} line 1: {fault}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        raise DataError(f"{path} line 1: not a table ({error}); correct the quotes") from None
    if not any(header):
        raise DataError(f"{path}: empty file; the first line must name the columns {', '.join(required)}")
    _check_header(f"{path} line 1", header, text.split("\n", 1)[0], required, optional, separator)
    parts = PartWords(header, required, optional)
    return header, _rows(path, header, reader, Faults(at_once=True) if faults is None else faults, parts)


def _check_header(
    place: str, header: list[str], line: str, required: Sequence[str], optional: Sequence[str], separator: str
) -> None:
    """Raises DataError with all that is wrong with a header."""
    faults = Faults()
    absent = [column for column in required if column not in header]
    other = other_separator(line, required, separator) if absent else None
    if other is not None:
        raise DataError(f"{place}: separated by {other}, not by {in_words(separator)}; save the table with the latter")
    for column in sorted({column for column in header if header.count(column) > 1}):
        faults.add(f"{place}: column {column!r} appears twice; rename or remove one")
    for column in absent:
        close = meant_for(column, header, (*required, *optional))
        hint = f"rename {close!r} if that is it" if close else "add it"
        faults.add(f"{place}: no column {column!r} among {', '.join(header)}; {hint}")
    for column, wanted in near_misses(header, required, optional).items():
        faults.add(
            f"{place}: column {column!r} is not read; did you mean {wanted!r}? Rename it, or give it a name that is "
            "further from that"
        )
    faults.refuse()


def _rows(
    path: Path, header: list[str], reader: Iterator[list[str]], faults: Faults, parts: PartWords
) -> Iterator[NumberedRow]:
    line = 2
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            faults.add(f"{path} line {line}: not a table row ({error}); correct the quotes")
            return  # where the next row begins is not known
        if cells is None:
            for column in parts.found():
                faults.add(
                    f"{path}: column {column!r} is not read, but its cells name parts of a split; "
                    f"{parts.cure}, or remove it"
                )
            parts.warn(path)
            return
        if cells and len(cells) != len(header):
            faults.add(
                f"{path} line {line}: {len(cells)} cells, but the header names {len(header)} columns; "
                "quote cells that contain the separator"
            )
        elif cells:
            row = {column: cell.strip() for column, cell in zip(header, cells, strict=True)}
            parts.look(row)
            yield line, row
        line = reader.line_num + 1  # type: ignore[attr-defined]


def is_inside(file: Path, folder: Path) -> bool:
    """Whether a file is inside a folder once all links are followed, so that no catalogue reads what is not its own."""
    try:
        return file.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a circle of links, a name that no file can have
        return False


def is_there(file: Path, folder: Path) -> bool:
    """Whether a catalogue folder has this file; False if nothing has its name.

    Raises DataError for what has the name and cannot be read as a file of the folder: a folder, a pipe or device, a
    link to nothing, in a circle or out of the folder.
    """
    if not os.path.lexists(file):
        return False
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise DataError(f"{file}: a link that leads to no file ({error.strerror}); put the file there") from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise DataError(f"{file}: {what}, not a file; put a file there, or remove it")
    if not is_inside(file, folder):
        raise DataError(f"{file}: a link out of the folder; copy the file to its place")
    return True


def identifier(text: str, place: str, column: str) -> str:
    """A non-empty id, kept as text."""
    if not text:
        raise DataError(f"{place}: {column} is empty; give every row its id")
    return text


def finite_number(text: str, place: str, column: str) -> float:
    """A finite number."""
    try:
        value = math.nan if "_" in text else float(text)  # Python takes 4_5 for 45
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{place}: {column} {text!r} is not a number; correct it, or leave the whole column out")
    return value


def whole_number(text: str, place: str, column: str) -> int:
    """A whole number that fits 64 bits; "874965478.0" counts as one."""
    try:
        value = int(text if "_" not in text else "")
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
        told = "a number beyond float32" if np.isfinite(values[broken[0]]).all() else "NaN or infinity"
        raise DataError(
            f"{place} row {broken[0]} (from 0): {told}, as have {len(broken) - 1} other rows; "
            "compute these features again, or leave the file out"
        )
    return matrix


def load_arrays(path: Path, archives: bool = True) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file, or ``{"": array}`` of an ``.npy`` file, which may be a read-only map of it.

    The first bytes decide which it is, not the name. Nothing is read of a file that is too short for what it claims,
    nor of an archive that is not wanted (``archives`` false); a pickle is never read.
    Raises DataError for any such file, for one with more than its array, and for an archive that holds more than
    64 MiB and 200 times its own size, or more than ``ARCHIVE_LIMIT`` bytes.
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
        size = path.stat().st_size
        mode: Literal["r"] | None = "r" if size > _SMALL else None
        array = np.load(path, allow_pickle=False, mmap_mode=mode)
        if rest := size - _header_bytes(path) - array.nbytes:
            raise DataError(f"{path}: {rest:,} bytes after its one array; save one matrix with numpy.save")
        return {"": array}
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); allow reading it") from None
    except Exception as error:  # NumPy raises many kinds for a damaged file, zip errors among them
        why = "no array, or Python objects, which are never read" if "pickle" in str(error) else error
        raise DataError(f"{path}: not a plain NumPy array file ({why}); save it again with numpy.save") from None


def _header_bytes(path: Path) -> int:
    """Where the content of an ``.npy`` file begins."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        read(file)
        return file.tell()


def _is_archive(path: Path) -> bool:
    """Whether a file is an ``.npz``, whatever its name."""
    return _begins(path, b"PK\x03\x04") or _begins(path, b"PK\x05\x06")


def _begins(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _check_archive(path: Path) -> None:
    """Raises DataError for a zip that claims more than the limit; zipfile gives no more than it claims."""
    with zipfile.ZipFile(path) as archive:
        claimed = sum(entry.file_size for entry in archive.infolist())
    limit = min(ARCHIVE_LIMIT, max(_PLENTY, _RATIO * path.stat().st_size))
    if claimed > limit:
        raise DataError(
            f"{path}: its arrays take {claimed:,} bytes, more than {limit:,}; save one matrix with numpy.save"
        )


def load_matrix(path: Path, n_rows: int, row_name: str = "items of items.csv") -> Float32Array:
    """The matrix of an ``.npy`` file, checked by :func:`as_matrix`; an archive of that name is refused unread."""
    return as_matrix(load_arrays(path, archives=False)[""], str(path), n_rows, row_name)
