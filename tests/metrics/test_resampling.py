"""Estimates are functions of means over items; their intervals come from one set of resamples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrec_core.errors import FeatureError
from lmmrec_core.metrics.resampling import Estimate, intervals, linearised, mean_of, median_interval, ratio_of


def test_interval_of_a_mean_is_that_of_normal_theory():
    values = np.random.default_rng(0).standard_normal(2000) + 3
    found = intervals({"mean": mean_of(values)}, resamples=2000)["mean"]
    error = values.std() / np.sqrt(2000)
    assert found["value"] == pytest.approx(values.mean())
    assert found["low"] == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert found["high"] == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        found = intervals({"m": mean_of(generator.exponential(size=100))}, seed=trial, resamples=300)["m"]
        covered += found["low"] <= 1.0 <= found["high"]
    assert 0.88 <= covered / 200 <= 0.985  # 95 % less the known shortfall for skewed values at n = 100


def test_all_estimates_see_the_same_resamples():
    values = np.random.default_rng(2).random(50)
    found = intervals({"once": mean_of(values), "twice": mean_of(2 * values)}, seed=5)
    alone = intervals({"twice": mean_of(2 * values)}, seed=5)
    assert found["twice"] == pytest.approx(alone["twice"], rel=1e-12)
    assert found["twice"]["low"] == pytest.approx(2 * found["once"]["low"])
    assert intervals({"once": mean_of(values)}, seed=6)["once"] != found["once"]


def test_chunks_change_nothing(monkeypatch):
    values = {"v": mean_of(np.random.default_rng(3).random(40))}
    whole = intervals(values, resamples=200)
    monkeypatch.setattr("lmmrec_core.metrics.resampling._AT_ONCE", 280)
    assert intervals(values, resamples=200)["v"] == pytest.approx(whole["v"])


def test_a_ratio_weighs_items_and_leaves_out_resamples_without_any():
    estimate = ratio_of([3.0, 0.0, 1.0], [4.0, 0.0, 0.0], scale=10.0)
    assert estimate.value == 10.0
    only = intervals({"r": ratio_of([1.0, 0, 0, 0], [2.0, 0, 0, 0])}, resamples=100)["r"]
    assert only == {"value": 0.5, "low": 0.5, "high": 0.5}
    with pytest.raises(FeatureError, match="share of nothing"):
        ratio_of([0.0, 1.0], [0.0, 0.0])


def test_an_undefined_measure_is_named_never_nan():
    bad = Estimate(np.zeros((3, 1)), lambda means: means[..., 0] / 0.0)
    with np.errstate(invalid="ignore"), pytest.raises(FeatureError, match="graph/x: a measure is not defined"):
        intervals({"graph/x": bad})


def test_different_items_and_no_resamples():
    with pytest.raises(FeatureError, match=r"over \[3, 4\] items"):
        intervals({"a": mean_of(np.ones(3)), "b": mean_of(np.ones(4))})
    assert intervals({"a": mean_of(np.ones(3))}, resamples=0) == {"a": {"value": 1.0}}
    assert intervals({}) == {}


def test_linearised_interval_is_centred_on_the_value():
    influence = np.random.default_rng(4).standard_normal(400)
    found = intervals({"x": linearised(7.0, influence - influence.mean())}, resamples=2000)["x"]
    assert found["value"] == 7.0
    assert found["high"] - 7.0 == pytest.approx(7.0 - found["low"], rel=0.15)


@given(st.integers(1, 60), st.integers(0, 1000))
def test_the_median_lies_in_its_interval(n, seed):
    values = np.random.default_rng(seed).integers(1, 30, n)
    found = median_interval(values)
    assert found["value"] == np.median(values)
    assert found["low"] <= found["value"] <= found["high"]
    assert {found["low"], found["high"]} <= set(values.astype(float))


@pytest.mark.parametrize("n", [25, 40])
def test_median_interval_is_the_limit_of_the_bootstrap(n):
    values = np.random.default_rng(n).permutation(np.arange(n)).astype(float)
    draws = np.random.default_rng(9).choice(values, (40_000, n))
    upper = np.sort(draws, axis=1)[:, n // 2]
    found = median_interval(values)
    low, high = np.quantile(upper, [0.025, 0.975], method="inverted_cdf")
    assert abs(found["low"] - low) <= 1 and abs(found["high"] - high) <= 1


def test_no_median_of_nothing():
    with pytest.raises(FeatureError, match="no median of no items"):
        median_interval(np.array([]))
