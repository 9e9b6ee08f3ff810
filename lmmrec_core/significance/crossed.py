"""The crossed test: users and seeds are both a sample, and a difference must hold for others of either.

Model of a value of system A for user u (of person p) in the run of seed s:

.. math:: x^A_{us} = \\mu^A + U^A_u + S^A_s + E^A_{us}

with users paired between the systems and correlated within a person, and seeds drawn for each system by itself. The
variance of the difference of means is the persons' part plus the seeds' part, less what both contain (the variance of
E over users and seeds): the two-way sum of Cameron, Gelbach & Miller (2011) with the mean squares of the balanced
crossed design, which are unbiased at three seeds. Its degrees of freedom are Satterthwaite's (1946). Psycholinguistics
knows the test as quasi-F (Clark 1973) for subjects and items.

Where seeds matter little, what is taken away is by chance larger than the seeds' part. Counting that as zero, as REML
does, would make the variance too large on average (:mod:`lmmrec_core.significance.simulation`: 2 to 4 % false alarms at
5 %). So the sum stands as it is, but is never below half of the persons' part.

With several splits, the split takes the place of the seed: its users' values are other held-out items of the same
persons, both systems share it, and seeds are nested in it, so the spread over splits contains theirs. What a split does
to both systems alike cancels; what is left varies by a squared coefficient of variation that the cells of a model share
(:mod:`lmmrec_core.significance.split_noise`). Where a pair varies more than that, or there are no others to learn from,
its own is used, with the few degrees of freedom it has. That is careful: what the model shares is too small for a pair
that moves more, and which does cannot be seen on three splits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import stats

from lmmrec_core.flow import FloatArray
from lmmrec_core.significance.seed_noise import SeedNoise, mean_squares, person_sums
from lmmrec_core.significance.units import Crossed

Noises = tuple[SeedNoise | None, SeedNoise | None]  # of a's and of b's model
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class MeansVariance:
    """Covariance of the means of a and b [2, 2], and the mean squares [2, 2] that make it uncertain, with their df."""

    total: FloatArray
    parts: tuple[tuple[FloatArray, float], ...]
    common: tuple[tuple[FloatArray, float], ...] = ()  # what of the parts is one estimate for several of them

    def of(self, weights: Sequence[float]) -> tuple[float, float]:
        """Variance of ``weights[0] · mean_a + weights[1] · mean_b``, and its Satterthwaite degrees of freedom."""
        w = np.asarray(weights, dtype=np.float64)
        variance = float(w @ self.total @ w)
        parts, common = ([(float(w @ square @ w), df) for square, df in of] for of in (self.parts, self.common))
        uncertain = [square**2 / df for square, df in parts]
        shared = sum(square**2 / df for square, df in common)
        spread = sum(uncertain) + shared
        # what is subtracted from the parts could push the degrees of freedom below those of any of them
        fewest = min((df for square, df in parts if square > 0), default=parts[0][1])
        if shared > 0:  # those of all runs together
            fewest = min(fewest, sum(square for square, _ in parts[1:]) ** 2 / (sum(uncertain[1:]) + shared))
        return variance, max(variance**2 / spread, fewest) if spread > 0 else fewest


@dataclass(frozen=True)
class DifferenceOfMeans:
    """A difference of means with its standard error and degrees of freedom: all that test and intervals need.

    ``testable`` is False if a side has one seed and nothing tells how seeds vary: the error is infinite, p is 1.
    """

    difference: float
    se: float
    df: float
    testable: bool = True

    @property
    def t(self) -> float:
        if self.se == 0:
            return 0.0 if self.difference == 0 else float(np.copysign(np.inf, self.difference))
        return self.difference / self.se

    @property
    def p(self) -> float:
        """Two-sided."""
        return float(2 * stats.t.sf(abs(self.t), self.df)) if self.testable else 1.0

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Excludes zero exactly when p is below 1 − level."""
        if not self.testable:
            return -np.inf, np.inf
        reach = float(stats.t.isf((1 - level) / 2, self.df)) * self.se
        return self.difference - reach, self.difference + reach


def persons_part(pair: Crossed) -> FloatArray:
    """Covariance [2, 2] of the means over persons, seeds held fixed: the sandwich clustered by person."""
    sums = np.zeros((pair.persons, 2))
    for split in _by_split(pair):
        sums += split
    return sums.T @ sums * pair.persons / (pair.persons - 1)


def means_variance(pair: Crossed, noise: Noises = (None, None)) -> MeansVariance | None:
    """Variance of the two means over persons and replicates; None where one seed says nothing of others.

    ``noise``: of a's and of b's model (:func:`~lmmrec_core.significance.seed_noise.seed_noise`), to moderate the
    variance over seeds; None keeps a cell's own. Two sides of one model share what is known of it: that is one
    estimate, and its degrees of freedom count once. With several splits it is that over splits, and the first of the
    two counts (:func:`~lmmrec_core.significance.split_noise.split_noise`).
    """
    persons = persons_part(pair)
    parts = [(persons, pair.persons - 1.0)]
    if len(pair.a) > 1:
        replicates, shared, squares = _splits_part(pair, noise[0])
        return MeansVariance(_at_least_half(persons, replicates - shared), (*parts, squares[0]), tuple(squares[1:]))
    sides = [
        Side(mean, values.shape[1], *mean_squares(values, pair.person[0], pair.persons))
        for values, mean in ((pair.a[0], pair.mean_a), (pair.b[0], pair.mean_b))
    ]
    return variance_of(persons, pair.persons, sides, noise)


@dataclass(frozen=True)
class Side:
    """One system on one split: its mean, its seeds, and what :func:`~.seed_noise.mean_squares` says of them."""

    mean: float
    seeds: int
    square: float
    twice: float


def variance_of(
    persons_variance: FloatArray, persons: int, sides: Sequence[Side], noise: Noises = (None, None)
) -> MeansVariance | None:
    """As :func:`means_variance`, for one split, from the persons' part [2, 2] and the seeds' of each side."""
    parts = [(persons_variance, persons - 1.0)]
    common: dict[int, tuple[FloatArray, float]] = {}  # of each model's noise: two sides of one model share it
    added = np.zeros((2, 2))
    for number, side in enumerate(sides):
        of_side = np.zeros((2, 2))
        of_side[number, number] = 1.0
        found, known, twice = _seeds_part(side, noise[number])
        if found.df == known.df == 0:
            return None
        parts.append((found.square * of_side, found.df))
        if known.df:
            before = common.get(id(noise[number]), (np.zeros((2, 2)), 0.0))[0]
            common[id(noise[number])] = (before + known.square * of_side, known.df)
        added += (found.square - twice) * of_side
    return MeansVariance(_at_least_half(persons_variance, added), tuple(parts), tuple(common.values()))


class TwoMeans(Protocol):
    """What a difference is taken of; what is below 1e-13 of ``scale`` is rounding."""

    @property
    def mean_a(self) -> float: ...

    @property
    def mean_b(self) -> float: ...

    @property
    def scale(self) -> float: ...


def difference_estimate(pair: TwoMeans, variance: MeansVariance | None) -> DifferenceOfMeans:
    """a − b with the error that its variance gives; a difference without any spread has none."""
    difference = pair.mean_a - pair.mean_b
    if abs(difference) <= _ROUNDING * pair.scale:
        difference = 0.0
    if variance is None:
        return DifferenceOfMeans(difference, np.inf, 0.0, testable=False)
    square, df = variance.of((1.0, -1.0))
    se = float(np.sqrt(max(square, 0.0)))
    return DifferenceOfMeans(difference, 0.0 if se <= _ROUNDING * pair.scale else se, df)


def relative_interval(
    pair: TwoMeans, variance: MeansVariance | None, df: float, level: float = 0.95
) -> tuple[float, float] | None:
    """Interval of mean_a / mean_b − 1 by Fieller (1954): the ratios that the test of a difference does not reject.

    It holds zero exactly when the interval of the difference does. None if the reference's mean cannot be told from
    zero: then no ratio is excluded.
    """
    if variance is None or pair.mean_b == 0:
        return None
    (aa, ab), (_, bb) = variance.total
    square = float(stats.t.isf((1 - level) / 2, df)) ** 2
    lead = pair.mean_b**2 - square * bb
    if lead <= 0:
        return None
    middle = pair.mean_a * pair.mean_b - square * ab
    root = np.sqrt(max(0.0, middle**2 - lead * (pair.mean_a**2 - square * aa)))
    return float((middle - root) / lead - 1), float((middle + root) / lead - 1)


def users_only(pair: Crossed) -> DifferenceOfMeans:
    """The test that takes seeds as fixed: the mean over users, with persons as clusters.

    With one user per person it is a paired t test over users, as the paper's may be: it does not state the unit. For
    reference only; its false alarms are on the calibration page.
    """
    difference = pair.mean_a - pair.mean_b
    square = float(np.array([1.0, -1.0]) @ persons_part(pair) @ np.array([1.0, -1.0]))
    return DifferenceOfMeans(difference, float(np.sqrt(max(square, 0.0))), pair.persons - 1.0)


@dataclass(frozen=True)
class _Square:
    """A variance, or a part of one, with its degrees of freedom; none if these are 0."""

    square: float
    df: float


def _seeds_part(side: Side, noise: SeedNoise | None) -> tuple[_Square, _Square, float]:
    """Variance of one side's mean due to seeds, the part of it that is c₀², and what of it persons hold as well."""
    if noise is None or side.mean == 0:
        return _Square(side.square if side.seeds > 1 else 0.0, side.seeds - 1.0), _Square(0.0, 0.0), side.twice
    per_run = side.mean**2 / side.seeds  # from a squared coefficient of variation of one run to the mean's variance
    moved, df = noise.moderated(side.square / per_run if side.seeds > 1 else 0.0, side.seeds - 1.0)
    known = noise.known(side.seeds - 1.0)
    twice = side.twice if side.seeds > 1 else noise.residual * per_run
    return _Square(moved * per_run, df), _Square(known * per_run, noise.resting if known else 0.0), twice


def _by_split(pair: Crossed) -> list[FloatArray]:
    """Per split: what each person adds to the deviation of the two means [person, side]."""
    found = []
    for a, b, person in zip(pair.a, pair.b, pair.person, strict=True):
        values = np.column_stack([a.mean(axis=1), b.mean(axis=1)])
        sums = person_sums(person, values - values.mean(axis=0), pair.persons)
        found.append(sums / (len(a) * len(pair.a)))
    return found


def _splits_part(
    pair: Crossed, noise: SeedNoise | None
) -> tuple[FloatArray, FloatArray, list[tuple[FloatArray, float]]]:
    """Covariance [2, 2] of the means due to splits and the seeds in them, what of it persons hold as well, and the
    first with its df, then the part of it that is the model's, if any, with those.

    With ``noise``: of what splits do to one system alone; the two sides' parts are equal, relative to their means.
    """
    splits = len(pair.a)
    means = np.array([[a.mean(), b.mean()] for a, b in zip(pair.a, pair.b, strict=True)])
    sums = np.stack(_by_split(pair))
    rest = sums - sums.mean(axis=0)
    correction = splits / (splits - 1) * pair.persons / (pair.persons - 1)
    shared = np.einsum("kpi,kpj->ij", rest, rest) * correction
    whole = means.mean(axis=0)
    if noise is None or not whole.all():
        own_covariance = np.cov(means.T, ddof=1) / splits
        return own_covariance, shared, [(own_covariance, splits - 1.0)]
    own = float((means[:, 0] / whole[0] - means[:, 1] / whole[1]).var(ddof=1)) / 2
    squared, df = noise.moderated(own, splits - 1.0)
    known = noise.known(splits - 1.0)
    if squared < own:  # this pair moves more than its model; another recommender, which has no part in it, may
        squared, df, known = own, splits - 1.0, 0.0
    apart = float(shared[0, 0] - 2 * shared[0, 1] + shared[1, 1]) / 2
    moved = np.diag(whole**2 / splits)
    return squared * moved, np.diag([apart, apart]), [(squared * moved, df), (known * moved, noise.resting)]


def _at_least_half(persons: FloatArray, added: FloatArray) -> FloatArray:
    """persons + added, or the nearest matrix above it that is for no weights below half of ``persons``."""
    values, vectors = np.linalg.eigh(persons / 2 + added)
    return np.asarray(persons / 2 + (vectors * np.maximum(values, 0.0)) @ vectors.T)
