"""Items to pre-train encoders on: drawn for the controls, or a folder shown to share nothing with any catalogue."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lmmrec_core.data.controls import GENERATOR_VERSION, write_outside_items
from lmmrec_core.data.files import read_rows
from lmmrec_core.data.folder import read_content
from lmmrec_core.digests import digest
from lmmrec_core.encoders.fine_tuning.holdout import drawn_items
from lmmrec_core.encoders.fine_tuning.outside import check_disjoint, outside_pairs
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import Catalogue
from lmmrec_core.seeds import numpy_stream
from lmmrec_core.study.datasets import drawn_once, require_below
from lmmrec_core.study.weights.recipes import PretrainSettings
from lmmrec_core.study.workspace import Workspace

_IMDB = re.compile(r"tt\d{7,}")


def outside_items(workspace: Workspace, settings: PretrainSettings) -> tuple[Catalogue, dict[str, Any]]:
    """The items, and what shows that they are outside.

    Raises ConfigError or DataError for a folder that does not exist, FeatureError naming an item of it that a catalogue
    of the track has too, by id, title, picture file or looks.
    """
    if settings.source == "controls":
        folder = outside_folder(workspace, int(settings.items or 0), int(settings.seed or 0))
        return read_content(folder, name="outside"), {"drawn": settings.items, "seed": settings.seed}
    folder = require_below(workspace.data, settings.path, "items to pre-train on")
    outside = read_content(folder, name=folder.name)
    pairs = outside_pairs(outside)
    compared = {}
    for path in sorted({dataset.path for dataset in workspace.track.datasets.values() if dataset.path}):
        other = require_below(workspace.data, path, path)
        catalogue = read_content(other, name=other.name)
        found = check_disjoint(
            pairs, catalogue, ids=_both(_imdb_ids(folder, outside), _imdb_ids(other, catalogue)),
            titles=(_column(folder / "items.csv", "title", outside), _column(other / "items.csv", "title", catalogue)),
        )  # fmt: skip
        compared[other.name] = vars(found)
    return outside, {"items": len(pairs), "disjoint_from": compared}


def mispaired(items: Catalogue, share: float, held_out: float) -> Catalogue:
    """The items with the texts of a ``share`` of them in other hands; those drawn to be held out keep theirs.

    Whose texts move is drawn once, and a larger share moves those of a smaller one too. Each goes to the next of them
    in the order drawn, so none keeps its own. Raises ConfigError if fewer than two would move.
    """
    others = np.flatnonzero(~drawn_items(items.item_ids, held_out))
    moved = numpy_stream(0, "mispaired").permutation(others)[: round(share * len(others))]
    if len(moved) < 2:
        raise ConfigError(f"pretrain, mispaired: {share} of {len(others)} pairs are not two; take a larger share")
    texts = list(items.texts)
    for here, there in zip(moved, np.roll(moved, 1), strict=True):
        texts[here] = items.texts[there]
    return replace(items, texts=tuple(texts))


def outside_folder(workspace: Workspace, items: int, seed: int) -> Path:
    """The folder of the controls' outside items, drawn into the cache if it is not there."""
    key = digest({"items": items, "seed": seed, "generator": GENERATOR_VERSION}, 10)
    folder = workspace.catalogues / f"outside-{key}"
    return drawn_once(folder, lambda empty: write_outside_items(empty / "items", seed, items)) / "items"


def _both(ours: Sequence[str] | None, theirs: Sequence[str] | None) -> tuple[Sequence[str], Sequence[str]] | None:
    return None if ours is None or theirs is None else (ours, theirs)


def _imdb_ids(folder: Path, catalogue: Catalogue) -> list[str] | None:
    """IMDb ids in the order of the items, without ``tt``: from item_provenance.csv, or the items' own if they are such.

    Else None: item numbers of another space say nothing.
    """
    file = folder / "item_provenance.csv"
    if file.is_file() and "imdb_id" in read_rows(file, ("item_id",))[0]:
        return [_digits(value) for value in _column(file, "imdb_id", catalogue)]
    own = catalogue.item_ids
    return [_digits(item) for item in own] if all(_IMDB.fullmatch(item) for item in own) else None


def _digits(imdb_id: str) -> str:
    return imdb_id.removeprefix("tt").lstrip("0")


def _column(file: Path, column: str, catalogue: Catalogue) -> list[str]:
    _, rows = read_rows(file, ("item_id", column))
    values = {cells["item_id"]: cells[column] for _, cells in rows}
    return [values.get(item, "") for item in catalogue.item_ids]
