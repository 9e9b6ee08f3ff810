"""LATTICE's layout: the parts of a split as JSON, user → items, and ready features beside the folder of them.

    <N>-core/train.json, val.json, test.json   {"0": [3, 17], ...}; users and items are numbered from 0
    image_feat.npy, text_feat.npy              optional [item, dim], row i belongs to item i

As CRIPAC-DIG/LATTICE reads and writes it (codes/utility/load_data.py, data/build_data.py). The layout has neither texts
nor pictures; other files of the folder are not read.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from lmmrec_core.config import Settings
from lmmrec_core.data.columns import plain
from lmmrec_core.data.faults import Faults
from lmmrec_core.data.files import is_there, load_matrix, read_text
from lmmrec_core.data.mmrec import FEATURE_FILES
from lmmrec_core.data.ready import has_ready
from lmmrec_core.errors import DataError, nearest
from lmmrec_core.flow import MODALITIES, Catalogue, Float32Array, Modality

_FILES = ("train.json", "val.json", "test.json")
_MOST = 2**31  # numbers of users and items


class LatticeSettings(Settings):
    """How such a folder is read."""

    content: tuple[Modality, ...] = Field(MODALITIES, description="modalities whose features are read")


def read_lattice(path: Path, settings: LatticeSettings | None = None, name: str | None = None) -> Catalogue:
    """Read a folder with one ``<N>-core`` in it; the numbering is kept, and numbers that nobody has stay as gaps.

    Raises DataError naming the file, the user, what is wrong and the cure, for all that cannot be used as it is.
    """
    path, settings, faults = Path(path), settings or LatticeSettings(), Faults()
    cores = _cores(path)
    if len(cores) != 1:
        seen = ", ".join(core.name for core in cores) or "none"
        raise DataError(f"{path}: needs one folder N-core with {', '.join(_FILES)}, saw {seen}; keep one of them")
    edges: list[tuple[int, int, int]] = []
    part_of: dict[tuple[int, int], int] = {}
    for part, file in enumerate(_FILES):
        is_there(cores[0] / file, path)
        for user, item in _read_part(cores[0] / file, faults):
            before = part_of.setdefault((user, item), part)
            if before != part:
                told = f"user {user} and item {item} are in {_FILES[before]} too; keep the pair in one part"
                faults.add(f"{cores[0] / file}: {told}")
            edges.append((user, item, part))
    faults.refuse()
    if not edges:
        raise DataError(f"{cores[0]}: no interactions; add some")
    rows = np.unique(np.array(edges, dtype=np.int64), axis=0)
    n_users, n_items = int(rows[:, 0].max()) + 1, int(rows[:, 1].max()) + 1
    for what, count in (("user", n_users), ("item", n_items)):
        if count > 10 * len(edges) + 1000:  # a mistyped number would make every table that long
            raise DataError(f"{cores[0]}: {what}s up to {count - 1} in {len(edges)} rows; number them from 0")
    features: dict[Modality, Float32Array] = {}
    for modality, file in FEATURE_FILES.items():
        with faults.noted():
            if modality in settings.content and has_ready(path, file, modality):
                features[modality] = load_matrix(path / file, n_items, f"items of {cores[0].name}")
    faults.refuse()
    return Catalogue(
        name=name or path.resolve().name,
        user_ids=tuple(map(str, range(n_users))),
        item_ids=tuple(map(str, range(n_items))),
        user=rows[:, 0].copy(),
        item=rows[:, 1].copy(),
        texts=("",) * n_items,
        images=(None,) * n_items,
        label=rows[:, 2].copy(),
        ready_features=features,
        counts={
            "rows_read": len(edges),
            "rows_merged": len(edges) - len(rows),
            "users_without_interactions": n_users - len(np.unique(rows[:, 0])),
            "items_without_interactions": n_items - len(np.unique(rows[:, 1])),
        },
    )


class LatticeFolder:
    """LATTICE's layout as a data format."""

    name = "lattice"
    marks = "N-core/train.json, val.json and test.json"
    Settings = LatticeSettings

    @staticmethod
    def recognises(folder: Path) -> bool:
        return bool(_cores(folder))

    @staticmethod
    def nearly(folder: Path) -> str:
        """As ``source.TellsNearMisses``."""
        for inner in sorted(folder.iterdir()):
            names = {file.name for file in inner.iterdir()} if inner.is_dir() else set()
            parts = [name for name in names if name.lower().endswith(".json")]
            if not any(plain(name) == "trainjson" for name in parts):
                continue
            if absent := [name for name in _FILES if name not in names]:
                close = nearest(absent[0], parts)
                hint = f"did you mean {close}? Give it that name" if close not in (None, *_FILES) else "add it"
                return f"{inner.name} looks like a split of LATTICE, and there is no {absent[0]} in it; {hint}"
            return f"{inner.name} looks like a split of LATTICE; give it a name as 5-core"
        return ""

    @staticmethod
    def read(folder: Path, settings: LatticeSettings, name: str | None = None) -> Catalogue:
        return read_lattice(folder, settings, name)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ValueError for a user who is there twice: the last list would win without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {twice[:40]!r} is there twice; put both lists together")
    return found


def _cores(folder: Path) -> list[Path]:
    """The folders of a split in it."""
    return sorted(core for core in folder.glob("*-core") if all((core / file).is_file() for file in _FILES))


def _read_part(file: Path, faults: Faults) -> list[tuple[int, int]]:
    """(user, item) of one part."""
    try:
        found: Any = json.loads(read_text(file), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        faults.add(f"{file}: not JSON ({error}); write it again")
        return []
    if not isinstance(found, dict):
        faults.add(f"{file}: not a mapping of users to items; write {{user: [items]}}")
        return []
    pairs: list[tuple[int, int]] = []
    for user, items in found.items():
        if not (user.isascii() and user.isdigit() and len(user) < 11 and int(user) < _MOST):
            faults.add(f"{file}: user {user[:40]!r} is not a number from 0; renumber them")
        elif not isinstance(items, list) or not all(type(item) is int and 0 <= item < _MOST for item in items):
            faults.add(f"{file}: the items of user {user} are no list of numbers from 0; renumber them")
        else:
            pairs += [(int(user), item) for item in items]
    return pairs
