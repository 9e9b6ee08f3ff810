"""Two one-sided tests against statsmodels, and what they say about controls."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.weightstats import ttost_paired

from lmmrec_core.errors import ResultError
from lmmrec_core.significance.equivalence import equivalence
from lmmrec_core.significance.paired import compare_users


@pytest.mark.parametrize("margin", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("shift", [-0.04, 0.0, 0.1])
def test_agrees_with_statsmodels(margin: float, shift: float) -> None:
    rng = np.random.default_rng(0)
    b = pd.Series(rng.random(80))
    a = b + rng.normal(shift, 0.1, 80)
    ours, (theirs, _, _) = equivalence(a, b, margin), ttost_paired(a.to_numpy(), b.to_numpy(), -margin, margin)
    assert ours.p == pytest.approx(theirs, rel=1e-9)
    assert ours.equivalent == (theirs < 0.05) == (-margin < ours.low and ours.high < margin)


def test_no_significance_is_not_equivalence() -> None:
    """Ten users show neither a difference nor the absence of one."""
    rng = np.random.default_rng(3)
    b = pd.Series(rng.random(10))
    a = b + rng.normal(0, 0.3, 10)
    assert compare_users(a, b).p > 0.05 and not equivalence(a, b, margin=0.02).equivalent
    many = pd.Series(rng.random(20_000))
    assert equivalence(many + rng.normal(0, 0.3, 20_000), many, margin=0.02).equivalent


def test_systems_without_spread_are_decided_by_the_margin() -> None:
    b = pd.Series([0.1, 0.4, 0.7])
    same, far = equivalence(b, b.copy(), 0.01), equivalence(b + 0.1, b, 0.01)
    assert (same.equivalent, same.p) == (True, 0.0)
    assert (far.equivalent, far.p) == (False, 1.0)


def test_persons_are_the_units_where_given() -> None:
    rng = np.random.default_rng(5)
    a, b = pd.Series(np.repeat(rng.random(15), 4)), pd.Series(np.repeat(rng.random(15), 4))
    person = pd.Series(np.repeat(np.arange(15), 4))
    assert equivalence(a, b, 0.1, groups=person).n == 15
    assert equivalence(a, b, 0.3, groups=person).p > equivalence(a, b, 0.3).p


def test_a_margin_must_be_stated() -> None:
    a = pd.Series([0.1, 0.2])
    for margin in (0.0, -1.0, float("nan")):
        with pytest.raises(ResultError, match="must be a positive number"):
            equivalence(a, a, margin)
    with pytest.raises(ResultError, match="alpha"):
        equivalence(a, a, 0.1, alpha=0.7)
