"""Two one-sided tests: is the difference of two systems smaller than a stated margin?

A large p-value of a paired t-test does not show that two systems are alike. The null controls (content
that carries nothing, a second modality that repeats the first) need exactly that statement.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from lmmrec_core.errors import ResultError
from lmmrec_core.significance.units import paired_values


@dataclass(frozen=True)
class Equivalence:
    """``p`` is the larger of the two one-sided p-values; below ``alpha``, no difference beyond ``margin`` is left."""

    difference: float
    margin: float
    p: float
    low: float  # interval of level 1 − 2 alpha (90 % for alpha 0.05): equivalent when within ±margin
    high: float
    equivalent: bool
    n: int


def equivalence(
    a: pd.Series, b: pd.Series, margin: float, groups: pd.Series | None = None, alpha: float = 0.05
) -> Equivalence:
    """Paired TOST (Schuirmann 1987) of |mean(a − b)| < ``margin``, in units of the metric.

    Arguments as :func:`lmmrec_core.significance.paired.compare_users`. Raises ResultError for a margin that is
    not positive, and for users that do not match.
    """
    if not (np.isfinite(margin) and margin > 0):
        raise ResultError(f"margin {margin!r} must be a positive number, fixed before the results are seen")
    if not 0 < alpha < 0.5:
        raise ResultError(f"alpha {alpha!r} must be between 0 and 0.5")
    pairs = paired_values(a, b, groups)
    difference = pairs.difference
    n, mean = len(difference), float(difference.mean())
    if pairs.constant:
        inside = abs(mean) < margin
        return Equivalence(mean, margin, 0.0 if inside else 1.0, mean, mean, inside, n)
    error = float(difference.std(ddof=1) / np.sqrt(n))
    above = stats.t.sf((mean + margin) / error, n - 1)
    below = stats.t.cdf((mean - margin) / error, n - 1)
    p = float(max(above, below))
    reach = float(stats.t.isf(alpha, n - 1)) * error
    return Equivalence(mean, margin, p, mean - reach, mean + reach, p < alpha, n)
