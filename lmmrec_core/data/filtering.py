"""Filters of a catalogue: what they drop goes everywhere (users, items, texts, pictures, features), and is counted."""

from dataclasses import replace

import numpy as np

from lmmrec_core.errors import ConfigError, DataError
from lmmrec_core.flow import BoolArray, Catalogue, IntArray


def with_edges(catalogue: Catalogue, mask: BoolArray) -> Catalogue:
    """The catalogue with the interactions of ``mask`` [edge]; all users and items stay, also those without any."""
    return replace(
        catalogue,
        user=catalogue.user[mask],
        item=catalogue.item[mask],
        label=None if catalogue.label is None else catalogue.label[mask],
        timestamp=None if catalogue.timestamp is None else catalogue.timestamp[mask],
    )


def keep_edges(catalogue: Catalogue, mask: BoolArray, reason: str) -> Catalogue:
    """The catalogue with the interactions of ``mask`` [edge]; users and items left without any are dropped too.

    Users and items keep their order and are renumbered. Adds to the counts ``interactions_dropped_<reason>``,
    ``users_dropped_<reason>`` and ``items_dropped_<reason>``. Raises DataError if nothing is left.
    """
    mask = _checked(mask, len(catalogue.user), "interactions")
    keep_user = np.bincount(catalogue.user[mask], minlength=catalogue.n_users) > 0
    keep_item = np.bincount(catalogue.item[mask], minlength=catalogue.n_items) > 0
    if not mask.any():
        raise DataError(
            f"{catalogue.name}: nothing is left after dropping {reason.replace('_', ' ')} "
            f"({len(mask)} interactions, {catalogue.n_users} users and {catalogue.n_items} items before); "
            "loosen this filter"
        )
    dropped = {
        f"interactions_dropped_{reason}": int((~mask).sum()),
        f"users_dropped_{reason}": int((~keep_user).sum()),
        f"items_dropped_{reason}": int((~keep_item).sum()),
    }
    counts = dict(catalogue.counts)
    for key, number in dropped.items():
        counts[key] = counts.get(key, 0) + number
    users, items = np.flatnonzero(keep_user), np.flatnonzero(keep_item)
    kept = with_edges(catalogue, mask)
    return replace(
        kept,
        user_ids=tuple(catalogue.user_ids[u] for u in users),
        item_ids=tuple(catalogue.item_ids[i] for i in items),
        user=_renumbered(keep_user)[kept.user],
        item=_renumbered(keep_item)[kept.item],
        texts=tuple(catalogue.texts[i] for i in items),
        images=tuple(catalogue.images[i] for i in items),
        user_group=None if catalogue.user_group is None else catalogue.user_group[users],
        ready_features={modality: matrix[items] for modality, matrix in catalogue.ready_features.items()},
        counts=counts,
    )


def keep_items(catalogue: Catalogue, mask: BoolArray, reason: str) -> Catalogue:
    """The catalogue with the items of ``mask`` [item], their interactions, and the users who have one left."""
    mask = _checked(mask, catalogue.n_items, "items")
    return keep_edges(catalogue, mask[catalogue.item], reason)


def k_core(catalogue: Catalogue, k: int) -> Catalogue:
    """The largest part of the catalogue in which every user and every item has at least ``k`` interactions.

    Users and items with fewer are dropped together, round after round, until none is left to drop; the order of
    dropping makes no difference. Counts: those of :func:`keep_edges` with reason ``<k>_core``, and ``rounds_<k>_core``.
    Raises ConfigError for ``k`` below 1, DataError if nothing is left.
    """
    if k < 1:
        raise ConfigError(f"k_core = {k} is below 1; give 1 or more, or leave the filter out")
    kept = np.ones(len(catalogue.user), dtype=bool)
    rounds = 0
    while True:
        users = np.bincount(catalogue.user[kept], minlength=catalogue.n_users)
        items = np.bincount(catalogue.item[kept], minlength=catalogue.n_items)
        now = kept & (users[catalogue.user] >= k) & (items[catalogue.item] >= k)
        if now.sum() == kept.sum():
            break
        kept, rounds = now, rounds + 1
    if not kept.any():
        raise DataError(
            f"{catalogue.name}: nothing is left after dropping {k} core: no part of the {len(kept)} interactions, "
            f"{catalogue.n_users} users and {catalogue.n_items} items has {k} of each; lower k (--k-core, or k_core in "
            "a track file; 1 keeps all)"
        )
    filtered = keep_edges(catalogue, kept, f"{k}_core")
    return replace(filtered, counts={**filtered.counts, f"rounds_{k}_core": rounds})


def _checked(mask: BoolArray, length: int, what: str) -> BoolArray:
    mask = np.asarray(mask)
    if mask.shape != (length,) or mask.dtype != np.bool_:
        raise DataError(
            f"a mask of shape {mask.shape} and type {mask.dtype} for {length} {what}; give one bool for each"
        )
    return mask


def _renumbered(keep: BoolArray) -> IntArray:
    return np.cumsum(keep) - 1
