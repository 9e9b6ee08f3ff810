"""Top-k lists against a slow sort in plain Python."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrec_core.errors import TrainingError
from lmmrec_core.flow import Interactions, Split
from lmmrec_core.training.recommend import best_first, top_k


def rows(pairs):
    pairs = sorted(pairs)
    return Interactions(*(np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1)))


def split_of(n_users, n_items, train, valid=(), test=()):
    return Split(n_users, n_items, rows(train), rows(valid), rows(test), "given", None, "x")


def scorer_of(matrix):
    table = torch.as_tensor(matrix, dtype=torch.float32)
    return lambda users: table[users]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_equals_a_plain_sort(data):
    n_users, n_items = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 12))
    k, chunk = data.draw(st.integers(1, 14)), data.draw(st.integers(1, 6))
    matrix = np.array(
        data.draw(
            st.lists(
                st.lists(st.integers(-2, 2), min_size=n_items, max_size=n_items), min_size=n_users, max_size=n_users
            )
        )
    )
    cells = st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1))
    train, valid = data.draw(st.sets(cells)), data.draw(st.sets(cells))
    users = np.array(data.draw(st.permutations(range(n_users))), dtype=np.int64)
    mask_valid = data.draw(st.booleans())
    lists = top_k(
        scorer_of(matrix),
        users,
        split_of(n_users, n_items, train, valid - train),
        k=k,
        mask_valid=mask_valid,
        chunk=chunk,
    )
    assert lists.shape == (n_users, k) and lists.dtype == np.int64
    hidden = train | valid if mask_valid else train
    for user, found in zip(users.tolist(), lists.tolist(), strict=True):
        candidates = [item for item in range(n_items) if (user, item) not in hidden]
        expected = sorted(candidates, key=lambda item: (-matrix[user, item], item))[:k]
        assert found == expected + [-1] * (k - len(expected))


def test_all_equal_scores_give_the_lowest_items_of_a_wide_catalogue():
    values, items = best_first(torch.zeros(3, 5000), 50)
    assert torch.equal(items, torch.arange(50).expand(3, 50)) and not values.any()


def test_test_lists_keep_validation_items_unless_told():
    split = split_of(1, 4, {(0, 0)}, {(0, 1)}, {(0, 2)})
    scorer = scorer_of([[9.0, 8.0, 7.0, 6.0]])
    assert top_k(scorer, np.array([0]), split, k=3).tolist() == [[1, 2, 3]]
    assert top_k(scorer, np.array([0]), split, k=3, mask_valid=True).tolist() == [[2, 3, -1]]


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused_by_user(score):
    matrix = np.zeros((3, 6))
    matrix[2, 4] = score
    with pytest.raises(TrainingError, match=rf"scores of user at position 2 \(from 0\) are not finite \({score}\)"):
        top_k(scorer_of(matrix), np.arange(3), split_of(3, 6, {(0, 0)}), k=2)
    assert top_k(scorer_of(matrix), np.arange(3), split_of(3, 6, {(2, 4)}), k=2)[2].tolist() == [0, 1]  # no candidate


def test_a_scorer_that_keeps_its_table_is_not_changed():
    table = torch.randn(2, 5)
    before = table.clone()
    top_k(lambda users: table, np.arange(2), split_of(2, 5, {(0, 0), (1, 3)}), k=2)
    assert torch.equal(table, before)


def test_no_users_give_no_lists():
    assert top_k(scorer_of(np.zeros((1, 3))), np.zeros(0, np.int64), split_of(1, 3, set()), k=2).shape == (0, 2)
