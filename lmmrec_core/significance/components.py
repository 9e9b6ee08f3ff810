"""What one run's mean varies with: other users, another seed of the model, another split. Each as a share of the mean.

For a cell with values :math:`x_{kus}` (split k, user u, seed s), relative to its mean, the squares are

* seeds: the variance of the runs' means within a split, :math:`s^2`, pooled over splits;
* splits: that of the splits' means less what seeds contribute, :math:`b^2 - s^2 / S`, never below zero;
* users: the squared standard error of the mean over persons, seeds averaged.

The cells of one model are pooled by the mean of their squares. Intervals are those of a variance,
:math:`m d / \\chi^2_d`; the users' d allows for long tails, :math:`2 n / (\\kappa + 2)` with the excess kurtosis
:math:`\\kappa`. Cells share their splits, so splits have no more degrees of freedom with many cells than with one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from lmmrec_core.significance.units import BySplitAndSeed, crossed, runs_of


@dataclass(frozen=True)
class Component:
    """A standard deviation relative to the mean, with its 95 % interval; ``df`` are those of its square."""

    deviation: float
    low: float
    high: float
    df: float


@dataclass(frozen=True)
class CellSquares:
    """The relative squares of one cell; a pair is (square, degrees of freedom), None where one run cannot tell."""

    users: tuple[float, float]
    seeds: tuple[float, float] | None
    splits: tuple[float, float, float] | None  # square of the splits' means, its df, the part of it that is seeds'


def cell_squares(cell: BySplitAndSeed, groups: pd.Series | None = None) -> CellSquares | None:
    """Of one cell, (split, seed) → user → value; ``groups``: user → person. None for a mean of zero.

    Raises ResultError as :func:`~lmmrec_core.significance.units.crossed`.
    """
    runs = runs_of("cell", cell)
    pair = crossed(runs, runs, groups)
    if pair.mean_a == 0:
        return None
    means = [one.means / pair.mean_a for one in runs.values()]
    seeds = len(means[0])
    within = float(np.mean([one.var(ddof=1) for one in means])) if seeds > 1 else 0.0
    of_splits = np.array([one.mean() for one in means])
    number = len(of_splits)
    splits = (float(of_splits.var(ddof=1)), number - 1.0, within / seeds) if number > 1 and seeds > 1 else None
    first = np.bincount(pair.person[0], pair.a[0].mean(axis=1) / pair.mean_a - of_splits[0], pair.persons)
    here = first[np.unique(pair.person[0])]
    count = len(here)
    users = float((here**2).sum() * count / (count - 1) / len(pair.person[0]) ** 2)
    kurtosis = float(stats.kurtosis(here)) if np.ptp(here) > 0 else 0.0
    df = max(1.0, 2 * count / (max(kurtosis, -1.0) + 2))
    return CellSquares((users, df), (within, number * (seeds - 1.0)) if seeds > 1 else None, splits)


def variance_components(cells: Iterable[CellSquares | None]) -> dict[str, Component | None]:
    """``users``, ``seeds``, ``splits`` of the cells of one model; None where no cell can tell."""
    known = [cell for cell in cells if cell is not None]
    seeds = [cell.seeds for cell in known if cell.seeds is not None]
    splits = [cell.splits for cell in known if cell.splits is not None]
    found: dict[str, Component | None] = dict.fromkeys(("users", "seeds", "splits"))
    if known:
        found["users"] = _component(
            float(np.mean([cell.users[0] for cell in known])), float(np.mean([cell.users[1] for cell in known]))
        )
    if seeds:
        squares, df = zip(*seeds, strict=True)
        found["seeds"] = _component(float(np.average(squares, weights=df)), float(sum(df)))
    if splits:
        squares, df, of_seeds = zip(*splits, strict=True)
        found["splits"] = _component(float(np.mean(squares)), float(np.mean(df)), float(np.mean(of_seeds)))
    return found


def _component(square: float, df: float, less: float = 0.0) -> Component:
    ends = [square * df / float(stats.chi2.ppf(level, df)) for level in (0.975, 0.025)]
    deviation, low, high = (float(np.sqrt(max(0.0, one - less))) for one in (square, *ends))
    return Component(deviation, low, high, df)
