"""Alignment, uniformity and gap of two modalities; how anisotropic one is.

a_i and b_i are the rows of item i in two modalities, of length 1 (a row of zeros: see :mod:`.rows`). Alignment,
gap and separability compare the two and need a shared space; uniformity, anisotropy and effective rank look at one.

Alignment and uniformity: Wang & Isola, "Understanding Contrastive Representation Learning through Alignment and
Uniformity on the Hypersphere", ICML 2020. Gap: Liang et al., "Mind the Gap", NeurIPS 2022. Effective rank: Roy &
Vetterli, EUSIPCO 2007.
"""

import warnings

import numpy as np
import numpy.typing as npt

from lmmrec_core.errors import FeatureError
from lmmrec_core.flow import FloatArray, IntArray
from lmmrec_core.metrics.resampling import Estimate, linearised, mean_of
from lmmrec_core.metrics.rows import block_size, compact, unit_pair, unit_rows
from lmmrec_core.seeds import numpy_stream

FOLDS = 5  # of the probe that tells the modality
_PROBE_STRENGTH = 10.0  # inverse of the squared penalty


def pair_alignment(a: npt.ArrayLike, b: npt.ArrayLike) -> Estimate:
    """``mean_i ‖a_i − b_i‖²`` = 2 − 2 mean cosine, between 0 (identical directions) and 4.

    ``a``, ``b`` [item, dim]. Raises FeatureError when they cannot be compared.
    """
    rows_a, rows_b = unit_pair(a, b, shared=True)
    return mean_of(_squared_distances(rows_a, rows_b))


def pair_alignment_by_chance(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """The mean of :func:`pair_alignment` over all permutations of ``b``, exactly: ``2 − 2 mean(a)·mean(b)``."""
    rows_a, rows_b = unit_pair(a, b, shared=True)
    return float(2.0 - 2.0 * rows_a.mean(axis=0) @ rows_b.mean(axis=0))


def gap(a: npt.ArrayLike, b: npt.ArrayLike) -> Estimate:
    """``‖mean(a) − mean(b)‖``, the modality gap.

    The interval is linearised along the gap's direction and cut at 0: resampling the norm itself would only ever add
    noise to its length, and near 0 give an interval above the estimate.
    """
    rows_a, rows_b = unit_pair(a, b, shared=True)
    size, influence = _gap(rows_a, rows_b)
    return Estimate(influence[:, None], lambda means: np.maximum(size + means[..., 0], 0.0))


def gap_share(a: npt.ArrayLike, b: npt.ArrayLike) -> Estimate:
    """``gap² / alignment``: the share of the distance of pairs that one constant shift explains, between 0 and 1.

    0 if all pairs coincide (nothing to explain). The interval is that of both together.
    """
    rows_a, rows_b = unit_pair(a, b, shared=True)
    size, influence = _gap(rows_a, rows_b)
    columns = np.column_stack([influence, _squared_distances(rows_a, rows_b)])

    def of_means(means: FloatArray) -> FloatArray:
        squared, distance = np.maximum(size + means[..., 0], 0.0) ** 2, means[..., 1]
        share = np.divide(squared, distance, out=np.zeros_like(distance), where=distance > 1e-12)
        return np.minimum(share, 1.0)

    return Estimate(columns, of_means)


def separability(a: npt.ArrayLike, b: npt.ArrayLike, seed: int = 0) -> Estimate:
    """Accuracy of a linear probe that tells the modality of a row; 0.5 if the two are mixed.

    Logistic regression, :data:`FOLDS` folds over items: both rows of an item are held out together. Rows are centred
    and divided by one number, so a common rotation of both modalities changes nothing.
    """
    rows_a, rows_b = unit_pair(a, b, shared=True)
    n = len(rows_a)
    if n < FOLDS:
        raise FeatureError(f"{n} items are fewer than the {FOLDS} folds of the probe; leave separability out")
    fold = numpy_stream(seed, "separability").permutation(n) % FOLDS
    both, modality = np.vstack([rows_a, rows_b]), np.repeat([0, 1], n)
    right = np.zeros(2 * n)
    for held_out in range(FOLDS):
        train = np.tile(fold != held_out, 2)
        centre = both[train].mean(axis=0)
        predicted = _predict_label(both[train] - centre, modality[train], both[~train] - centre)
        right[~train] = predicted == modality[~train]
    return mean_of((right[:n] + right[n:]) / 2)


def _predict_label(rows: FloatArray, truth: IntArray, others: FloatArray) -> IntArray:
    """Label of each of ``others`` by a logistic regression fitted on ``rows``, both [item, dim] → int [item].

    Rows are scaled to length about 1, so that one penalty suits every dim.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    length = np.sqrt((rows**2).sum(axis=1).mean()) or 1.0
    with warnings.catch_warnings():
        # if the classes can be told apart perfectly the optimum is far out, but the prediction settled long before
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = LogisticRegression(C=_PROBE_STRENGTH, max_iter=300).fit(rows / length, truth)
    return np.asarray(probe.predict(others / length), dtype=np.int64)


def uniformity(a: npt.ArrayLike) -> Estimate:
    """``log mean_{i<j} exp(−2 ‖a_i − a_j‖²)``: 0 for a constant, about −4 for rows spread evenly.

    The interval uses each item's influence on the mean over pairs. Raises FeatureError below two rows.
    """
    rows = _several(unit_rows(a))
    n, step = len(rows), block_size(len(rows))
    per_item = np.zeros(n)
    for start in range(0, n, step):  # only pairs at or above the diagonal block: the kernel is symmetric
        block = rows[start : start + step]
        kernel = np.exp(-2.0 * _from_cosines(block @ rows[start:].T))
        size = len(block)
        np.fill_diagonal(kernel[:, :size], 0.0)
        per_item[start : start + size] += kernel.sum(axis=1)
        per_item[start + size :] += kernel[:, size:].sum(axis=0)
    per_item /= n - 1
    mean = float(per_item.mean())
    return linearised(float(np.log(mean)), 2.0 * (per_item / mean - 1.0))


def anisotropy(a: npt.ArrayLike) -> Estimate:
    """``mean_{i<j} a_i·a_j``: 0 if directions are spread evenly, near 1 in a narrow cone."""
    rows = _several(unit_rows(a))
    total = rows.sum(axis=0)
    per_item = (rows @ total - (rows**2).sum(axis=1)) / (len(rows) - 1)
    mean = float(per_item.mean())
    return linearised(mean, 2.0 * (per_item - mean))


def effective_rank(a: npt.ArrayLike) -> Estimate:
    """exp of the entropy of the singular values of the centred unit rows, divided by their sum.

    Between 1 (a line) and min(item − 1, dim); 0 for rows that are all equal. The interval is linearised: the
    derivative of the measure in the weight of an item, with perturbation theory for the singular values.
    """
    rows = _several(compact(unit_rows(a)))
    n = len(rows)
    centred = rows - rows.mean(axis=0)
    eigenvalues, vectors = np.linalg.eigh(centred.T @ centred / n)
    kept = eigenvalues > 1e-12 * max(1e-12, eigenvalues[-1])
    if not kept.any():
        return linearised(0.0, np.zeros(n))
    eigenvalues, vectors = eigenvalues[kept], vectors[:, kept]
    shares = np.sqrt(eigenvalues)
    shares /= shares.sum()
    entropy = float(-(shares * np.log(shares)).sum())
    # d entropy / d log(singular value k) = −p_k (log p_k + entropy); the eigenvalue moves by score² − eigenvalue
    scores = (centred @ vectors) ** 2 / eigenvalues - 1.0
    influence = scores @ (-shares * (np.log(shares) + entropy) / 2.0)
    rank = float(np.exp(entropy))
    return linearised(rank, rank * influence)


def _gap(rows_a: FloatArray, rows_b: FloatArray) -> tuple[float, FloatArray]:
    """Length of the mean difference, and each item's influence on it: its own difference along that direction."""
    differences = rows_a - rows_b
    shift = differences.mean(axis=0)
    size = float(np.linalg.norm(shift))
    direction = shift / size if size > 1e-12 else np.zeros_like(shift)
    return size, (differences - shift) @ direction


def _squared_distances(rows_a: FloatArray, rows_b: FloatArray) -> FloatArray:
    return _from_cosines((rows_a * rows_b).sum(axis=1))


def _from_cosines(cosines: FloatArray) -> FloatArray:
    return np.clip(2.0 - 2.0 * cosines, 0.0, 4.0)


def _several(rows: FloatArray) -> FloatArray:
    if len(rows) < 2:
        raise FeatureError(f"{len(rows)} row: a measure over pairs of items needs at least two")
    return rows
