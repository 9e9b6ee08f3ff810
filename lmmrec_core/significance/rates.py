"""A share of successes with its interval, where successes come in clusters that are not independent."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from lmmrec_core.errors import ResultError


@dataclass(frozen=True)
class Rate:
    """``rate`` of ``n`` outcomes in ``clusters``, with its 95 % interval ``low`` to ``high``."""

    rate: float
    low: float
    high: float
    n: int
    clusters: int


def rate_of(outcomes: Sequence[bool], clusters: Sequence[Hashable] | None = None, level: float = 0.95) -> Rate:
    """The share of true outcomes; ``clusters`` says which belong together, None that all are independent.

    The interval is Clopper & Pearson's (1934), with the number of outcomes divided by the design effect of the clusters
    (never below 1) and corrected for their degrees of freedom (Korn & Graubard 1998). It never leaves 0 to 1, and has a
    width also where all outcomes are alike. From one cluster nothing can be said: 0 to 1.

    Raises ResultError without outcomes, or where outcomes and clusters differ in number.
    """
    hits = np.asarray(outcomes, dtype=np.float64)
    n = len(hits)
    if n == 0:
        raise ResultError("a rate needs at least one outcome")
    names = list(range(n)) if clusters is None else list(clusters)
    if len(names) != n:
        raise ResultError(f"{n} outcomes, but {len(names)} names of clusters; name one for each")
    place = {name: number for number, name in enumerate(dict.fromkeys(names))}
    rate, groups = float(hits.mean()), len(place)
    if groups < 2:
        return Rate(rate, 0.0, 1.0, n, groups)
    effective = float(n)
    if clusters is not None:
        sums = np.bincount([place[name] for name in names], hits - rate, groups)
        binomial = rate * (1 - rate) / n
        clustered = float((sums**2).sum()) * groups / (groups - 1) / n**2
        design = max(1.0, clustered / binomial) if binomial > 0 else n / groups
        correction = (stats.t.isf((1 - level) / 2, n - 1) / stats.t.isf((1 - level) / 2, groups - 1)) ** 2
        effective = n / design * float(correction)
    low, high = proportion_confint(rate * effective, effective, alpha=1 - level, method="beta")
    return Rate(rate, float(low), float(high), n, groups)
