"""Nearest neighbours against scikit-learn; overlap and kernel alignment against naive forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from lmmrec_core.encoders.features.transforms import rotate
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.metrics import rows
from lmmrec_core.metrics.neighbours import adjusted_overlap, cka, nearest_items, overlap, overlap_by_chance
from tests.encoders.toys import random_features
from tests.metrics.spaces import aligned_pair, random_rows, rotation, unit


def naive_cka(a, b):
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))


@pytest.mark.parametrize("n", [7, 120])
def test_neighbours_are_those_of_scikit_learn(n):
    points = random_rows(n, 6)
    distances, indices = NearestNeighbors(metric="cosine", algorithm="brute").fit(points).kneighbors(n_neighbors=5)
    found = nearest_items(points, 5)
    assert np.array_equal(found.columns, indices)
    assert np.allclose(found.cosines, 1 - distances, atol=1e-8)


def test_ties_go_to_the_lower_item_and_an_item_is_never_its_own_neighbour():
    points = np.tile([1.0, 1.0], (5, 1))
    assert nearest_items(points, 3).columns.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2]]
    assert nearest_items(np.zeros((4, 2)), 2).columns.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]


def test_equal_rows_tie_whatever_the_rounding_of_their_products():
    generator = np.random.default_rng(0)
    points = generator.standard_normal((300, 37))
    copies = np.arange(150, 300)
    points[copies] = points[:150] * generator.random((150, 1))  # the same directions
    columns = nearest_items(points, 6).columns
    assert np.array_equal(columns[:, 0], (np.arange(300) + 150) % 300)
    # then two originals, each directly before its copy
    assert np.array_equal(columns[:, 2], columns[:, 1] + 150) and np.array_equal(columns[:, 4], columns[:, 3] + 150)


def test_blocks_change_nothing(monkeypatch):
    points = random_rows(45, 5)
    whole = nearest_items(points, 4)
    monkeypatch.setattr(rows, "_BLOCK_ENTRIES", 45 * 7 + 3)
    parts = nearest_items(points, 4)
    assert np.array_equal(whole.columns, parts.columns) and np.array_equal(whole.cosines, parts.cosines)


@given(st.integers(0, 10_000), st.integers(4, 30))
@settings(max_examples=25)
def test_rotation_order_and_length_of_rows(seed, n):
    points = random_rows(n, 4, seed)
    found = nearest_items(points, 3)
    turned = nearest_items(points @ rotation(4, seed), 3)
    assert np.array_equal(turned.columns, found.columns)
    stretched = points * np.random.default_rng(seed).uniform(0.1, 9, (n, 1))
    assert np.array_equal(nearest_items(stretched, 3).columns, found.columns)
    order = np.random.default_rng(seed).permutation(n)
    assert np.array_equal(order[nearest_items(points[order], 3).columns], found.columns[order])


def test_a_stored_rotation_keeps_neighbours_overlap_and_cka():
    """The control of the study, in float32."""
    features = random_features(200, (16, 9))
    turned = rotate(features, "visual", 4)
    v, t = (features.matrices[m] for m in ("visual", "textual"))
    w = turned.matrices["visual"]
    assert np.array_equal(nearest_items(w, 10).columns, nearest_items(v, 10).columns)
    assert np.allclose(nearest_items(w, 10).cosines, nearest_items(v, 10).cosines, atol=1e-6)
    assert cka(w, t).value == pytest.approx(cka(v, t).value, abs=1e-6)


def test_the_first_k_of_more_neighbours():
    points = random_rows(30, 4)
    assert np.array_equal(nearest_items(points, 9).first(4).columns, nearest_items(points, 4).columns)
    with pytest.raises(ConfigError, match="k = 10, but 9 neighbours"):
        nearest_items(points, 9).first(10)


def test_overlap_by_hand():
    a, b = np.array([[1, 2], [0, 2], [0, 1], [0, 1]]), np.array([[2, 1], [3, 2], [3, 0], [2, 3]])
    found = overlap(a, b)
    assert found.columns[:, 0].tolist() == [1.0, 0.5, 0.5, 0.0]
    assert found.value == 0.5
    assert overlap_by_chance(4, 2) == pytest.approx(2 / 3)
    assert adjusted_overlap(a, b).value == pytest.approx((0.5 - 2 / 3) / (1 - 2 / 3))
    assert adjusted_overlap(a, a).value == pytest.approx(1.0)


def test_overlap_of_unrelated_and_of_aligned_modalities():
    n, k = 400, 10
    unrelated = adjusted_overlap(
        nearest_items(random_rows(n, 8, 1), k).columns, nearest_items(random_rows(n, 8, 2), k).columns
    )
    assert abs(unrelated.value) < 4 * np.sqrt(k / n) / np.sqrt(n * k)
    a, b = aligned_pair(n, 8)
    assert adjusted_overlap(nearest_items(a, k).columns, nearest_items(b, k).columns).value > 0.4
    shuffled = b[np.random.default_rng(0).permutation(n)]
    assert abs(adjusted_overlap(nearest_items(a, k).columns, nearest_items(shuffled, k).columns).value) < 0.02


@pytest.mark.parametrize("k", [0, 5, 9])
def test_k_must_leave_an_item_others(k):
    with pytest.raises(ConfigError, match=rf"k = {k} neighbours among 5 items"):
        nearest_items(random_rows(5, 2), k)


def test_one_item_has_no_neighbours():
    with pytest.raises(ConfigError, match="an item has 0 others"):
        nearest_items(np.ones((1, 2)), 1)


def test_comparisons_that_make_no_sense():
    with pytest.raises(FeatureError, match="do not match"):
        overlap(np.zeros((3, 2), dtype=int), np.zeros((3, 1), dtype=int))
    everything = nearest_items(random_rows(4, 2), 3).columns
    with pytest.raises(FeatureError, match="leaves no choice"):
        adjusted_overlap(everything, everything)
    with pytest.raises(FeatureError, match="5 rows against 4"):
        cka(np.ones((5, 1)), np.ones((4, 1)))
    with pytest.raises(FeatureError, match="all rows of a modality are equal"):
        cka(np.full((6, 3), 0.1), random_rows(6, 2))


def test_cka_by_hand_and_naively():
    a = np.array([[1.0], [2.0], [3.0]])
    assert cka(a, -5 * a + 2).value == pytest.approx(1.0)
    b = np.array([[1.0], [-2.0], [1.0]])  # uncorrelated with a
    assert cka(a, b).value == pytest.approx(0.0, abs=1e-15)
    for shape in ((40, 6, 3), (8, 30, 50)):
        first, second = random_rows(shape[0], shape[1], 1), random_rows(shape[0], shape[2], 2) + 3
        assert cka(first, second).value == pytest.approx(naive_cka(first, second))


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_cka_is_blind_to_rotation_scale_shift_and_common_order(seed):
    a, b = random_rows(15, 4, seed), random_rows(15, 3, seed + 1)
    value = cka(a, b).value
    order = np.random.default_rng(seed).permutation(15)
    assert 0 <= value <= 1
    assert cka(1e6 * a @ rotation(4, seed) + 3, b).value == pytest.approx(value, rel=1e-6)
    assert cka(a[order], b[order]).value == pytest.approx(value)
    assert cka(b, a).value == pytest.approx(value)


def test_influence_on_cka_is_the_change_when_an_item_is_left_out():
    a, b = aligned_pair(200, 4, noise=1.0)
    whole = cka(a, b)
    exact = [whole.value - naive_cka(np.delete(a, i, axis=0), np.delete(b, i, axis=0)) for i in range(200)]
    predicted = (whole.columns[:, 0] - whole.columns.mean()) / 199
    assert np.corrcoef(predicted, exact)[0, 1] > 0.99
    assert np.polyfit(predicted, exact, 1)[0] == pytest.approx(1.0, abs=0.06)


def test_cosines_are_those_of_unit_rows():
    points = random_rows(20, 3)
    found = nearest_items(points, 2)
    expected = unit(points) @ unit(points).T
    assert np.allclose(found.cosines, np.take_along_axis(expected, found.columns, axis=1), atol=1e-9)
