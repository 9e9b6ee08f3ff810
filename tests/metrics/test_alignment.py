"""Alignment, uniformity, gap and the shape of one modality, against values computed by hand and naive forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.special import logsumexp

from lmmrec_core.errors import FeatureError
from lmmrec_core.metrics import alignment, rows
from lmmrec_core.metrics.alignment import (
    anisotropy,
    effective_rank,
    gap,
    gap_share,
    pair_alignment,
    pair_alignment_by_chance,
    separability,
    uniformity,
)
from lmmrec_core.metrics.resampling import intervals
from tests.metrics.spaces import aligned_pair, random_rows, rotation, unit

PAIRS = (pair_alignment, gap, gap_share)
SINGLE = (uniformity, anisotropy, effective_rank)
A = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
B = np.array([[1.0, 0.0], [1.0, 0.0], [-5.0, 0.0]])


def test_by_hand():
    # cosines of the pairs: 1, 0, −1, so squared distances 0, 2, 4
    assert pair_alignment(A, B).value == pytest.approx(2.0)
    # mean(a) = (2/3, 1/3), mean(b) = (1/3, 0): their product is 2/9, their difference (1/3, 1/3)
    assert pair_alignment_by_chance(A, B) == pytest.approx(2 - 4 / 9)
    assert gap(A, B).value == pytest.approx(np.sqrt(2) / 3)
    assert gap_share(A, B).value == pytest.approx((2 / 9) / 2.0)
    # pairs of a: cosines 0, 1, 0 → squared distances 2, 0, 2
    assert uniformity(A).value == pytest.approx(np.log((1 + 2 * np.exp(-4)) / 3))
    assert anisotropy(A).value == pytest.approx(1 / 3)
    assert effective_rank(A).value == pytest.approx(1.0)  # three points on one line


def test_identical_modalities_and_constants():
    same = random_rows()
    assert pair_alignment(same, 3 * same).value == pytest.approx(0.0, abs=1e-6)
    assert gap(same, same).value == gap_share(same, same).value == 0.0
    constant = np.ones((5, 3))
    assert uniformity(constant).value == pytest.approx(0.0, abs=1e-6)
    assert anisotropy(constant).value == pytest.approx(1.0)
    assert effective_rank(constant).value == 0.0
    assert pair_alignment(same, -same).value == pytest.approx(4.0)


def test_a_pure_shift_is_all_gap():
    base = np.tile([1.0, 0.0], (6, 1))
    other = np.tile([0.0, 1.0], (6, 1))
    assert gap_share(base, other).value == pytest.approx(1.0)


def test_against_pairwise_distances_of_scipy():
    points = random_rows(50, 5, seed=3)
    squared = pdist(unit(points), "sqeuclidean")
    assert uniformity(points).value == pytest.approx(logsumexp(-2 * squared) - np.log(len(squared)))
    assert anisotropy(points).value == pytest.approx(1 - squared.mean() / 2)
    values = np.linalg.svd(unit(points) - unit(points).mean(axis=0), compute_uv=False)
    shares = values / values.sum()
    assert effective_rank(points).value == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_blocks_change_nothing(monkeypatch):
    points = random_rows(41, 6)
    whole = uniformity(points)
    monkeypatch.setattr(rows, "_BLOCK_ENTRIES", 41 * 7)
    parts = uniformity(points)
    assert parts.value == pytest.approx(whole.value, abs=1e-12)
    assert np.allclose(parts.columns, whole.columns)


def test_chance_is_the_mean_over_permutations():
    a, b = aligned_pair(30, 4)
    b = b + 1.0
    generator = np.random.default_rng(0)
    drawn = [pair_alignment(a, b[generator.permutation(30)]).value for _ in range(2000)]
    assert pair_alignment_by_chance(a, b) == pytest.approx(np.mean(drawn), abs=5 * np.std(drawn) / np.sqrt(2000))
    assert pair_alignment(a, b).value < min(drawn)


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_a_common_rotation_and_the_order_of_items_change_nothing(seed):
    a, b = aligned_pair(20, 5, seed=seed)
    turn, order = rotation(5, seed), np.random.default_rng(seed).permutation(20)
    for measure in PAIRS:
        value = measure(a, b).value
        assert measure(a @ turn, b @ turn).value == pytest.approx(value, abs=1e-9)
        assert measure(a[order], b[order]).value == pytest.approx(value, abs=1e-12)
        assert np.allclose(measure(a[order], b[order]).columns, measure(a, b).columns[order], atol=1e-12)
    for single in SINGLE:
        value = single(a).value
        assert single(a @ turn).value == pytest.approx(value, abs=1e-9)
        assert single(a[order]).value == pytest.approx(value, abs=1e-9)
        assert single(np.abs(np.random.default_rng(seed).random((20, 1))) * a + 0).value == pytest.approx(value)


@given(st.integers(0, 10_000), st.integers(2, 25), st.integers(1, 6))
@settings(max_examples=40)
def test_ranges(seed, n, dim):
    a, b = random_rows(n, dim, seed), random_rows(n, dim, seed + 1)
    assert 0 <= gap(a, b).value ** 2 <= pair_alignment(a, b).value + 1e-12 <= 4 + 2e-12
    assert 0 <= gap_share(a, b).value <= 1
    assert -8 - 1e-9 <= uniformity(a).value <= 1e-12
    assert -1 - 1e-9 <= anisotropy(a).value <= 1 + 1e-9
    assert 0 <= effective_rank(a).value <= min(n - 1, dim) + 1e-9


def test_effective_rank_with_more_dims_than_items():
    wide = random_rows(12, 300)
    rank = effective_rank(wide).value
    assert 10 < rank <= 11
    turned = np.hstack([wide, np.zeros((12, 50))]) @ rotation(350, 1)
    assert effective_rank(turned).value == pytest.approx(rank, abs=1e-8)


@pytest.mark.parametrize("measure", [uniformity, anisotropy], ids=lambda measure: measure.__name__)
def test_influence_is_the_change_when_an_item_is_left_out(measure):
    points = random_rows(150, 4, seed=5) + np.array([1.0, 0, 0, 0])
    whole = measure(points)
    predicted = (whole.columns[:, 0] - whole.columns.mean()) / 149
    exact = np.array([whole.value - measure(np.delete(points, i, axis=0)).value for i in range(150)])
    assert np.corrcoef(predicted, exact)[0, 1] > 0.99
    assert np.polyfit(predicted, exact, 1)[0] == pytest.approx(1.0, abs=0.06)


def test_influence_on_the_effective_rank_is_its_derivative():
    points = unit(random_rows(40, 4, seed=5) + np.array([1.0, 0, 0, 0]))

    def weighted(weights: np.ndarray) -> float:
        centred = points - weights @ points
        values = np.sqrt(np.linalg.eigvalsh((centred * weights[:, None]).T @ centred))
        shares = values / values.sum()
        return float(np.exp(-(shares * np.log(shares)).sum()))

    step, even = 1e-5, np.full(40, 1 / 40)
    slopes = [(weighted(even * (1 - step) + step * np.eye(40)[i]) - weighted(even)) / step for i in range(40)]
    assert weighted(even) == pytest.approx(effective_rank(points).value)
    assert np.allclose(effective_rank(points).columns[:, 0], slopes, atol=2e-4)


@pytest.mark.parametrize("measure", [gap, gap_share], ids=lambda measure: measure.__name__)
def test_influence_of_the_gap(measure):
    a, b = aligned_pair(150, 4, seed=6)
    b = b + np.array([0.8, 0, 0, 0])
    found = intervals({"m": measure(a, b)}, resamples=500)["m"]
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(500):
        items = generator.integers(0, 150, 150)
        drawn.append(measure(a[items], b[items]).value)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found["high"] - found["low"] == pytest.approx(high - low, rel=0.2)
    assert found["low"] <= found["value"] <= found["high"]


def test_separability():
    a, b = aligned_pair(60, 6)
    assert separability(a + 5, b - 5).value == 1.0
    mixed = separability(a, b, seed=1)
    assert 0.3 < mixed.value < 0.7
    assert separability(a, b, seed=1).value == mixed.value
    # two identical modalities cannot be told apart, also not by having seen the item in the other one
    assert separability(a, a).value == pytest.approx(0.5)
    with pytest.raises(FeatureError, match="3 items are fewer than the 5 folds"):
        separability(a[:3], b[:3])


def test_a_row_of_zeros_has_cosine_zero():
    a = random_rows(6, 3)
    a[2] = 0
    assert pair_alignment(a, a).value == pytest.approx(2 / 6)
    expected = pdist(unit(np.delete(a, 2, axis=0)), "sqeuclidean")
    with_zero = (np.exp(-2 * expected).sum() + 5 * np.exp(-4)) / 15
    assert uniformity(a).value == pytest.approx(np.log(with_zero))
    assert all(np.isfinite(measure(np.zeros((4, 2))).value) for measure in SINGLE)


def test_extreme_lengths():
    a = random_rows(10, 4).astype(np.float32)
    for scale in (1e-30, 1e30):
        assert pair_alignment(a * np.float32(scale), a).value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), "3 rows against 4"),
        (np.ones((3, 2)), np.ones((3, 5)), "dims 2 and 5 differ"),
        (np.ones(3), np.ones(3), r"shape \(3,\)"),
        (np.ones((0, 2)), np.ones((0, 2)), "one row per item"),
        (np.array([[1.0], [np.nan]]), np.ones((2, 1)), "first modality: row 1 holds NaN"),
        (np.array([["a"]]), np.ones((1, 1)), "give numbers"),
    ],
)
def test_what_cannot_be_compared_is_refused(a, b, text):
    for measure in (*PAIRS, pair_alignment_by_chance):
        with pytest.raises(FeatureError, match=text):
            measure(a, b)


@pytest.mark.parametrize("measure", SINGLE, ids=lambda measure: measure.__name__)
def test_one_item_has_no_pairs(measure):
    with pytest.raises(FeatureError, match="1 row: a measure over pairs"):
        measure(np.ones((1, 3)))
    assert alignment.FOLDS == 5
