"""Coverage, cold items and short histories, by hand."""

import numpy as np
import pytest

from lmmrec_core.errors import ResultError
from lmmrec_core.metrics.evaluate import evaluate_lists
from lmmrec_core.metrics.slices import (
    cold_items,
    coverage,
    exposure_gini,
    gini,
    held_out_share,
    novelty,
    popularity_bands,
    short_histories,
)
from tests.metrics.splits import make_split

# item 0: six training interactions; item 1: five; item 2: none; item 3: one. User 0 has two rows, user 7 none.
TRAIN = [(u, 0) for u in range(6)] + [(u, 1) for u in range(1, 6)] + [(0, 3)]
SPLIT = make_split(8, 5, TRAIN, [], [(6, 0), (6, 2), (7, 1), (0, 2)])


def test_cold_items_and_short_histories_are_counted_in_training_only() -> None:
    assert cold_items(SPLIT).tolist() == [False, True, True, True, True]
    assert cold_items(SPLIT, at_most=0).tolist() == [False, False, True, False, True]
    assert short_histories(SPLIT, at_most=1).tolist() == [False] * 6 + [True, True]
    assert held_out_share(SPLIT, "test", cold_items(SPLIT)) == 3 / 4


def test_recall_of_cold_items_leaves_the_others_out() -> None:
    lists = np.array([[1, 4], [0, 2], [3, 4]])  # users 0, 6, 7; user 6 finds a warm and a cold item
    _, overall = evaluate_lists(lists, np.array([0, 6, 7]), SPLIT, "test", ks=(1, 2))
    assert overall["cold_recall@2"] == pytest.approx(1 / 3)  # users 0: 0 of 1, 6: 1 of 1, 7: 0 of 1
    assert overall["cold_recall@1"] == 0.0  # the hit at rank 1 is warm
    assert overall["short_recall@2"] == pytest.approx((0 + 1 + 0) / 3)
    assert overall["cold_share"] == 3 / 4 and overall["unseen_share"] == 2 / 4


def test_a_slice_without_rows_is_left_out() -> None:
    warm = make_split(7, 2, [(u, 0) for u in range(6)], [], [(6, 0)])
    _, overall = evaluate_lists(np.array([[0]]), np.array([6]), warm, "test", ks=(1,))
    assert "cold_recall@1" not in overall and overall["short_recall@1"] == 1.0


def test_coverage() -> None:
    lists = np.array([[0, 1, -1], [1, 2, 3]])
    assert coverage(lists, 8, 1) == 2 / 8
    assert coverage(lists, 8, 3) == 4 / 8
    with pytest.raises(ResultError, match="k = 4"):
        coverage(lists, 8, 4)


LISTS, USERS = np.array([[1, 4], [0, 2], [3, 4]]), np.array([0, 6, 7])


def test_bands_hold_a_third_of_the_training_rows_each() -> None:
    bands = popularity_bands(SPLIT)  # of 12 rows: item 0 has 6, item 1 has 5, item 3 has one
    assert {band: np.flatnonzero(items).tolist() for band, items in bands.items()} == {
        "head": [0], "middle": [1], "tail": [2, 3, 4]
    }  # fmt: skip
    _, overall = evaluate_lists(LISTS, USERS, SPLIT, "test", ks=(1, 2))
    assert (overall["head_recall@1"], overall["middle_recall@2"]) == (1.0, 0.0)  # item 0 of user 6; item 1 of user 7
    assert (overall["tail_recall@1"], overall["tail_recall@2"]) == (0.0, 0.5)  # item 2 of users 0 and 6


def test_a_band_without_held_out_items_is_left_out() -> None:
    few = make_split(7, 2, [(u, 0) for u in range(6)], [], [(6, 0)])
    _, overall = evaluate_lists(np.array([[0]]), np.array([6]), few, "test", ks=(1,))
    assert [name for name in overall if name.endswith("_recall@1")] == ["head_recall@1", "short_recall@1"]


def test_how_evenly_and_how_popular_items_are_shown() -> None:
    _, overall = evaluate_lists(LISTS, USERS, SPLIT, "test", ks=(1, 2))
    assert overall["exposure_gini@2"] == pytest.approx((-4 - 2 + 0 + 2 + 4 * 2) / (5 * 6))  # shown 1, 1, 1, 1, 2 times
    assert overall["novelty@1"] == pytest.approx(-np.mean(np.log2([6 / 9, 7 / 9, 2 / 9])))  # had by 5, 6 and 1 of 8
    assert exposure_gini(np.array([[0], [1]]), 2, 1) == 0 and exposure_gini(np.array([[0], [0]]), 2, 1) == 0.5
    assert novelty(np.array([[-1]]), SPLIT, 1) == 0 == gini(np.zeros(3, dtype=np.int64))
    with pytest.raises(ResultError, match="k = 3"):
        novelty(LISTS, SPLIT, 3)
