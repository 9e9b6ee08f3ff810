"""BPR-MF: its invariants, and Rendle's form."""

import pytest
import torch

from lmmrec_core.errors import TrainingError
from lmmrec_core.recommenders.bpr import BPR
from lmmrec_core.roles import Batch
from tests.recommenders.toys import fill, random_batch, random_data, toy, toy_batch


def model(data, **settings):
    return BPR(data, BPR.Settings(**settings), torch.Generator().manual_seed(3))


def test_equal_scores_cost_ln_2():
    bpr = model(toy(), reg_weight=0)
    fill(bpr, user=torch.zeros(2, 64))
    assert bpr.loss(toy_batch(), torch.Generator()).item() == pytest.approx(0.693147, abs=1e-6)


def test_reference_loss_is_written_out():
    data = random_data(0)
    bpr, batch = model(data, reg_weight=0.3), random_batch(data, 1)
    u, i, j = bpr.user[batch.user], bpr.item[batch.positive], bpr.item[batch.negative]
    margin = (u * i).sum(1) - (u * j).sum(1)
    expected = -(1e-10 + margin.sigmoid()).log().mean() + 0.3 * (u.norm() + i.norm() + j.norm()) / 7
    torch.testing.assert_close(bpr.loss(batch, torch.Generator()), expected)


def test_a_constant_added_to_every_item_changes_no_ranking():
    data = random_data(0)
    bpr, users = model(data), torch.arange(data.n_users)
    before = bpr.scorer()(users).argsort(dim=1)
    with torch.no_grad():
        bpr.item += torch.randn(64)
    assert torch.equal(bpr.scorer()(users).argsort(dim=1), before)


def test_relabelling_items_permutes_scores():
    data = random_data(0)
    bpr, order = model(data), torch.randperm(data.n_items)
    before = bpr.scorer()(torch.arange(data.n_users))
    fill(bpr, item=bpr.item.detach()[order])
    torch.testing.assert_close(bpr.scorer()(torch.arange(data.n_users)), before[:, order])


def test_described_mode_adds_an_item_bias_and_squares_the_norm():
    data = random_data(0)
    bpr, batch = model(data, mode="described", reg_weight=0.3), random_batch(data, 1)
    fill(bpr, bias=torch.randn(data.n_items))
    full = bpr.user @ bpr.item.T + bpr.bias
    torch.testing.assert_close(bpr.scorer()(torch.arange(data.n_users)), full.detach())
    margin = full[batch.user, batch.positive] - full[batch.user, batch.negative]
    parts = (bpr.user[batch.user], bpr.item[batch.positive], bpr.item[batch.negative])
    parts += (bpr.bias[batch.positive], bpr.bias[batch.negative])
    expected = -margin.sigmoid().log().mean() + 0.3 * sum(part.square().sum() for part in parts) / (2 * 7)
    torch.testing.assert_close(bpr.loss(batch, torch.Generator()), expected)


def test_the_regulariser_switch_overrides_the_mode():
    data = random_data(0)
    batch = random_batch(data, 1)
    kinds = {kind: model(data, reg_weight=1.0, regulariser=kind) for kind in ("norm", "squared", None)}
    losses = {kind: bpr.loss(batch, torch.Generator()).item() for kind, bpr in kinds.items()}
    assert losses["norm"] == losses[None] != losses["squared"]


def test_the_scorer_is_frozen():
    data = random_data(0)
    bpr, users = model(data), torch.arange(data.n_users)
    scorer = bpr.scorer()
    before = scorer(users)
    fill(bpr, item=torch.zeros(data.n_items, 64))
    assert torch.equal(scorer(users), before)


def test_a_batch_without_negatives_is_refused():
    with pytest.raises(TrainingError, match="no negatives"):
        model(toy()).loss(Batch(torch.tensor([0]), torch.tensor([0]), None), torch.Generator())
