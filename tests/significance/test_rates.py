"""Rates with intervals, held against statsmodels and against what clusters must do to them."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from lmmrec_core.errors import ResultError
from lmmrec_core.significance.rates import rate_of


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (3, 50), (50, 50), (200, 400)])
def test_independent_outcomes_have_the_exact_interval(hits: int, n: int) -> None:
    found = rate_of([True] * hits + [False] * (n - hits))
    assert (found.low, found.high) == pytest.approx(proportion_confint(hits, n, method="beta"))
    assert (found.rate, found.n, found.clusters) == (hits / n, n, n)


def test_outcomes_that_repeat_count_once() -> None:
    """Ten copies of each outcome tell nothing new: the interval is that of the originals, up to the clusters' df."""
    outcomes = [True] * 5 + [False] * 35
    once = rate_of(outcomes, range(40))
    copied = rate_of(outcomes * 10, [*range(40)] * 10)
    assert copied.rate == once.rate
    assert copied.low == pytest.approx(once.low, abs=0.01)
    assert copied.high == pytest.approx(once.high, abs=0.01)


def test_clusters_that_are_alike_never_narrow_the_interval() -> None:
    outcomes = [True, False] * 20  # each cluster has one of both
    plain, clustered = rate_of(outcomes), rate_of(outcomes, [number // 2 for number in range(40)])
    assert clustered.low <= plain.low and clustered.high >= plain.high


def test_without_a_single_hit_clusters_count_as_one_outcome_each() -> None:
    found = rate_of([False] * 100, [number // 10 for number in range(100)])
    assert found.low == 0 and 0.3 < found.high < 0.4  # ten outcomes: 0.31, and wider for nine degrees of freedom


def test_one_cluster_says_nothing() -> None:
    found = rate_of([True, False], ["a", "a"])
    assert (found.low, found.high) == (0, 1)


def test_clustered_intervals_hold_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        chance = generator.beta(0.5, 9.5, 40)  # mean .05, unlike between clusters
        hits = generator.random((40, 10)) < chance[:, None]
        found = rate_of(hits.ravel().tolist(), np.repeat(np.arange(40), 10).tolist())
        covered.append(found.low <= 0.05 <= found.high)
    assert 0.93 <= np.mean(covered) <= 1.0


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ResultError, match="at least one"):
        rate_of([])
    with pytest.raises(ResultError, match="1 names"):
        rate_of([True, False], ["a"])
