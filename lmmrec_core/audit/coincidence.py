"""How probable it is that two systems of a printed table agree by chance.

The sampling error of a printed number needs the number of users, which a table does not hold. Its other rows show how
far apart two systems usually are; no more than :data:`USUAL` of the value is assumed, so that a table of weak and
strong systems does not make every resemblance remarkable. The gap of two independent systems is taken as normal, so a
window of ``w`` around 0 has a probability of about ``w`` / (2 √π s), with s the standard deviation of either number.

Metrics of one ranking are correlated. Hence one metric of a data set is used, and of Recall at a cutoff b only what
the ranks after the cutoff a before it can add: a random ranking has the share 1 - a/b of its variance there.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import pi, sqrt

import numpy as np
import numpy.typing as npt

from lmmrec_core.audit.printed import PrintedCell

CellName = tuple[str, str, int]  # data set, metric, cutoff
Shared = Mapping[CellName, tuple[PrintedCell, PrintedCell]]  # the numbers of two systems, where both have one

USUAL = 0.05  # standard deviation of systems, as a share of the value, where a table does not show a smaller one
LEAST_GAPS = 6  # other pairs of rows that must be there to tell how far apart two are
_ADDING = ("recall", "hit")  # metrics that a further hit raises by the same at every rank
_MEDIAN_GAP = 0.954  # median |difference| of two normal numbers, in standard deviations of one of them


def apart(pair: tuple[PrintedCell, PrintedCell]) -> float:
    """How far apart two printed numbers are."""
    return abs(pair[0].number.value - pair[1].number.value)


def last_digit(pair: tuple[PrintedCell, PrintedCell]) -> float:
    """One unit of the last printed digit, of the number with fewer digits."""
    return 2 * max(cell.number.half for cell in pair)


def median_gap(gaps: Sequence[float] | npt.NDArray[np.float64]) -> float | None:
    """The median of gaps of pairs; None for fewer than :data:`LEAST_GAPS`, which tell nothing."""
    return float(np.median(gaps)) if len(gaps) >= LEAST_GAPS else None


def chance_of_agreement(shared: Shared, pairs: int, usual_gap: Callable[[CellName], float | None]) -> float:
    """Upper estimate of how probable it is that any of ``pairs`` agrees as closely as ``shared``, which is one of them.

    ``usual_gap`` gives the :func:`median_gap` of the others. Closeness is the largest gap of two systems, in units of
    the last digit.
    """
    window = 1 + 2 * max(apart(pair) / last_digit(pair) for pair in shared.values())
    found = float(pairs)
    for places in _independent(shared):
        before = 0
        for place in places:
            values = [cell.number.value for cell in shared[place]]
            spread = USUAL * sum(values) / 2
            if (usual := usual_gap(place)) is not None:
                spread = min(spread, usual / _MEDIAN_GAP)
            spread *= sqrt(1 - before / place[2])
            width = window * last_digit(shared[place]) / (2 * sqrt(pi))
            found *= 1.0 if spread <= width else width / spread
            before = place[2]
    return found


def _independent(shared: Iterable[CellName]) -> list[list[CellName]]:
    """For each data set the places to count, by cutoff: all of Recall or hit rate, else a single one."""
    by_metric = defaultdict[tuple[str, str], list[CellName]](list)
    for place in sorted(shared):
        by_metric[place[:2]].append(place)
    chosen: dict[str, list[CellName]] = {}
    for (dataset, metric), places in sorted(by_metric.items(), key=lambda entry: entry[0][1] not in _ADDING):
        if len(places) > len(chosen.get(dataset, ())) and metric in _ADDING:
            chosen[dataset] = places
        chosen.setdefault(dataset, places[-1:])
    return list(chosen.values())
