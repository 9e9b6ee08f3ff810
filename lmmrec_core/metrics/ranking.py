"""Ranking metrics: hits → one float64 per user. All conventions of the study are stated here, and only here.

For user u with held-out items T_u, and hit_r in {0, 1} the relevance of the item at rank r (r = 1 is best)::

    recall                 hits among the first k, over |T_u| (not over min(k, |T_u|))
    ndcg                   DCG over ideal DCG: gain hit_r / log2(r + 1), ideal over the first min(k, |T_u|) ranks
    precision              hits among the first k, over k, even if the list is shorter
    average_precision      precision at r, summed over the hits r ≤ k, over min(k, |T_u|); named "map" when averaged.
                           trec_eval's map_cut divides by |T_u| instead
    ndcg_of_retrieved      NDCG of LATTICE's code: the ideal counts only held-out items that were retrieved; only for
                           reading figures published with that code

Further conventions: an empty place in a list (item −1) is never a hit; a mean is taken over users with at
least one held-out row, each with equal weight; nothing is rounded. Recall, NDCG and the treatment of users
follow the evaluator of MMRec (enoche/MMRec: src/utils/topk_evaluator.py), except that it rounds to four decimals.

Every function takes ``hits`` bool [user, k_max], ``n_relevant`` int [user] (at least one) and ``k``, and raises as
:func:`check_hits`. What a metric promises is said in ``roles.Metric`` and tested for every member, also of other
packages.
"""

import numpy as np

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import BoolArray, FloatArray, IntArray

LATTICE_DEPTH = 20  # LATTICE retrieves max(Ks) = 20 items (CRIPAC-DIG/LATTICE: codes/utility/batch_test.py)


def recall(hits: BoolArray, n_relevant: IntArray, k: int) -> FloatArray:
    """Share of a user's held-out items among the first k → [user]."""
    check_hits(hits, n_relevant, k)
    return hits[:, :k].sum(axis=1) / n_relevant


def ndcg(hits: BoolArray, n_relevant: IntArray, k: int) -> FloatArray:
    """Discounted gain over that of the best possible list of k → [user]."""
    check_hits(hits, n_relevant, k)
    return _dcg(hits, k) / np.cumsum(discounts(k))[np.minimum(n_relevant, k) - 1]


def precision(hits: BoolArray, n_relevant: IntArray, k: int) -> FloatArray:
    """Share of hits among the first k places → [user]."""
    check_hits(hits, n_relevant, k)
    return hits[:, :k].sum(axis=1) / float(k)


def average_precision(hits: BoolArray, n_relevant: IntArray, k: int) -> FloatArray:
    """Precision at each hit among the first k, summed, over min(k, held-out items) → [user]."""
    check_hits(hits, n_relevant, k)
    first = hits[:, :k]
    precision_at = np.cumsum(first, axis=1) / np.arange(1, k + 1)
    return np.where(first, precision_at, 0.0).sum(axis=1) / np.minimum(n_relevant, k)


def ndcg_of_retrieved(hits: BoolArray, n_relevant: IntArray, k: int) -> FloatArray:
    """NDCG as in LATTICE's code: the ideal is the retrieved list of 20, sorted → [user].

    Never below :func:`ndcg`, and 1 for a list whose only hit is first, whatever was missed. Published LATTICE
    figures use it; it is not comparable with :func:`ndcg`.
    """
    check_hits(hits, n_relevant, k)
    retrieved = np.minimum(hits[:, :LATTICE_DEPTH].sum(axis=1), k)
    ideal = np.concatenate([[1.0], np.cumsum(discounts(k))])[retrieved]  # no hit: 0 / 1
    return _dcg(hits[:, :LATTICE_DEPTH], min(k, LATTICE_DEPTH)) / ideal


def discounts(k: int) -> FloatArray:
    """1 / log2(r + 1) for r = 1..k → [k]."""
    return 1.0 / np.log2(np.arange(2, k + 2))


def _dcg(hits: BoolArray, k: int) -> FloatArray:
    # Summed from rank 1 down, like the ideal: a perfect list then gives exactly 1, never 1 + 1e-16.
    return np.cumsum(hits[:, :k] * discounts(k), axis=1)[:, -1]


def check_hits(hits: BoolArray, n_relevant: IntArray, k: int) -> None:
    """Raise ResultError unless 1 ≤ ``k`` ≤ k_max and every user has a held-out item and no more hits than those.

    ``hits`` bool [user, k_max], ``n_relevant`` int [user]: also for metrics of other packages.
    """
    if hits.ndim != 2 or n_relevant.shape != hits.shape[:1]:
        raise ResultError(f"hits {hits.shape} and n_relevant {n_relevant.shape} do not match: [user, k] and [user]")
    if not 1 <= k <= hits.shape[1]:
        raise ResultError(f"k = {k}, but the lists hold {hits.shape[1]} places; choose 1 ≤ k ≤ {hits.shape[1]}")
    if (n_relevant < 1).any():
        row = int(np.argmax(n_relevant < 1))
        raise ResultError(f"row {row} has no held-out item, so no metric is defined; leave such users out")
    found = hits.sum(axis=1)
    if (found > n_relevant).any():
        row = int(np.argmax(found > n_relevant))
        raise ResultError(
            f"row {row} has {found[row]} hits but {n_relevant[row]} held-out items; is an item listed twice?"
        )
