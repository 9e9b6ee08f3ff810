"""Loss functions against figures worked out by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrec_core.losses import bpr, bpr_logsigmoid, info_nce, reg_norm, reg_squared

BLOCKS = [torch.tensor(rows) for rows in ([[3.0, 4.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]], [[0.0, 2.0], [0.0, 0.0]])]


def test_regularisers_on_the_specified_blocks():
    assert reg_norm(*BLOCKS).item() == 4.0
    assert reg_squared(*BLOCKS, count=2).item() == 7.5


@pytest.mark.parametrize("eps", [1e-10, 1e-5])
def test_equal_scores_cost_ln_2(eps):
    assert bpr(torch.ones(4), torch.ones(4), eps).item() == pytest.approx(0.693147, abs=2e-5)
    assert bpr_logsigmoid(torch.ones(4), torch.ones(4)).item() == pytest.approx(0.693147, abs=1e-6)


def test_the_floor_caps_the_loss_and_logsigmoid_has_none():
    wrong = torch.tensor([-200.0]), torch.tensor([0.0])
    assert bpr(*wrong, 1e-5).item() == pytest.approx(11.5129, abs=1e-3)
    assert bpr_logsigmoid(*wrong).item() == pytest.approx(200)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=9))
def test_both_forms_agree_away_from_saturation(margins):
    wanted = torch.tensor(margins)
    torch.testing.assert_close(bpr(wanted, torch.zeros_like(wanted)), bpr_logsigmoid(wanted, torch.zeros_like(wanted)))


def test_info_nce_oracles():
    assert info_nce(torch.eye(3), torch.eye(3), 0.2).item() == pytest.approx(0.013386, abs=1e-6)
    same = torch.ones(2048, 2)
    assert info_nce(same, same, 0.5).item() == pytest.approx(math.log(2048), abs=1e-4)
    assert info_nce(torch.randn(1, 5), torch.randn(1, 5), 0.1).item() == 0


def test_gradient_of_the_norm_is_a_unit_direction_and_zero_at_zero():
    block = torch.randn(3, 4, requires_grad=True)
    zero = torch.zeros(3, 4, requires_grad=True)
    (2 * reg_norm(zero, block)).backward()
    torch.testing.assert_close(block.grad, 2 * block.detach() / block.detach().norm() / 3)
    assert not zero.grad.any()


@pytest.mark.parametrize("spread", [1.0, 300.0])
def test_info_nce_and_its_gradients_are_those_of_cross_entropy(spread):
    generator = torch.Generator().manual_seed(3)
    query, key = (spread * torch.randn(7, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    query.requires_grad_()
    key.requires_grad_()
    plain = torch.nn.functional.cross_entropy(query @ key.T / 0.3, torch.arange(7))
    ours = info_nce(query, key, 0.3)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    wanted = torch.autograd.grad(3 * plain, [query, key])
    for found, right in zip(torch.autograd.grad(3 * ours, [query, key]), wanted, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-10)
    (alone,) = torch.autograd.grad(info_nce(query.detach(), key, 0.3), [key])
    torch.testing.assert_close(3 * alone, wanted[1], rtol=1e-10, atol=1e-10)
