"""Means of runs and how they vary together over persons: all that the crossed test needs of per-user values.

With R runs of one split the test of any runs against any others follows from R means and R (R + 1) / 2 products, so a
simulation of many worlds can be kept in few numbers and tested again, also by another rule
(:mod:`lmmrec_core.significance.crossed` is the test).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmmrec_core.flow import FloatArray, IntArray
from lmmrec_core.significance.crossed import (
    DifferenceOfMeans,
    MeansVariance,
    Noises,
    Side,
    difference_estimate,
    relative_interval,
    variance_of,
)
from lmmrec_core.significance.seed_noise import CellNoise, person_sums

RunRows = Sequence[int]  # which runs make up a system


@dataclass(frozen=True, eq=False)
class Moments:
    """``means`` [run] over ``users``; ``products`` [run, run], summed over ``persons``, of their sums of deviations."""

    means: FloatArray
    products: FloatArray
    users: int
    persons: int

    def cell_noise(self, rows: RunRows) -> CellNoise | None:
        """As :func:`~lmmrec_core.significance.seed_noise.cell_noise` of these runs."""
        side = self._side(rows)
        if side.seeds < 2 or side.mean == 0:
            return None
        per_run = side.mean**2 / side.seeds
        return CellNoise(side.square / per_run, side.twice / per_run, side.seeds - 1.0)

    def between(self, a: RunRows, b: RunRows, noise: Noises = (None, None)) -> "MomentsTest":
        """The crossed test of runs ``a`` against runs ``b``, the reference."""
        weights = np.zeros((len(self.means), 2))
        weights[list(a), 0], weights[list(b), 1] = 1 / len(a), 1 / len(b)
        persons = weights.T @ self.products @ weights / self.users**2 * self.persons / (self.persons - 1)
        sides = self._side(a), self._side(b)
        variance = variance_of(persons, self.persons, sides, noise)
        return MomentsTest(sides[0].mean, sides[1].mean, persons, self.persons, variance)

    def _side(self, rows: RunRows) -> Side:
        chosen = list(rows)
        means, seeds = self.means[chosen], len(chosen)
        if seeds < 2:
            return Side(float(means.mean()), seeds, np.nan, np.nan)
        part = self.products[np.ix_(chosen, chosen)]
        rest = float(np.trace(part) - part.sum() / seeds)  # of the deviations from each person's mean over runs
        correction = self.persons / (self.persons - 1) * seeds / (seeds - 1)
        twice = max(rest, 0.0) / (self.users * seeds) ** 2 * correction
        return Side(float(means.mean()), seeds, float(means.var(ddof=1) / seeds), twice)


@dataclass(frozen=True, eq=False)
class MomentsTest:
    """One test made from moments: the two means and their variance."""

    mean_a: float
    mean_b: float
    persons_variance: FloatArray
    persons: int
    variance: MeansVariance | None
    scale: float = 1.0  # of metrics that are shares

    @property
    def crossed(self) -> DifferenceOfMeans:
        return difference_estimate(self, self.variance)

    @property
    def users_only(self) -> DifferenceOfMeans:
        """With seeds taken as fixed, for reference (:func:`~lmmrec_core.significance.crossed.users_only`)."""
        return difference_estimate(
            self, MeansVariance(self.persons_variance, ((self.persons_variance, self.persons - 1.0),))
        )

    def relative(self, level: float = 0.95) -> tuple[float, float] | None:
        """Interval of mean_a / mean_b − 1; None if the reference's mean cannot be told from zero."""
        return relative_interval(self, self.variance, self.crossed.df, level)


def moments_of(values: FloatArray, person: IntArray, persons: int) -> Moments:
    """Moments of runs: ``values`` [user, run], the number of each user's person [user], and how many persons."""
    means = values.mean(axis=0)
    sums = person_sums(person, values - means, persons)
    return Moments(means, sums.T @ sums, len(values), persons)
