"""The smallest detectable change: by the power it promises, and by its limits."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from lmmrec_core.errors import ResultError
from lmmrec_core.significance.power import minimum_detectable_effect


@pytest.mark.parametrize("tests", [1, 35])
@pytest.mark.parametrize("df", [2.0, 5.0, 40.0, 3000.0])
def test_the_test_has_the_promised_power_at_that_effect(df: float, tests: int) -> None:
    effect = minimum_detectable_effect(0.01, df, 0.2, tests=tests)
    critical = stats.t.isf(0.025 / tests, df)
    assert stats.nct.sf(critical, df, effect * 0.2 / 0.01) == pytest.approx(0.8, abs=1e-3)


def test_agrees_with_statsmodels() -> None:
    """A paired t test of 30 users: effect size d with power 0.8, times the deviation, over the reference."""
    d = TTestPower().solve_power(nobs=30, alpha=0.05, power=0.8)
    assert minimum_detectable_effect(0.3 / np.sqrt(30), 29, 0.5) == pytest.approx(d * 0.3 / 0.5, rel=1e-5)


def test_more_tests_and_fewer_seeds_hide_more() -> None:
    one = minimum_detectable_effect(0.01, 10, 0.2)
    assert minimum_detectable_effect(0.01, 10, 0.2, tests=10) > one < minimum_detectable_effect(0.01, 3, 0.2)
    assert minimum_detectable_effect(0.02, 10, 0.2) == pytest.approx(2 * one)


def test_where_nothing_can_be_detected() -> None:
    for se, df, reference in ((np.inf, 0.0, 0.2), (0.01, 10.0, 0.0), (np.inf, 5.0, 0.2)):
        assert minimum_detectable_effect(se, df, reference) == np.inf
    with pytest.raises(ResultError, match="tests 0"):
        minimum_detectable_effect(0.01, 10, 0.2, tests=0)
