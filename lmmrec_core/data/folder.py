"""The catalogue folder: the format for a catalogue of your own.

    interactions.csv  user_id,item_id[,rating][,timestamp][,split]     one row per interaction
    items.csv         item_id,title,brand,categories,description,image one row per item
    images/           the pictures; cells of ``image`` are paths inside the folder ("images/12.jpg")
    visual.npy        optional: ready visual features [item, dim], rows in the order of items.csv
    textual.npy       optional: ready textual features, likewise

Both tables are UTF-8 with a header, and cells are quoted if they need it; ids are text. ``timestamp`` is in whole
seconds since 1970; ``split`` is train, valid or test. There may be other columns, which a setting may name as text
fields. An empty image cell means that the item has no picture; a picture that is named must exist.
"""

import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import Field

from lmmrec_core.data.assemble import ContentSettings, Items, Rows, assemble
from lmmrec_core.data.files import NumberedRow, finite_number, identifier, load_matrix, read_rows, whole_number
from lmmrec_core.data.texts import compose
from lmmrec_core.data.writing import new_folder, write_table
from lmmrec_core.errors import DataError, nearest
from lmmrec_core.flow import MODALITIES, PARTS, Catalogue, IntArray


class FolderSettings(ContentSettings):
    """How a catalogue folder is read; the content settings are those of every reader."""

    interactions: str = Field("interactions.csv", description="the file of interactions in the folder")
    group_divisor: int | None = Field(
        None, ge=1, description="pseudo-user u belongs to person u // divisor; none: each user is a person"
    )


def read_folder(path: Path, settings: FolderSettings | None = None, name: str | None = None) -> Catalogue:
    """Read a catalogue folder; what was dropped or merged is in the counts (:func:`assemble`).

    Raises DataError naming the file, the line, what is wrong and the cure, for whatever cannot be used as it is.
    """
    path, settings = Path(path), settings or FolderSettings()
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; give one with {settings.interactions} and items.csv")
    items = _read_items(path, settings)
    rows = _read_interactions(path / settings.interactions)
    catalogue = assemble(name or path.resolve().name, rows, items, settings, {})
    if settings.group_divisor is None:
        return catalogue
    return replace(catalogue, user_group=_groups(catalogue, settings.group_divisor))


class CatalogueFolder:
    """The catalogue folder as a data format."""

    name = "folder"
    marks = "interactions.csv and items.csv"
    Settings = FolderSettings

    @staticmethod
    def recognises(folder: Path) -> bool:
        return (folder / "interactions.csv").is_file()

    @staticmethod
    def read(folder: Path, settings: FolderSettings, name: str | None = None) -> Catalogue:
        return read_folder(folder, settings, name)


def read_content(path: Path, settings: FolderSettings | None = None, name: str | None = None) -> Catalogue:
    """The items of a catalogue folder with their pictures and texts, without users or interactions.

    Raises DataError as :func:`read_folder` does.
    """
    path, settings = Path(path), settings or FolderSettings()
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; give one with items.csv")
    items, none = _read_items(path, settings), np.zeros(0, dtype=np.int64)
    return Catalogue(
        name or path.resolve().name, (), tuple(items.ids), none, none, tuple(items.texts), tuple(items.images)
    )


def _read_items(path: Path, settings: FolderSettings) -> Items:
    file = path / "items.csv"
    _, table = read_rows(file, ("item_id", *settings.text_fields, "image"))
    items = Items(ids=(ids := []), texts=(texts := []), images=(images := []))
    seen: dict[str, int] = {}
    for line, cells in table:
        place = f"{file} line {line}"
        item_id = identifier(cells["item_id"], place, "item_id")
        if item_id in seen:
            raise DataError(f"{place}: item {item_id!r} is already in line {seen[item_id]}; keep one of the two rows")
        seen[item_id] = line
        ids.append(item_id)
        texts.append(compose(cells[field] for field in settings.text_fields))
        images.append(_picture(path, cells["image"], place))
    if not ids:
        raise DataError(f"{file}: no items below the header; add one row per item")
    ready = {m: path / f"{m}.npy" for m in MODALITIES}
    items.features = {m: load_matrix(file, len(ids)) for m, file in ready.items() if file.is_file()}
    return items


def _picture(folder: Path, cell: str, place: str) -> Path | None:
    if not cell:
        return None
    relative = PurePosixPath(cell)
    if relative.is_absolute() or ".." in relative.parts:
        raise DataError(f"{place}: image {cell!r} is outside the folder; copy it to images/ and name it from there")
    picture = folder / relative
    if not picture.is_file():
        raise DataError(
            f"{place}: image {cell!r} not found under {folder}; add it, or leave the cell empty if the item has none"
        )
    return picture


def _read_interactions(file: Path) -> Rows:
    header, table = read_rows(file, ("user_id", "item_id"))
    rows = Rows(str(file))
    rows.rating = [] if "rating" in header else None
    rows.timestamp = [] if "timestamp" in header else None
    rows.label = [] if "split" in header else None
    for line, cells in table:
        place = f"{file} line {line}"
        rows.line.append(line)
        rows.user_id.append(identifier(cells["user_id"], place, "user_id"))
        rows.item_id.append(identifier(cells["item_id"], place, "item_id"))
        if rows.rating is not None:
            rows.rating.append(finite_number(cells["rating"], place, "rating"))
        if rows.timestamp is not None:
            rows.timestamp.append(whole_number(cells["timestamp"], place, "timestamp"))
        if rows.label is not None:
            rows.label.append(_label((line, cells), file))
    return rows


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
