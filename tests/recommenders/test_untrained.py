"""Popularity and item-kNN: by hand, against a plain loop, and the known numbers on Amazon Baby."""

import gzip

import numpy as np
import pandas as pd
import pytest
import torch

from lmmrec_core.flow import Interactions, Split
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
