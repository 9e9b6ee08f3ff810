"""Bootstrap over items: every measure is a function of means over items, so all share one pass of resamples.

What an item's value is stays fixed: a resample draws items again, it does not rebuild a graph or a fold (an item
drawn twice would be its own nearest neighbour). Measures over pairs of items enter with their first-order influence.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from lmmrec_core.errors import FeatureError
from lmmrec_core.flow import FloatArray, IntArray
from lmmrec_core.seeds import numpy_stream

LEVEL = 0.95
RESAMPLES = 1000
_AT_ONCE = 2**22  # counts held at once: 32 MiB
_OfMeans = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class Estimate:
    """A measure as a function of means over items: ``of_means`` maps [..., column] to [...]."""

    columns: FloatArray  # [item, column]
    of_means: _OfMeans

    @property
    def value(self) -> float:
        """The measure itself. Raises FeatureError when it is not defined, so it is never NaN."""
        found = float(self.of_means(self.columns.mean(axis=0)))
        if not np.isfinite(found):
            raise FeatureError("a measure is not defined for these rows (nothing to divide by); leave it out")
        return found


Measures = dict[str, Estimate | float]  # name → what was measured, or a number that needs no interval


def mean_of(values: npt.ArrayLike) -> Estimate:
    """The mean over items of ``values`` [item]."""
    return Estimate(np.asarray(values, dtype=np.float64)[:, None], lambda means: means[..., 0])


def ratio_of(numerator: npt.ArrayLike, denominator: npt.ArrayLike, scale: float = 1.0) -> Estimate:
    """``scale`` · Σ ``numerator`` / Σ ``denominator``, both [item]. Raises FeatureError when the latter is 0."""
    columns = np.column_stack([np.asarray(part, dtype=np.float64) for part in (numerator, denominator)])
    if columns[:, 1].sum() == 0:
        raise FeatureError("a share of nothing is not defined; leave the measure out")

    def of_means(means: FloatArray) -> FloatArray:
        below = means[..., 1]
        return scale * np.divide(means[..., 0], below, out=np.full_like(below, np.nan), where=below != 0)

    return Estimate(columns, of_means)


def linearised(value: float, influence: FloatArray) -> Estimate:
    """``value`` with the first-order influence of each item on it, [item], mean 0 (infinitesimal jackknife)."""
    return Estimate(np.asarray(influence, dtype=np.float64)[:, None], lambda means: value + means[..., 0])


def intervals(
    estimates: Mapping[str, Estimate], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, dict[str, float]]:
    """name → ``value``, ``low``, ``high`` (percentile interval, 95 %); with ``resamples`` 0 only ``value``.

    All estimates see the same resamples. A resample in which a measure is not defined (a share of nothing)
    is left out of that measure. Raises FeatureError for a measure that is not defined or when items differ in number.
    """
    found = {name: {"value": _value(name, estimate)} for name, estimate in estimates.items()}
    sizes = {len(estimate.columns) for estimate in estimates.values()}
    if len(sizes) > 1:
        raise FeatureError(f"estimates over {sorted(sizes)} items cannot share resamples; give one value for each item")
    if not estimates or resamples == 0:
        return found
    ends = np.cumsum([estimate.columns.shape[1] for estimate in estimates.values()])
    stacked = np.hstack([estimate.columns for estimate in estimates.values()])
    drawn: dict[str, list[FloatArray]] = {name: [] for name in estimates}
    for counts in _counts(len(stacked), resamples, seed):
        means = counts @ stacked / len(stacked)
        for name, part in zip(estimates, np.split(means, ends[:-1], axis=1), strict=True):
            drawn[name].append(estimates[name].of_means(part))
    for name, parts in drawn.items():
        values = np.concatenate(parts)
        values = values[np.isfinite(values)]
        if len(values):
            low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            found[name].update(low=float(low), high=float(high))
    return found


def median_interval(values: IntArray | FloatArray) -> dict[str, float]:
    """Median of ``values`` [item] with the limit that its 95 % percentile bootstrap approaches, without drawing.

    A resampled (upper) median is at most the j-th smallest of n values with probability
    P(Binomial(n, j / n) > n // 2); the limits are the smallest values for which this reaches 2.5 % and 97.5 %.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if n == 0:
        raise FeatureError("no median of no items; give at least one")
    reached = binom.sf(n // 2, n, np.arange(1, n + 1) / n) if n > 1 else np.ones(1)
    low, high = (ordered[min(n - 1, int(np.searchsorted(reached, p)))] for p in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return {"value": float(np.median(ordered)), "low": float(low), "high": float(high)}


def _value(name: str, estimate: Estimate) -> float:
    try:
        return estimate.value
    except FeatureError as error:
        raise FeatureError(f"{name}: {error}") from None


def _counts(n_items: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """How often each item is drawn, [resample, item] in chunks; every row sums to ``n_items``."""
    generator = numpy_stream(seed, "bootstrap")
    step = max(1, _AT_ONCE // n_items)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        items = generator.integers(0, n_items, (size, n_items)) + n_items * np.arange(size)[:, None]
        counts = np.bincount(items.ravel(), minlength=size * n_items)
        yield counts.reshape(size, n_items).astype(np.float64)
