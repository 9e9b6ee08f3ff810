"""What a comparison could have found: the smallest true difference that its test detects with a stated chance."""

import numpy as np
from scipy import special, stats

from lmmrec_core.errors import ResultError

POWER = 0.80


def minimum_detectable_effect(
    se: float, df: float, reference: float, alpha: float = 0.05, tests: int = 1, power: float = POWER
) -> float:
    """The true relative change that the test of level ``alpha / tests`` finds with probability ``power``.

    ``se`` and ``df``: of the difference; ``reference``: the mean that the change is relative to. With ``tests`` the
    size of a family, the level is that of Holm's first step. δ = se · λ, with λ the non-centrality at which |t| exceeds
    its critical value that often (the far tail is left out; it is below 1e-6 for power 0.8). Infinite where nothing can
    be detected: no degrees of freedom, or a reference of zero. Raises ResultError for odd levels.
    """
    if not (0 < alpha < 1 and 0 < power < 1 and tests >= 1):
        raise ResultError(f"alpha {alpha!r} and power {power!r} must be within 0..1, and tests {tests!r} at least 1")
    if reference == 0 or not np.isfinite(se) or df <= 0:
        return float("inf")
    critical = stats.t.isf(alpha / tests / 2, df)
    if df > _MANY:
        return float(se * (critical + stats.norm.isf(1 - power)) / abs(reference))
    return float(se * special.nctdtrinc(df, 1 - power, critical) / abs(reference))


_MANY = 1000.0  # degrees of freedom from which t is as good as normal
