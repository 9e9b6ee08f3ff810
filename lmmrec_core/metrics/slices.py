"""Parts of the catalogue: how much of it is shown, items with few interactions, users with short histories."""

import numpy as np

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import BoolArray, IntArray, Part, Split

FEW = 5  # "cold" items and "short" histories have at most this many training interactions


def coverage(top_items: IntArray, n_items: int, k: int) -> float:
    """Share of the catalogue's items that appear among the first k of at least one user.

    ``top_items`` int [user, k_max], −1 after the end of a list. Raises ResultError for k outside 1..k_max.
    """
    if not 1 <= k <= top_items.shape[1]:
        raise ResultError(f"k = {k}, but the lists hold {top_items.shape[1]} places; choose k within them")
    shown = np.unique(top_items[:, :k])
    return float((shown >= 0).sum() / n_items)


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
