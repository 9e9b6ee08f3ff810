"""Cross-modal retrieval: does a picture find its own text among all texts, and the other way round.

Queries and candidates are the rows of two modalities of the same items. If there is no shared space, a linear map
into one is fitted on most items by regularised CCA and tried on the others (:func:`cca_retrieval`).
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular

from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import BoolArray, FloatArray, IntArray
from lmmrec_core.metrics.resampling import Estimate, median_interval, ratio_of
from lmmrec_core.metrics.rows import checked_rows, compact, cosine_blocks, unit_pair
from lmmrec_core.seeds import numpy_stream

_KS = (1, 10, 50)
FITTED_SHARE = 0.8
PENALTY = 10.0  # of each modality's mean variance; the value chosen on held-out pre-training pairs of the CLIP encoder
CCA_DIM = 64
_Found = dict[str, Estimate | dict[str, float] | float]


def answer_ranks(
    a: npt.ArrayLike, b: npt.ArrayLike, keys: Sequence[Sequence[Hashable]] = (), queries: BoolArray | None = None
) -> IntArray:
    """Rank of the nearest right row of ``b`` for each row of ``a`` by cosine, 1 the best → int [item].

    ``keys``: per modality one key per item (a digest of its bytes); items that share a key of any of them are right
    answers for each other. Wrong rows that tie with the best right row come before it. ``queries`` bool [item]: rank
    only these rows of ``a``, against all of ``b``; the others get rank 0. At most a block of cosines is in memory.
    """
    rows_a, rows_b = unit_pair(a, b, shared=True)
    codes = [_codes(key, len(rows_a)) for key in keys]
    asked = np.arange(len(rows_a)) if queries is None else np.flatnonzero(_mask(queries, len(rows_a)))
    found = np.zeros(len(rows_a), dtype=np.int64)
    for start, cosines in cosine_blocks(rows_a[asked], rows_b):
        items = asked[start : start + len(cosines)]
        right = items[:, None] == np.arange(len(rows_b))
        for code in codes:
            right |= code[items][:, None] == code
        best = np.where(right, cosines, -np.inf).max(axis=1, keepdims=True)
        found[items] = 1 + ((cosines >= best) & ~right).sum(axis=1)
    return found


def retrieval(
    matrices: Mapping[str, npt.ArrayLike],
    keys: Sequence[Sequence[Hashable]] = (),
    queries: BoolArray | None = None,
    ks: Sequence[int] = _KS,
) -> _Found:
    """Both directions between two modalities, ``visual_to_textual`` and back.

    Per direction ``<direction>/R@k``, the share of queries with a right answer among the first k, and
    ``<direction>/median_rank``; ``chance@k`` is k / candidates (1 if k exceeds them, as is R@k then). ``keys`` and
    ``queries`` as in :func:`answer_ranks`. Raises FeatureError for anything but two modalities of equal dim.
    """
    (name_a, a), (name_b, b) = _two(matrices)
    n = len(np.asarray(a))
    asked = np.ones(n, dtype=bool) if queries is None else _mask(queries, n)
    found: _Found = {f"chance@{k}": min(1.0, k / n) for k in _checked(ks)}
    for source, target, rows, others in ((name_a, name_b, a, b), (name_b, name_a, b, a)):
        place = answer_ranks(rows, others, keys, asked)
        for k in ks:
            found[f"{source}_to_{target}/R@{k}"] = ratio_of((place <= k) & asked, asked)
        found[f"{source}_to_{target}/median_rank"] = median_interval(place[asked])
    return found


def cca_retrieval(
    matrices: Mapping[str, npt.ArrayLike],
    keys: Sequence[Sequence[Hashable]] = (),
    *,
    seed: int = 0,
    ks: Sequence[int] = _KS,
    dim: int = CCA_DIM,
    penalty: float = PENALTY,
) -> _Found:
    """:func:`retrieval` among the fifth of the items that the :class:`CanonicalCorrelation` was not fitted on.

    For modalities without a shared space: how much of one can be read off the other linearly. Estimates have one
    entry per item of the catalogue, so that they share resamples with the others; ``held_out`` is their number.
    Raises FeatureError below ten items.
    """
    (name_a, a), (name_b, b) = _two(matrices)
    rows_a, rows_b = compact(checked_rows(a, name_a)), compact(checked_rows(b, name_b))
    n = len(rows_a)
    if n != len(rows_b) or n < 10:
        raise FeatureError(
            f"{n} and {len(rows_b)} rows: the CCA probe needs the same items, at least ten; leave it out"
        )
    order = numpy_stream(seed, "cca").permutation(n)
    fitted, held_out = np.sort(order[: round(FITTED_SHARE * n)]), np.sort(order[round(FITTED_SHARE * n) :])
    cca = CanonicalCorrelation(
        rows_a[fitted], rows_b[fitted], dim=min(dim, rows_a.shape[1], rows_b.shape[1]), penalty=penalty
    )
    mapped = {name_a: cca.first(rows_a[held_out]), name_b: cca.second(rows_b[held_out])}
    kept = [[key[i] for i in held_out] for key in keys]
    found = retrieval(mapped, kept, ks=ks)
    found["held_out"] = len(held_out)
    return {name: _spread(part, held_out, n) if isinstance(part, Estimate) else part for name, part in found.items()}


class CanonicalCorrelation:
    """Regularised canonical correlation analysis in closed form.

    With centred A [item, p] and B [item, q], C_a = A'A / n + penalty · mean(diag) · I, C_b likewise, C = A'B / n and
    Cholesky factors L_a, L_b: the singular value decomposition U S W' of L_a⁻¹ C L_b⁻ᵀ yields the maps
    L_a⁻ᵀ U S^½ and L_b⁻ᵀ W S^½ to ``dim`` columns. ``correlations`` holds the first ``dim`` singular values, the
    canonical correlations if ``penalty`` is 0. Rotating A or B changes no cosine of the mapped rows.
    """

    def __init__(self, a: FloatArray, b: FloatArray, *, dim: int, penalty: float = PENALTY) -> None:
        if not 1 <= dim <= min(a.shape[1], b.shape[1]) or penalty < 0:
            most = min(a.shape[1], b.shape[1])
            raise ConfigError(f"CCA to {dim} dims with penalty {penalty}: give 1 to {most} dims, a penalty from 0")
        self.centre_a, self.centre_b = a.mean(axis=0), b.mean(axis=0)
        a, b = a - self.centre_a, b - self.centre_b
        factor_a, factor_b = _factor(a, penalty, "first"), _factor(b, penalty, "second")
        half = solve_triangular(factor_a, a.T @ b / len(a), lower=True)
        u, s, wt = np.linalg.svd(solve_triangular(factor_b, half.T, lower=True).T, full_matrices=False)
        self.correlations: FloatArray = s[:dim]
        weight = np.sqrt(s[:dim])
        self.map_a: FloatArray = solve_triangular(factor_a.T, u[:, :dim]) * weight
        self.map_b: FloatArray = solve_triangular(factor_b.T, wt[:dim].T) * weight

    def first(self, rows: FloatArray) -> FloatArray:
        """Rows of the first modality → [item, dim]."""
        return np.asarray((rows - self.centre_a) @ self.map_a)

    def second(self, rows: FloatArray) -> FloatArray:
        """Rows of the second modality → [item, dim]."""
        return np.asarray((rows - self.centre_b) @ self.map_b)


def _factor(centred: FloatArray, penalty: float, which: str) -> FloatArray:
    covariance = centred.T @ centred / len(centred)
    level = float(np.diag(covariance).mean())
    if level == 0:
        raise FeatureError(f"all rows of the {which} modality are equal, so nothing can be read off it; leave CCA out")
    covariance[np.diag_indices_from(covariance)] += (penalty + 1e-9) * level  # the least lets a singular one pass
    return np.asarray(cholesky(covariance, lower=True))


def _spread(part: Estimate, items: IntArray, n_items: int) -> Estimate:
    """The same ratio with an entry for every item, zero over zero outside ``items``."""
    columns = np.zeros((n_items, part.columns.shape[1]))
    columns[items] = part.columns
    return Estimate(columns, part.of_means)


def _codes(key: Sequence[Hashable], n_items: int) -> IntArray:
    if len(key) != n_items:
        raise FeatureError(f"{len(key)} keys for {n_items} items; give one for each (None if there is no content)")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in key], dtype=np.int64)


def _mask(queries: npt.ArrayLike, n_items: int) -> BoolArray:
    mask = np.asarray(queries)
    if mask.shape != (n_items,) or mask.dtype != np.bool_ or not mask.any():
        raise FeatureError(
            f"queries of shape {mask.shape} and kind {mask.dtype}; give {n_items} bools, one of them true"
        )
    return mask


def _checked(ks: Sequence[int]) -> Sequence[int]:
    if not ks or min(ks) < 1:
        raise ConfigError(f"R@k for k = {list(ks)}: give at least one k, each from 1")
    return ks


def _two(matrices: Mapping[str, npt.ArrayLike]) -> list[tuple[str, npt.ArrayLike]]:
    if len(matrices) != 2:
        raise FeatureError(f"retrieval is between two modalities, not {len(matrices)}; give visual and textual rows")
    return list(matrices.items())
