"""Rows of a feature matrix: checked, brought to length 1, and their cosines block by block.

A row of zeros has no direction. Its cosine with every row counts as 0 here and in every consumer of features
(:func:`lmmrec_core.encoders.features.transforms.apply_control` makes such rows), so its squared distance to any row
is 2.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lmmrec_core.errors import FeatureError
from lmmrec_core.flow import FloatArray

_BLOCK_ENTRIES = 2**22  # cosines held at once: 32 MiB in float64
COSINE_DECIMALS = 9  # cosines that agree so far are ties: equal rows differ by rounding errors of the product


def checked_rows(matrix: npt.ArrayLike, what: str = "features") -> FloatArray:
    """``matrix`` as float64 [item, dim]. Raises FeatureError naming ``what`` and the first row that cannot be used."""
    rows = np.asarray(matrix)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu" or not rows.size:
        raise FeatureError(
            f"{what}: shape {rows.shape} and kind {rows.dtype}; give numbers [item, dim], one row per item"
        )
    rows = rows.astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise FeatureError(
            f"{what}: row {broken[0]} holds NaN or infinity, as do {len(broken) - 1} others; "
            "compute these features again, or give the items a missing rule"
        )
    return rows


def unit_rows(matrix: npt.ArrayLike, what: str = "features") -> FloatArray:
    """Rows of length 1 → float64 [item, dim]; rows of zeros stay zeros. Raises FeatureError as :func:`checked_rows`."""
    rows = checked_rows(matrix, what)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    scaled = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)  # squares neither vanish nor overflow
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.divide(scaled, length, out=np.zeros_like(rows), where=length > 0)


def unit_pair(a: npt.ArrayLike, b: npt.ArrayLike, *, shared: bool) -> tuple[FloatArray, FloatArray]:
    """Two modalities of the same items, with unit rows. Raises FeatureError when they do not belong together.

    ``shared``: the measure takes dot products between the two, so their dims must be equal.
    """
    rows_a, rows_b = unit_rows(a, "first modality"), unit_rows(b, "second modality")
    if len(rows_a) != len(rows_b):
        raise FeatureError(
            f"{len(rows_a)} rows against {len(rows_b)}; give both modalities of the same items, in order"
        )
    if shared and rows_a.shape[1] != rows_b.shape[1]:
        raise FeatureError(
            f"dims {rows_a.shape[1]} and {rows_b.shape[1]} differ, so there is no shared space; "
            "use the measures for unaligned pairs (neighbours, CCA)"
        )
    return rows_a, rows_b


def block_size(n_items: int) -> int:
    """Rows of a block of which a [block, item] array stays within :data:`_BLOCK_ENTRIES`."""
    return max(1, _BLOCK_ENTRIES // max(1, n_items))


def cosine_blocks(unit: FloatArray, others: FloatArray) -> Iterator[tuple[int, FloatArray]]:
    """(first row, dot products [block, item]) over blocks of rows of ``unit`` with all of ``others``, rounded."""
    step = block_size(len(others))
    for start in range(0, len(unit), step):
        yield start, np.round(unit[start : start + step] @ others.T, COSINE_DECIMALS)


def compact(rows: FloatArray) -> FloatArray:
    """The same inner products in at most ``len(rows)`` columns: fewer to work on if dim exceeds the items."""
    if rows.shape[1] <= rows.shape[0]:
        return rows
    return np.ascontiguousarray(np.asarray(np.linalg.qr(rows.T, mode="r")).T)
