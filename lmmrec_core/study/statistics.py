"""Statistics of a track's data sets (Table 2), stored beside the results so that readers need no data."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lmmrec_core.disk import write_file
from lmmrec_core.errors import ResultError
from lmmrec_core.flow import Catalogue, Split
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.workspace import Places

FILE = "dataset.json"


def statistics_of(catalogue: Catalogue, split: Split) -> dict[str, Any]:
    """Counts, density, skew and everything that was dropped on the way."""
    per_item = np.bincount(catalogue.item, minlength=catalogue.n_items)
    return {
        "users": catalogue.n_users,
        "items": catalogue.n_items,
        "interactions": len(catalogue.user),
        "density": catalogue.density,
        "per_user": len(catalogue.user) / catalogue.n_users,
        "per_item": len(catalogue.item) / catalogue.n_items,
        "gini_items": _gini(per_item),
        "train": len(split.train),
        "valid": len(split.valid),
        "test": len(split.test),
        "split_rule": split.rule,
        "split_seed": split.seed,
        "split": split.fingerprint,
        "counts": {key: int(value) for key, value in catalogue.counts.items()},
    }


def _gini(counts: Any) -> float:
    """Gini coefficient of popularity: 0 where all items are equally popular."""
    ordered = np.sort(counts).astype(float)
    n = len(ordered)
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * ordered.sum()))


def store_statistics(prepared: Any, track: TrackSettings, places: Places) -> None:
    """Write ``results/<track>/<dataset>/dataset.json`` when it is new or has changed (atomic)."""
    path = places.results / track.name / prepared.name / FILE
    content = {
        "title": track.datasets[prepared.name].title,
        "note": track.datasets[prepared.name].note,
        "catalogue": prepared.fingerprint,
        **statistics_of(prepared.catalogue, prepared.split),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    write_file(path, text)


def read_statistics(track: TrackSettings, results: Path) -> pd.DataFrame:
    """One row per data set of the track that was prepared somewhere; the others are absent.

    Raises ResultError for a damaged file.
    """
    rows = {}
    for name in track.datasets:
        path = results / track.name / name / FILE
        if not path.is_file():
            continue
        try:
            rows[name] = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ResultError(f"{path}: damaged ({error}); delete it and run `lmmrec reproduce` again") from None
    return pd.DataFrame.from_dict(rows, orient="index")
