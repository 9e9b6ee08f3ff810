"""Parts of the catalogue: how much of it is shown and how evenly, items by popularity, users with short histories."""

import numpy as np

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import BoolArray, IntArray, Part, Split

BANDS = ("head", "middle", "tail")  # items by popularity, each with about a third of the training interactions
FEW = 5  # "cold" items and "short" histories have at most this many training interactions


def coverage(top_items: IntArray, n_items: int, k: int) -> float:
    """Share of the catalogue's items that appear among the first k of at least one user.

    ``top_items`` int [user, k_max], −1 after the end of a list. Raises ResultError for k outside 1..k_max.
    """
    return float((_times_shown(top_items, n_items, k) > 0).mean())


def exposure_gini(top_items: IntArray, n_items: int, k: int) -> float:
    """Gini coefficient of how often each item of the catalogue stands among the first k: 0 if equally often.

    Raises as :func:`coverage`.
    """
    return gini(_times_shown(top_items, n_items, k))


def novelty(top_items: IntArray, split: Split, k: int) -> float:
    """Mean self-information of what is shown, in bits: −log₂ of the share of users who have the item in training.

    After Zhou et al. (2010, "Solving the apparent diversity-accuracy dilemma"). An item that nobody has counts as one
    that one user in |U| + 1 has, and all others as had by one user more. Raises as :func:`coverage`.
    """
    shown = _times_shown(top_items, split.n_items, k)
    had = np.bincount(split.train.item, minlength=split.n_items)
    bits = -np.log2((had + 1) / (split.n_users + 1))
    return float(np.sort(shown * bits).sum() / max(1, shown.sum()))  # sorted: the numbering of items does not matter


def gini(counts: IntArray) -> float:
    """Gini coefficient of counts [item]: 0 if all are equal, near 1 if one holds everything; 0 for none at all."""
    ordered, n = np.sort(counts).astype(np.float64), len(counts)
    total = float(ordered.sum())
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total)) if total else 0.0


def popularity_bands(split: Split) -> dict[str, BoolArray]:
    """Band → its items, bool [item]: the most popular ones that hold a third of the training rows, the next, the rest.

    Items of equal popularity are in one band.
    """
    counts = np.bincount(split.train.item, minlength=split.n_items)
    rows = np.bincount(counts, counts)  # popularity → training rows of the items that have it
    more_popular = (rows.sum() - np.cumsum(rows))[counts]
    number = np.minimum(3 * more_popular // max(1, len(split.train.item)), 2)
    return {band: number == i for i, band in enumerate(BANDS)}


def _times_shown(top_items: IntArray, n_items: int, k: int) -> IntArray:
    if not 1 <= k <= top_items.shape[1]:
        raise ResultError(f"k = {k}, but the lists hold {top_items.shape[1]} places; choose k within them")
    shown = top_items[:, :k]
    return np.bincount(shown[shown >= 0], minlength=n_items)


def cold_items(split: Split, at_most: int = FEW) -> BoolArray:
    """Items with at most ``at_most`` training interactions → bool [item]."""
    return np.bincount(split.train.item, minlength=split.n_items) <= at_most


def short_histories(split: Split, at_most: int = FEW) -> BoolArray:
    """Users with at most ``at_most`` training interactions → bool [user]."""
    return np.bincount(split.train.user, minlength=split.n_users) <= at_most


def held_out_share(split: Split, part: Part, items: BoolArray) -> float:
    """Share of the rows of a part whose item is marked in ``items`` bool [item]."""
    return float(items[split.part(part).item].mean())


def within(
    hits: BoolArray, top_items: IntArray, users: IntArray, split: Split, part: Part, items: BoolArray
) -> tuple[BoolArray, IntArray]:
    """Hits and numbers of held-out items when only the marked items count.

    ``hits``, ``top_items`` [user, k]; ``users`` [user]; ``items`` bool [item]. Gives hits bool [user', k] and
    n_relevant [user'] for the users who have a marked item held out: what a metric of ranking.py takes.
    """
    held = split.part(part)
    n_relevant = np.bincount(held.user[items[held.item]], minlength=split.n_users)[users]
    keep = n_relevant > 0
    return (hits & items[top_items])[keep], n_relevant[keep]  # item −1 reads the last item, but is never a hit
