from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrec_core.data.filtering import k_core, keep_edges, keep_items
from lmmrec_core.errors import ConfigError, DataError
from tests.data.made import catalogue_of, pairs_of

# a 2-core of users 0, 1 and items 0, 1; user 2 hangs on by item 1 and by item 2, which only user 2 has
CHAIN = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (2, 2)]
PAIRS = st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=60)


def test_the_filter_is_repeated_until_nothing_falls():
    filtered = k_core(catalogue_of(CHAIN), 2)
    assert pairs_of(filtered) == {("u0", "i0"), ("u0", "i1"), ("u1", "i0"), ("u1", "i1")}
    assert filtered.counts == {
        "interactions_dropped_2_core": 2,
        "users_dropped_2_core": 1,
        "items_dropped_2_core": 1,
        "rounds_2_core": 2,  # item 2 first, then user 2
    }


def test_everything_is_carried_and_numbered_anew():
    catalogue = catalogue_of(
        CHAIN[::-1],
        images=(Path("a"), None, Path("c")),
        label=np.arange(6) % 3,
        timestamp=np.arange(6) * 10,
        user_group=np.array([7, 8, 9]),
        ready_features={"visual": np.arange(6, dtype=np.float32).reshape(3, 2)},
        counts={"rows_read": 6},
    )
    kept = keep_items(catalogue, np.array([False, True, True]), "chosen")
    assert kept.item_ids == ("i1", "i2") and kept.user_ids == ("u0", "u1", "u2")
    assert kept.texts == ("text 1", "text 2") and kept.images == (None, Path("c"))
    assert kept.user.tolist() == [2, 2, 1, 0] and kept.item.tolist() == [1, 0, 0, 0]
    assert kept.label.tolist() == [0, 1, 2, 1] and kept.timestamp.tolist() == [0, 10, 20, 40]
    assert kept.ready_features["visual"].tolist() == [[2, 3], [4, 5]]
    assert kept.counts["rows_read"] == 6 and kept.counts["items_dropped_chosen"] == 1
    fewer = keep_edges(kept, np.array([True, True, False, False]), "chosen")
    assert fewer.user_ids == ("u2",) and fewer.user_group.tolist() == [9]
    assert fewer.counts["interactions_dropped_chosen"] == 4 and fewer.counts["items_dropped_chosen"] == 1
    assert catalogue.n_items == 3 and len(catalogue.user) == 6  # the first one is as it was


@given(PAIRS, st.integers(1, 4))
def test_core_is_the_largest_part_with_the_degree(pairs, k):
    expected = set(pairs)  # the slow way: drop one user or item at a time
    while True:
        users, items = [u for u, _ in expected], [i for _, i in expected]
        poor = [(u, i) for u, i in expected if users.count(u) < k or items.count(i) < k]
        if not poor:
            break
        gone = poor[0]
        if users.count(gone[0]) < k:
            expected = {pair for pair in expected if pair[0] != gone[0]}
        else:
            expected = {pair for pair in expected if pair[1] != gone[1]}
    catalogue = catalogue_of(sorted(pairs))
    if not expected:
        with pytest.raises(DataError, match=f"nothing is left after dropping {k} core.* lower k \\(--k-core"):
            k_core(catalogue, k)
        return
    filtered = k_core(catalogue, k)
    assert pairs_of(filtered) == {(f"u{u}", f"i{i}") for u, i in expected}
    assert np.bincount(filtered.user, minlength=filtered.n_users).min() >= k
    assert np.bincount(filtered.item, minlength=filtered.n_items).min() >= k
    assert filtered.counts[f"interactions_dropped_{k}_core"] == len(pairs) - len(expected)


def test_masks_and_k_are_checked():
    catalogue = catalogue_of(CHAIN)
    with pytest.raises(ConfigError, match="k_core = 0"):
        k_core(catalogue, 0)
    with pytest.raises(DataError, match="one bool for each"):
        keep_edges(catalogue, np.array([0, 1]), "indices")
    with pytest.raises(DataError, match="one bool for each"):
        keep_items(catalogue, np.ones(3, dtype=np.int64), "numbers")
