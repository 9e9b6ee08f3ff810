"""How many hits two systems share: a small difference is significant only if they disagree on few users."""

import pandas as pd

from lmmrec_core.errors import ResultError


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


def _hit_set(per_user: pd.DataFrame, k: int) -> set[tuple[int, int]]:
    return {
        (user, int(item))
        for user, ranks, items in zip(per_user.index, per_user["hit_ranks"], per_user["hit_items"], strict=True)
        for rank, item in zip(ranks, items, strict=True)
        if rank <= k
    }
