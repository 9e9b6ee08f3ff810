"""Coasting in one pass against the same steps made one by one by torch's own Adam."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrec_core.training.momentum import coast


def stepped(gradients: list[torch.Tensor], idle: int, rate: float, in_one_pass: bool) -> torch.Tensor:
    """A parameter after real steps, each followed by ``idle`` steps with a gradient of zeros."""
    parameter = torch.nn.Parameter(torch.zeros_like(gradients[0]))
    adam = torch.optim.Adam([parameter], lr=rate)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        adam.step()
        if in_one_pass:
            coast(parameter, adam.state[parameter], [rate] * idle)
            continue
        for _ in range(idle):
            parameter.grad = torch.zeros_like(parameter)
            adam.step()
    return parameter.detach()


@pytest.mark.parametrize("idle", [1, 3, 57, 300])
def test_one_pass_equals_step_by_step(idle):
    random = torch.Generator().manual_seed(1)
    # from gradients far below eps = 1e-8 to ordinary ones, and exact zeros
    sizes = torch.logspace(-14, 1, 64, dtype=torch.float64)
    gradients = [torch.randn(64, generator=random, dtype=torch.float64) * sizes for _ in range(5)]
    gradients[0][:4] = 0
    many = stepped(gradients, idle, 0.01, in_one_pass=False)
    once = stepped(gradients, idle, 0.01, in_one_pass=True)
    torch.testing.assert_close(once, many, rtol=1e-7, atol=1e-16)


def test_single_precision_is_as_near_as_its_own_rounding():
    random = torch.Generator().manual_seed(2)
    gradients = [torch.randn(1000, generator=random) * 1e-4 for _ in range(8)]
    exact = stepped([gradient.double() for gradient in gradients], 57, 1e-3, in_one_pass=False)
    once = stepped(gradients, 57, 1e-3, in_one_pass=True)
    torch.testing.assert_close(once.double(), exact, rtol=1e-5, atol=1e-7)


@given(
    rates=st.lists(st.floats(1e-5, 0.1), min_size=1, max_size=40), first=st.integers(1, 200), seed=st.integers(0, 99)
)
@settings(max_examples=30, deadline=None)
def test_changing_learning_rates_and_any_start(rates, first, seed):
    random = torch.Generator().manual_seed(seed)
    begin = torch.randn(16, generator=random, dtype=torch.float64)
    parameters = [torch.nn.Parameter(begin.clone()) for _ in range(2)]
    adams = [torch.optim.Adam([parameter], lr=0.01) for parameter in parameters]
    for _ in range(first):
        gradient = torch.randn(16, generator=random, dtype=torch.float64)
        for parameter, adam in zip(parameters, adams, strict=True):
            parameter.grad = gradient.clone()
            adam.step()
    for rate in rates:
        adams[0].param_groups[0]["lr"] = rate
        parameters[0].grad = torch.zeros(16, dtype=torch.float64)
        adams[0].step()
    coast(parameters[1], adams[1].state[parameters[1]], rates)
    torch.testing.assert_close(parameters[1], parameters[0], rtol=1e-7, atol=1e-12)
    for name, moment in adams[0].state[parameters[0]].items():
        torch.testing.assert_close(adams[1].state[parameters[1]][name], moment, rtol=1e-9, atol=0)


def test_tensors_longer_than_a_chunk(monkeypatch):
    monkeypatch.setattr("lmmrec_core.training.momentum._CHUNK", 7)
    random = torch.Generator().manual_seed(3)
    gradients = [torch.randn(5, 4, generator=random, dtype=torch.float64) for _ in range(2)]
    once, many = (stepped(gradients, 9, 0.01, in_one_pass) for in_one_pass in (True, False))
    torch.testing.assert_close(once, many, rtol=1e-7, atol=1e-14)
