"""Does bf16 give the same features as fp32? Both are computed on a sample, before the whole catalogue."""

from typing import Any

import numpy as np

from lmmrec_core.flow import Float32Array, FloatArray, IntArray
from lmmrec_core.names import Precision

SAMPLE = 512  # items encoded in both precisions
_LEAST_COSINE, _LEAST_OVERLAP, _NEIGHBOURS = 0.995, 0.97, 10


def with_precision(spec: dict[str, Any], precision: Precision) -> dict[str, Any]:
    """A spec of features with the precision asked for; fp32, the default, is not written."""
    return spec if precision == "fp32" else {**spec, "precision": precision}


def sample_of(items: IntArray) -> IntArray:
    """At most :data:`SAMPLE` of ``items``, ascending, and the same ones every time."""
    ordered = np.sort(items)
    if len(ordered) <= SAMPLE:
        return ordered
    return np.sort(np.random.default_rng(0).choice(ordered, SAMPLE, replace=False))


def compare_precisions(exact: Float32Array, lower: Float32Array) -> dict[str, float | bool]:
    """Vectors of the same items in both precisions [item, dim]: the smallest cosine of a pair, and which share of the
    ten nearest neighbours they have in common.

    ``passed``: a cosine of at least 0.995 and a share of at least 0.97. With fewer than two items there are no
    neighbours, and the share is 1.
    """
    a, b = _unit(exact), _unit(lower)
    cosine = float((a * b).sum(axis=1).min()) if len(a) else 1.0
    k = min(_NEIGHBOURS, len(a) - 1)
    overlap = 1.0
    if k > 0:
        near = [_nearest(rows, k) for rows in (a, b)]
        overlap = float(np.mean([len(np.intersect1d(x, y)) / k for x, y in zip(*near, strict=True)]))
    passed = cosine >= _LEAST_COSINE and overlap >= _LEAST_OVERLAP
    return {"items": len(a), "cosine_min": cosine, f"overlap@{_NEIGHBOURS}": overlap, "passed": passed}


def _unit(rows: Float32Array) -> FloatArray:
    wide = rows.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)


def _nearest(rows: FloatArray, k: int) -> IntArray:
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1, kind="stable")[:, :k]
