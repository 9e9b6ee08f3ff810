"""Do the edges of an item graph join items that have users in common?

A graph is given by its directed edges ``source``, ``target`` int [edge], item numbers. The chance level of a share is
its expectation over random targets that keep how often each item is a source and a target, without loops:
``Σ_{i≠j} out_i in_j x_ij / Σ_{i≠j} out_i in_j`` for a property x of pairs. A lift is the share over its chance level.
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from lmmrec_core.errors import FeatureError
from lmmrec_core.flow import FloatArray, IntArray, Interactions
from lmmrec_core.metrics.resampling import Measures, ratio_of
from lmmrec_core.metrics.rows import block_size


def interaction_homophily(source: IntArray, target: IntArray, train: Interactions, n_items: int) -> Measures:
    """Common training users of the ends of an edge, against chance.

    ``common_user``: share of edges whose ends share a training user; ``jaccard``: mean over edges of
    |users of both| / |users of either|, 0 if neither has one; both with ``_by_chance`` and ``_lift``.
    Items × items only in blocks of rows.
    """
    if not len(source):
        raise FeatureError("a graph without edges has no homophily; build it with k of at least 1")
    by_item = _by_item(train, n_items)
    by_user = csr_array(by_item.T)
    users = np.diff(by_item.indptr).astype(np.float64)
    out, into = (np.bincount(ends, minlength=n_items).astype(np.float64) for ends in (source, target))
    found, expected = np.zeros((n_items, 2)), np.zeros(2)
    order = np.argsort(source, kind="stable")
    source, target = source[order], target[order]
    step = block_size(n_items)
    for start in range(0, n_items, step):
        stop = min(start + step, n_items)
        common = (by_item[start:stop] @ by_user).toarray().astype(np.float64)
        either = users[start:stop, None] + users - common
        jaccard = np.divide(common, either, out=np.zeros_like(common), where=either > 0)
        some = (common > 0).astype(np.float64)
        mine = slice(*np.searchsorted(source, [start, stop]))
        row, column = source[mine] - start, target[mine]
        here = np.arange(stop - start)
        for place, values in enumerate((some, jaccard)):
            found[start:stop, place] = np.bincount(row, weights=values[row, column], minlength=stop - start)
            values[here, start + here] = 0.0
            expected[place] += out[start:stop] @ (values @ into)
    pairs = out.sum() * into.sum() - out @ into
    return {
        **_with_lift("common_user", found[:, 0], out, expected[0] / pairs),
        **_with_lift("jaccard", found[:, 1], out, expected[1] / pairs),
    }


def ceiling(
    source: IntArray, target: IntArray, train: Interactions, held_out: Interactions, n_users: int, n_items: int
) -> Measures:
    """How often a held-out positive is linked to a training positive of its user: what an item graph can reach.

    ``reachable``: share of the held-out rows whose item shares an edge, in either direction, with an item of the same
    user's training rows (LATTICE sums over the edges that leave an item, and learns along those that enter it).
    ``reachable_by_chance``: the same for an item drawn evenly from those the user has not in training.
    """
    if not len(held_out):
        raise FeatureError("no held-out interactions, so no ceiling; give the test part of a split")
    ones = np.ones(len(source), dtype=np.float32)
    links = csr_array((ones, (source, target)), shape=(n_items, n_items))
    links = csr_array(links + links.T)
    seen = csr_array(_by_item(train, n_items, n_users).T)
    order = np.argsort(held_out.user, kind="stable")
    user, item = held_out.user[order], held_out.item[order]
    hits, chance = np.zeros(n_items), np.zeros(n_items)
    step = block_size(n_items)
    for start in range(0, n_users, step):
        stop = min(start + step, n_users)
        mine = slice(*np.searchsorted(user, [start, stop]))
        if mine.start == mine.stop:
            continue
        known = seen[start:stop].toarray() > 0
        reached = ((seen[start:stop] @ links).toarray() > 0) & ~known
        share = reached.sum(axis=1) / np.maximum(1, n_items - known.sum(axis=1))
        row, column = user[mine] - start, item[mine]
        hits += np.bincount(column, weights=reached[row, column], minlength=n_items)
        chance += np.bincount(column, weights=share[row], minlength=n_items)
    rows = np.bincount(item, minlength=n_items).astype(np.float64)
    found: Measures = {"reachable": ratio_of(hits, rows), "reachable_by_chance": float(chance.sum() / rows.sum())}
    if chance.sum() > 0:
        found["reachable_lift"] = ratio_of(hits, chance)
    return found


def _by_item(train: Interactions, n_items: int, n_users: int | None = None) -> csr_array:
    """Training rows as ones, float32 [item, user]."""
    if not len(train):
        raise FeatureError("no training interactions; give the training part of a split")
    if train.item.max() >= n_items:
        raise FeatureError(f"training rows name item {train.item.max()}, the graph has 0..{n_items - 1}; give its own")
    shape = (n_items, int(train.user.max()) + 1 if n_users is None else n_users)
    rows = csr_array((np.ones(len(train), dtype=np.float32), (train.item, train.user)), shape=shape)
    rows.data[:] = 1.0  # a pair that occurs twice is one
    return rows


def _with_lift(name: str, hits: npt.ArrayLike, edges: FloatArray, chance: float) -> Measures:
    found: Measures = {name: ratio_of(hits, edges), f"{name}_by_chance": float(chance)}
    if chance > 0:
        found[f"{name}_lift"] = ratio_of(hits, edges, scale=1.0 / chance)
    return found
