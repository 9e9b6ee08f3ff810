"""Ranked lists + split → metrics of every user, in full precision, and the metrics of the whole run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import BoolArray, IntArray, Part, Split
from lmmrec_core.metrics import METRICS
from lmmrec_core.metrics.ranking import ndcg, recall
from lmmrec_core.metrics.slices import (
    cold_items,
    coverage,
    exposure_gini,
    held_out_share,
    novelty,
    popularity_bands,
    short_histories,
    within,
)

PER_USER = ("recall", "ndcg", "precision", "map")
HIT_DEPTH = 50  # ranks up to which hits are kept, so that any metric can be computed again from a stored result


@dataclass(frozen=True, eq=False)
class Hits:
    """Where the held-out items of each evaluated user stand; only users with at least one held-out row."""

    users: IntArray  # [user]
    top_items: IntArray  # [user, k]
    hits: BoolArray  # [user, k]
    n_relevant: IntArray  # [user]


def evaluate_lists(
    top_items: IntArray, users: IntArray, split: Split, part: Part, ks: Sequence[int] = (10, 20)
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Metrics of every user with a row in ``part``, and those of the whole run.

    ``top_items`` int [user, k], best first, −1 after the end of a list; ``users`` int [user]. Returns

    * a frame with index ``user`` and the columns recall@k, ndcg@k, precision@k, map@k for each of ``ks``;
      ``n_relevant``; ``hit_ranks`` (int16 lists, ranks of hits within the first 50) and ``hit_items`` (int32
      lists, the items hit, in that order); on the test part ``valid_ranks`` (int16 lists, ranks of validation items
      within the first 50), which tell what a ranking without these would be; ``group`` if users share a person;
    * a dict with coverage@k, exposure_gini@k and novelty@k of the lists; head_recall@k, middle_recall@k and
      tail_recall@k (as if the items of one popularity band were the only held-out ones); cold_recall@k (the same for
      items with at most five training interactions) and short_recall@k (users with at most five training
      interactions), each left out when no held-out row falls into it; cold_share and unseen_share, the shares of
      held-out rows whose item has at most five and no training interactions.

    Raises ResultError when lists and users do not match, a user with held-out rows has no list, a list
    repeats an item or holds a training item, or the lists are shorter than the largest of ``ks``.
    """
    found = find_hits(top_items, users, split, part, max(ks, default=1))
    _check_lists(found, split)
    columns: dict[str, object] = {
        f"{name}@{k}": METRICS[name](found.hits, found.n_relevant, k) for name in PER_USER for k in ks
    }
    columns["n_relevant"] = found.n_relevant.astype(np.int32)
    columns["hit_ranks"], columns["hit_items"] = _hit_lists(found)
    if part == "test":
        stay = _contains(_keys_of(split, "valid"), found.users, found.top_items, split)
        columns["valid_ranks"] = _rank_lists(stay).to_numpy()
    if split.user_group is not None:
        columns["group"] = split.user_group[found.users]
    per_user = pd.DataFrame(columns, index=pd.Index(found.users, name="user"))
    return per_user, _overall(found, split, part, ks)


def mean_recall(top_items: IntArray, users: IntArray, split: Split, part: Part, k: int = 20) -> float:
    """Mean Recall@k alone, unrounded, for early stopping: equals the mean of that column of :func:`evaluate_lists`."""
    found = find_hits(np.asarray(top_items)[:, :k], users, split, part, k)
    return float(recall(found.hits, found.n_relevant, k).mean())


def mean_ndcg(top_items: IntArray, users: IntArray, split: Split, part: Part, k: int = 20) -> float:
    """Mean NDCG@k alone, as :func:`mean_recall`."""
    found = find_hits(np.asarray(top_items)[:, :k], users, split, part, k)
    return float(ndcg(found.hits, found.n_relevant, k).mean())


def find_hits(top_items: IntArray, users: IntArray, split: Split, part: Part, k: int = 1) -> Hits:
    """Compare lists with held-out rows; users without a held-out row are left out. Raises ResultError, see above."""
    top_items, users = np.asarray(top_items), np.asarray(users)
    held = split.part(part)
    _check_shapes(top_items, users, split, k)
    counts = np.bincount(held.user, minlength=split.n_users)
    absent = np.setdiff1d(np.flatnonzero(counts), users)
    if len(absent):
        raise ResultError(
            f"{len(absent)} users have {part} rows but no list (first: user {{user}}); "
            f"rank for every user of the {part} part, or the mean is over other users than stated",
            user=int(absent[0]),
        )
    keep = counts[users] > 0
    if not keep.any():
        raise ResultError(f"no user has a {part} row, so there is nothing to average; check the split")
    users, top_items = users[keep], top_items[keep]
    hits = _contains(_keys_of(split, part), users, top_items, split)
    return Hits(users, top_items, hits, counts[users])


def _keys_of(split: Split, part: Part) -> IntArray:
    held = split.part(part)
    return np.sort(held.user * split.n_items + held.item)


def _contains(keys: IntArray, users: IntArray, top_items: IntArray, split: Split) -> BoolArray:
    """Whether (user, item) is among the sorted ``keys``, for each place of the lists → bool [user, k]."""
    if not len(keys):
        return np.zeros(top_items.shape, dtype=bool)
    wanted = users[:, None] * np.int64(split.n_items) + top_items
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return (keys[place] == wanted) & (top_items >= 0)


def _check_shapes(top_items: IntArray, users: IntArray, split: Split, k: int) -> None:
    if top_items.ndim != 2 or users.ndim != 1 or len(top_items) != len(users):
        raise ResultError(f"lists {top_items.shape} do not belong to users {users.shape}; give one row per user")
    if top_items.dtype.kind != "i" or users.dtype.kind != "i":
        raise ResultError(f"lists ({top_items.dtype}) and users ({users.dtype}) must be signed integers (positions)")
    if not 1 <= k <= top_items.shape[1]:
        raise ResultError(f"k = {k}, but the lists hold {top_items.shape[1]} places; rank at least {k} items per user")
    if len(users) and (users[0] < 0 or users[-1] >= split.n_users or (np.diff(users) <= 0).any()):
        raise ResultError(f"users must be ascending, without repeats, within 0..{split.n_users - 1}; sort them first")
    if top_items.size and (top_items.min() < -1 or top_items.max() >= split.n_items):
        raise ResultError(
            f"the lists hold items {top_items.min()}..{top_items.max()}, the split has 0..{split.n_items - 1} "
            "(−1 for an empty place); were they made for another catalogue?"
        )


def _check_lists(found: Hits, split: Split) -> None:
    ordered = np.sort(found.top_items, axis=1)
    repeated = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
    if repeated.any():
        user = found.users[np.argmax(repeated)]
        raise ResultError("the list of user {user} holds an item twice; rank each item once", user=int(user))
    seen = _contains(split.train_keys, found.users, found.top_items, split).any(axis=1)
    if seen.any():
        raise ResultError(
            f"the lists of {seen.sum()} users hold training items (first: user {{user}}); "
            "mask the training items before ranking",
            user=int(found.users[np.argmax(seen)]),
        )


def _hit_lists(found: Hits) -> tuple[pd.Series, pd.Series]:
    hits = found.hits[:, :HIT_DEPTH]
    items = np.split(found.top_items[:, :HIT_DEPTH][hits].astype(np.int32), np.cumsum(hits.sum(axis=1))[:-1])
    index = pd.Index(found.users, name="user")
    return _rank_lists(hits).set_axis(index), pd.Series(items, index=index, dtype=object)


def _rank_lists(marked: BoolArray) -> pd.Series:
    """The marked ranks of each list within the first 50, from 1; ``marked`` bool [user, k]."""
    marked = marked[:, :HIT_DEPTH]
    ranks = np.split((np.nonzero(marked)[1] + 1).astype(np.int16), np.cumsum(marked.sum(axis=1))[:-1])
    return pd.Series(ranks, dtype=object)


def _overall(found: Hits, split: Split, part: Part, ks: Sequence[int]) -> dict[str, float]:
    cold, short = cold_items(split), short_histories(split)[found.users]
    overall = {f"coverage@{k}": coverage(found.top_items, split.n_items, k) for k in ks}
    overall |= {f"exposure_gini@{k}": exposure_gini(found.top_items, split.n_items, k) for k in ks}
    overall |= {f"novelty@{k}": novelty(found.top_items, split, k) for k in ks}
    parts = {
        name: within(found.hits, found.top_items, found.users, split, part, items)
        for name, items in {**popularity_bands(split), "cold": cold}.items()
    }
    parts["short"] = found.hits[short], found.n_relevant[short]
    for name, (hits, n_held) in parts.items():
        overall |= {f"{name}_recall@{k}": float(recall(hits, n_held, k).mean()) for k in ks if len(n_held)}
    overall["cold_share"] = held_out_share(split, part, cold)
    overall["unseen_share"] = held_out_share(split, part, cold_items(split, at_most=0))
    return overall
