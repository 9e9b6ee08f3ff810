"""How much another split changes one system more than the others of its model, shared by the cells of that model.

Three splits give a variance with two degrees of freedom, as three seeds do. With :math:`r_{gs}` the mean of cell g on
split s relative to its mean over splits, the G cells of one model on one data set have in common what a split does to
all of them, :math:`\\bar r_s`. What is left is moderated as the spread over seeds is
(:mod:`lmmrec_core.significance.seed_noise`):

.. math:: c_g^2 = \\frac{G}{G - 1} \\cdot \\frac{1}{S - 1} \\sum_s (r_{gs} - \\bar r_s)^2
"""

from collections.abc import Iterable, Sequence

import numpy as np

from lmmrec_core.significance.seed_noise import CellNoise, SeedNoise, seed_noise
from lmmrec_core.significance.units import BySplitAndSeed

_FEWEST = 3  # cells that tell what a split does to all


def split_noise(means: Iterable[Sequence[float]]) -> SeedNoise | None:
    """The common noise over splits of the cells of a model, from the means of each cell on each of the same splits.

    None from fewer than three cells whose mean is not zero, or from one split.
    """
    known = np.array([cell for cell in means if np.mean(cell) != 0], dtype=np.float64)
    if len(known) < _FEWEST or len(known[0]) < 2:
        return None
    count, splits = known.shape
    relative = known / known.mean(axis=1, keepdims=True)
    left = relative - relative.mean(axis=0)
    squared = (left**2).sum(axis=1) / (splits - 1) * count / (count - 1)
    df = (splits - 1) * (count - 1) / count  # those of all cells sum to (S − 1) (G − 1)
    return seed_noise(CellNoise(float(one), 0.0, df) for one in squared)


def means_by_split(cell: BySplitAndSeed) -> list[float]:
    """The mean of a cell, (split, seed) → user → value, on each of its splits in order."""
    by_split: dict[int, list[float]] = {}
    for (split, _), values in sorted(cell.items(), key=lambda one: one[0]):
        by_split.setdefault(split, []).append(float(values.mean()))
    return [float(np.mean(runs)) for runs in by_split.values()]
