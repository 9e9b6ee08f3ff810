"""Two one-sided tests: is the difference of two systems smaller than a stated margin?

A large p-value of a difference does not show that two systems are alike. The null controls (content that carries
nothing, a second modality that repeats the first) need exactly that statement.
"""

import numpy as np
from scipy import stats

from lmmrec_core.errors import ResultError


def equivalence_p(difference: float, se: float, df: float, margin: float) -> float:
    """TOST (Schuirmann 1987) of |true difference| < ``margin``: the larger of the two one-sided p-values.

    ``se`` and ``df``: those of the test of the difference. ``margin``: in units of the metric, fixed before the
    results are seen. It is below α exactly when the interval of level 1 − 2α lies within ±margin. Without a standard
    error (0) the difference itself decides; with an infinite one, nothing is shown and p is 1.

    Raises ResultError for a margin that is not positive.
    """
    if not (np.isfinite(margin) and margin > 0):
        raise ResultError(f"margin {margin!r} must be a positive number, fixed before the results are seen")
    if not np.isfinite(se):
        return 1.0
    if se == 0:
        return 0.0 if abs(difference) < margin else 1.0
    above = stats.t.sf((difference + margin) / se, df)
    below = stats.t.cdf((difference - margin) / se, df)
    return float(max(above, below))
