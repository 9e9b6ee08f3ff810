"""A small run as the study would save it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lmmrec_core.flow import Result
from lmmrec_core.results.store import ResultStore, key_of

CASE = {
    "track": "controls", "dataset": "null", "model": "vbpr", "encoder": "baseline", "paradigm": "none",
    "modalities": "V&T", "control": "none", "arm": "none", "split": 0, "seed": 1,
}  # fmt: skip


def record(**case: Any) -> dict[str, Any]:
    history = [{"number": e, "loss": 1 / e, "valid": None, "seconds": 0.1} for e in range(1, 60)]
    return {
        "case": {**CASE, **case},
        "settings": {"model": {"embedding_dim": np.int64(64)}, "training": {"learning_rate": np.float64(1e-3)}},
        "training": {"best_epoch": 4, "epochs": 59, "stopped": "patience", "history": history},
        "metrics": {"test": {"recall@20": 0.5}, "valid": {"recall@20": 1 / 3}},
        "overall": {"coverage@20": 0.1},
        "data": {"catalogue": "c" * 16, "split": "s" * 16, "rule": "mmrec", "seed": 1},
        "features": None,
        "cost": {"seconds": 1.25, "peak_memory_bytes": 1000},
        "provenance": {"commit": None, "time": "2026-01-01T00:00:00+00:00"},
    }


def per_user(n: int = 5, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    hits = [np.arange(1, 1 + i % 3, dtype=np.int16) for i in range(n)]
    columns = {
        "recall@20": rng.random(n), "ndcg@20": rng.random(n) / 3, "n_relevant": np.full(n, 3, dtype=np.int32),
        "hit_ranks": hits, "hit_items": [ranks.astype(np.int32) * 7 for ranks in hits],
    }  # fmt: skip
    return pd.DataFrame(columns, index=pd.Index(np.arange(n) * 2, name="user"))


def save(root: Path, frame: pd.DataFrame | None = None, lists: np.ndarray | None = None, **case: Any) -> Path:
    described, store = record(**case), ResultStore(root)
    full, frame = described["case"], per_user() if frame is None else frame
    slug = f"{full['model']}-s{full['seed']}"
    return store.save(full["track"], full["dataset"], slug, key_of(described["case"]), described, frame, lists)


def result(frame: pd.DataFrame | None = None, split: str = "s" * 16, schema: int = 1, **case: Any) -> Result:
    full = {**CASE, **case}
    described = {"schema": schema, "key": key_of(full), "data": {"split": split}}
    return Result(full, per_user() if frame is None else frame, {"coverage@20": 0.1}, described)


def find(store: ResultStore, **filters: Any) -> list[Result]:
    """The stored runs of these filters with their per-user values; damaged ones raise."""
    return [store.load_record(record) for record in store.find_records(**filters)]
