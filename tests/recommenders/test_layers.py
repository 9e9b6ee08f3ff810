"""Sparse operators against their dense forms."""

import pytest
import torch

from lmmrec_core.recommenders.layers import (
    BipartiteGraph,
    SparseRows,
    features_normalised,
    linear,
    rows_normalised,
    sparse_product,
    table,
)
from tests.recommenders.toys import dense_adjacency, random_data, toy, written_out


def operators(data):
    adjacency = dense_adjacency(data)
    degree = adjacency.sum(1)
    root = torch.where(degree > 0, degree.rsqrt(), 0.0)
    inverse = torch.where(degree > 0, 1 / degree, 0.0)
    loops = adjacency + torch.eye(len(adjacency))
    return {
        "symmetric": root[:, None] * adjacency * root,
        "mean": inverse[:, None] * adjacency,
        "random_walk": loops / loops.sum(1, keepdim=True),
    }


def build(kind, data):
    return getattr(BipartiteGraph, kind)(data.user, data.item, data.n_users, data.n_items)


@pytest.mark.parametrize("kind", ["symmetric", "mean", "random_walk"])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_average_and_its_gradient_equal_the_dense_form(kind, layers):
    data = random_data(layers, edges=30)
    dense = operators(data)[kind]
    x = torch.randn(data.n_users + data.n_items, 6, requires_grad=True)
    expected, power = x, x
    for _ in range(layers):
        power = dense @ power
        expected = expected + power
    expected = expected / (layers + 1)
    target = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad((expected * target).sum(), x)
    users, items = build(kind, data).average(x[: data.n_users], x[data.n_users :], layers)
    result = torch.cat([users, items])
    (gradient,) = torch.autograd.grad((result * target).sum(), x)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["symmetric", "mean", "random_walk"])
def test_one_step_equals_the_dense_product(kind):
    data = random_data(5)
    x = torch.randn(data.n_users + data.n_items, 300, requires_grad=True)
    result = torch.cat(build(kind, data).propagate(x[: data.n_users], x[data.n_users :]))
    expected = operators(data)[kind] @ x
    target = torch.randn_like(result)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
    (a,) = torch.autograd.grad((result * target).sum(), x, retain_graph=True)
    (b,) = torch.autograd.grad((expected * target).sum(), x)
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_mean_operator_on_the_toy_graph():
    users, items = build("mean", toy()).propagate(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0], [5.0]]))
    assert users.flatten().tolist() == [3.5, 4.0]
    assert items.flatten().tolist() == [1.0, 1.5, 0.0]


def test_random_walk_average_on_the_toy_graph():
    users, items = build("random_walk", toy()).average(
        torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0], [5.0]]), 2
    )
    torch.testing.assert_close(users.flatten(), torch.tensor([2.0, 2.555556]))
    torch.testing.assert_close(items.flatten(), torch.tensor([2.444444, 3.0, 5.0]))


def test_random_walk_rows_sum_to_one():
    data = random_data(2, edges=20)
    users, items = build("random_walk", data).propagate(torch.ones(data.n_users, 1), torch.ones(data.n_items, 1))
    torch.testing.assert_close(torch.cat([users, items]), torch.ones(data.n_users + data.n_items, 1))


def test_sparse_rows_keep_empty_rows_and_add_repeated_cells():
    rows, columns = torch.tensor([2, 0, 2, 2]), torch.tensor([1, 0, 1, 0])
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    matrix, transposed = SparseRows(rows, columns, weights, (4, 2)), SparseRows(columns, rows, weights, (2, 4))
    expected = torch.tensor([[2.0, 0.0], [0.0, 0.0], [4.0, 4.0], [0.0, 0.0]])
    assert torch.equal(written_out(matrix), expected)
    x = torch.randn(2, 3, requires_grad=True)
    product = sparse_product(matrix, transposed, x)
    torch.testing.assert_close(product, expected @ x)
    (gradient,) = torch.autograd.grad(product.sum(), x)
    torch.testing.assert_close(gradient, expected.T @ torch.ones(4, 3))


def test_sparse_rows_without_entries_give_zeros():
    none = torch.zeros(0, dtype=torch.int64)
    assert torch.equal(SparseRows(none, none, torch.zeros(0), (3, 2)).times(torch.ones(2, 4)), torch.zeros(3, 4))


def test_graph_buffers_are_not_saved_with_the_weights():
    assert not build("random_walk", toy()).state_dict()


def test_initial_values_have_the_stated_spread_and_follow_the_generator():
    def draw(kind):
        return table(300, 100, torch.Generator().manual_seed(1), kind).detach()

    assert draw("xavier_uniform").abs().max() <= (6 / 400) ** 0.5
    assert draw("xavier_normal").std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert draw("normal").std().item() == pytest.approx(0.1, rel=0.02)
    assert torch.equal(draw("normal"), draw("normal"))
    layer = linear(25, 40, torch.Generator().manual_seed(1))
    assert layer.weight.abs().max() <= 0.2 and 0 < layer.bias.abs().max() <= 0.2
    assert not linear(25, 40, torch.Generator(), "xavier_normal", zero_bias=True).bias.any()


def test_rows_normalised_leaves_zero_rows_at_zero():
    rows = rows_normalised(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    torch.testing.assert_close(rows, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


@pytest.mark.parametrize("scale", [1e37, 1e20, 1e-13, 1e-25, 1e-36])
def test_features_of_any_scale_have_the_same_directions(scale):
    rows = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    rows[2] = 0
    expected = rows_normalised(rows)
    torch.testing.assert_close(features_normalised(rows * scale), expected)
    mixed = torch.cat([rows * scale, rows])
    assert torch.equal(features_normalised(mixed)[6:], expected)  # ordinary rows to the last bit


def test_the_gradient_of_a_large_row_is_that_of_its_direction():
    rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(2))
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(3))
    plain, large = rows.clone().requires_grad_(), (rows * 1e25).requires_grad_()
    (rows_normalised(plain) * weights).sum().backward()
    (features_normalised(large) * weights).sum().backward()
    torch.testing.assert_close(large.grad * 1e25, plain.grad)
