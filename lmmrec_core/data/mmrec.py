"""MMRec's layout, in and out: ``<name>.inter`` (tab separated, parts labelled), ready features, id mappings.

    <name>.inter[.gz]    userID itemID [rating] [timestamp] [x_label]; ids from 0; x_label 0 train, 1 valid, 2 test
    image_feat.npy       optional [item, dim], row i belongs to itemID i; text_feat.npy likewise
    u_id_mapping.csv     optional, tab separated: the source's user id and userID; i_id_mapping.csv likewise

MMRec itself reads userID, itemID, x_label and the features (enoche/MMRec: `src/utils/dataset.py`); ``rating`` is read
for ``min_rating`` alone.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from lmmrec_core.config import Settings
from lmmrec_core.data.faults import Faults
from lmmrec_core.data.files import finite_number, identifier, is_there, load_matrix, read_rows, whole_number
from lmmrec_core.data.ready import has_ready
from lmmrec_core.data.recbole import RecBoleFolder
from lmmrec_core.data.writing import new_folder, write_table
from lmmrec_core.errors import DataError
from lmmrec_core.flow import MODALITIES, PARTS, Catalogue, Features, Float32Array, IntArray, Modality, Split

FEATURE_FILES: dict[Modality, str] = {"visual": "image_feat.npy", "textual": "text_feat.npy"}
_MAPPINGS = {"userID": ("u_id_mapping.csv", "user_id"), "itemID": ("i_id_mapping.csv", "asin")}


class MMRecSettings(Settings):
    """How such a folder is read; the layout has no place for texts and pictures."""

    min_rating: float | None = Field(
        None, allow_inf_nan=False, description="ratings of at least this are positives; none: every row is"
    )
    content: tuple[Modality, ...] = Field(MODALITIES, description="modalities whose features are read")


def read_mmrec(path: Path, name: str | None = None, settings: MMRecSettings | None = None) -> Catalogue:
    """Read a folder with one ``*.inter`` or ``*.inter.gz`` file; the file's numbering is kept.

    Users and items without interactions stay, as in MMRec, which takes the highest number for their count. The
    catalogue has no texts and no pictures.
    Raises DataError naming the file, the line, what is wrong and the cure, for all that cannot be used as it is.
    """
    path, settings, faults = Path(path), settings or MMRecSettings(), Faults()
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; give one with a .inter file")
    found = _inter_files(path)
    if len(found) != 1:
        seen = ", ".join(file.name for file in found) or "none"
        raise DataError(
            f"{path}: needs exactly one .inter or .inter.gz file, saw {seen}; give the folder of one data set"
        )
    is_there(found[0], path)
    rows = _read_inter(found[0], settings, faults)
    faults.refuse()
    user, item, label, timestamp = (rows.get(c) for c in ("userID", "itemID", "x_label", "timestamp"))
    assert user is not None and item is not None
    user_ids: tuple[str, ...] = ()
    item_ids: tuple[str, ...] = ()
    groups: IntArray | None = None
    with faults.noted():
        user_ids, groups = _read_mapping(path, "userID", int(user.max()) + 1)
    with faults.noted():
        item_ids, _ = _read_mapping(path, "itemID", int(item.max()) + 1)
    n_items = len(item_ids)
    features: dict[Modality, Float32Array] = {}
    for modality, file in FEATURE_FILES.items():
        with faults.noted():
            if n_items and modality in settings.content and has_ready(path, file, modality):
                features[modality] = load_matrix(path / file, n_items, f"items of {found[0].name}")
    faults.refuse()
    kept = np.ones(len(user), dtype=bool)
    if settings.min_rating is not None:
        kept = rows["rating"] >= settings.min_rating
        if not kept.any():
            raise DataError(
                f"{found[0]}: none of {len(kept)} ratings reaches min_rating = {settings.min_rating}; lower min_rating"
            )
    n_read, below = len(user), int((~kept).sum())
    user, item = user[kept], item[kept]
    label, timestamp = (None if column is None else column[kept] for column in (label, timestamp))
    keys, first, group = np.unique(user * n_items + item, return_index=True, return_inverse=True)
    if label is not None and (label != label[first][group]).any():
        row = np.flatnonzero(label != label[first][group])[0]
        raise DataError(
            f"{found[0]}: userID {user[row]} and itemID {item[row]} are in two parts of the split; "
            "keep the pair in one part"
        )
    if timestamp is not None:
        earliest = np.full(len(keys), np.iinfo(np.int64).max)
        np.minimum.at(earliest, group, timestamp)
        timestamp = earliest
    return Catalogue(
        name=name or found[0].name.removesuffix(".gz").removesuffix(".inter"),
        user_ids=user_ids,
        item_ids=item_ids,
        user=user[first],
        item=item[first],
        texts=("",) * n_items,
        images=(None,) * n_items,
        label=None if label is None else label[first],
        timestamp=timestamp,
        user_group=groups,
        ready_features=features,
        counts={
            "rows_read": n_read,
            "rows_below_min_rating": below,
            "rows_merged": len(user) - len(keys),
            "users_without_interactions": len(user_ids) - len(np.unique(user)),
            "items_without_interactions": n_items - len(np.unique(item)),
        },
    )


class MMRecFolder:
    """MMRec's layout as a data format."""

    name = "mmrec"
    marks = "*.inter"
    Settings = MMRecSettings

    @staticmethod
    def recognises(folder: Path) -> bool:
        return bool(_inter_files(folder)) and not RecBoleFolder.recognises(folder)

    @staticmethod
    def nearly(folder: Path) -> str:
        """As ``source.TellsNearMisses``."""
        for file in sorted(folder.iterdir()):
            if found := re.fullmatch(r"(.+)\.(inter|interactions?)(\.gz)?", file.name, re.IGNORECASE):
                return f"did you mean {file.name} as {found[1]}.inter{(found[3] or '').lower()}? Give it that name"
        return ""

    @staticmethod
    def read(folder: Path, settings: MMRecSettings, name: str | None = None) -> Catalogue:
        return read_mmrec(folder, name, settings)


def _inter_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.inter"), *folder.glob("*.inter.gz")])


def _read_inter(file: Path, settings: MMRecSettings, faults: Faults) -> dict[str, Any]:
    """The columns of the file as arrays [row], by name; ratings only if they are asked for."""
    optional = ("rating", "timestamp", "x_label")
    header, table = read_rows(file, ("userID", "itemID"), "\t", optional=optional, faults=faults)
    rated = settings.min_rating is not None
    if rated and "rating" not in header:
        raise DataError(f"{file}: min_rating = {settings.min_rating} needs a column 'rating'; leave min_rating out")
    read = [c for c in ("userID", "itemID", "timestamp", "x_label") if c in header]
    columns: dict[str, list[float]] = {c: [] for c in [*read, *(["rating"] if rated else [])]}
    for line, cells in table:
        place = f"{file} line {line}"
        try:
            values: list[float] = [_checked_number(cells[column], place, column) for column in read]
            values += [finite_number(cells["rating"], place, "rating")] if rated else []
        except DataError as error:
            faults.add(str(error))
            continue
        for kept_column, value in zip(columns.values(), values, strict=True):
            kept_column.append(value)
    if not columns["userID"]:
        faults.refuse()
        raise DataError(f"{file}: no interactions below the header; add some")
    for column in _MAPPINGS:  # a mistyped number would make every table that long
        if max(columns[column]) > 10 * len(columns[column]) + 1000:
            faults.add(
                f"{file}: {column} goes up to {max(columns[column])} in {len(columns[column])} rows; number them from 0"
            )
    return {c: np.array(v, dtype=np.float64 if c == "rating" else np.int64) for c, v in columns.items()}


def _checked_number(cell: str, place: str, column: str) -> int:
    try:
        value = whole_number(cell, place, column)
    except DataError:
        if column not in _MAPPINGS:  # these can be left out
            raise
        raise DataError(f"{place}: {column} {cell[:40]!r} is not a number from 0; renumber them") from None
    if column == "x_label" and value not in (0, 1, 2):
        raise DataError(f"{place}: x_label {value} is no part; write 0 (train), 1 (valid) or 2 (test)")
    if column in _MAPPINGS and not 0 <= value < 2**31:
        raise DataError(f"{place}: {column} {value} is not a number from 0; renumber them")
    return value


def _read_mapping(folder: Path, column: str, at_least: int) -> tuple[tuple[str, ...], IntArray | None]:
    """The source's ids by number, and the persons if the mapping has a column ``group``."""
    file = folder / _MAPPINGS[column][0]
    if not is_there(file, folder):
        return tuple(str(n) for n in range(at_least)), None
    header, table = read_rows(file, (column,), "\t")
    names = [c for c in header if c not in (column, "group")]
    if len(names) != 1:
        raise DataError(
            f"{file} line 1: needs {column} and one column of the source's ids, saw {', '.join(header)}; add it"
        )
    by_number: dict[int, str] = {}
    group_of: dict[int, int] = {}
    for line, cells in table:
        place = f"{file} line {line}"
        number = whole_number(cells[column], place, column)
        if number in by_number:
            raise DataError(f"{place}: {column} {number} appears twice; keep one row per number")
        by_number[number] = identifier(cells[names[0]], place, names[0])
        if "group" in header:
            group_of[number] = whole_number(cells["group"], place, "group")
    numbers = range(max(at_least, len(by_number)))
    absent = next((n for n in numbers if n not in by_number), None)
    if absent is not None:
        raise DataError(f"{file}: {column} {absent} has no row; add it, or remove the file to use the numbers as ids")
    if len(set(by_number.values())) < len(by_number):
        raise DataError(f"{file}: two numbers have the same {names[0]}; give each its own")
    groups = np.array([group_of[n] for n in numbers], dtype=np.int64) if "group" in header else None
    return tuple(by_number[n] for n in numbers), groups


def write_mmrec(catalogue: Catalogue, split: Split, features: Features | None, folder: Path) -> None:
    """Write a split catalogue in this layout: MMRec runs on it, and :func:`read_mmrec` reads it back.

    Without ``features`` the catalogue's ready ones are written. The layout has no place for texts and pictures.
    Rows are in MMRec's order (by user, then train, valid, test). ``folder`` must be new, and appears whole or not at
    all. Raises DataError if it exists, and for a split or features of another catalogue.
    """
    _check_belongs(catalogue, split, features)
    folder = Path(folder)
    parts = [split.part(part) for part in PARTS]
    user = np.concatenate([part.user for part in parts])
    item = np.concatenate([part.item for part in parts])
    label = np.repeat(np.arange(3), [len(part) for part in parts])
    order = np.lexsort((item, label, user))
    columns = {"userID": user[order], "itemID": item[order]}
    if catalogue.timestamp is not None:
        keys = catalogue.user * catalogue.n_items + catalogue.item
        by_key = np.argsort(keys)
        places = by_key[np.searchsorted(keys, (user * catalogue.n_items + item)[order], sorter=by_key)]
        columns["timestamp"] = catalogue.timestamp[places]
    columns["x_label"] = label[order]
    matrices = catalogue.ready_features if features is None else features.matrices
    with new_folder(folder) as partial:
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        write_table(partial / f"{folder.name}.inter", list(columns), rows, "\t")
        for modality, matrix in matrices.items():
            np.save(partial / FEATURE_FILES[modality], np.asarray(matrix, dtype=np.float32))
        _write_mapping(partial, "userID", catalogue.user_ids, catalogue.user_group)
        _write_mapping(partial, "itemID", catalogue.item_ids, None)


def _write_mapping(folder: Path, column: str, ids: Sequence[str], groups: IntArray | None) -> None:
    file, name = _MAPPINGS[column]
    if groups is None:
        write_table(folder / file, (name, column), ((id_, n) for n, id_ in enumerate(ids)), "\t")
    else:
        write_table(folder / file, (name, column, "group"), ((id_, n, groups[n]) for n, id_ in enumerate(ids)), "\t")


def _check_belongs(catalogue: Catalogue, split: Split, features: Features | None) -> None:
    if (split.n_users, split.n_items) != (catalogue.n_users, catalogue.n_items):
        raise DataError(
            f"{catalogue.name}: a split of {split.n_users} users and {split.n_items} items for a catalogue of "
            f"{catalogue.n_users} and {catalogue.n_items}; split this catalogue"
        )
    matrices: Mapping[Modality, Float32Array] = catalogue.ready_features if features is None else features.matrices
    for modality, matrix in matrices.items():
        if not np.isfinite(matrix).all():
            raise DataError(
                f"{catalogue.name}: items without {modality} features cannot be written; "
                "give features whose missing rows a rule has filled"
            )
        if len(matrix) != catalogue.n_items:
            raise DataError(
                f"{catalogue.name}: {len(matrix)} rows of {modality} features for {catalogue.n_items} items; "
                "extract them from this catalogue"
            )
