"""LightGCN: a graph small enough for a pencil, its invariants, a dense form, and PyTorch Geometric's layer."""

import pytest
import torch
from torch_geometric.nn import LGConv

from lmmrec_core.recommenders.graph import training_graph
from lmmrec_core.recommenders.lightgcn import LightGCN
from tests.recommenders.toys import dense_adjacency, fill, random_batch, random_data, toy


def model(data, **settings):
    return LightGCN(data, LightGCN.Settings(**settings), torch.Generator().manual_seed(3))


def test_toy_graph():
    lightgcn = model(toy(), embedding_dim=1, n_layers=2)
    fill(lightgcn, user=torch.tensor([[1.0], [2.0]]), item=torch.tensor([[3.0], [4.0], [5.0]]))
    users, items = lightgcn.representations()
    torch.testing.assert_close(users.flatten(), torch.tensor([2.192809, 2.060660]))
    torch.testing.assert_close(items.flatten(), torch.tensor([2.207107, 3.324958, 1.666667]))


def test_no_layers_is_matrix_factorisation():
    data = random_data(1)
    lightgcn = model(data, n_layers=0)
    expected = (lightgcn.user @ lightgcn.item.T).detach()
    torch.testing.assert_close(lightgcn.scorer()(torch.arange(data.n_users)), expected)


@pytest.mark.parametrize("layers", [1, 4])
def test_an_isolated_item_keeps_its_share(layers):
    lightgcn = model(toy(), n_layers=layers)
    torch.testing.assert_close(lightgcn.representations()[1][2], lightgcn.item[2] / (layers + 1))


def test_scaling_the_tables_scales_scores_by_the_square():
    data = random_data(1)
    lightgcn, users = model(data), torch.arange(data.n_users)
    before = lightgcn.scorer()(users)
    with torch.no_grad():
        lightgcn.user *= 3
        lightgcn.item *= 3
    torch.testing.assert_close(lightgcn.scorer()(users), 9 * before)


@pytest.mark.parametrize("mode", ["reference", "described"])
def test_loss_and_gradients_equal_the_dense_form(mode):
    data = random_data(2)
    lightgcn, batch = model(data, mode=mode, reg_weight=0.2), random_batch(data, 5)
    adjacency = dense_adjacency(data)
    root = adjacency.sum(1).clamp(min=1).rsqrt()
    step = root[:, None] * adjacency * root
    x = torch.cat([lightgcn.user, lightgcn.item])
    z = (x + step @ x + step @ step @ x) / 3
    u, i, j = z[batch.user], z[data.n_users + batch.positive], z[data.n_users + batch.negative]
    rows = lightgcn.user[batch.user], lightgcn.item[batch.positive], lightgcn.item[batch.negative]
    if mode == "reference":
        penalty = sum(row.norm() for row in rows) / 7
    else:
        penalty = sum(row.square().sum() for row in rows) / 14
    expected = -((u * i).sum(1) - (u * j).sum(1)).sigmoid().log().mean() + 0.2 * penalty
    loss = lightgcn.loss(batch, torch.Generator())
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    parameters = (lightgcn.user, lightgcn.item)
    for a, b in zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_described_mode_starts_from_the_authors_spread():
    data = random_data(0, n_users=200, n_items=50)
    assert model(data, mode="described").user.std().item() == pytest.approx(0.1, rel=0.05)
    assert model(data).user.abs().max() <= (6 / 264) ** 0.5


def test_vectors_equal_those_of_pytorch_geometric():
    data = random_data(4)
    lightgcn, conv = model(data, n_layers=3), LGConv()
    nodes = torch.cat([lightgcn.user, lightgcn.item])
    layers, edges = [nodes], training_graph(data).to_homogeneous().edge_index
    for _ in range(3):
        layers.append(conv(layers[-1], edges))
    expected = torch.stack(layers).mean(0)
    torch.testing.assert_close(torch.cat(lightgcn.representations()), expected)
