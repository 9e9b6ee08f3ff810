"""Catalogue → Split, by one of four rules. A split depends on the content, the rule and the seed only."""

from typing import Literal

import numpy as np

from lmmrec_core.data.fingerprint import split_fingerprint
from lmmrec_core.data.ids import natural_ranks
from lmmrec_core.errors import ConfigError, DataError, unknown
from lmmrec_core.flow import PARTS, BoolArray, Catalogue, IntArray, Interactions, Split
from lmmrec_core.names import SPLIT_RULES, SplitRule
from lmmrec_core.seeds import numpy_stream

REDRAWN: tuple[SplitRule, ...] = ("mmrec", "lattice")  # the rules that draw, by a seed
TRAIN, VALID, TEST = 0, 1, 2
_DROPPED = -1


def make_split(catalogue: Catalogue, rule: SplitRule, seed: int | None) -> Split:
    """Train, valid and test rows of a catalogue.

    ``mmrec``, ``lattice``: each user's rows in a random order, the last of them held out (:func:`held_out`).
    ``global_time``: the oldest 80 % of rows are train, the next 10 % valid, the last 10 % test; rows of the same
    second stay together, in the earlier part; valid and test rows of users or items without a train row are dropped.
    ``given``: the labels of the source; valid and test rows of users without a train row are dropped, as MMRec does
    (enoche/MMRec: `src/utils/dataset.py`).
    The first two rules need a seed; the others ignore it, and the split records None.

    Rows are sorted by the source's ids before anything is drawn, so neither the order of rows nor the numbering of
    users and items matters.

    Raises ConfigError for an unknown rule or an absent seed; DataError if timestamps or labels are needed and absent,
    or if a part comes out empty.
    """
    if rule not in SPLIT_RULES:
        raise unknown("split rule", rule, SPLIT_RULES)
    if rule in ("mmrec", "lattice"):
        if seed is None:
            raise ConfigError(f"split rule {rule!r} draws at random; give it a seed")
        label = _per_user(catalogue, rule, seed)
    else:
        label = _by_time(catalogue) if rule == "global_time" else _given(catalogue)
        seed = None
    train, valid, test = (_part(catalogue, label == part) for part in (TRAIN, VALID, TEST))
    for part, rows in zip(PARTS, (train, valid, test), strict=True):
        if not len(rows):
            raise DataError(f"{catalogue.name}: split rule {rule!r} leaves {part} empty; {_CURES[rule]}")
    fingerprint = split_fingerprint(catalogue, train, valid, test)
    return Split(
        catalogue.n_users, catalogue.n_items, train, valid, test, rule, seed, fingerprint, catalogue.user_group
    )


_CURES: dict[str, str] = {
    "mmrec": "only users with 3 interactions or more are held out: take a k-core or more data",
    "lattice": "only users with 3 interactions or more are held out: take a k-core or more data",
    "global_time": "too few rows follow the first 80 %, or their users and items are new: use a rule per user",
    "given": "label rows of all three parts, of users with train rows, or use another rule",
}


def held_out(n: IntArray, rule: Literal["mmrec", "lattice"]) -> tuple[IntArray, IntArray]:
    """How many of a user's ``n`` rows go to valid and to test.

    Below 10 rows: one each. From 10 on: h = floor(n / 5) in all, half to each part, an odd one to test (enoche/MMRec:
    `preprocessing/1splitting.ipynb`) or to valid (CRIPAC-DIG/LATTICE: `data/build_data.py`). So "8:1:1" is nominal:
    train gets 71 to 74 % of the paper's rows. Users with fewer than 3 rows are train only; both published rules fail
    on them.
    """
    h = np.where(n < 10, 2, n // 5)
    h = np.where(n < 3, 0, h)
    smaller, larger = h // 2, h - h // 2
    return (smaller, larger) if rule == "mmrec" else (larger, smaller)


def _per_user(catalogue: Catalogue, rule: Literal["mmrec", "lattice"], seed: int) -> IntArray:
    n_rows = len(catalogue.user)
    user_rank = natural_ranks(catalogue.user_ids)[catalogue.user]
    canonical = np.lexsort((natural_ranks(catalogue.item_ids)[catalogue.item], user_rank))
    draw = np.empty(n_rows)
    draw[canonical] = numpy_stream(seed, "split").random(n_rows)
    order = np.lexsort((draw, user_rank))  # user by user, each in a random order
    counts = np.bincount(user_rank, minlength=catalogue.n_users)
    first = np.cumsum(counts) - counts
    place = np.arange(n_rows) - first[user_rank[order]]
    n = counts[user_rank[order]]
    n_valid, n_test = held_out(n, rule)
    label = np.empty(n_rows, dtype=np.int64)
    label[order] = np.where(place >= n - n_test, TEST, np.where(place >= n - n_test - n_valid, VALID, TRAIN))
    return label


def _by_time(catalogue: Catalogue) -> IntArray:
    if catalogue.timestamp is None:
        raise DataError(
            f"{catalogue.name}: split rule 'global_time' needs timestamps; add the column or use another rule"
        )
    ordered = np.sort(catalogue.timestamp)
    n = len(ordered)
    label = np.full(n, TEST, dtype=np.int64)
    label[catalogue.timestamp <= ordered[max(9 * n // 10, 1) - 1]] = VALID
    label[catalogue.timestamp <= ordered[max(8 * n // 10, 1) - 1]] = TRAIN
    unseen = ~(_occurs(catalogue.user, label == TRAIN) & _occurs(catalogue.item, label == TRAIN))
    label[unseen] = _DROPPED
    return label


def _given(catalogue: Catalogue) -> IntArray:
    if catalogue.label is None:
        raise DataError(f"{catalogue.name}: split rule 'given' needs a column of parts; add it or use another rule")
    label = catalogue.label.copy()
    label[~_occurs(catalogue.user, label == TRAIN)] = _DROPPED
    return label


def _occurs(numbers: IntArray, where: BoolArray) -> BoolArray:
    """Whether each entry of ``numbers`` has a value that is among ``numbers[where]``."""
    return np.isin(numbers, numbers[where])


def _part(catalogue: Catalogue, mask: BoolArray) -> Interactions:
    user, item = catalogue.user[mask], catalogue.item[mask]
    order = np.lexsort((item, user))
    return Interactions(user[order], item[order])
