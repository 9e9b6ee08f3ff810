"""Heads in closed form: regularised canonical correlation analysis (CCA) of two feature matrices.

With centred V [pair, p] and T [pair, q] of n pairs,

    C_v = V'V/n + r_v mean(diag(V'V/n)) I,   C_t likewise,   C = V'T/n,
    L_v L_v' = C_v,  L_t L_t' = C_t,   L_v^-1 C L_t^-T = U S W',
    W_v = L_v^-T U_k S_k^(1/2),   W_t = L_t^-T W_k S_k^(1/2).

The penalties r_v and r_t are relative to the mean variance. The maps differ from those of textbook CCA (Hotelling
1936) by the factor S^(1/2), which weights each direction by its correlation. Everything is NumPy and SciPy in float64;
nothing is random.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.linalg import cholesky, solve_triangular, svd
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from scipy.stats import rankdata

from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import BoolArray, FloatArray, IntArray

_VISUAL_PENALTIES = (1.0, 3.0, 10.0, 30.0)
_TEXTUAL_PENALTIES = (1.0, 3.0, 10.0)
_DIRECTIONS = (64, 256)
_LARGEST_SCALE = 100.0  # as CLIP limits its own


@dataclass(frozen=True, eq=False)
class Heads:
    """Maps into a joint space: ``visual @ v + bias`` for pictures, ``textual @ t`` for texts, compared by cosine.

    Texts are not centred, since clip-small's text head has no bias. ``scale`` multiplies the cosines.
    """

    visual: FloatArray  # [k, p]
    bias: FloatArray  # [k]
    textual: FloatArray  # [k, q]
    scale: float = 1.0

    def similarities(self, visual: FloatArray, textual: FloatArray) -> FloatArray:
        """Cosines [picture, text] in the joint space; a vector of zeros has cosine 0 with all."""
        return _unit(visual @ self.visual.T + self.bias) @ _unit(textual @ self.textual.T).T


@dataclass(frozen=True, eq=False)
class CanonicalDirections:
    """The solution for one pair of penalties: all directions, the strongest first."""

    mean: FloatArray  # [p] of the pictures
    visual: FloatArray  # [p, K] W_v
    textual: FloatArray  # [q, K] W_t
    correlations: FloatArray  # [K] S; with penalties, less than the true correlations

    def heads(self, k: int, scale: float = 1.0) -> Heads:
        """Maps to the first ``k`` directions."""
        visual = self.visual[:, :k]
        return Heads(visual.T.copy(), -visual.T @ self.mean, self.textual[:, :k].T.copy(), scale)


def fit_cca(visual: FloatArray, textual: FloatArray, r_v: float, r_t: float) -> CanonicalDirections:
    """Regularised CCA of ``visual`` [pair, p] and ``textual`` [pair, q], min(p, q) directions.

    Signs are fixed by making the largest weight of each direction in W_v positive. Raises FeatureError for unequal
    lengths, numbers that are not finite, fewer than two pairs, constant features, or a covariance that is singular
    because its penalty is too low; ConfigError for a negative penalty.
    """
    _check(visual, textual)
    mean = visual.mean(axis=0)
    v, t = visual - mean, textual - textual.mean(axis=0)
    lower_v, lower_t = _whitener(v, r_v, "visual"), _whitener(t, r_t, "textual")
    between = v.T @ t / len(v)
    whitened = solve_triangular(lower_t, solve_triangular(lower_v, between, lower=True).T, lower=True).T
    u, s, w = svd(whitened, full_matrices=False)
    root = np.sqrt(s)
    w_v = solve_triangular(lower_v, u * root, lower=True, trans="T")
    w_t = solve_triangular(lower_t, w.T * root, lower=True, trans="T")
    signs = np.sign(w_v[np.abs(w_v).argmax(axis=0), np.arange(w_v.shape[1])])
    signs[signs == 0] = 1.0
    return CanonicalDirections(mean, w_v * signs, w_t * signs, s)


def _whitener(centred: FloatArray, penalty: float, name: str) -> FloatArray:
    if penalty < 0:
        raise ConfigError(f"CCA: the {name} penalty is {penalty}; give 0 or more")
    covariance = centred.T @ centred / len(centred)
    level = float(covariance.diagonal().mean())
    if level <= 0:
        raise FeatureError(f"CCA: the {name} features are the same for every pair; check the encoder and the pairs")
    covariance[np.diag_indices_from(covariance)] += penalty * level
    try:
        lower: FloatArray = cholesky(covariance, lower=True)
    except np.linalg.LinAlgError:
        raise FeatureError(f"CCA: the {name} covariance is singular; raise its penalty above {penalty}") from None
    return lower


def _check(visual: FloatArray, textual: FloatArray) -> None:
    if visual.ndim != 2 or textual.ndim != 2 or len(visual) != len(textual):
        raise FeatureError(f"CCA: features of shape {visual.shape} and {textual.shape}; give one row per pair in both")
    if len(visual) < 2:
        raise FeatureError(f"CCA: {len(visual)} pairs; give at least 2")
    for name, matrix in (("visual", visual), ("textual", textual)):
        if not np.isfinite(matrix).all():
            raise FeatureError(f"CCA: {name} features hold NaN or infinity; compute them again")


def _unit(rows: FloatArray) -> FloatArray:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norm > 0, norm, 1.0)


def partner_ranks(similarities: FloatArray) -> tuple[IntArray, IntArray]:
    """Rank (from 1) of each pair's own partner [pair], picture to text and text to picture; ties count against it."""
    right = np.diag_indices_from(similarities)
    by_text = rankdata(-similarities, method="max", axis=1)[right]
    return by_text, rankdata(-similarities, method="max", axis=0)[right]


def partner_recall(similarities: FloatArray, k: int) -> float:
    """Share of pairs whose partner is among the first ``k``, mean of both directions."""
    return float(np.mean([(ranked <= k).mean() for ranked in partner_ranks(similarities)]))


def contrastive_loss(similarities: FloatArray, scale: float) -> float:
    """Symmetric InfoNCE (Radford et al. 2021) of cosines [picture, text], multiplied by ``scale``."""
    logits = scale * similarities
    right = logits.diagonal()
    return float((logsumexp(logits, axis=1) - right).mean() + (logsumexp(logits, axis=0) - right).mean()) / 2


def best_scale(similarities: FloatArray) -> float:
    """The scale between 1 and 100 with the lowest contrastive loss, found by a bounded search over its logarithm."""
    found = minimize_scalar(
        lambda log: contrastive_loss(similarities, float(np.exp(log))),
        bounds=(0.0, float(np.log(_LARGEST_SCALE))), method="bounded", options={"xatol": 1e-6},
    )  # fmt: skip
    return float(np.exp(found.x))


def choose_heads(
    visual: FloatArray,
    textual: FloatArray,
    out: BoolArray,
    *,
    max_directions: int = max(_DIRECTIONS),
    grid: tuple[Sequence[float], Sequence[float], Sequence[int]] = (_VISUAL_PENALTIES, _TEXTUAL_PENALTIES, _DIRECTIONS),
) -> tuple[Heads, dict[str, Any]]:
    """Fit heads on the pairs that are not ``out``; choose (r_v, r_t, k) and the scale on those that are.

    The criterion is R@10 of both directions, then the mean reciprocal rank, then the order of the grid. The chosen maps
    are not fitted again on all pairs, so the held-out figures remain held out. Returns the heads and a record of the
    choice. Raises FeatureError if either side has fewer than 11 pairs.
    """
    inside = ~out
    for name, count in (("fitted", int(inside.sum())), ("held-out", int(out.sum()))):
        if count < 11:
            raise FeatureError(f"CCA heads: {count} {name} pairs of {len(out)}; give more pairs, 200 or so at least")
    best: tuple[tuple[float, float], CanonicalDirections, dict[str, Any]] | None = None
    for r_v, r_t in product(grid[0], grid[1]):
        solution = fit_cca(visual[inside], textual[inside], r_v, r_t)
        for k in dict.fromkeys(min(k, max_directions, len(solution.correlations)) for k in grid[2]):
            similarities = solution.heads(k).similarities(visual[out], textual[out])
            reciprocal = float(np.mean([(1 / ranked).mean() for ranked in partner_ranks(similarities)]))
            score = (partner_recall(similarities, 10), reciprocal)
            if best is None or score > best[0]:
                best = (score, solution, {"r_v": r_v, "r_t": r_t, "directions": k})
    assert best is not None  # the grid has entries
    score, solution, choice = best
    similarities = solution.heads(choice["directions"]).similarities(visual[out], textual[out])
    scale = best_scale(similarities)
    record = {
        "method": "regularised CCA", **choice, "scale": round(scale, 6), "fitted": int(inside.sum()),
        "held_out": int(out.sum()), "held_out_recall@10": round(score[0], 6),
    }  # fmt: skip
    return solution.heads(choice["directions"], scale), record
