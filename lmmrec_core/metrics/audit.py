"""Checks that any pair of Recall and NDCG columns must pass, and how many hits two systems share.

Within one ranking a hit at rank r, 10 < r ≤ 20, raises Recall and NDCG together, so their growth from 10 to 20 is
bounded by the discounts of these ranks. Between two rankings a small p-value needs users on whom they differ, and few
on whom they disagree.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lmmrec_core.errors import ResultError

SLOPE_FLOOR = float(1 / np.log2(21))  # 0.2277: a hit at rank 20
SLOPE_CEILING = float(1 / np.log2(12))  # 0.2789: a hit at rank 11, for users with one held-out item


def slope(means: Mapping[str, float]) -> float | None:
    """(NDCG@20 − NDCG@10) / (Recall@20 − Recall@10); None when Recall does not grow.

    With both columns from the same rankings and at most ten held-out items per user it is at least
    :data:`SLOPE_FLOOR`; with one held-out item per user also at most :data:`SLOPE_CEILING`.
    """
    gain = means["recall@20"] - means["recall@10"]
    return (means["ndcg@20"] - means["ndcg@10"]) / gain if gain > 0 else None


def impossible(means: Mapping[str, float], rounding: float = 0.0) -> list[str]:
    """The relations these four means break, in words; empty when they can come from one ranking.

    ``rounding`` is half a unit of the last printed digit (0.00005 for four decimals, 0 for our own).
    Users with more than ten held-out items are taken to be rare: they may lower the slope.
    """
    r10, r20, n10, n20 = (means[name] for name in ("recall@10", "recall@20", "ndcg@10", "ndcg@20"))
    slack = 2 * rounding + 1e-12
    broken = []
    if r20 < r10 - slack:
        broken.append(f"Recall@20 {r20:.6f} is below Recall@10 {r10:.6f}")
    elif (n20 - n10) + slack < SLOPE_FLOOR * (r20 - r10 - 2 * rounding):
        broken.append(f"NDCG grows by {n20 - n10:.6f}, Recall by {r20 - r10:.6f}: less than hits at rank 20 would give")
    return broken


def common_hits(a: pd.DataFrame, b: pd.DataFrame, k: int = 20) -> float | None:
    """Share of the smaller set of hits (user, item) within the first k that both systems have; None without hits.

    ``a`` and ``b`` are frames of :func:`~lmmrec_core.metrics.evaluate.evaluate_lists` over the same users. Raises
    ResultError when the users differ.
    """
    if not a.index.sort_values().equals(b.index.sort_values()):
        raise ResultError("the two results are over different users; compare results of the same split")
    left, right = _hit_set(a, k), _hit_set(b, k)
    smaller = min(len(left), len(right))
    return len(left & right) / smaller if smaller else None


def common_hits_needed(rate_a: float, rate_b: float, n_users: int) -> float:
    """Least share of the smaller hit set that two systems must share for p < 0.05 in a paired test over users.

    For hit rates with one held-out item per user: a difference D over N users is significant only if the systems
    disagree on at most N·D²/3.84 + D² of the users: the variance of their differences (−1, 0 or 1) is the share that
    disagree less D², and 3.84 is 1.96². 0 when no overlap is needed.
    """
    if min(rate_a, rate_b) <= 0:
        raise ResultError(f"hit rates {rate_a} and {rate_b} must be above 0; a system without hits shares none")
    difference = abs(rate_a - rate_b)
    disagree = n_users * difference**2 / 3.84 + difference**2
    return float(np.clip((rate_a + rate_b - disagree) / 2 / min(rate_a, rate_b), 0.0, 1.0))


def _hit_set(per_user: pd.DataFrame, k: int) -> set[tuple[int, int]]:
    return {
        (user, int(item))
        for user, ranks, items in zip(per_user.index, per_user["hit_ranks"], per_user["hit_items"], strict=True)
        for rank, item in zip(ranks, items, strict=True)
        if rank <= k
    }
