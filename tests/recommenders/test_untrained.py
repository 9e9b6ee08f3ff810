"""Popularity, item-kNN and EASE: by hand, against a plain loop, and the known numbers on Amazon Baby."""

import gzip

import numpy as np
import pandas as pd
import pytest
import torch

from lmmrec_core.errors import ConfigError, TrainingError
from lmmrec_core.flow import Interactions, Split
from lmmrec_core.recommenders import ease
from lmmrec_core.recommenders.ease import EASE
from lmmrec_core.recommenders.itemknn import ItemKNN
from lmmrec_core.recommenders.popularity import Popularity
from lmmrec_core.roles import TrainingData
from lmmrec_core.training.recommend import top_k
from tests.recommenders.toys import random_data

NOTHING = torch.Generator()


def test_popularity_counts_training_rows():
    data = TrainingData(3, 4, torch.tensor([0, 1, 2, 2]), torch.tensor([1, 1, 1, 3]), {})
    scores = Popularity(data, Popularity.Settings(), NOTHING).scorer()(torch.tensor([2, 0]))
    assert scores.tolist() == [[0, 3, 0, 1]] * 2


@pytest.mark.parametrize("neighbours", [None, 1, 3])
def test_itemknn_equals_a_plain_loop(neighbours):
    data = random_data(8)
    rows = np.zeros((data.n_users, data.n_items))
    rows[data.user, data.item] = 1
    count, together = rows.sum(0), rows.T @ rows
    similarity = np.zeros_like(together)
    for i in range(data.n_items):
        for j in range(data.n_items):
            if i != j:
                similarity[i, j] = together[i, j] / (np.sqrt(count[i] * count[j]) + 2)
        if neighbours:
            kept = sorted(range(data.n_items), key=lambda j: (-similarity[i, j], j))[:neighbours]
            similarity[i, [j for j in range(data.n_items) if j not in kept]] = 0
    expected = rows @ similarity.T
    scorer = ItemKNN(data, ItemKNN.Settings(shrink=2, neighbours=neighbours), NOTHING).scorer()
    np.testing.assert_allclose(scorer(torch.arange(data.n_users)).numpy(), expected, rtol=1e-5, atol=1e-6)


def written_out(data):
    rows = np.zeros((data.n_users, data.n_items))
    rows[data.user, data.item] = 1
    return rows


def fitted(data, **settings):
    return EASE(data, EASE.Settings.build(settings), NOTHING)


@pytest.mark.parametrize("block", [4, 1024])
@pytest.mark.parametrize("reg", [0.5, 250.0])
def test_ease_is_the_ridge_regression_of_each_item_on_the_others(reg, block, monkeypatch):
    monkeypatch.setattr(ease, "_BLOCK", block)
    data = random_data(8)
    rows = written_out(data)
    expected = np.zeros((15, 15))
    for item in range(15):
        others = [other for other in range(15) if other != item]
        stacked = np.vstack([rows[:, others], np.sqrt(reg) * np.eye(14)])
        wanted = np.concatenate([rows[:, item], np.zeros(14)])
        expected[others, item] = np.linalg.lstsq(stacked, wanted, rcond=None)[0]
    model = fitted(data, reg=reg)
    np.testing.assert_allclose(model.weights, expected, rtol=1e-4, atol=1e-7)
    scores = model.scorer()(torch.tensor([4, 0, 4])).numpy()
    np.testing.assert_allclose(scores, (rows @ expected)[[4, 0, 4]], rtol=1e-4, atol=1e-6)


def test_ease_never_scores_an_item_by_itself():
    data = random_data(8)
    assert not fitted(data, reg=3.0).weights.diagonal().any()
    lonely = TrainingData(3, 4, torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 2, 1]), {})
    scores = fitted(lonely, reg=1.0).scorer()(torch.arange(3))
    assert not scores[0].any()  # item 0 is with no other item, and its only user has no other
    assert scores[2, 1] == 0 and scores[2, 2] > 0


def test_ease_gives_what_is_alike_alike_weights():
    around = torch.arange(6)  # user u has items u and u + 1, in a ring: every item is placed alike
    data = TrainingData(6, 6, around.repeat_interleave(2), torch.stack([around, (around + 1) % 6], 1).flatten(), {})
    weights = fitted(data, reg=2.0).weights
    np.testing.assert_allclose(weights, weights.T, atol=1e-7)
    np.testing.assert_allclose(weights, np.roll(weights, 1, (0, 1)), atol=1e-7)
    data = random_data(8)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))
    renamed = TrainingData(12, 15, data.user, order.argsort()[data.item], {})
    np.testing.assert_allclose(
        fitted(renamed, reg=2.0).weights, fitted(data, reg=2.0).weights[order][:, order], rtol=1e-4, atol=1e-7
    )


def test_ease_ends_at_co_occurrence_when_the_ridge_is_strong():
    data = random_data(8)
    together = written_out(data).T @ written_out(data)
    np.fill_diagonal(together, 0)
    np.testing.assert_allclose(1e6 * fitted(data, reg=1e6).weights, together, atol=1e-3)


def test_ease_leaves_items_without_a_row_at_zero_and_counts_a_pair_once():
    data = TrainingData(2, 4, torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]), {})
    repeated = TrainingData(2, 4, data.user.repeat(3), data.item.repeat(3), {})
    weights = fitted(data, reg=1.0).weights
    assert not weights[2:].any() and not weights[:, 2:].any() and weights[0, 1] == pytest.approx(2 / 3)
    assert np.array_equal(fitted(repeated, reg=1.0).weights, weights)


def test_ease_refuses_what_it_cannot_solve():
    data = random_data(8)
    with pytest.raises(ConfigError, match=r"15 x 15 items .* max_items is 14; raise max_items .* use itemknn"):
        fitted(data, max_items=14)
    with pytest.raises(ConfigError, match="reg = 0 is not valid"):
        fitted(data, reg=0)
    twins = TrainingData(2, 2, torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]), {})
    with pytest.raises(TrainingError, match="cannot be inverted at reg 1e-200"):
        fitted(twins, reg=1e-200)


@pytest.mark.shared
def test_known_numbers_on_amazon_baby(shared_data):
    with gzip.open(shared_data / "amazon-baby" / "baby.inter.gz") as file:
        rows = pd.read_csv(file, sep="\t").sort_values(["userID", "itemID"])
    parts = [
        Interactions(*(rows.loc[rows["x_label"] == label, name].to_numpy(np.int64) for name in ("userID", "itemID")))
        for label in range(3)
    ]
    split = Split(19445, 7050, *parts, "given", None, "baby")
    data = TrainingData(19445, 7050, torch.tensor(parts[0].user), torch.tensor(parts[0].item), {})
    users = np.arange(19445)
    keys = parts[2].user * 7050 + parts[2].item
    relevant = np.bincount(parts[2].user, minlength=19445)

    def recall_at_20(model):
        hits = np.isin(users[:, None] * 7050 + top_k(model.scorer(), users, split, k=20), keys)
        return (hits.sum(1) / relevant).mean()

    assert recall_at_20(Popularity(data, Popularity.Settings(), NOTHING)) == pytest.approx(0.0495, abs=2e-4)
    assert recall_at_20(ItemKNN(data, ItemKNN.Settings(shrink=10), NOTHING)) == pytest.approx(0.0655, abs=6e-5)
    assert recall_at_20(ItemKNN(data, ItemKNN.Settings(shrink=50), NOTHING)) == pytest.approx(0.0821, abs=6e-5)
