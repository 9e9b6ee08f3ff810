"""What an item graph of nearest neighbours is like: density in every sense of the word, hubs, weights.

A directed graph with k edges per item has the same number of edges whatever the features are; its union with another
modality's graph has ``I k (2 − overlap)``, fewer the better the modalities agree. "Denser" can only be meant of the
statistics below. ``columns`` int [item, k] holds the ends of each item's edges, ``cosines`` [item, k] their weights.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import BoolArray, FloatArray, IntArray
from lmmrec_core.metrics.neighbours import Neighbours
from lmmrec_core.metrics.resampling import Estimate, Measures, mean_of, ratio_of
from lmmrec_core.metrics.rows import COSINE_DECIMALS, block_size, unit_rows

THRESHOLDS = (0.5, 0.7, 0.9)
BINS = 400  # of the cosines, each 0.005 wide and open below: (−1, −0.995], ...


def structure(graph: Neighbours) -> Measures:
    """Edges, density, hubs, weights and components of one directed graph.

    ``edges`` (I k, a constant); ``symmetric_density``: distinct undirected pairs over all; ``reciprocity``: share of
    edges whose reverse exists; ``hub_skewness`` of the in-degrees (0 if all are equal), ``never_chosen``: share of
    items without an incoming edge, ``max_in_degree``; ``weight``: mean cosine of an edge, ``weight_variation``:
    standard deviation over mean inside a row, averaged over the rows whose mean is positive (left out if there is
    none); ``components`` and ``largest_component`` (share of items) of the undirected graph.
    """
    n, k = graph.columns.shape
    returned = reciprocal(graph.columns).sum(axis=1)
    degrees = in_degrees(graph.columns)
    found: Measures = {
        "edges": n * k,
        # an edge whose reverse exists is half a pair
        "symmetric_density": _scaled(mean_of(k - returned / 2.0), 2.0 / (n - 1)),
        "reciprocity": mean_of(returned / k),
        "hub_skewness": skewness(degrees),
        "never_chosen": mean_of(degrees == 0),
        "max_in_degree": int(degrees.max()),
        "weight": mean_of(graph.cosines.mean(axis=1)),
    }
    means = graph.cosines.mean(axis=1)
    positive = means > 0
    if positive.any():
        variation = np.divide(graph.cosines.std(axis=1), means, out=np.zeros(n), where=positive)
        found["weight_variation"] = ratio_of(variation, positive)
    return {**found, **components(*edges_of(graph.columns), n)}


def edges_of(*graphs: IntArray) -> tuple[IntArray, IntArray]:
    """Distinct directed edges (from [edge], to [edge]) of the union of graphs over the same items, sorted."""
    n = len(graphs[0])
    if any(len(graph) != n for graph in graphs):
        raise FeatureError(f"graphs over {[len(graph) for graph in graphs]} items have no union; give the same items")
    keys = [(np.arange(n)[:, None] * n + graph).ravel() for graph in graphs]
    united = np.unique(np.concatenate(keys))
    return united // n, united % n


def reciprocal(columns: IntArray) -> BoolArray:
    """Whether the reverse of each edge is an edge → bool [item, k]."""
    n = np.int64(len(columns))
    rows = np.arange(n)[:, None]
    return np.isin(columns * n + rows, rows * n + columns)


def in_degrees(columns: IntArray) -> IntArray:
    """Number of edges that end at each item → int [item]."""
    return np.bincount(columns.ravel(), minlength=len(columns))


def skewness(values: IntArray | FloatArray) -> Estimate:
    """Third standardised moment of ``values`` [item] (of the population, not corrected); 0 if all are equal."""
    centred = np.asarray(values, dtype=np.float64) - np.mean(values)
    scale = max(1.0, float(np.abs(centred).max()))

    def of_means(means: FloatArray) -> FloatArray:
        first, second, third = means[..., 0], means[..., 1], means[..., 2]
        variance = second - first**2
        moment = third - 3 * first * second + 2 * first**3
        clear = variance > 1e-14
        return np.divide(moment, np.where(clear, variance, 1.0) ** 1.5, out=np.zeros_like(moment), where=clear)

    centred /= scale
    return Estimate(np.column_stack([centred, centred**2, centred**3]), of_means)


def components(source: IntArray, target: IntArray, n_items: int) -> Measures:
    """``components`` and ``largest_component`` (share of items) of the undirected graph of these edges."""
    links = csr_array((np.ones(len(source)), (source, target)), shape=(n_items, n_items))
    count, member = connected_components(links, directed=False)
    return {"components": int(count), "largest_component": float(np.bincount(member).max() / n_items)}


def union_statistics(graphs: Sequence[IntArray]) -> Measures:
    """``edges``, ``symmetric_density``, ``components`` and ``largest_component`` of the union of directed graphs."""
    source, target = edges_of(*graphs)
    n = len(graphs[0])
    pairs = np.unique(np.minimum(source, target) * np.int64(n) + np.maximum(source, target))
    found: Measures = {"edges": len(source), "symmetric_density": len(pairs) / (n * (n - 1) / 2)}
    return {**found, **components(source, target, n)}


def lattice_adjacency(graphs: Sequence[Neighbours], shares: Sequence[float] | None = None) -> csr_array:
    """LATTICE's frozen item graph: per modality the item itself and its k − 1 nearest others, normalised, mixed.

    As its code builds it (CRIPAC-DIG/LATTICE: codes/Models.py): K holds the k largest cosines of a row, the item's own
    1 among them; each K becomes ``r_a^(−1/2) K_ab r_b^(−1/2)`` with row sums r, and the modalities are added with
    ``shares`` (equal by default, as LATTICE starts). Negative cosines count as 0, as its paper describes: a share of a
    row must not be negative.
    """
    if not graphs:
        raise FeatureError("no graph given; give one per modality")
    shares = [1.0 / len(graphs)] * len(graphs) if shares is None else shares
    total: csr_array | None = None
    for graph, share in zip(graphs, shares, strict=True):
        n, k = graph.columns.shape
        weights = np.hstack([np.ones((n, 1)), np.maximum(graph.cosines[:, : k - 1], 0.0)])
        columns = np.hstack([np.arange(n)[:, None], graph.columns[:, : k - 1]])
        scale = 1.0 / np.sqrt(weights.sum(axis=1))  # at least the item's own 1
        weights = share * weights * scale[:, None] * scale[columns]
        part = csr_array((weights.ravel(), columns.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))
        total = part if total is None else total + part
    return csr_array(total)


def effective_degree(adjacency: csr_array) -> Estimate:
    """Mean over items of exp(entropy of the row, taken as shares): how many neighbours a row really averages over.

    Of the final, combined and normalised adjacency (weights not negative), so it sees weights as well as edges: the
    honest density measure. A row of zeros has degree 0. Raises FeatureError for negative weights.
    """
    matrix = csr_array(adjacency)
    if len(matrix.data) and matrix.data.min() < 0:
        raise FeatureError("an adjacency with negative weights has no shares; clip them at 0 first")
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    total = np.bincount(row, weights=matrix.data, minlength=matrix.shape[0])
    shares = matrix.data / np.where(total > 0, total, 1.0)[row]
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy = -np.bincount(row, weights=shares * logs, minlength=matrix.shape[0])
    return mean_of(np.where(total > 0, np.exp(entropy), 0.0))


def cosine_counts(matrix: npt.ArrayLike) -> IntArray:
    """How many of the pairs i < j have their cosine in each of :data:`BINS` equal parts of [−1, 1] → int [bin].

    Part b holds (−1 + 0.005 b, −1 + 0.005 (b + 1)], the first also −1. From the counts come the share of pairs above
    a threshold (:func:`share_above`) and percentiles, for thresholds that are only known later.
    """
    rows = unit_rows(matrix)
    n, step = len(rows), block_size(len(rows))
    if n < 2:
        raise FeatureError(f"{n} row: cosines of pairs need at least two items")
    counts = np.zeros(BINS, dtype=np.int64)
    for start in range(0, n, step):
        block = np.round(rows[start : start + step] @ rows[start:].T, COSINE_DECIMALS)
        upper = np.arange(block.shape[1]) > np.arange(len(block))[:, None]
        place = np.ceil(np.round((block[upper] + 1.0) * (BINS / 2), 6)).astype(np.int64) - 1
        counts += np.bincount(np.clip(place, 0, BINS - 1), minlength=BINS)
    return counts


def share_above(counts: Sequence[int] | IntArray, threshold: float) -> float:
    """Share of pairs whose cosine exceeds ``threshold``: exact at multiples of 0.005, linear in between."""
    survival = _survival(counts)
    return float(np.interp(threshold, _EDGES, survival))


def percentile(counts: Sequence[int] | IntArray, percent: float) -> float:
    """The cosine below which ``percent`` per cent of the pairs lie, linear inside a part; inverts :func:`share_above`.

    Raises ConfigError for a percentage outside 0..100.
    """
    if not 0 <= percent <= 100:
        raise ConfigError(f"percentile {percent}: give 0 to 100")
    below = 1.0 - _survival(counts)
    wanted = percent / 100.0
    # among equal values of `below` (empty parts) the lowest cosine
    right = min(max(1, int(np.searchsorted(below, wanted - 1e-12))), BINS)
    low, high = below[right - 1], below[right]
    inside = 1.0 if high <= low else float(np.clip((wanted - low) / (high - low), 0.0, 1.0))
    return float(_EDGES[right - 1] + inside * (_EDGES[right] - _EDGES[right - 1]))


def threshold_density(counts: Sequence[int] | IntArray) -> Mapping[str, float]:
    """``above_0.5``, ``above_0.7``, ``above_0.9``: shares of pairs, and ``cosine_p99``, their 99th percentile."""
    found = {f"above_{threshold}": share_above(counts, threshold) for threshold in THRESHOLDS}
    return {**found, "cosine_p99": percentile(counts, 99.0)}


_EDGES = np.arange(BINS + 1) / (BINS / 2) - 1.0


def _survival(counts: Sequence[int] | IntArray) -> FloatArray:
    values = np.asarray(counts, dtype=np.float64)
    if values.shape != (BINS,) or values.sum() <= 0:
        raise FeatureError(f"{values.shape} counts of cosines; give the {BINS} of cosine_counts")
    above = values[::-1].cumsum()[::-1] / values.sum()
    return np.append(above, 0.0)


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(estimate.columns, lambda means: factor * estimate.of_means(means))
