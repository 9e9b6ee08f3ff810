"""RecBole's atomic files: ``<name>.inter`` and ``<name>.item``, tab separated, each column named with its type.

    <name>.inter   user_id:token item_id:token [rating:float] [timestamp:float]; further columns are passed over,
                   and so are ratings unless ``min_rating`` asks for them
    <name>.item    optional; item_id:token and fields of the item; texts are read from token and token_seq columns
    <name>.train.inter, <name>.valid.inter, <name>.test.inter   instead of <name>.inter: the folder's own split
    all of these also as .gz
    visual.npy, textual.npy   ours: ready features [item, dim], rows in the order of <name>.item

The types are those of RUCAIBox/RecBole (docs/source/user_guide/data/atomic_files.rst): token, token_seq, float and
float_seq. The folder has no pictures; ``<name>.user`` and other atomic files are not read.
"""

import gzip
import zlib
from pathlib import Path
from typing import Literal

from pydantic import Field

from lmmrec_core.data.assemble import ContentSettings, Items, Rows, assemble, check_items_known
from lmmrec_core.data.columns import PartWords, near_misses
from lmmrec_core.data.faults import Faults
from lmmrec_core.data.files import finite_number, identifier, is_there, load_matrix, read_rows, read_text
from lmmrec_core.data.folder import table_file
from lmmrec_core.data.ready import has_ready
from lmmrec_core.data.texts import compose, leaks
from lmmrec_core.errors import DataError
from lmmrec_core.flow import MODALITIES, PARTS, Catalogue, Float32Array, Modality

_OF_FILES = "write NAME.train.inter, NAME.valid.inter and NAME.test.inter"
_TYPES = ("token", "token_seq", "float", "float_seq")
_USER, _ITEM = "user_id:token", "item_id:token"
_OPTIONAL = {"rating": "rating:float", "timestamp": "timestamp:float"}
_TEXT_TYPES = (":token", ":token_seq")


class RecBoleSettings(ContentSettings):
    """How such a folder is read. Without ``text_fields`` all fields of type token_seq make the text, and those of type
    token that are named as fields of a text are.
    """

    missing_image: Literal["drop", "keep"] = Field("keep", description="the format has no pictures: nobody is dropped")


def read_recbole(path: Path, settings: RecBoleSettings | None = None, name: str | None = None) -> Catalogue:
    """Read a folder of atomic files of one data set.

    Raises DataError naming the file, the line, what is wrong and the cure, for all that cannot be used as it is.
    """
    path, settings, faults = Path(path), settings or RecBoleSettings(), Faults()
    files = _inter_files(path)
    rows = Rows(str(next(iter(files.values()))))
    for part, file in files.items():
        with faults.noted():
            _read_inter(file, part, rows, settings.min_rating is not None, faults)
    faults.refuse()
    if not rows.line:
        raise DataError(f"{rows.file}: no interactions below the header; add some")
    for column in _OPTIONAL:
        if len(getattr(rows, column) or ()) not in (0, len(rows.line)):
            raise DataError(f"{path}: column {column!r} is in some of its .inter files only; give it in all or in none")
    stem = rows.file.rsplit("/", 1)[-1].split(".")[0]
    items = _read_item(table_file(path, f"{stem}.item"), settings, faults) if settings.content else None
    if items:
        check_items_known(rows, items, faults)
    faults.refuse()
    return assemble(name or stem, rows, items or Items.of_rows(rows), settings, {})


class RecBoleFolder:
    """RecBole's atomic files as a data format."""

    name = "recbole"
    marks = "*.inter with typed columns, user_id:token"
    Settings = RecBoleSettings

    @staticmethod
    def recognises(folder: Path) -> bool:
        """By the first line too: MMRec's interactions have the same ending, and columns without types."""
        return any(_is_typed(file) for file in _found(folder)[:4])

    @staticmethod
    def read(folder: Path, settings: RecBoleSettings, name: str | None = None) -> Catalogue:
        return read_recbole(folder, settings, name)


def _is_typed(file: Path) -> bool:
    try:
        if not file.is_file():  # a pipe would never begin
            return False
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            line = opened.readline(4096)
    except (OSError, EOFError, zlib.error):  # told when it is read
        return False
    columns = line.decode("utf-8", errors="replace").lstrip("\ufeff").strip().split("\t")
    return any(column.strip().endswith(tuple(f":{kind}" for kind in _TYPES)) for column in columns)


def _found(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.inter"), *folder.glob("*.inter.gz")])


def _inter_files(path: Path) -> dict[str, Path]:
    """Part → its file; the part is "" for a folder without a split."""
    found = _found(path)
    plain = {file: file.name.removesuffix(".gz") for file in found}
    by_part = {part: [file for file in found if plain[file].endswith(f".{part}.inter")] for part in PARTS}
    whole = [file for file in found if not any(file in files for files in by_part.values())]
    if len(whole) == 1 and not any(by_part.values()):
        return {"": whole[0]}
    if not whole and all(len(files) == 1 for files in by_part.values()):
        return {part: files[0] for part, files in by_part.items()}
    seen = ", ".join(file.name for file in found) or "none"
    raise DataError(
        f"{path}: needs exactly one NAME.inter, or NAME.train.inter, NAME.valid.inter and NAME.test.inter, saw {seen}; "
        "give the folder of one data set"
    )


def _read_inter(file: Path, part: str, rows: Rows, rated: bool, faults: Faults) -> None:
    """Add the rows of one file; ratings only if they are asked for (``rated``)."""
    is_there(file, file.parent)
    _check_plain(file)
    header, table = read_rows(file, (_USER, _ITEM), "\t", optional=tuple(_OPTIONAL.values()), faults=faults)
    known = (_USER, _ITEM, *_OPTIONAL.values())
    parts = PartWords(header, known, () if part else ("split",))
    of_parts = [] if part else list(near_misses([c for c in header if c not in known], (), ("split",)))
    rows.columns = [column.partition(":")[0] for column in header]
    rating = rated and _OPTIONAL["rating"] in header
    timed = _OPTIONAL["timestamp"] in header
    rows.rating = rows.rating or ([] if rating else None)
    rows.timestamp = rows.timestamp or ([] if timed else None)
    rows.label = rows.label or ([] if part else None)
    for line, cells in table:
        place = f"{file} line {line}"
        parts.look(cells)
        try:
            user_id, item_id = identifier(cells[_USER], place, _USER), identifier(cells[_ITEM], place, _ITEM)
            numbers = {
                column: finite_number(cells[typed], place, typed)
                for column, typed in _OPTIONAL.items()
                if typed in header and (rated or column != "rating")
            }
        except DataError as error:
            faults.add(str(error))
            continue
        rows.user_id.append(user_id)
        rows.item_id.append(item_id)
        rows.line.append(line)
        if rows.rating is not None and rating:
            rows.rating.append(numbers["rating"])
        if rows.timestamp is not None and timed:
            rows.timestamp.append(round(numbers["timestamp"]))
        if rows.label is not None:
            rows.label.append(PARTS.index(part))
    parts.warn(file, _OF_FILES)
    for column in dict.fromkeys([*of_parts, *parts.found()]):
        faults.add(
            f"{file}: column {column!r} seems to name the parts of a split, which this layout has as files; "
            f"{_OF_FILES}, or remove the column"
        )


def _check_plain(file: Path) -> None:
    """Raises DataError for a header whose columns have no types, or unknown ones."""
    header = read_text(file).split("\n", 1)[0].strip("\r").split("\t")
    for column in header:
        if column.strip() and column.rpartition(":")[2].strip() not in _TYPES:
            raise DataError(
                f"{file} line 1: column {column!r} names no type; write {column.partition(':')[0]}:token, or one of "
                f"{', '.join(_TYPES)}"
            )


def _read_item(file: Path, settings: RecBoleSettings, faults: Faults) -> Items | None:
    """The items and their texts; None if the folder has no such file and no ready features."""
    ready = [m for m in MODALITIES if settings.takes_ready(m) and has_ready(file.parent, f"{m}.npy", m)]
    if not is_there(file, file.parent):
        if ready:
            raise DataError(f"{file}: no such file, so the rows of {ready[0]}.npy are nobody's; add the items")
        return None
    _check_plain(file)
    header, table = read_rows(file, (_ITEM,), "\t", faults=faults)
    fields = _text_columns(file, header, settings)
    ids: list[str] = []
    texts: list[str] = []
    seen: dict[str, int] = {}
    for line, cells in table:
        place = f"{file} line {line}"
        try:
            item_id = identifier(cells[_ITEM], place, _ITEM)
            if item_id in seen:
                raise DataError(
                    f"{place}: item {item_id!r} is already in line {seen[item_id]}; keep one of the two rows"
                )
        except DataError as error:
            faults.add(str(error))
            continue
        seen[item_id] = line
        ids.append(item_id)
        texts.append(compose(cells[column] for column in fields))
    faults.refuse()
    features: dict[Modality, Float32Array] = {
        m: load_matrix(file.parent / f"{m}.npy", len(ids), f"items of {file.name}") for m in ready
    }
    return Items(ids, texts, [None] * len(ids), features)


def _text_columns(file: Path, header: list[str], settings: RecBoleSettings) -> list[str]:
    """The columns that make an item's text, in order. Raises DataError for one that was asked for and is not there."""
    if "textual" not in settings.content or (settings.ready is not None and settings.takes_ready("textual")
                                             and (file.parent / "textual.npy").is_file()):  # fmt: skip
        return []
    words = {c.partition(":")[0]: c for c in header if c.endswith(_TEXT_TYPES) and c != _ITEM and not leaks(c)}
    if "text_fields" in settings.model_fields_set:
        for field in settings.text_fields:
            if field not in words:
                raise DataError(f"{file} line 1: no column of words {field!r} among {', '.join(header)}; add it")
        return [words[field] for field in settings.text_fields]
    return [c for name, c in words.items() if c.endswith(":token_seq") or name in settings.text_fields]
