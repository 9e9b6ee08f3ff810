"""Bootstrap intervals of a paired mean difference and of its relative change."""

import numpy as np

from lmmrec_core.flow import FloatArray
from lmmrec_core.seeds import numpy_stream

PAIR_RESAMPLES = 2000
_AT_ONCE = 4_000_000  # drawn numbers held in memory
_FEW = 0.1  # share of distinct pairs below which drawing counts is faster than drawing units


def resampled_means(
    a: FloatArray, b: FloatArray, seed: int, resamples: int = PAIR_RESAMPLES
) -> tuple[FloatArray, FloatArray]:
    """Means of ``a`` and ``b`` in resamples of the units with replacement → two arrays [resample].

    Units with the same pair of values are interchangeable, and most users have 0 and 0. Where few pairs
    are distinct, not units are drawn but how often each pair occurs (multinomial): the same law, much
    faster. The stream ``bootstrap`` of ``seed`` makes the outcome repeatable.
    """
    pairs, counts = np.unique(np.column_stack([a, b]), axis=0, return_counts=True)
    generator, n = numpy_stream(seed, "bootstrap"), len(a)
    few = len(pairs) < _FEW * n
    chunk = max(1, _AT_ONCE // (len(pairs) if few else n))
    means = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        if few:
            means.append(generator.multinomial(n, counts / n, size=size) @ pairs / n)
        else:
            units = generator.integers(0, n, (size, n), dtype=np.int32)
            means.append(np.column_stack([a[units].mean(axis=1), b[units].mean(axis=1)]))
    both = np.concatenate(means)
    return both[:, 0], both[:, 1]


def interval(values: FloatArray, level: float) -> tuple[float, float]:
    """Percentile interval holding ``level`` of the values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
