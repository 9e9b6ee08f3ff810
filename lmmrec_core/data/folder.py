"""The catalogue folder: the format for a catalogue of your own::

    interactions.csv  user_id,item_id[,rating][,timestamp][,split]     one row per interaction; also as .csv.gz
    items.csv         item_id,title,brand,categories,description,image one row per item; likewise
    images/           the pictures; cells of "image" are paths inside the folder ("images/12.jpg")
    visual.npy        optional: ready visual features [item, dim], rows in the order of items.csv
    textual.npy       optional: ready textual features, likewise

Both tables are UTF-8 with a header, and cells are quoted if they need it; ids are text. ``timestamp`` is in whole
seconds since 1970; ``rating`` is read if ``min_rating`` asks for it; ``split`` is train, valid or test. There may be
other columns, which a setting may name as text fields. An empty image cell means that the item has no picture; a
picture that is named must exist, inside the folder. What is not read (``ContentSettings.content``) need not be there:
recommenders without content need no items.csv.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from lmmrec_core.data.assemble import ContentSettings, Items, Rows, assemble, check_items_known
from lmmrec_core.data.columns import CLOSE, meant_for
from lmmrec_core.data.faults import Faults
from lmmrec_core.data.files import (
    NumberedRow,
    finite_number,
    identifier,
    is_inside,
    is_there,
    load_matrix,
    read_rows,
    whole_number,
)
from lmmrec_core.data.picture_names import meant_picture
from lmmrec_core.data.ready import has_ready
from lmmrec_core.data.texts import compose
from lmmrec_core.data.writing import new_folder, write_table
from lmmrec_core.disk import readable
from lmmrec_core.errors import DataError, nearest
from lmmrec_core.flow import MODALITIES, PARTS, Catalogue, IntArray


class FolderSettings(ContentSettings):
    """How a catalogue folder is read; the content settings are those of every reader."""

    interactions: str = Field("interactions.csv", description="the file of interactions in the folder")
    unreadable: Literal["refuse", "keep", "drop"] = Field(
        "refuse",
        description="items whose picture is named, but is not there or cannot be read: an error that lists them all, "
        "items without a picture that stay, or none of the catalogue's",
    )
    group_divisor: int | None = Field(
        None, ge=1, description="pseudo-user u belongs to person u // divisor; none: each user is a person"
    )

    @field_validator("interactions")
    @classmethod
    def _inside(cls, value: str) -> str:
        if PurePosixPath(value).is_absolute() or ".." in PurePosixPath(value).parts:
            raise ValueError("outside the folder; name a file in it")
        return value


def read_folder(path: Path, settings: FolderSettings | None = None, name: str | None = None) -> Catalogue:
    """Read a catalogue folder; what was dropped or merged is in the counts (:func:`assemble`).

    Unless ``unreadable`` refuses them, pictures that are not there keep their place, for whoever tries to read them.
    Raises DataError naming the file, the line, what is wrong and the cure, for all that cannot be used as it is.
    """
    with readable(Path(path)):
        return _read_folder(Path(path), settings or FolderSettings(), name)


def _read_folder(path: Path, settings: FolderSettings, name: str | None) -> Catalogue:
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; give one with {settings.interactions} and items.csv")
    faults = Faults()
    items: _ItemTable | None = None
    rows: Rows | None = None
    with faults.noted():
        items = _read_items(path, settings, faults) if settings.content else None
    with faults.noted():
        rows = _read_interactions(table_file(path, settings.interactions), settings.min_rating is not None, faults)
        if not rows.line and not faults:
            faults.add(f"{rows.file}: no interactions below the header; add some")
    if rows and items and items.whole:
        check_items_known(rows, items, faults)
    faults.refuse()
    assert rows is not None  # else there is a fault
    catalogue = assemble(name or path.resolve().name, rows, items or Items.of_rows(rows), settings, {})
    if settings.group_divisor is None:
        return catalogue
    return replace(catalogue, user_group=_groups(catalogue, settings.group_divisor))


def table_file(path: Path, name: str) -> Path:
    """A table of a folder: ``name``, or the same compressed.

    Raises DataError if both are there, and as :func:`~lmmrec_core.data.files.is_there`.
    """
    plain, packed = path / name, path / f"{name}.gz"
    there = is_there(packed, path)
    if is_there(plain, path) and there:
        raise DataError(f"{path}: has {name} and {packed.name}; keep one of the two")
    return packed if there else plain


class CatalogueFolder:
    """The catalogue folder as a data format."""

    name = "folder"
    marks = "interactions.csv and items.csv"
    Settings = FolderSettings

    @staticmethod
    def recognises(folder: Path) -> bool:
        return any(os.path.lexists(folder / name) for name in ("interactions.csv", "interactions.csv.gz"))

    @staticmethod
    def read(folder: Path, settings: FolderSettings, name: str | None = None) -> Catalogue:
        return read_folder(folder, settings, name)

    @staticmethod
    def absent(folder: Path, settings: FolderSettings) -> Mapping[str, str]:
        """As ``source.ListsAbsent``."""
        wanted = [settings.interactions, *(["items.csv"] if settings.content else [])]
        names = [name for name in wanted if not table_file(folder, name).is_file()]
        return {"catalogue": ", ".join(names)} if names else {}


def read_content(path: Path, settings: FolderSettings | None = None, name: str | None = None) -> Catalogue:
    """The items of a catalogue folder with their pictures and texts, without users or interactions.

    Raises DataError as :func:`read_folder` does.
    """
    path, settings = Path(path), settings or FolderSettings()
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; give one with items.csv")
    faults = Faults()
    items, none = _read_items(path, settings, faults), np.zeros(0, dtype=np.int64)
    faults.refuse()
    return Catalogue(
        name or path.resolve().name, (), tuple(items.ids), none, none, tuple(items.texts), tuple(items.images),
        ready_features=items.features,
    )  # fmt: skip


def named_pictures(path: Path, settings: FolderSettings) -> list[tuple[str, Path]]:
    """(item, picture) of all pictures that are there, whatever else is wrong with the folder."""
    faults = Faults()
    if not path.is_dir():
        return []
    with faults.noted():
        items = _read_items(path, settings, faults)
        pairs = zip(items.ids, items.images, strict=True)
        return [(item_id, picture) for item_id, picture in pairs if picture is not None]
    return []


@dataclass
class _ItemTable(Items):
    whole: bool = True  # no row was left out, so an item that is not there is not in the file


def _read_items(path: Path, settings: FolderSettings, faults: Faults) -> _ItemTable:
    file = table_file(path, "items.csv")
    ready = [m for m in MODALITIES if settings.takes_ready(m) and has_ready(path, f"{m}.npy", m)]
    instead = ready if settings.ready is not None else []
    pictures = "visual" in settings.content and "visual" not in instead
    words = "textual" in settings.content and "textual" not in instead
    asked = settings.text_fields if words else ()
    must = asked if "text_fields" in settings.model_fields_set else ()
    usual = tuple(field for field in (*asked, *(["image"] if pictures else [])) if field not in must)
    header, table = read_rows(file, ("item_id", *must), optional=usual, faults=faults)
    fields = [field for field in asked if field in header]
    for column in (["image"] if pictures else []) + (list(asked[:1]) if words and not fields else []):
        close = meant_for(column, header, ("item_id", *usual), CLOSE)
        if close and column not in header:
            raise DataError(
                f"{file} line 1: no column {column!r} among {', '.join(header)}; rename {close!r} if that is it, else "
                f"add an empty column {column!r}"
            )
    pictures = pictures and "image" in header
    ids: list[str] = []
    texts: list[str] = []
    images: list[Path | None] = []
    items = _ItemTable(ids, texts, images)
    seen: dict[str, int] = {}
    before, own, n_rows = len(faults), 0, 0
    for line, cells in table:
        n_rows += 1
        place = f"{file} line {line}"
        try:
            item_id = identifier(cells["item_id"], place, "item_id")
            if item_id in seen:
                raise DataError(
                    f"{place}: item {item_id!r} is already in line {seen[item_id]}; keep one of the two rows"
                )
            seen[item_id] = line
            ids.append(item_id)
            texts.append(compose(cells[field] for field in fields))
            images.append(None)
            if pictures:
                images[-1] = _picture(path, cells["image"], place, settings)
        except DataError as error:
            faults.add(str(error))
            own += 1
    items.whole = len(faults) == before + own
    if not ids and items.whole:
        raise DataError(f"{file}: no items below the header; add one row per item")
    for modality in ready if items.whole else []:
        with faults.noted():
            matrix = load_matrix(path / f"{modality}.npy", n_rows)
            items.features = {**items.features, modality: matrix}
    return items


def _picture(folder: Path, cell: str, place: str, settings: FolderSettings) -> Path | None:
    if not cell:
        return None
    relative = PurePosixPath(cell)
    picture = folder / relative
    if relative.is_absolute() or ".." in relative.parts or not is_inside(picture, folder):
        raise DataError(f"{place}: image {cell!r} is outside the folder; copy it to images/ and name it from there")
    if settings.unreadable == "refuse" and not _is_file(picture, place):
        raise DataError(
            f"{place}: image {cell!r} not found under {folder}; {meant_picture(cell, folder)}add it, or leave the cell "
            "empty if the item has none; for all such items: --unreadable drop leaves them out, --unreadable keep "
            "keeps them without a picture"
        )
    return picture


def _is_file(path: Path, place: str) -> bool:
    try:
        return path.is_file()
    except PermissionError as error:
        raise DataError(f"{place}: {path} cannot be read ({error.strerror}); allow reading its folder") from None
    except (OSError, ValueError):  # longer than a name can be, or with a character that no name has
        return False


def _read_interactions(file: Path, rated: bool, faults: Faults) -> Rows:
    """The rows of the table; ``rating`` is read if a rating is asked for (``rated``), the other columns always."""
    optional = ("rating", "timestamp", "split")
    header, table = read_rows(file, ("user_id", "item_id"), optional=optional, faults=faults)
    rows = Rows(str(file), columns=header)
    given = [column for column in optional if column in header and (rated or column != "rating")]
    values: dict[str, list[Any]] = {column: [] for column in given}
    parse = {"rating": finite_number, "timestamp": _timestamp}
    for line, cells in table:
        place = f"{file} line {line}"
        try:
            user_id = identifier(cells["user_id"], place, "user_id")
            item_id = identifier(cells["item_id"], place, "item_id")
            read = [parse[c](cells[c], place, c) if c in parse else _label((line, cells), file) for c in given]
        except DataError as error:
            faults.add(str(error))
            continue
        rows.line.append(line)
        rows.user_id.append(user_id)
        rows.item_id.append(item_id)
        for column, value in zip(given, read, strict=True):
            values[column].append(value)
    rows.rating, rows.timestamp, rows.label = (values.get(column) for column in optional)
    return rows


def _timestamp(text: str, place: str, column: str) -> int:
    try:
        return whole_number(text, place, column)
    except DataError as error:
        told = f"{error} (times are read whatever the split: every pair keeps its earliest; write seconds since 1970)"
        raise DataError(told) from None


def _label(row: NumberedRow, file: Path) -> int:
    line, cells = row
    if cells["split"] not in PARTS:
        close = nearest(cells["split"], PARTS)
        hint = f"did you mean {close!r}?" if close else f"write one of {', '.join(PARTS)}"
        raise DataError(f"{file} line {line}: split {cells['split']!r} is no part; {hint}")
    return PARTS.index(cells["split"])


def _groups(catalogue: Catalogue, divisor: int) -> IntArray:
    for user_id in catalogue.user_ids:
        if not (user_id.isascii() and user_id.isdigit() and len(user_id) <= 18):
            raise DataError(
                f"{catalogue.name}: user {user_id!r} is not a number, so group_divisor = {divisor} does not tell whose "
                "it is; leave group_divisor out, or number the users"
            )
    return np.array([int(user_id) // divisor for user_id in catalogue.user_ids], dtype=np.int64)


def write_folder(catalogue: Catalogue, target: Path) -> None:
    """Write a catalogue as such a folder; :func:`read_folder` returns the same content.

    An item's whole text is written as its ``title``; pictures are copied. ``target`` must be new, and appears whole or
    not at all. The format has no place for the persons behind pseudo-users: give ``group_divisor`` when reading.
    """
    with new_folder(Path(target)) as folder:
        columns: dict[str, list[object]] = {
            "user_id": [catalogue.user_ids[u] for u in catalogue.user],
            "item_id": [catalogue.item_ids[i] for i in catalogue.item],
        }
        if catalogue.timestamp is not None:
            columns["timestamp"] = catalogue.timestamp.tolist()
        if catalogue.label is not None:
            columns["split"] = [PARTS[label] for label in catalogue.label]
        write_table(folder / "interactions.csv", list(columns), zip(*columns.values(), strict=True))
        (folder / "images").mkdir()
        cells = []
        for position, picture in enumerate(catalogue.images):
            cells.append("" if picture is None else f"images/{position}{picture.suffix}")
            if picture is not None:
                shutil.copyfile(picture, folder / cells[-1])
        write_table(
            folder / "items.csv",
            ("item_id", "title", "brand", "categories", "description", "image"),
            (
                (item_id, text, "", "", "", cell)
                for item_id, text, cell in zip(catalogue.item_ids, catalogue.texts, cells, strict=True)
            ),
        )
        for modality, matrix in catalogue.ready_features.items():
            np.save(folder / f"{modality}.npy", matrix)
