"""Paired tests against hand computation, SciPy and a plain bootstrap; degenerate cases; the rate of false alarms."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lmmrec_core.errors import ResultError
from lmmrec_core.significance.bootstrap import resampled_means
from lmmrec_core.significance.paired import compare_seeds, compare_users


def series(values: list[float] | np.ndarray, start: int = 0) -> pd.Series:
    return pd.Series(values, index=pd.RangeIndex(start, start + len(values), name="user"), dtype=float)


def test_by_hand() -> None:
    result = compare_users(series([3, 5, 2, 4]), series([1, 4, 3, 2]))  # differences 2, 1, -1, 2: mean 1, variance 2
    assert (result.mean_a, result.mean_b, result.difference, result.relative) == (3.5, 2.5, 1.0, 0.4)
    assert result.t == pytest.approx(np.sqrt(2))
    assert result.effect == pytest.approx(1 / np.sqrt(2))
    assert result.p == pytest.approx(2 * stats.t.sf(np.sqrt(2), 3))
    assert (result.wins, result.ties, result.losses, result.n, result.n_users) == (3, 0, 1, 4, 4)


def test_agrees_with_scipy_whatever_the_order_of_users() -> None:
    rng = np.random.default_rng(0)
    a, b = series(rng.random(200)), series(rng.random(200))
    result, theirs = compare_users(a, b.sample(frac=1, random_state=1)), stats.ttest_rel(a, b)
    assert (result.t, result.p) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-12)
    assert result.t == pytest.approx(result.effect * np.sqrt(200))


def test_swapping_the_sides_turns_the_sign_only() -> None:
    rng = np.random.default_rng(1)
    a, b = series(rng.random(50)), series(rng.random(50))
    one, other = compare_users(a, b), compare_users(b, a)
    assert (one.difference, one.t, one.p) == pytest.approx((-other.difference, -other.t, other.p))
    assert (one.wins, one.losses) == (other.losses, other.wins)


def test_identical_systems_are_not_different() -> None:
    a = series([0.1, 0.4, 0.0, 1.0])
    result = compare_users(a, a.copy())
    assert (result.difference, result.t, result.p, result.effect, result.ties) == (0.0, 0.0, 1.0, 0.0, 4)
    assert (result.ci_low, result.ci_high) == (0.0, 0.0)


def test_a_constant_difference_has_no_spread() -> None:
    result = compare_users(series([0.3, 0.5, 0.9]), series([0.1, 0.3, 0.7]))
    assert (result.t, result.p, result.effect) == (np.inf, 0.0, np.inf)
    assert result.ci_low == pytest.approx(0.2) == result.ci_high


def test_a_reference_of_zero_has_no_relative_change() -> None:
    result = compare_users(series([0.0, 1.0, 0.0]), series([0.0, 0.0, 0.0]))
    assert (result.relative, result.relative_low, result.relative_high) == (None, None, None)
    assert result.difference == pytest.approx(1 / 3)
    # a reference with a single hit: some resample misses it, so the ratio has no interval
    assert compare_users(series([0.0, 1.0, 0.0]), series([0.0, 0.0, 1.0])).relative_low is None


def test_users_of_one_person_are_averaged_first() -> None:
    a, b = series([1, 3, 4, 8, 0]), series([1, 1, 3, 1, 0])
    person = pd.Series(["x", "x", "y", "y", "z"], index=a.index)
    grouped = compare_users(a, b, groups=person)
    assert (grouped.n, grouped.n_users) == (3, 5)
    by_person = compare_users(series([2, 6, 0]), series([1, 2, 0]))
    assert (grouped.t, grouped.p, grouped.mean_a, grouped.ci_low) == (
        by_person.t,
        by_person.p,
        by_person.mean_a,
        by_person.ci_low,
    )


def test_grouping_matters_when_pseudo_users_repeat_their_person() -> None:
    """Ten copies of each person look like ten times the evidence; grouping takes that away."""
    rng = np.random.default_rng(4)
    a, b = rng.random(20) + 0.1, rng.random(20)
    copies_a, copies_b = series(np.repeat(a, 10)), series(np.repeat(b, 10))
    person = pd.Series(np.repeat(np.arange(20), 10), index=copies_a.index)
    assert compare_users(copies_a, copies_b).p < compare_users(series(a), series(b)).p
    assert compare_users(copies_a, copies_b, groups=person).p == pytest.approx(compare_users(series(a), series(b)).p)


@pytest.mark.parametrize("few", [0.0, 1.0], ids=["units are drawn", "counts are drawn"])
def test_the_bootstrap_is_the_ordinary_one(few: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of drawing have the law of drawing users one by one: same mean, spread and quantiles."""
    monkeypatch.setattr("lmmrec_core.significance.bootstrap._FEW", few)
    rng = np.random.default_rng(5)
    a, b = rng.integers(0, 3, 150) / 2, rng.integers(0, 2, 150) / 1.0
    fast_a, fast_b = resampled_means(a, b, seed=3, resamples=20_000)
    rows = rng.integers(0, 150, (20_000, 150))
    for fast, plain in ((fast_a - fast_b, (a - b)[rows].mean(axis=1)), (fast_a, a[rows].mean(axis=1))):
        error = fast.std() / np.sqrt(20_000)
        assert abs(fast.mean() - plain.mean()) < 6 * error
        assert fast.std() == pytest.approx(plain.std(), rel=0.04)
        np.testing.assert_allclose(np.quantile(fast, [0.025, 0.975]), np.quantile(plain, [0.025, 0.975]), atol=0.012)


def test_the_interval_is_repeatable_and_moves_with_the_seed() -> None:
    rng = np.random.default_rng(6)
    a, b = series(rng.random(60)), series(rng.random(60))
    assert compare_users(a, b, seed=1) == compare_users(a, b, seed=1)
    assert compare_users(a, b, seed=1).ci_low != compare_users(a, b, seed=2).ci_low
    result = compare_users(a, b, seed=1)
    assert result.relative is not None and result.relative_low is not None and result.relative_high is not None
    assert result.ci_low < result.difference < result.ci_high
    assert result.relative_low < result.relative < result.relative_high


@pytest.mark.parametrize("few", [0.0, 1.1])
def test_the_chunks_of_the_bootstrap_cover_every_resample(few: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    a, b = rng.random(30), rng.random(30)
    monkeypatch.setattr("lmmrec_core.significance.bootstrap._FEW", few)
    monkeypatch.setattr("lmmrec_core.significance.bootstrap._AT_ONCE", 210)  # seven resamples at a time
    sample_a, sample_b = resampled_means(a, b, seed=1, resamples=100)
    assert len(sample_a) == len(sample_b) == 100
    assert np.unique(sample_a).size == 100


def test_seeds_are_averaged_per_user_before_the_test() -> None:
    rng = np.random.default_rng(8)
    a = {s: series(rng.random(40) + 0.05 * s) for s in (1, 2, 3)}
    b = {s: series(rng.random(40)) for s in (2, 3, 4)}
    result = compare_seeds(a, b)
    assert result.seeds == (2, 3) and result.n == 40  # not 80: seeds add no observations
    assert result.t == pytest.approx(stats.ttest_rel((a[2] + a[3]) / 2, (b[2] + b[3]) / 2).statistic)
    by_seed = [(a[s] - b[s]).mean() for s in (2, 3)]
    assert result.spread == pytest.approx(np.std(by_seed, ddof=1))
    assert compare_seeds({1: a[1]}, {1: b[2]}).spread is None


def test_what_cannot_be_paired_is_refused() -> None:
    a = series([1, 2, 3])
    with pytest.raises(ResultError, match=r"2 users have a value in only one .*first: 0"):
        compare_users(a, series([1, 2, 3], start=1))
    with pytest.raises(ResultError, match="at least 2 users, got 1"):
        compare_users(a.iloc[:1], a.iloc[:1])
    with pytest.raises(ResultError, match="at least 2 persons, got 1"):
        compare_users(a, a, groups=pd.Series(0, index=a.index))
    with pytest.raises(ResultError, match="system b: a value is not a finite"):
        compare_users(a, series([1, np.nan, 3]))
    with pytest.raises(ResultError, match="system a: user 0 has two values"):
        compare_users(pd.concat([a, a]), a)
    with pytest.raises(ResultError, match="user 2 has no group"):
        compare_users(a, a, groups=pd.Series([1, 1], index=[0, 1]))
    with pytest.raises(ResultError, match=r"a has \[1\], b has \[2\]"):
        compare_seeds({1: a}, {2: a})
    with pytest.raises(ResultError, match="seed 2 has other users"):
        compare_seeds({1: a, 2: a.iloc[:2]}, {1: a, 2: a})


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, 0.25, 0.5, 1]), st.sampled_from([0, 0.25, 0.5, 1])), min_size=2, max_size=30)
)
def test_no_input_gives_nan(pairs: list[tuple[float, float]]) -> None:
    a, b = (series([paired_values[side] for paired_values in pairs]) for side in (0, 1))
    result = compare_users(a, b, resamples=50)
    numbers = [v for v in result.__dict__.values() if isinstance(v, float)]
    assert not np.isnan(numbers).any() and 0 <= result.p <= 1


def test_false_alarms_happen_as_often_as_alpha_says() -> None:
    """400 pairs of systems that differ by chance only: 5 % ± 4 standard errors are called different."""
    rng = np.random.default_rng(9)
    base = (rng.random((400, 300)) < 0.2).astype(float)
    noise = rng.random((2, 400, 300)) < 0.5
    p = [
        compare_users(
            series(np.where(noise[0, i], base[i], 0)), series(np.where(noise[1, i], base[i], 0)), resamples=2
        ).p
        for i in range(400)
    ]
    assert abs(np.mean(np.array(p) < 0.05) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 400)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(10)
    covered = 0
    for _ in range(200):
        a, b = (rng.random((2, 150)) < np.array([[0.3], [0.2]])).astype(float)
        result = compare_users(series(a), series(b), resamples=300)
        covered += result.ci_low <= 0.1 <= result.ci_high
    assert 0.88 <= covered / 200 <= 0.99
