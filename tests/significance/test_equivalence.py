"""Two one-sided tests against statsmodels, and what they say about controls."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from lmmrec_core.errors import ResultError
from lmmrec_core.significance.comparison import compare
from lmmrec_core.significance.equivalence import equivalence_p
from tests.significance.crossing import by_seed, drawn


@pytest.mark.parametrize("margin", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("shift", [-0.04, 0.0, 0.1])
def test_agrees_with_statsmodels(margin: float, shift: float) -> None:
    rng = np.random.default_rng(0)
    b = rng.random(80)
    a = b + rng.normal(shift, 0.1, 80)
    theirs, _, _ = ttost_paired(a, b, -margin, margin)
    error = (a - b).std(ddof=1) / np.sqrt(80)
    assert equivalence_p((a - b).mean(), error, 79, margin) == pytest.approx(theirs, rel=1e-9)


def test_it_holds_when_the_interval_of_level_90_is_within_the_margin() -> None:
    for difference in np.linspace(-0.1, 0.1, 21):
        reach = stats.t.isf(0.05, 7.3) * 0.02
        inside = difference - reach > -0.06 and difference + reach < 0.06
        assert (equivalence_p(difference, 0.02, 7.3, 0.06) < 0.05) == inside


def test_no_significance_is_not_equivalence() -> None:
    """Few users and seeds show neither a difference nor the absence of one."""
    rng = np.random.default_rng(3)
    few = compare(by_seed(drawn(10, 2, rng)), by_seed(drawn(10, 2, rng)))
    assert few.p > 0.05 and equivalence_p(few.difference, few.se, few.df, 0.05) > 0.05
    many = compare(by_seed(drawn(20_000, 5, rng, seed_sd=0.01)), by_seed(drawn(20_000, 5, rng, seed_sd=0.01)))
    assert equivalence_p(many.difference, many.se, many.df, 0.05) < 0.05


def test_without_an_error_the_margin_decides_and_without_an_end_nothing_is_shown() -> None:
    assert (equivalence_p(0.0, 0.0, 9, 0.01), equivalence_p(0.1, 0.0, 9, 0.01)) == (0.0, 1.0)
    assert equivalence_p(0.0, np.inf, 0.0, 0.01) == 1.0


def test_a_margin_must_be_stated() -> None:
    for margin in (0.0, -1.0, float("nan")):
        with pytest.raises(ResultError, match="must be a positive number"):
            equivalence_p(0.0, 0.1, 9, margin)
