"""Statistics of item graphs against dense forms and values computed by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import skew

from lmmrec_core.encoders.features.transforms import rotate
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.metrics import rows
from lmmrec_core.metrics.item_graph import (
    BINS,
    cosine_counts,
    edges_of,
    effective_degree,
    in_degrees,
    lattice_adjacency,
    percentile,
    reciprocal,
    share_above,
    skewness,
    structure,
    threshold_density,
    union_statistics,
)
from lmmrec_core.metrics.neighbours import Neighbours, nearest_items, overlap
from lmmrec_core.metrics.resampling import Estimate
from lmmrec_core.recommenders.item_graph import ItemGraph, laplacian
from lmmrec_core.recommenders.item_graph import nearest_columns as nearest_of_recommender
from lmmrec_core.recommenders.layers import rows_normalised
from tests.encoders.toys import random_features
from tests.metrics.spaces import dense_graph, random_rows, unit


def values(found):
    return {name: part.value if isinstance(part, Estimate) else part for name, part in found.items()}


def graph_of(columns, cosines=None):
    columns = np.array(columns)
    return Neighbours(columns, np.full(columns.shape, 0.5) if cosines is None else np.array(cosines))


def test_structure_by_hand():
    # 0 → 1, 1 → 0, 2 → 0, 3 → 4, 4 → 3; items 2 is chosen by nobody
    found = values(structure(graph_of([[1], [0], [0], [4], [3]], [[0.9], [0.9], [0.2], [0.4], [0.4]])))
    assert found["edges"] == 5
    assert found["symmetric_density"] == pytest.approx(3 / 10)
    assert found["reciprocity"] == pytest.approx(4 / 5)
    assert found["never_chosen"] == pytest.approx(1 / 5)
    assert found["max_in_degree"] == 2
    assert found["hub_skewness"] == pytest.approx(skew([2, 1, 0, 1, 1]))
    assert found["weight"] == pytest.approx(0.56)
    assert found["weight_variation"] == 0.0
    assert found["components"] == 2 and found["largest_component"] == pytest.approx(3 / 5)


def test_weight_variation_is_that_inside_a_row():
    found = values(structure(graph_of([[1, 2], [0, 2], [0, 1]], [[0.9, 0.3], [0.4, 0.4], [-0.2, -0.4]])))
    assert found["weight_variation"] == pytest.approx((0.3 / 0.6 + 0) / 2)  # the third row has no positive mean
    without = structure(graph_of([[1], [0]], [[-0.1], [-0.1]]))
    assert "weight_variation" not in without


@given(st.integers(0, 10_000), st.integers(3, 30), st.integers(1, 2))
@settings(max_examples=30)
def test_structure_equals_the_dense_form(seed, n, k):
    graph = nearest_items(random_rows(n, 3, seed), k)
    dense = dense_graph(graph.columns)
    found = values(structure(graph))
    assert found["edges"] == dense.sum() == n * k
    assert found["symmetric_density"] == pytest.approx((dense | dense.T).sum() / (n * (n - 1)))
    assert found["reciprocity"] == pytest.approx((dense & dense.T).sum() / dense.sum())
    assert np.array_equal(reciprocal(graph.columns).sum(axis=1), (dense & dense.T).sum(axis=1))
    degrees = dense.sum(axis=0)
    assert np.array_equal(in_degrees(graph.columns), degrees)
    assert found["never_chosen"] == pytest.approx((degrees == 0).mean())
    assert found["hub_skewness"] == pytest.approx(0.0 if degrees.std() == 0 else skew(degrees), abs=1e-9)
    reach = np.linalg.matrix_power((dense | dense.T).astype(float) + np.eye(n), n) > 0
    assert found["components"] == len({tuple(row) for row in reach})
    assert found["largest_component"] == pytest.approx(reach.sum(axis=1).max() / n)


def test_equal_in_degrees_have_no_skew():
    assert skewness(np.full(7, 3)).value == 0.0
    assert skewness(np.array([1e9, 1e9, 1e9 + 3])).value == pytest.approx(skew([0, 0, 3]))


@given(st.integers(0, 10_000), st.integers(4, 30), st.integers(1, 3))
@settings(max_examples=30)
def test_the_union_has_ik_times_two_minus_overlap_edges(seed, n, k):
    """The better two modalities agree, the sparser their union."""
    a, b = nearest_items(random_rows(n, 3, seed), k).columns, nearest_items(random_rows(n, 4, seed + 1), k).columns
    found = union_statistics([a, b])
    assert found["edges"] == pytest.approx(n * k * (2 - overlap(a, b).value), abs=1e-6)
    both = dense_graph(a) | dense_graph(b)
    assert found["symmetric_density"] == pytest.approx((both | both.T).sum() / (n * (n - 1)))
    assert union_statistics([a, a])["edges"] == n * k
    source, target = edges_of(a, b)
    assert both[source, target].all() and len(source) == both.sum()


def test_a_union_is_of_the_same_items():
    with pytest.raises(FeatureError, match=r"over \[3, 2\] items"):
        edges_of(np.array([[1], [0], [0]]), np.array([[1], [0]]))


def test_rotation_changes_no_statistic():
    """The graph of a rotated modality is the same graph."""
    features = random_features(150, (12, 5))
    turned = rotate(features, "visual", 8).matrices["visual"]
    before, after = (values(structure(nearest_items(m, 10))) for m in (features.matrices["visual"], turned))
    assert before == pytest.approx(after, abs=1e-6)
    first, second = (threshold_density(cosine_counts(m)) for m in (features.matrices["visual"], turned))
    assert first == pytest.approx(second, abs=1e-3)  # a pair on the edge of a bin may change sides in float32


@pytest.mark.parametrize("k", [1, 4])
def test_lattice_adjacency_is_that_of_the_recommender(k):
    """The frozen part of the recommender's graph, with both modalities and negative cosines clipped."""
    parts, ours = [], []
    for dim, seed in ((6, 1), (3, 2)):
        matrix = random_rows(25, dim, seed)
        unit_rows = rows_normalised(torch.from_numpy(matrix))
        columns = nearest_of_recommender(unit_rows, k)
        cosines = (unit_rows[columns] * unit_rows[:, None]).sum(-1).clamp(min=0)
        parts.append(ItemGraph(columns, 0.5 * laplacian(columns, cosines, "test")))
        ours.append(nearest_items(matrix, 5).first(k))
    expected = sum(part.times(torch.eye(25, dtype=torch.float64)) for part in parts).numpy()
    assert np.allclose(lattice_adjacency(ours).toarray(), expected, atol=1e-8)


def test_effective_degree_by_hand():
    rows_of = np.array([[0.25, 0.25, 0.25, 0.25], [0, 3.0, 0, 0], [0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    found = effective_degree(csr_array(rows_of))
    assert found.columns[:, 0] == pytest.approx([4, 1, 0, 2])
    skewed = effective_degree(csr_array([[0.9, 0.1], [0.5, 0.5]])).columns[:, 0]
    assert skewed[0] == pytest.approx(np.exp(-(0.9 * np.log(0.9) + 0.1 * np.log(0.1))))
    with pytest.raises(FeatureError, match="negative weights"):
        effective_degree(csr_array([[1.0, -0.1], [0.0, 1.0]]))
    with pytest.raises(FeatureError, match="no graph given"):
        lattice_adjacency([])


def test_effective_degree_lies_between_one_and_the_number_of_links():
    graphs = [nearest_items(random_rows(60, 5, seed), 10) for seed in (1, 2)]
    alone, both = (effective_degree(lattice_adjacency(part)) for part in (graphs[:1], graphs))
    assert (alone.columns >= 1).all() and (alone.columns <= 10 + 1e-9).all()
    assert alone.value < both.value <= 19 + 1e-9  # the item itself is in both
    same = effective_degree(lattice_adjacency([graphs[0], graphs[0]]))
    assert same.value == pytest.approx(alone.value)


@given(st.integers(0, 10_000), st.integers(2, 40))
@settings(max_examples=30)
def test_threshold_densities_are_exact(seed, n):
    points = random_rows(n, 2, seed)
    cosines = (unit(points) @ unit(points).T)[np.triu_indices(n, 1)]
    counts = cosine_counts(points)
    assert counts.sum() == n * (n - 1) // 2
    for threshold in (-0.5, 0.0, 0.5, 0.7, 0.9):
        assert share_above(counts, threshold) == pytest.approx((cosines > threshold).mean(), abs=1e-12)
    assert percentile(counts, 99.0) == pytest.approx(np.quantile(cosines, 0.99, method="inverted_cdf"), abs=0.0051)


def test_a_cosine_on_a_threshold_does_not_exceed_it():
    points = np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)], [-1.0, 0.0], [1.0, 0.0]])  # cosines ±0.5, −1, 1
    counts = cosine_counts(points)
    assert counts.sum() == 6 and counts[0] == 2 and counts[-1] == 1
    assert share_above(counts, 0.5) == pytest.approx(1 / 6)
    assert share_above(counts, 0.495) == pytest.approx(3 / 6)
    assert share_above(counts, 1.0) == 0.0 and share_above(counts, -1.0) == 1.0


def test_a_percentile_is_the_threshold_that_leaves_the_rest_above():
    counts = cosine_counts(random_rows(300, 5))
    for percent in (0.0, 1.0, 50.0, 99.0, 100.0):
        assert share_above(counts, percentile(counts, percent)) == pytest.approx(1 - percent / 100, abs=1e-9)
    single = np.zeros(BINS, dtype=int)
    single[300] = 5
    assert 0.5 <= percentile(single, 99.0) <= 0.505
    with pytest.raises(ConfigError, match="give 0 to 100"):
        percentile(counts, 101)
    with pytest.raises(FeatureError, match="counts of cosines"):
        share_above([1, 2], 0.5)


def test_blocks_change_nothing(monkeypatch):
    points = random_rows(37, 4)
    whole = cosine_counts(points)
    monkeypatch.setattr(rows, "_BLOCK_ENTRIES", 37 * 5)
    assert np.array_equal(cosine_counts(points), whole)


def test_an_item_alone_has_no_pairs():
    with pytest.raises(FeatureError, match="at least two items"):
        cosine_counts(np.ones((1, 2)))
