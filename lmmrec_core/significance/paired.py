"""Paired comparison of two systems over users, or over the persons behind them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import FloatArray
from lmmrec_core.significance.bootstrap import PAIR_RESAMPLES, interval, resampled_means
from lmmrec_core.significance.units import PairedValues, over_seeds, paired_values

_LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """``a`` against ``b``, the reference; every figure is over the tested units, unrounded.

    A star needs a sign: ``difference`` is a − b, and ``p`` is two-sided.
    """

    mean_a: float
    mean_b: float
    difference: float
    relative: float | None  # (a − b) / b; None if the mean of b is 0
    t: float  # ±inf if all units differ by the same amount
    p: float
    ci_low: float  # 95 % bootstrap interval of the difference
    ci_high: float
    relative_low: float | None  # 95 % bootstrap interval of the relative change
    relative_high: float | None
    effect: float  # Cohen's d_z: mean of the differences over their standard deviation; ±inf as t
    n: int  # tested units: users, or persons if users share one
    n_users: int
    wins: int  # units with a > b
    ties: int
    losses: int
    seeds: tuple[int, ...] = ()  # averaged over, if several
    spread: float | None = None  # standard deviation over seeds of the difference of means


def compare_users(
    a: pd.Series, b: pd.Series, groups: pd.Series | None = None, seed: int = 0, resamples: int = PAIR_RESAMPLES
) -> Comparison:
    """Paired t-test over users of ``a`` − ``b``, with bootstrap intervals and effect size.

    ``a`` and ``b``: one metric, index user; ``groups``: user → person, if users share one (their values
    are averaged per person first). Identical systems give t = 0 and p = 1.

    Raises ResultError when the users differ, a value is not finite, or fewer than two units remain.
    """
    pairs = paired_values(a, b, groups)
    difference = pairs.difference
    mean_a, mean_b = float(pairs.a.mean()), float(pairs.b.mean())
    t, p, effect = _t_test(pairs)
    sample_a, sample_b = resampled_means(pairs.a, pairs.b, seed, resamples)
    ci_low, ci_high = interval(sample_a - sample_b, _LEVEL)
    relative_low, relative_high = _relative_interval(sample_a, sample_b)
    return Comparison(
        mean_a=mean_a,
        mean_b=mean_b,
        difference=float(difference.mean()),
        relative=float(difference.mean()) / mean_b if mean_b != 0 else None,
        t=t,
        p=p,
        ci_low=ci_low,
        ci_high=ci_high,
        relative_low=relative_low,
        relative_high=relative_high,
        effect=effect,
        n=len(difference),
        n_users=pairs.n_users,
        wins=int((difference > 0).sum()),
        ties=int((difference == 0).sum()),
        losses=int((difference < 0).sum()),
    )


def compare_seeds(
    a: Mapping[int, pd.Series], b: Mapping[int, pd.Series], groups: pd.Series | None = None, seed: int = 0
) -> Comparison:
    """Like :func:`compare_users`, for seed → per-user values: averaged over the seeds both have, users stay the units.

    ``spread`` is the standard deviation over seeds of the difference of means (None for one seed).
    Raises ResultError when no seed is common, or as :func:`compare_users`.
    """
    seeds = tuple(sorted(set(a) & set(b)))
    if not seeds:
        raise ResultError(f"no common seed: a has {sorted(a)}, b has {sorted(b)}; run both with the same seeds")
    compared = compare_users(over_seeds({s: a[s] for s in seeds}), over_seeds({s: b[s] for s in seeds}), groups, seed)
    by_seed = [paired_values(a[s], b[s], groups).difference.mean() for s in seeds]
    spread = float(np.std(by_seed, ddof=1)) if len(seeds) > 1 else None
    return Comparison(**{**compared.__dict__, "seeds": seeds, "spread": spread})


def _t_test(pairs: PairedValues) -> tuple[float, float, float]:
    """t, two-sided p and d_z; defined even if the differences have no spread."""
    difference = pairs.difference
    if pairs.constant:
        mean = difference.mean()
        if np.isclose(mean, 0.0, rtol=0.0, atol=1e-13 * max(np.abs(pairs.a).max(), 1e-300)):
            return 0.0, 1.0, 0.0
        return float(np.copysign(np.inf, mean)), 0.0, float(np.copysign(np.inf, mean))
    tested = stats.ttest_rel(pairs.a, pairs.b)
    return float(tested.statistic), float(tested.pvalue), float(difference.mean() / difference.std(ddof=1))


def _relative_interval(sample_a: FloatArray, sample_b: FloatArray) -> tuple[float | None, float | None]:
    if (sample_b <= 0).any():  # the reference may be 0: a ratio has no interval
        return None, None
    return interval(sample_a / sample_b - 1, _LEVEL)
