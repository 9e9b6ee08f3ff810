"""Two systems over users and seeds → their difference as the tables show it, with its test, interval and effect."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmrec_core.significance.crossed import (
    MeansVariance,
    Noises,
    difference_estimate,
    means_variance,
    persons_part,
    relative_interval,
)
from lmmrec_core.significance.units import ByReplicate, Crossed, crossed, runs_of

_LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """``a`` against ``b``, the reference, unrounded. Test and intervals follow one model (``significance/crossed.py``).

    The means are the tables': over users, then over seeds. Persons only cluster the standard error. Without seeds to
    tell from (``testable`` False), the error is infinite, p is 1, and the intervals hold everything.
    """

    mean_a: float
    mean_b: float
    difference: float  # a − b
    relative: float | None  # (a − b) / b; None if the mean of b is 0
    se: float
    df: float
    t: float  # ±inf if nothing varies and the means differ
    p: float  # two-sided
    ci_low: float  # 95 % interval of the difference
    ci_high: float
    relative_low: float | None  # 95 % interval of the relative change; None if b's mean cannot be told from 0
    relative_high: float | None
    effect: float  # Cohen's d_z over users, on means over seeds; ±inf if all users differ by the same amount
    n: int  # users; with several splits, of the one that has most
    persons: int
    splits: int
    wins: int  # users with a > b, on means over seeds; with several splits, a user counts on each
    ties: int
    losses: int
    share_gained: float | None  # wins / (wins + losses); None if nobody differs
    seeds: int  # runs on a split, of the side that has fewer
    spread: float | None  # standard deviation over seeds of the difference of one run of each; None for one seed
    testable: bool = True


def compare(
    a: ByReplicate,
    b: ByReplicate,
    groups: pd.Series | None = None,
    noise: Noises = (None, None),
) -> Comparison:
    """The crossed test of ``a`` − ``b``, each seed (or (split seed, seed)) → user → value of one metric.

    ``groups``: user → person, if users share one. ``noise``: how the models of a and of b vary over seeds, if more
    cells of them are known (:func:`~lmmrec_core.significance.seed_noise.seed_noise`). A side may have seeds that the
    other lacks. Raises ResultError when the users or splits differ, a value is not finite, or fewer than two persons
    remain.
    """
    return compare_pair(crossed(runs_of("a", a), runs_of("b", b), groups), noise)


def compare_pair(pair: Crossed, noise: Noises = (None, None), level: float = _LEVEL) -> Comparison:
    """As :func:`compare`, for systems that are matched already."""
    return _comparison(pair, means_variance(pair, noise), level)


def compare_trained(a: pd.Series, b: pd.Series, groups: pd.Series | None = None) -> Comparison:
    """The paired test of two trained models over users, user → value of one metric each: seeds are held fixed.

    It says whether these two models differ for more users like these, and nothing of models trained with other seeds:
    of those a single run cannot tell (:func:`compare` calls that not testable). Its standard error is that of the mean
    of the paired differences, clustered by person where ``groups`` says who is one. Raises ResultError as
    :func:`compare`.
    """
    pair = crossed(runs_of("a", {0: a}), runs_of("b", {0: b}), groups)
    persons = persons_part(pair)
    return _comparison(pair, MeansVariance(persons, ((persons, pair.persons - 1.0),)), _LEVEL)


def _comparison(pair: Crossed, variance: MeansVariance | None, level: float) -> Comparison:
    found = difference_estimate(pair, variance)
    low, high = found.interval(level)
    by_user = pair.difference
    by_user = np.where(np.abs(by_user) <= 1e-13 * pair.scale, 0.0, by_user)  # means over seeds, equal up to rounding
    wins, losses = int((by_user > 0).sum()), int((by_user < 0).sum())
    relative = found.difference / pair.mean_b if pair.mean_b != 0 else None
    ratio = relative_interval(pair, variance, found.df, level)
    return Comparison(
        mean_a=pair.mean_a,
        mean_b=pair.mean_b,
        difference=found.difference,
        relative=relative,
        se=found.se,
        df=found.df,
        t=found.t,
        p=found.p,
        ci_low=low,
        ci_high=high,
        relative_low=None if ratio is None else ratio[0],
        relative_high=None if ratio is None else ratio[1],
        effect=_standardised(by_user, pair.scale),
        n=max(map(len, pair.person)),
        persons=pair.persons,
        splits=len(pair.a),
        wins=wins,
        ties=len(by_user) - wins - losses,
        losses=losses,
        share_gained=wins / (wins + losses) if wins + losses else None,
        seeds=min(part.shape[1] for part in (*pair.a, *pair.b)),
        spread=_spread(pair),
        testable=found.testable,
    )


def _standardised(difference: np.ndarray, scale: float) -> float:
    """d_z: the mean over the standard deviation of the users' differences."""
    if len(difference) < 2 or np.ptp(difference) <= 1e-13 * scale:
        mean = float(difference.mean())
        return 0.0 if abs(mean) <= 1e-13 * scale else float(np.copysign(np.inf, mean))
    return float(difference.mean() / difference.std(ddof=1))


def _spread(pair: Crossed) -> float | None:
    """√(s²ₐ + s²_b), each over the seeds of its own side (pooled over splits)."""
    sides = []
    for side in (pair.a, pair.b):
        if min(values.shape[1] for values in side) < 2:
            return None
        sides.append(np.mean([values.mean(axis=0).var(ddof=1) for values in side]))
    return float(np.sqrt(sum(sides)))
