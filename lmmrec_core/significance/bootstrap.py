"""The two-way bootstrap: persons and seeds are drawn again, each by themselves (Owen 2007, Owen & Eckles 2012).

A candidate for the test of a difference, kept for the calibration page. Three seeds of a side are too few to draw from:
the spread over seeds comes out too small by (S − 1) / S, and percentiles know nothing of degrees of freedom.
"""

import numpy as np

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import FloatArray, IntArray
from lmmrec_core.significance.seed_noise import person_sums
from lmmrec_core.significance.units import Crossed


def two_way_bootstrap(pair: Crossed, generator: np.random.Generator, resamples: int = 500) -> FloatArray:
    """Differences of means [resample], with persons (all users of each) and either side's seeds drawn with replacement.

    Raises ResultError for several splits, which this candidate does not know.
    """
    if len(pair.a) > 1:
        raise ResultError("the two-way bootstrap is for one split; use the crossed test")
    person = pair.person[0]
    drawn = generator.multinomial(pair.persons, np.full(pair.persons, 1 / pair.persons), size=resamples)
    weights = drawn.astype(np.float64)
    users = weights @ np.bincount(person, minlength=pair.persons)
    first, second = (_side(values, person, weights, users, generator) for values in (pair.a[0], pair.b[0]))
    return first - second


def _side(
    values: FloatArray, person: IntArray, weights: FloatArray, users: FloatArray, generator: np.random.Generator
) -> FloatArray:
    """Means of one side [resample]; ``weights`` [resample, person], ``users`` [resample] drawn in all."""
    seeds = values.shape[1]
    by_seed = weights @ person_sums(person, values, len(weights.T)) / users[:, None]
    chosen = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(weights)) / seeds
    return np.asarray((by_seed * chosen).sum(axis=1))


def percentile_test(differences: FloatArray, level: float = 0.95) -> tuple[float, float, float]:
    """Interval and two-sided p of a difference from its resamples: the level at which the interval reaches zero."""
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    tail = min((differences <= 0).sum(), (differences >= 0).sum()) + 1
    return float(low), float(high), float(min(1.0, 2 * tail / (len(differences) + 1)))
