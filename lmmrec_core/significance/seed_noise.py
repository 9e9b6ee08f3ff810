"""How much training again changes a model's mean: the spread over seeds, shared by the cells of one model.

Three seeds give a variance with two degrees of freedom, which is next to nothing. The cells of one model on one data
set (its encoders, modalities, controls) vary alike relative to their means, but not equally. So the squared
coefficients of variation :math:`c_g^2` (with :math:`d_g` degrees of freedom) are moved towards their mean
:math:`c_0^2` (Smyth 2004):

.. math:: \\tilde c_g^2 = \\frac{d_0 c_0^2 + d_g c_g^2}{d_0 + d_g}, \\qquad d_0 + d_g \\text{ degrees of freedom.}

Cells that vary alike give a large :math:`d_0`, cells that do not a small one. Smyth's own estimates, made for thousands
of cells with more degrees of freedom each, reject too often with ten cells of three seeds. So :math:`c_0^2` is the
plain mean, and :math:`d_0` at most what that mean rests on (Satterthwaite 1946),
:math:`(\\sum d_g c_g^2)^2 / \\sum d_g \\sigma_g^4`, with :math:`\\sigma_g^4` estimated by
:math:`c_g^4 d_g / (d_g + 2)`; one outlying cell lowers it. Those are also the degrees of freedom of :math:`c_0^2`
itself: it is one estimate, and the cells of the model have its error in common.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, special

from lmmrec_core.flow import FloatArray, IntArray
from lmmrec_core.significance.units import ByReplicate, crossed, runs_of

_FEWEST = 3  # cells from which a common spread can be estimated


@dataclass(frozen=True)
class CellNoise:
    """Of one cell: squared coefficient of variation of a run's mean over seeds, and the part of it that users explain.

    ``residual`` is what the interaction of users and seeds alone would give, in a run of this many users.
    """

    squared: float
    residual: float
    df: float  # seeds − 1


@dataclass(frozen=True)
class SeedNoise:
    """What the cells of one model have in common: ``squared`` (c₀²) with ``df`` (d₀), and ``residual`` as above.

    ``resting``: degrees of freedom of c₀² itself, which is an estimate, and one for all cells of the model.
    """

    squared: float
    residual: float
    df: float
    resting: float

    def known(self, df: float) -> float:
        """The part of a moved c² of a cell with ``df`` that is c₀², and so rests on what c₀² rests on."""
        return self.squared * (1.0 if np.isinf(self.df) else self.df / (self.df + df) if self.df + df else 0.0)

    def moderated(self, own: float, df: float) -> tuple[float, float]:
        """A cell's own c² with its ``df`` (0 for one seed) → the moved c² and the df it had if c₀² were exact."""
        if np.isinf(self.df):
            return self.squared, np.inf
        total = self.df + df
        if total == 0:
            return np.inf, 0.0
        return (self.df * self.squared + df * own) / total, total


def person_sums(person: IntArray, values: FloatArray, persons: int) -> FloatArray:
    """Sums over the users of each person: [user, column] → [person, column]."""
    return np.column_stack([np.bincount(person, column, persons) for column in values.T])


def mean_squares(values: FloatArray, person: IntArray, persons: int) -> tuple[float, float]:
    """Variance of the mean over seeds of ``values`` [user, seed] due to seeds, and the part counted twice.

    The first, the variance of the runs' means over S, holds the noise of users within a seed; so does the persons'
    part. The second is that noise: the interaction of persons and seeds. For one seed both are NaN.
    """
    n, seeds = values.shape
    if seeds < 2:
        return np.nan, np.nan
    means = values.mean(axis=0)
    rest = values - values.mean(axis=1, keepdims=True) - means + means.mean()
    sums = person_sums(person, rest, persons) / (n * seeds)
    correction = persons / (persons - 1) * seeds / (seeds - 1)
    return float(means.var(ddof=1) / seeds), float((sums**2).sum() * correction)


def cell_noise(values: FloatArray, person: IntArray, persons: int) -> CellNoise | None:
    """The noise of one cell from ``values`` [user, seed]; None for one seed or a mean of zero."""
    mean, seeds = float(values.mean()), values.shape[1]
    if seeds < 2 or mean == 0:
        return None
    seed_part, twice = mean_squares(values, person, persons)
    return CellNoise(seed_part * seeds / mean**2, twice * seeds / mean**2, seeds - 1.0)


def noise_of(by_replicate: ByReplicate, groups: pd.Series | None = None) -> CellNoise | None:
    """As :func:`cell_noise`, from seed → user → value; None for several splits, which need no common noise."""
    runs = runs_of("cell", by_replicate)
    if len(runs) > 1:
        return None
    cell = crossed(runs, runs, groups)
    return cell_noise(cell.a[0], cell.person[0], cell.persons)


def seed_noise(cells: Iterable[CellNoise | None], alike: bool = False) -> SeedNoise | None:
    """The common noise of a model's cells; None from fewer than three, which cannot show how alike they are.

    ``alike`` takes them as equal (plain pooling). Else d₀ is found by moments of log c² (Smyth 2004, section 6.2), with
    the limit that the module states.
    """
    known = [cell for cell in cells if cell is not None]
    if len(known) < _FEWEST:
        return None
    squared, df = np.array([cell.squared for cell in known]), np.array([cell.df for cell in known])
    residual = float(np.average([cell.residual for cell in known], weights=df))
    pooled = float(np.average(squared, weights=df))
    if alike or pooled == 0:
        return SeedNoise(pooled, residual, np.inf, float(df.sum()))
    floor = 1e-5 * max(float(np.median(squared)), 1e-5 * pooled)  # a cell without spread has no logarithm
    logs = np.log(np.maximum(squared, floor)) - special.digamma(df / 2) + np.log(df / 2)
    excess = float(logs.var(ddof=1) - special.polygamma(1, df / 2).mean())
    moments = 2 * _inverse_trigamma(excess) if excess > 0 else np.inf
    fourth = squared**2 * df / (df + 2)  # the square of an estimate is larger than that of what it estimates
    resting = float(min(df.sum(), (df * squared).sum() ** 2 / (df * fourth).sum()))
    return SeedNoise(pooled, residual, min(moments, resting), resting)


def _inverse_trigamma(value: float) -> float:
    return float(optimize.brentq(lambda x: special.polygamma(1, x) - value, 1e-8, 1e8, rtol=1e-13))
