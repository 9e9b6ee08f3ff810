"""The crossed test: by hand, against SciPy and statsmodels, its properties, degenerate and refused input."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from lmmrec_core.errors import ResultError
from lmmrec_core.significance.comparison import Comparison, compare
from lmmrec_core.significance.crossed import Side, means_variance, users_only, variance_of
from lmmrec_core.significance.seed_noise import SeedNoise
from lmmrec_core.significance.units import Crossed, crossed, runs_of
from tests.significance.crossing import by_seed, drawn


def test_by_hand() -> None:
    """Two users, two seeds of each system, every mean square written out."""
    a, b = [[3, 5], [5, 7]], [[1, 2], [3, 4]]
    # means a 5, b 2.5; user means of a 4, 6 and of b 1.5, 3.5: both systems gain the same from user 2, difference 2.5
    # persons' part: differences 2.5 and 2.5, variance 0. Seeds: means of a 4, 6 (variance 2), of b 2, 3 (0.5);
    # over two seeds 1 + 0.25. Nothing is left of users within seeds. So se² = 1.25.
    found = compare(by_seed(a), by_seed(b))
    assert (found.mean_a, found.mean_b, found.difference, found.relative) == (5.0, 2.5, 2.5, 1.0)
    assert found.se == pytest.approx(np.sqrt(1.25))
    assert found.df == pytest.approx(1.25**2 / (1**2 / 1 + 0.25**2 / 1))
    assert found.p == pytest.approx(2 * stats.t.sf(2.5 / np.sqrt(1.25), found.df))
    assert (found.n, found.persons, found.seeds, found.wins, found.ties, found.losses) == (2, 2, 2, 2, 0, 0)
    assert found.share_gained == 1.0 and found.effect == np.inf
    assert found.spread == pytest.approx(np.sqrt(2.5))  # √(2 + 0.5)


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        ([[1.0, 0.0], [5.0, 3.0], [2.0, 0.0]], None),  # the sum as it is
        ([[3.0, 2.0], [2.0, 3.0], [6.0, 6.0]], None),  # also below the persons' part, as the seeds' means are alike
        ([[1.0, 0.0], [0.0, 1.0], [0.6, 0.6]], 0.5),  # an interaction alone: not below half of the persons' part
    ],
)
def test_the_part_counted_twice_by_hand(rows: list[list[float]], share: float | None) -> None:
    """Both parts hold the interaction of users and seeds, and it counts once."""
    a = np.array(rows)
    found = compare(by_seed(a), by_seed(np.zeros((3, 2))))
    users, seeds = a.mean(axis=1), a.mean(axis=0)
    rest = a - users[:, None] - seeds + a.mean()
    persons_part, seeds_part = users.var(ddof=1) / 3, seeds.var(ddof=1) / 2
    twice = (rest**2).sum() / 2 / 6  # (3 − 1)(2 − 1) degrees of freedom, six values
    summed = persons_part + seeds_part - twice
    assert found.se**2 == pytest.approx(summed if share is None else share * persons_part)
    assert (summed < persons_part / 2) == (share is not None)


def mixed_model_error(values: np.ndarray) -> float:
    """Standard error of the mean of ``values`` [user, seed] with crossed random effects, by statsmodels (REML)."""
    users, seeds = values.shape
    frame = pd.DataFrame({"y": values.ravel(), "user": np.repeat(range(users), seeds), "one": 1})
    frame["seed"] = np.tile(range(seeds), users)
    parts = {"user": "0 + C(user)", "seed": "0 + C(seed)"}
    model = MixedLM.from_formula("y ~ 1", frame, groups="one", re_formula="0", vc_formula=parts)
    return float(model.fit(reml=True).bse["Intercept"])


def test_agrees_with_a_mixed_model_of_crossed_effects() -> None:
    """Against a constant, the error is that of one mean with random users and seeds, which statsmodels fits."""
    values = drawn(25, 5, np.random.default_rng(0), seed_sd=0.4)
    ours = compare(by_seed(values), by_seed(np.zeros_like(values)))
    assert ours.se == pytest.approx(mixed_model_error(values), rel=1e-3)


def test_the_persons_part_agrees_with_a_clustered_regression() -> None:
    rng = np.random.default_rng(1)
    values, person = rng.normal(0.3, 1, 90) + np.repeat(rng.normal(0, 1, 30), 3), np.repeat(range(30), 3)
    pair = crossed(runs_of("a", by_seed(values[:, None])), runs_of("b", by_seed(np.zeros((90, 1)))), pd.Series(person))
    fitted = sm.OLS(values, np.ones(90)).fit(cov_type="cluster", cov_kwds={"groups": person}, use_t=True)
    ours = users_only(pair)
    assert ours.se == pytest.approx(float(fitted.bse[0]), rel=1e-10)
    assert ours.p == pytest.approx(float(fitted.pvalues[0]), rel=1e-8)


def test_without_noise_of_seeds_it_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random(200), rng.random(200)
    twice = compare(by_seed(np.column_stack([a, a])), by_seed(np.column_stack([b, b])))
    theirs = stats.ttest_rel(a, b)
    assert (twice.t, twice.p, twice.df) == pytest.approx((theirs.statistic, theirs.pvalue, 199), rel=1e-9)
    assert twice.effect == pytest.approx(twice.t / np.sqrt(200))
    low, high = theirs.confidence_interval(0.95)
    assert (twice.ci_low, twice.ci_high) == pytest.approx((low, high))


def test_without_noise_of_users_it_is_welch_over_seeds() -> None:
    """All users alike: what is left is Welch's t test on the runs' means, whatever the seeds are called."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.5, 0.1, 4), rng.normal(0.3, 0.02, 3)
    found = compare(by_seed(np.tile(a, (50, 1))), by_seed(np.tile(b, (50, 1)), first=7))
    theirs = stats.ttest_ind(a, b, equal_var=False)
    assert (found.t, found.df, found.p) == pytest.approx((theirs.statistic, theirs.df, theirs.pvalue), rel=1e-9)
    assert found.seeds == 3


def test_swapping_the_sides_turns_the_sign_only() -> None:
    rng = np.random.default_rng(4)
    a, b = by_seed(drawn(60, 3, rng)), by_seed(drawn(60, 4, rng))
    one, other = compare(a, b), compare(b, a)
    assert (one.difference, one.t, one.p, one.se, one.df) == pytest.approx(
        (-other.difference, -other.t, other.p, other.se, other.df)
    )
    assert (one.wins, one.losses, one.ci_low) == (other.losses, other.wins, pytest.approx(-other.ci_high))
    assert one.relative_low is not None and other.relative_high is not None
    assert 1 + one.relative_low == pytest.approx(1 / (1 + other.relative_high))


def test_another_unit_of_the_metric_changes_no_p_value() -> None:
    rng = np.random.default_rng(5)
    a, b = drawn(60, 3, rng), drawn(60, 3, rng)
    one, scaled = compare(by_seed(a), by_seed(b)), compare(by_seed(100 * a), by_seed(100 * b))
    assert (scaled.p, scaled.df, scaled.relative, scaled.effect) == pytest.approx(
        (one.p, one.df, one.relative, one.effect)
    )
    assert (scaled.se, scaled.ci_low) == pytest.approx((100 * one.se, 100 * one.ci_low))


def test_a_second_copy_of_every_user_is_no_evidence() -> None:
    rng = np.random.default_rng(6)
    a, b = drawn(40, 3, rng), drawn(40, 3, rng)
    once = compare(by_seed(a), by_seed(b))
    person = pd.Series(np.repeat(range(40), 2))
    copied = by_seed(np.repeat(a, 2, axis=0)), by_seed(np.repeat(b, 2, axis=0))
    twice = compare(*copied, groups=person)
    assert (twice.n, twice.persons) == (80, 40)
    assert (twice.se, twice.df, twice.p) == pytest.approx((once.se, once.df, once.p))
    assert compare(*copied).se < once.se  # as if they were eighty persons


def test_persons_do_not_change_what_is_estimated() -> None:
    """One person with many sessions: the means stay the users' means, as in the tables."""
    rng = np.random.default_rng(7)
    a, b = by_seed(drawn(30, 2, rng)), by_seed(drawn(30, 2, rng))
    person = pd.Series([0] * 20 + list(range(1, 11)))
    plain, clustered = compare(a, b), compare(a, b, person)
    same = ("mean_a", "mean_b", "difference", "relative", "effect", "wins", "losses")
    assert [getattr(plain, name) for name in same] == [getattr(clustered, name) for name in same]
    assert (clustered.n, clustered.persons, plain.persons) == (30, 11, 30)


def test_the_intervals_say_what_the_test_says() -> None:
    rng = np.random.default_rng(8)
    for shift in np.linspace(-0.6, 0.6, 25):
        found = compare(by_seed(drawn(40, 3, rng, 1 + shift)), by_seed(drawn(40, 3, rng)))
        assert (found.p < 0.05) == (not found.ci_low <= 0 <= found.ci_high)
        assert found.relative_low is not None and found.relative_high is not None and found.relative is not None
        assert (found.p < 0.05) == (not found.relative_low <= 0 <= found.relative_high)
        assert found.relative_low < found.relative < found.relative_high


def test_identical_systems_are_not_different() -> None:
    values = by_seed([[0.1, 0.2], [0.4, 0.4], [0.0, 0.1]])
    found = compare(values, {seed: one.copy() for seed, one in values.items()})
    assert (found.difference, found.t, found.p, found.effect, found.ties) == (0.0, 0.0, 1.0, 0.0, 3)
    assert found.share_gained is None


def test_what_never_varies_is_decided_by_the_means() -> None:
    shifted = compare(by_seed([[0.3, 0.3], [0.5, 0.5]]), by_seed([[0.1, 0.1], [0.3, 0.3]]))
    assert (shifted.t, shifted.p, shifted.se, shifted.effect) == (np.inf, 0.0, 0.0, np.inf)
    assert shifted.ci_low == pytest.approx(0.2) == shifted.ci_high


def test_a_reference_of_zero_has_no_relative_change() -> None:
    found = compare(by_seed([[0, 1], [1, 0], [0, 0]]), by_seed(np.zeros((3, 2))))
    assert (found.relative, found.relative_low, found.relative_high) == (None, None, None)
    few = compare(by_seed([[0, 1], [1, 0], [0, 0]]), by_seed([[0, 1], [0, 0], [0, 0]]))
    assert few.relative == pytest.approx(1.0) and few.relative_low is None  # cannot be told from zero


def test_one_seed_is_not_testable() -> None:
    rng = np.random.default_rng(9)
    a, b = by_seed(drawn(200, 1, rng, 2.0)), by_seed(drawn(200, 3, rng))
    found = compare(a, b)
    assert (found.testable, found.p, found.se, found.seeds) == (False, 1.0, np.inf, 1)
    assert (found.ci_low, found.ci_high, found.relative_low, found.spread) == (-np.inf, np.inf, None, None)
    assert found.difference == pytest.approx(a[1].mean() - np.mean([one.mean() for one in b.values()]))


def test_splits_take_the_place_of_seeds() -> None:
    """Three splits with two seeds each: the error of persons and splits, by the same sums as persons and seeds."""
    rng = np.random.default_rng(10)
    a, b = rng.normal(1, 0.4, (30, 6)), rng.normal(0.8, 0.4, (30, 6))
    keys = [(split, seed) for split in (1, 2, 3) for seed in (1, 2)]
    found = compare(
        {key: pd.Series(column) for key, column in zip(keys, a.T, strict=True)},
        {key: pd.Series(column) for key, column in zip(keys, b.T, strict=True)},
    )
    by_split = (a - b).reshape(30, 3, 2).mean(axis=2)  # seeds belong to their split
    users, splits = by_split.mean(axis=1), by_split.mean(axis=0)
    rest = by_split - users[:, None] - splits + by_split.mean()
    persons_part, splits_part = users.var(ddof=1) / 30, splits.var(ddof=1) / 3
    twice = (rest**2).sum() / (29 * 2) / 90
    raw = persons_part + splits_part - twice
    assert (found.n, found.persons, found.seeds) == (30, 30, 2)
    assert found.difference == pytest.approx(by_split.mean())
    assert raw <= found.se**2 + 1e-15 and found.se**2 <= persons_part + splits_part
    assert found.df < 40


def test_users_may_differ_between_splits_but_not_within() -> None:
    one, other = pd.Series([0.1, 0.4, 0.3]), pd.Series([0.2, 0.3], index=[1, 7])
    found = compare({(1, 1): one, (2, 1): other}, {(1, 1): one * 0.9, (2, 1): other * 0.8})
    assert (found.n, found.persons) == (3, 4)
    assert found.mean_a == pytest.approx((one.mean() + other.mean()) / 2)
    with pytest.raises(ResultError, match=r"a has splits \[1\], b has \[2\]"):
        compare({(1, 1): one}, {(2, 1): one})
    with pytest.raises(ResultError, match=r"seeds per split are \{1: 2, 2: 1\}"):
        compare({(1, 1): one, (1, 2): one, (2, 1): other}, {(1, 1): one, (2, 1): other})


def test_the_order_of_users_does_not_matter() -> None:
    rng = np.random.default_rng(11)
    a, b = by_seed(drawn(50, 3, rng)), by_seed(drawn(50, 3, rng))
    turned = {seed: values.sample(frac=1, random_state=seed) for seed, values in b.items()}
    assert compare(a, turned).p == pytest.approx(compare(a, b).p, rel=1e-9)


def test_what_cannot_be_compared_is_refused() -> None:
    a = pd.Series([1.0, 2.0, 3.0])
    with pytest.raises(ResultError, match=r"2 users have a value in only one .*first: 0"):
        compare({1: a}, {1: pd.Series(a.to_numpy(), index=[1, 2, 3])})
    with pytest.raises(ResultError, match="at least 2 users, got 1"):
        compare({1: a.iloc[:1]}, {1: a.iloc[:1]})
    with pytest.raises(ResultError, match="at least 2 persons, got 1"):
        compare({1: a}, {1: a}, groups=pd.Series(0, index=a.index))
    with pytest.raises(ResultError, match="system b: a value is not a finite"):
        compare({1: a}, {1: pd.Series([1, np.nan, 3])})
    with pytest.raises(ResultError, match="system a: user 0 has two values"):
        compare({1: pd.concat([a, a])}, {1: a})
    with pytest.raises(ResultError, match="user 2 has no group"):
        compare({1: a}, {1: a}, groups=pd.Series([1, 1], index=[0, 1]))
    with pytest.raises(ResultError, match="system a: no run to compare"):
        compare({}, {1: a})
    with pytest.raises(ResultError, match="system a: seed 2 has other users"):
        compare({1: a, 2: a.iloc[:2]}, {1: a, 2: a})


HITS = st.sampled_from([0, 0.25, 0.5, 1])


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 12).flatmap(lambda n: st.lists(st.tuples(*[HITS] * 5), min_size=n, max_size=n)))
def test_no_input_gives_nan(rows: list[tuple[float, ...]]) -> None:
    values = np.array(rows)
    found: Comparison = compare(by_seed(values[:, :2]), by_seed(values[:, 2:]))
    numbers = [value for value in found.__dict__.values() if isinstance(value, float)]
    assert not np.isnan(numbers).any()
    assert 0 <= found.p <= 1 and found.ci_low <= found.difference <= found.ci_high and found.df > 0
    assert found.wins + found.ties + found.losses == found.n == len(rows)


def test_what_is_known_of_a_model_is_one_estimate_however_many_sides_read_it() -> None:
    """One seed a side: all that is known of seeds is the model's own estimate, whose df are those of the test."""
    persons = np.zeros((2, 2))
    sides = [Side(mean=2.0, seeds=1, square=np.nan, twice=np.nan) for _ in range(2)]
    noise = SeedNoise(squared=0.01, residual=0.0, df=4.0, resting=16.0)
    shared = variance_of(persons, 100, sides, (noise, noise))
    apart = variance_of(persons, 100, sides, (noise, replace(noise)))  # of two models that happen to be alike
    assert shared is not None and apart is not None
    alike = 2 * 0.04**2 / 4  # two sides, each 2² · 0.01 with 4 df: what the estimate would be worth if it were exact
    assert shared.of((1.0, -1.0)) == pytest.approx((0.08, 0.08**2 / (alike + 0.08**2 / 16)))
    assert apart.of((1.0, -1.0)) == pytest.approx((0.08, 0.08**2 / (alike + 2 * 0.04**2 / 16)))
    three = [Side(mean=2.0, seeds=3, square=4 * 0.04 / 3, twice=0.0) for _ in range(2)]
    found = variance_of(persons, 100, three, (noise, noise))
    assert found is not None
    moved, known = 4 / 3 * (2 * 0.04 + 4 * 0.01) / 6, 4 / 3 * 4 * 0.01 / 6  # weights d and d0 of d + d0
    variance, df = found.of((1.0, -1.0))
    assert variance == pytest.approx(2 * moved)
    assert df == pytest.approx(variance**2 / (2 * moved**2 / 6 + (2 * known) ** 2 / 16))


def test_a_pair_that_moves_more_over_splits_than_its_model_keeps_its_own_variance() -> None:
    values = [np.full((40, 1), 0.5) for _ in range(3)]
    moved = [np.full((40, 1), one) for one in (0.4, 0.5, 0.6)]
    pair = Crossed(tuple(moved), tuple(values), (np.arange(40),) * 3, 40, 0.5, 0.5)
    quiet, loud = (SeedNoise(squared, 0.0, 4.0, 6.0) for squared in (0.0001, 0.04))
    own, little, much = (means_variance(pair, (noise, noise)) for noise in (None, quiet, loud))
    assert own is not None and little is not None and much is not None
    # the ratios of a are .8, 1, 1.2: variance .04, half of it a side; the difference of means has .5² · .04 / 3
    assert own.of((1.0, -1.0)) == pytest.approx((0.01 / 3, 2.0))
    assert little.of((1.0, -1.0)) == pytest.approx((0.01 / 3, 2.0))
    variance, df = much.of((1.0, -1.0))
    assert variance == pytest.approx(2 * 0.25 / 3 * (4 * 0.04 + 2 * 0.02) / 6) and df == pytest.approx(6 / (1 + 0.8**2))
