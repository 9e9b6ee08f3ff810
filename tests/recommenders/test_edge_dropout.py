"""Edge subsets against graphs built anew from the kept edges, and the law by which they are drawn."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from lmmrec_core.recommenders import edge_dropout
from lmmrec_core.recommenders.edge_dropout import EdgeSubsets, generator_on, kept_count
from lmmrec_core.recommenders.layers import BipartiteGraph
from lmmrec_core.roles import TrainingData
from tests.recommenders.plain_channels import of_edges, symmetric
from tests.recommenders.toys import dense_adjacency, random_data, toy, written_out


def whole(data):
    return BipartiteGraph.symmetric(data.user, data.item, data.n_users, data.n_items)


def assert_same_graph(one, other):
    for name in ("user_rows", "user_rows_t", "item_rows", "item_rows_t"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.shape == b.shape
        assert torch.equal(a.indptr, b.indptr) and torch.equal(a.columns, b.columns), name
        torch.testing.assert_close(a.weights, b.weights)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_a_subset_is_the_graph_of_its_edges(seed, share):
    generator = torch.Generator().manual_seed(seed)
    data = random_data(seed % 50, n_users=6, n_items=5, edges=17)
    shuffled = torch.randperm(17, generator=generator)  # edges may come in any order
    subsets = EdgeSubsets(BipartiteGraph.symmetric(data.user[shuffled], data.item[shuffled], 6, 5))
    kept = torch.rand(17, generator=generator) < share
    expected = BipartiteGraph.symmetric(subsets.user[kept].long(), subsets.item[kept].long(), 6, 5)
    part = subsets.subgraph(kept)
    assert_same_graph(part, expected)
    adjacency = dense_adjacency(TrainingData(6, 5, subsets.user[kept].long(), subsets.item[kept].long(), {}))
    torch.testing.assert_close(written_out(part.user_rows), symmetric(adjacency)[:6, 6:])


def test_masks_follow_the_edges_by_user_then_item():
    data = random_data(3)
    subsets = EdgeSubsets(whole(data))
    assert torch.equal(subsets.user.long(), data.user) and torch.equal(subsets.item.long(), data.item)


def test_on_the_toy_graph():
    part = EdgeSubsets(whole(toy())).subgraph(torch.tensor([True, False, True]))  # u0-i0, u1-i1: all degrees are one
    assert torch.equal(written_out(part.user_rows), torch.eye(3)[:2])
    users, items = part.propagate(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0], [5.0]]))
    assert users.flatten().tolist() == [3.0, 4.0] and items.flatten().tolist() == [1.0, 2.0, 0.0]


def test_all_edges_give_the_graph_and_none_gives_isolated_nodes():
    data = random_data(1)
    graph = whole(data)
    subsets = EdgeSubsets(graph)
    assert_same_graph(subsets.subgraph(torch.ones(50, dtype=torch.bool)), graph)
    assert_same_graph(subsets.drop(0.0, torch.Generator()), graph)
    nothing = subsets.subgraph(torch.zeros(50, dtype=torch.bool))
    assert not torch.cat(nothing.propagate(torch.ones(12, 2), torch.ones(15, 2))).any()


def test_gradients_pass_through_a_subset():
    data = random_data(2)
    part = EdgeSubsets(whole(data)).drop(0.4, torch.Generator().manual_seed(1))
    x = torch.randn(27, 3, generator=torch.Generator().manual_seed(2)).requires_grad_()
    step = of_edges(part)
    expected, target = (x + step @ x + step @ step @ x) / 3, torch.arange(81.0).view(27, 3)
    result = torch.cat(part.average(x[:12], x[12:], 2))
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)
    (a,), (b,) = (torch.autograd.grad((y * target).sum(), x) for y in (result, expected))
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("edges", "rate", "kept"), [(50, 0.3, 35), (118_551, 0.3, 82_985), (7, 0.5, 3), (3, 0.0, 3)])
def test_exactly_the_stated_number_of_edges_is_kept(edges, rate, kept):
    assert kept_count(edges, rate) == kept
    if edges == 50:
        data = random_data(0)
        pairs = set(zip(data.user.tolist(), data.item.tolist(), strict=True))
        for seed in range(5):
            part = EdgeSubsets(whole(data)).drop(rate, torch.Generator().manual_seed(seed))
            cells = {tuple(cell) for cell in written_out(part.user_rows).nonzero().tolist()}
            assert len(cells) == len(part.user_rows.columns) == kept and cells <= pairs


def test_all_subsets_are_equally_likely():
    data = TrainingData(2, 3, torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 1, 0, 1, 2]), {})
    subsets, generator = EdgeSubsets(whole(data)), torch.Generator().manual_seed(4)
    seen: dict[tuple[bool, ...], int] = {}
    for _ in range(600):
        cells = written_out(subsets.drop(0.4, generator).user_rows) > 0
        key = tuple(cells[data.user, data.item].tolist())
        seen[key] = seen.get(key, 0) + 1
    assert len(seen) == 10 and all(sum(key) == 3 for key in seen)  # 3 of 5
    assert chisquare(list(seen.values())).pvalue > 1e-3


def test_the_generator_fixes_the_subset_and_moves_on():
    subsets = EdgeSubsets(whole(random_data(0)))
    first, again = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    one = subsets.drop(0.5, first)
    assert_same_graph(one, subsets.drop(0.5, again))
    assert not torch.equal(of_edges(one), of_edges(subsets.drop(0.5, first)))


def test_drawing_a_subset_does_not_sort(monkeypatch):
    subsets = EdgeSubsets(whole(random_data(0)))

    def refuse(*_, **__):
        raise AssertionError("sorted")

    for name in ("argsort", "sort"):
        monkeypatch.setattr(torch, name, refuse)
        monkeypatch.setattr(torch.Tensor, name, refuse)
    assert len(subsets.drop(0.5, torch.Generator()).user_rows.columns) == 25


def test_nothing_is_saved_with_the_weights_and_a_change_of_precision_is_followed():
    subsets = EdgeSubsets(whole(random_data(0)))
    assert not subsets.state_dict()
    assert subsets.double().drop(0.5, torch.Generator()).user_rows.weights.dtype == torch.float64


def test_a_generator_on_another_device_is_seeded_by_the_given_one(monkeypatch):
    given = torch.Generator().manual_seed(1)
    assert generator_on(torch.device("cpu"), given) is given
    plain = torch.Generator
    monkeypatch.setattr(edge_dropout.torch, "Generator", lambda device: plain())
    seeds = [generator_on(torch.device("meta"), given).initial_seed() for _ in range(2)]
    assert seeds[0] != seeds[1]
    assert seeds[0] == generator_on(torch.device("meta"), plain().manual_seed(1)).initial_seed()
