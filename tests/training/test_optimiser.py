"""The two meanings of a cleared gradient, against plain Adam."""

import pytest
import torch
from torch import nn

from lmmrec_core.recommenders.base import GradientRecommender
from lmmrec_core.training.optimiser import Optimiser


class Pair(GradientRecommender):
    name = "pair"

    def __init__(self, zero_fill):
        nn.Module.__init__(self)
        self.zero_fill_gradients = zero_fill
        self.rare = nn.Parameter(torch.zeros(3))
        self.never = nn.Parameter(torch.ones(2))
        self.often = nn.Parameter(torch.zeros(3))


def run(zero_fill, epochs, batches, weight_decay=0.0):
    """``rare`` gets one gradient an epoch, ``often`` one a batch."""
    model = Pair(zero_fill)
    optimiser = Optimiser(model, 0.01, weight_decay)
    direction = torch.tensor([1.0, -2.0, 0.5])
    for _ in range(epochs):
        for batch in range(batches):
            loss = (model.often * direction).sum()
            if batch == 0:
                loss = loss + (model.rare * direction).sum()
            optimiser.step(loss)
    return model


def plain(epochs, batches, weight_decay=0.0):
    """The same by the optimiser of PyTorch with explicit zeros."""
    rare = nn.Parameter(torch.zeros(3))
    adam = torch.optim.Adam([rare], lr=0.01, weight_decay=weight_decay, fused=False, foreach=False)
    for _ in range(epochs):
        for batch in range(batches):
            rare.grad = torch.tensor([1.0, -2.0, 0.5]) if batch == 0 else torch.zeros(3)
            adam.step()
    return rare.detach()


@pytest.mark.parametrize(("epochs", "batches", "weight_decay"), [(1, 58, 0.0), (4, 22, 0.0), (3, 3, 0.1), (2, 1, 0.0)])
def test_zero_fill_equals_adam_with_zero_gradients(epochs, batches, weight_decay):
    result = run(True, epochs, batches, weight_decay).rare.detach()
    torch.testing.assert_close(result, plain(epochs, batches, weight_decay), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("epochs", "batches", "ratio"), [(1, 58, 6.0), (20, 58, 7.1), (20, 107, 9.5)])
def test_displacement_against_skipping_is_as_specified(epochs, batches, ratio):
    filled, skipped = run(True, epochs, batches).rare, run(False, epochs, batches).rare
    assert (filled / skipped).detach().mean().item() == pytest.approx(ratio, abs=0.06)


def test_a_parameter_that_never_had_a_gradient_stays():
    assert torch.equal(run(True, 2, 3, weight_decay=0.1).never.detach(), torch.ones(2))


def test_resumed_state_goes_on_identically():
    def steps(model, optimiser, count):
        for batch in range(count):
            loss = model.often.square().sum() + (model.often * torch.arange(3.0)).sum()
            optimiser.step(loss + model.rare.sum() if batch == 0 else loss)

    whole, first, second = Pair(True), Pair(True), Pair(True)
    one = Optimiser(whole, 0.01, 0.0)
    steps(whole, one, 5)
    steps(whole, one, 5)
    two = Optimiser(first, 0.01, 0.0)
    steps(first, two, 5)
    second.load_state_dict(first.state_dict())
    three = Optimiser(second, 0.01, 0.0)
    three.load_state_dict(two.state_dict())
    steps(second, three, 5)
    assert torch.equal(second.rare, whole.rare) and torch.equal(second.often, whole.often)
