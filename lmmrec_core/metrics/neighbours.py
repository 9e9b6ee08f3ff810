"""Nearest neighbours by cosine, and how far two modalities or two encoders agree on them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import BoolArray, FloatArray, IntArray
from lmmrec_core.metrics.resampling import Estimate, linearised, mean_of
from lmmrec_core.metrics.rows import checked_rows, compact, cosine_blocks, unit_rows


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The k nearest other items of each item, nearest first."""

    columns: IntArray  # [item, k]
    cosines: FloatArray  # [item, k]

    @property
    def n_items(self) -> int:
        return len(self.columns)

    def first(self, k: int) -> "Neighbours":
        """Only the ``k`` nearest. Raises ConfigError for a k that is not held."""
        if not 1 <= k <= self.columns.shape[1]:
            raise ConfigError(f"k = {k}, but {self.columns.shape[1]} neighbours are held; choose among them")
        return Neighbours(self.columns[:, :k], self.cosines[:, :k])


def nearest_items(matrix: npt.ArrayLike, k: int) -> Neighbours:
    """The ``k`` items with the largest cosine to each item, itself excluded, ties by item number.

    ``matrix`` [item, dim]; cosines that agree to nine decimals are ties. Block by block. Raises ConfigError unless
    1 ≤ k ≤ items − 1, FeatureError for rows that cannot be used.
    """
    rows = unit_rows(matrix)
    n = len(rows)
    if not 1 <= k <= n - 1:
        raise ConfigError(f"k = {k} neighbours among {n} items: an item has {n - 1} others; choose k within 1..{n - 1}")
    columns, cosines = np.empty((n, k), dtype=np.int64), np.empty((n, k))
    for start, block in cosine_blocks(rows, rows):
        here = np.arange(len(block))
        block[here, start + here] = -np.inf
        chosen = np.nonzero(_largest(block, k))[1].reshape(len(block), k)  # ascending by item number
        values = np.take_along_axis(block, chosen, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        columns[start : start + len(block)] = np.take_along_axis(chosen, order, axis=1)
        cosines[start : start + len(block)] = np.take_along_axis(values, order, axis=1)
    return Neighbours(columns, cosines)


def overlap(a: IntArray, b: IntArray) -> Estimate:
    """``mean_i |N_a(i) ∩ N_b(i)| / k`` of two tables of neighbours int [item, k]."""
    if a.shape != b.shape or a.ndim != 2 or not a.size:
        raise FeatureError(f"neighbours {a.shape} and {b.shape} do not match; compare the same items with the same k")
    shared = np.zeros(a.shape[0])
    for column in range(a.shape[1]):
        shared += (a[:, column, None] == b).any(axis=1)
    return mean_of(shared / a.shape[1])


def adjusted_overlap(a: IntArray, b: IntArray) -> Estimate:
    """:func:`overlap` with its chance level c = k / (items − 1) taken out: (overlap − c) / (1 − c).

    0 is agreement by chance, 1 full agreement.

    Raises FeatureError for k = items − 1, which leaves no choice.
    """
    plain = overlap(a, b)
    chance = overlap_by_chance(*a.shape)
    if chance >= 1:
        raise FeatureError(
            f"k = {a.shape[1]} among {a.shape[0]} items leaves no choice of neighbours; take a smaller k"
        )
    return Estimate(plain.columns, lambda means: (plain.of_means(means) - chance) / (1 - chance))


def overlap_by_chance(n_items: int, k: int) -> float:
    """Expected overlap of two random choices of k others: k / (items − 1)."""
    return k / (n_items - 1)


def cka(a: npt.ArrayLike, b: npt.ArrayLike) -> Estimate:
    """Linear centred kernel alignment ``‖A'B‖² / (‖A'A‖ ‖B'B‖)`` (Frobenius) of centred rows, 0 to 1.

    ``a`` [item, dim_a], ``b`` [item, dim_b], not normalised. No shared space is needed: rotating either, or scaling
    it, changes nothing (Kornblith et al., ICML 2019). With fewer items than dims it is large whatever the rows.
    The interval uses each item's influence. Raises FeatureError when the rows of one are all equal.
    """
    rows_a, rows_b = checked_rows(a, "first rows"), checked_rows(b, "second rows")
    if len(rows_a) != len(rows_b):
        raise FeatureError(f"{len(rows_a)} rows against {len(rows_b)}; give the same items in the same order")
    rows_a, rows_b = _centred(rows_a), _centred(rows_b)
    across = _inner(rows_a, rows_b)
    within_a, within_b = _inner(rows_a, rows_a), _inner(rows_b, rows_b)
    value = float(across.mean() / np.sqrt(within_a.mean() * within_b.mean()))
    if across.mean() <= 0:
        return linearised(0.0, np.zeros(len(rows_a)))
    influence = (
        2 * across / across.mean() - within_a / within_a.mean() - within_b / within_b.mean()
    )  # of log CKA, whose three parts are each quadratic in the items' weights
    return linearised(value, value * influence)


def _centred(rows: FloatArray) -> FloatArray:
    """Centred, and divided by one number so that no product over- or underflows."""
    centred = rows - rows.mean(axis=0)
    largest = float(np.abs(centred).max())
    if largest <= 1e-12 * float(np.abs(rows).max()) or largest == 0:
        raise FeatureError("all rows of a modality are equal, so they agree with nothing; leave CKA out")
    return compact(centred / largest)


def _inner(a: FloatArray, b: FloatArray) -> FloatArray:
    """``a_i' C b_i`` with C = a'b / n for each item → [item]; the mean is ‖C‖²."""
    return np.asarray(((a @ (a.T @ b / len(a))) * b).sum(axis=1))


def _largest(values: FloatArray, k: int) -> BoolArray:
    """Marks the k largest of each row; among equal ones those that come first."""
    limit = np.partition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k, None]
    above, level = values > limit, values == limit
    room = k - above.sum(axis=1, keepdims=True)
    return np.asarray(above | (level & (np.cumsum(level, axis=1, dtype=np.int32) <= room)))
