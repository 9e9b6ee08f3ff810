"""Stored runs measured again: any metric of the registry, from the hits that a run keeps, without training."""

import numpy as np
import pandas as pd

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import BoolArray, IntArray, Result
from lmmrec_core.metrics import METRICS
from lmmrec_core.metrics.evaluate import HIT_DEPTH


def measured_again(result: Result, metric: str) -> pd.Series:
    """``metric``, for instance "recall@5", of every evaluated user → float64, index user.

    Equals what :func:`~.evaluate.evaluate_lists` would have stored. Raises KeyError for a metric that no package brings
    or a run that keeps no hits, ResultError for a k beyond the ranks that were kept.
    """
    name, _, digits = metric.partition("@")
    frame = result.per_user
    if name not in METRICS or not digits.isdigit() or not {"hit_ranks", "n_relevant"} <= set(frame.columns):
        raise KeyError(metric)
    ranked = (result.record.get("settings") or {}).get("evaluation", {}).get("k", HIT_DEPTH)
    k, depth = int(digits), min(HIT_DEPTH, int(ranked))
    if not 1 <= k <= depth:
        raise ResultError(f"{metric}: a run keeps its hits up to rank {depth}; choose 1 ≤ k ≤ {depth}")
    return _from_hits(frame["hit_ranks"], frame, name, k, depth)


def measured_masked(result: Result, metric: str) -> pd.Series:
    """``metric`` of every evaluated user as if no validation item had been ranked: items below one move up.

    Raises KeyError as :func:`measured_again`, and for a run that does not say where validation items stood; ResultError
    where a list is too short once they are taken out.
    """
    name, _, digits = metric.partition("@")
    frame = result.per_user
    if name not in METRICS or not digits.isdigit() or not {"hit_ranks", "n_relevant", "valid_ranks"} <= set(frame):
        raise KeyError(metric)
    ranked = (result.record.get("settings") or {}).get("evaluation", {}).get("k", HIT_DEPTH)
    k, depth = int(digits), min(HIT_DEPTH, int(ranked))
    left = depth - int(frame["valid_ranks"].map(len).max())
    if not 1 <= k <= left:
        raise ResultError(f"{metric}: without validation items a list has {left} items left; choose k within them")
    pairs = zip(frame["hit_ranks"], frame["valid_ranks"], strict=True)
    moved = pd.Series([hits - np.searchsorted(out, hits) for hits, out in pairs], index=frame.index, dtype=object)
    return _from_hits(moved, frame, name, k, depth)


def _from_hits(hit_ranks: pd.Series, frame: pd.DataFrame, name: str, k: int, depth: int) -> pd.Series:
    hits = hits_from_ranks(hit_ranks, depth)
    values = METRICS[name](hits, frame["n_relevant"].to_numpy(dtype=np.int64), k)
    return pd.Series(values, index=frame.index, name=f"{name}@{k}")


def hits_from_ranks(hit_ranks: pd.Series, depth: int = HIT_DEPTH) -> BoolArray:
    """Stored ``hit_ranks`` (per user the ranks of hits, from 1) → hits bool [user, depth], what a metric takes."""
    hits = np.zeros((len(hit_ranks), depth), dtype=bool)
    lengths = hit_ranks.map(len).to_numpy(dtype=np.int64)
    if lengths.sum():
        rows: IntArray = np.repeat(np.arange(len(hit_ranks)), lengths)
        ranks = np.concatenate(hit_ranks.to_list()).astype(np.int64)
        within = ranks <= depth
        hits[rows[within], ranks[within] - 1] = True
    return hits
