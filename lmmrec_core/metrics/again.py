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
    hits = hits_from_ranks(frame["hit_ranks"], depth)
    values = METRICS[name](hits, frame["n_relevant"].to_numpy(dtype=np.int64), k)
    return pd.Series(values, index=frame.index, name=metric)


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
