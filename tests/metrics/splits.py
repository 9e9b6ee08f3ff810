"""Small splits for the tests of the metrics."""

import numpy as np

from lmmrec_core.flow import Interactions, Split

Pairs = list[tuple[int, int]]


def interactions(pairs: Pairs) -> Interactions:
    ordered = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    return Interactions(ordered[:, 0], ordered[:, 1])


def make_split(
    n_users: int, n_items: int, train: Pairs, valid: Pairs, test: Pairs, group: list[int] | None = None
) -> Split:
    return Split(
        n_users, n_items, interactions(train), interactions(valid), interactions(test), "test", 1, "f",
        None if group is None else np.array(group, dtype=np.int64),
    )  # fmt: skip


def random_split(rng: np.random.Generator, n_users: int = 40, n_items: int = 70) -> Split:
    parts: dict[str, Pairs] = {"train": [], "valid": [], "test": []}
    for user in range(n_users):
        items = rng.permutation(n_items)[: rng.integers(4, 25)].tolist()
        cut = rng.integers(0, 4)  # some users have nothing in a part
        parts["valid"] += [(user, i) for i in items[:cut]]
        parts["test"] += [(user, i) for i in items[cut : cut + rng.integers(0, 4)]]
        parts["train"] += [(user, i) for i in items[cut + 4 :]]
    return make_split(n_users, n_items, parts["train"], parts["valid"], parts["test"])


def random_lists(split: Split, rng: np.random.Generator, k: int = 50) -> np.ndarray:
    """A random order of each user's unseen items, −1 where they run out."""
    lists = np.full((split.n_users, k), -1, dtype=np.int64)
    for user in range(split.n_users):
        seen = split.train.item[split.train.user == user]
        unseen = rng.permutation(np.setdiff1d(np.arange(split.n_items), seen))[:k]
        lists[user, : len(unseen)] = unseen
    return lists
