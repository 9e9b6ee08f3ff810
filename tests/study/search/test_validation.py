"""What stops a training can tell one epoch from another, also where Recall@20 is 1 whatever the order."""

import warnings

import numpy as np
import pytest
import torch

from lmmrec_core.metrics.evaluate import evaluate_lists
from lmmrec_core.study.search import validation as validating
from lmmrec_core.study.search.validation import candidates, recall_20, stopping_metric, validation, warn_if_saturated
from lmmrec_core.training.recommend import top_k
from tests.oracles import ndcg
from tests.recommenders.toys import random_data, split_for


def small(n_items: int, rows_of_a_user: int = 3, held_out: int = 2):
    """Four users with the same number of training rows; the items after these are held out."""
    data = random_data(0, n_users=4, n_items=n_items, edges=1)
    user = np.repeat(np.arange(4), rows_of_a_user)
    data = type(data)(4, n_items, torch.from_numpy(user), torch.arange(rows_of_a_user).repeat(4), {})
    rest = np.repeat(np.arange(4), held_out), np.tile(np.arange(rows_of_a_user, rows_of_a_user + held_out), 4)
    return split_for(data, rest)


def scoring(order):
    """A scorer that ranks items as ``order`` says, the same for all users."""
    scores = torch.zeros(len(order))
    scores[torch.tensor(order)] = torch.arange(len(order), 0, -1).float()
    return lambda users: scores.repeat(len(users), 1)


def test_recall_is_the_measure_wherever_it_can_move():
    split = small(24)  # three training rows leave 21 candidates
    assert candidates(split).tolist() == [21] * 4 and stopping_metric(split) == "recall"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        validate = validation(split)
    worst = scoring(list(range(23, -1, -1)))
    assert validate(worst) == recall_20(worst, split, "valid") == 0.5  # one of two held-out items is in place 21


def test_ndcg_takes_its_place_where_recall_is_1_whatever_the_order():
    split = small(23)  # 20 candidates
    assert stopping_metric(split) == "ndcg"
    with pytest.warns(UserWarning, match=r"at most 20 items are left.*by NDCG@20 instead"):
        validate = validation(split)
    best, worst = scoring([3, 4, *range(5, 23), 0, 1, 2]), scoring(list(range(22, -1, -1)))
    assert recall_20(best, split, "valid") == recall_20(worst, split, "valid") == 1.0
    assert validate(best) == 1.0 and validate(worst) == pytest.approx(ndcg(list(range(22, 2, -1)), {3, 4}, 20))
    lists = top_k(worst, np.arange(4), split, k=20)
    assert validate(worst) == evaluate_lists(lists, np.arange(4), split, "valid")[0]["ndcg@20"].mean()


def test_one_user_with_more_candidates_is_enough_for_recall_to_move():
    split = small(23)
    keep = np.ones(len(split.train), dtype=bool)
    keep[0] = False
    train = type(split.train)(split.train.user[keep], split.train.item[keep])
    assert stopping_metric(type(split)(4, 23, train, split.valid, split.test, "given", None, "x")) == "recall"


def test_a_catalogue_where_nothing_can_move_is_told():
    with pytest.warns(UserWarning, match="so is every measure: the first epoch is kept; use more items"):
        validation(small(5))


def test_scores_that_are_all_1_are_warned_of():
    with pytest.warns(UserWarning, match="score of bpr was 1 in all 3 validations, so the first was kept"):
        warn_if_saturated([1.0, 1.0, 1.0], "bpr")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for scores in ([1.0], [], [0.9, 1.0, 1.0]):
            warn_if_saturated(scores, "bpr")


def test_a_search_chooses_among_points_by_a_measure_that_moves(search, monkeypatch):
    """60 items: with a cutoff of 60 every user is as in a catalogue of 20."""
    monkeypatch.setattr(validating, "CUTOFF", 60)
    with pytest.warns(UserWarning, match=r"instead"):
        found = search()
    assert found.trials["valid"].nunique() > 1 and found.trials["valid"].max() < 1
    assert found.summary["objective"].startswith("ndcg@")
