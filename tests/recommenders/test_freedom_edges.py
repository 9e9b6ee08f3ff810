"""FREEDOM's edge pruning: how many edges, which, and how likely."""

import itertools

import pytest
import torch

from lmmrec_core.recommenders.freedom import FREEDOM, drawn_edges
from tests.recommenders.toys import dense_adjacency, random_batch, random_data, written_out

NOTHING = torch.Generator()


def model(data, **settings):
    chosen = FREEDOM.Settings.build({"k": 4, "embedding_dim": 5, "dropout": 0.6, **settings})
    return FREEDOM(data, chosen, torch.Generator().manual_seed(3))


def kept_edges(freedom):
    """(user, item) pairs of the epoch's graph."""
    return {tuple(pair) for pair in written_out(freedom.pruned.user_rows).nonzero().tolist()}


@pytest.mark.parametrize(("edges", "dropout", "kept"), [(57, 0.8, 11), (50, 0.55, 22), (57, 0.9, 5), (3, 0.8, 0)])
def test_an_epoch_keeps_the_stated_number_of_training_edges(edges, dropout, kept):
    data = random_data(1, edges=edges)
    freedom = model(data, dropout=dropout)
    freedom.begin_epoch(1, torch.Generator().manual_seed(5))
    pairs = kept_edges(freedom)
    assert len(pairs) == kept and pairs <= set(zip(data.user.tolist(), data.item.tolist(), strict=True))
    assert freedom.loss(random_batch(data, 4), NOTHING).isfinite()


def test_every_epoch_draws_other_edges_and_the_generator_fixes_them():
    data = random_data(1)
    freedom, again = model(data), model(data)
    generator, copy = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    drawn = []
    for epoch in (1, 2):
        freedom.begin_epoch(epoch, generator)
        again.begin_epoch(epoch, copy)
        drawn.append(kept_edges(freedom))
        assert kept_edges(again) == drawn[-1]
    assert drawn[0] != drawn[1]


def test_edges_are_weighted_by_the_root_of_both_degrees():
    data = random_data(1)
    degree = dense_adjacency(data).sum(1)
    expected = 1 / (degree[data.user] * degree[data.n_users + data.item]).sqrt()
    torch.testing.assert_close(model(data).edge_weight.float(), expected)


def inclusion(weights, count):
    """Probability that each is among the first ``count`` of a draw without replacement, by listing all draws."""
    total = torch.zeros(len(weights), dtype=torch.float64)
    for order in itertools.permutations(range(len(weights)), count):
        chance, left = 1.0, float(weights.sum())
        for edge in order:
            chance *= float(weights[edge]) / left
            left -= float(weights[edge])
        total[list(order)] += chance
    return total


@pytest.mark.parametrize("count", [2, 4])
def test_edges_are_drawn_with_the_probabilities_of_a_sequential_draw(count):
    degrees = torch.tensor([[1, 1], [1, 4], [9, 1], [4, 4], [25, 4], [36, 49]], dtype=torch.float64)
    weights = degrees.prod(1).rsqrt()
    generator = torch.Generator().manual_seed(11)
    draws = 4000
    drawn = torch.cat([drawn_edges(weights, count, generator) for _ in range(draws)])
    share = torch.bincount(drawn, minlength=6) / draws
    expected = inclusion(weights, count)
    assert expected.sum().item() == pytest.approx(count)
    assert ((share - expected).abs() <= 3 * (expected * (1 - expected) / draws).sqrt()).all()
    one = drawn_edges(weights, count, generator)
    assert len(set(one.tolist())) == count and torch.equal(one, one.sort().values)


def test_the_sampler_agrees_with_multinomial():
    weights = torch.rand(30, generator=torch.Generator().manual_seed(1), dtype=torch.float64) ** 2 + 0.01
    draws = 3000
    ours, theirs = torch.Generator().manual_seed(2), torch.Generator().manual_seed(3)
    a = torch.bincount(torch.cat([drawn_edges(weights, 6, ours) for _ in range(draws)]), minlength=30) / draws
    other = [torch.multinomial(weights, 6, generator=theirs) for _ in range(draws)]
    b = torch.bincount(torch.cat(other), minlength=30) / draws
    middle = (a + b) / 2
    deviations = (a - b).abs() / (2 * middle * (1 - middle) / draws).sqrt()
    assert (deviations <= 3).float().mean() > 0.96 and deviations.max() < 4
