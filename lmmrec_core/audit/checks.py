"""What is impossible in a printed table, and what is odd: the checks of ``lmmrec check-table``."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, groupby, product
from operator import itemgetter

import numpy as np

from lmmrec_core.audit.anchors import published_band
from lmmrec_core.audit.coincidence import CellName, Shared, apart, chance_of_agreement, last_digit, median_gap
from lmmrec_core.audit.printed import PrintedCell, PrintedTable, System
from lmmrec_core.audit.relations import broken_relations
from lmmrec_core.errors import DataError
from lmmrec_core.names import BASELINE, DATASET_TITLES, MODEL_TITLES

#: Kinds of findings. Only the first cannot be right; each other one is a question to the authors.
FINDINGS = {
    "impossible": "no ranking gives these numbers",
    "impossible if few": "possible only if users have more held-out items than the smaller cutoff",
    "repeated": "two rows with the same numbers",
    "alike": "two systems that hardly differ anywhere",
    "worse with a star": "a star marks a fall",
    "outside the band": "far from what is published for this model",
}
LEAST_CELLS = 3  # equal cells that make two rows repeated
LEAST_ALIKE = 8
ALIKE = 3  # units of the last digit that two systems may differ by, in every cell, to count as alike
_MANY = 10
_SAMPLE = 4000  # rows of a data set
UNLIKELY = 0.01  # by which a table without a fault may have two rows repeated, or two systems alike


@dataclass(frozen=True)
class Finding:
    """A remark on a table: its kind (of :data:`FINDINGS`), the rows it is about, and what is seen there."""

    kind: str
    rows: tuple[str, ...]
    text: str


def check_printed(table: PrintedTable, held_out: str | None = None, reference: str = BASELINE) -> list[Finding]:
    """Everything that the checks find, in the order of :data:`FINDINGS`.

    ``held_out`` is that of :func:`~lmmrec_core.audit.relations.broken_relations`. If it is not said, "impossible" is
    what no number of held-out items allows, and what "few" would forbid is a question. ``reference`` is the system that
    a star compares with; the check of stars needs rows of it, and others of the same model.
    """
    return [
        *_impossible(table, held_out),
        *_repeated(table),
        *_alike(table),
        *_starred_falls(table, reference),
        *_outside(table, reference),
    ]


def require_reference(table: PrintedTable, reference: str) -> None:
    """Raises DataError when no row is of the system ``reference``."""
    names = sorted({system.name for system in table if system.name})
    if reference not in names:
        raise DataError(f"no row is of system {reference!r}; the column 'system' has: {', '.join(names) or 'nothing'}")


def _impossible(table: PrintedTable, held_out: str | None) -> Iterator[Finding]:
    rows = [(str(system), {metric: cell.number for metric, cell in cells.items()}) for system, cells in table.items()]
    sure = {name: broken_relations(numbers, held_out or "any") for name, numbers in rows}
    yield from (Finding("impossible", (name,), text) for name, texts in sure.items() for text in texts)
    if held_out is None:
        for name, numbers in rows:
            for text in broken_relations(numbers, "few"):
                if text not in sure[name]:
                    yield Finding("impossible if few", (name,), text)


def _repeated(table: PrintedTable) -> Iterator[Finding]:
    rows: dict[tuple[str, frozenset[tuple[str, int]]], list[System]] = defaultdict(list)
    for system, cells in table.items():
        rows[system.dataset, frozenset(cells)].append(system)
    usual = _Gaps(table, rows)
    places = {system: place for place, system in enumerate(table)}
    found = sorted(_equal_rows(table, rows.values()), key=lambda pair: (places[pair[0]], places[pair[1]]))
    for pair in found:
        shared = _shared(table, [pair])
        same = sum(left.number.value > 0 for left, _ in shared.values())
        if same >= LEAST_CELLS and chance_of_agreement(shared, usual.pairs, usual.median) < UNLIKELY:
            yield Finding("repeated", (str(pair[0]), str(pair[1])), f"the same {same} numbers")


def _equal_rows(table: PrintedTable, groups: Iterable[list[System]]) -> Iterator[tuple[System, System]]:
    """Pairs of rows with the same numbers; of more than :data:`_MANY` such rows, each with the first."""
    for systems in groups:
        equal: dict[tuple[float, ...], list[System]] = defaultdict(list)
        for system in systems:
            equal[tuple(table[system][metric].number.value for metric in sorted(table[system]))].append(system)
        for same in equal.values():
            yield from combinations(same, 2) if len(same) <= _MANY else product(same[:1], same[1:])


class _Gaps:
    """How far apart two rows of the same metrics are, over all pairs of rows of a data set."""

    def __init__(
        self, table: PrintedTable, rows: Mapping[tuple[str, frozenset[tuple[str, int]]], Sequence[System]]
    ) -> None:
        self.table, self.rows = table, rows
        self.pairs = sum(len(systems) * (len(systems) - 1) // 2 for systems in rows.values())
        self._kept: dict[CellName, float | None] = {}

    def median(self, place: CellName) -> float | None:
        """The median gap at a place, of all pairs but one, whose rows are equal."""
        if place not in self._kept:
            gaps = [np.zeros(0)]
            for (dataset, metrics), systems in self.rows.items():
                if dataset == place[0] and place[1:] in metrics:
                    values = np.array([self.table[system][place[1:]].number.value for system in systems])
                    values = values[:: -(-len(values) // _SAMPLE)]  # of more, a part shows how far apart they are
                    gaps += [np.abs(values[n + 1 :] - values[n]) for n in range(len(values))]
            self._kept[place] = median_gap(np.sort(np.concatenate(gaps))[1:])
        return self._kept[place]


def _alike(table: PrintedTable) -> Iterator[Finding]:
    """Two systems of one model, over all their data sets together."""
    datasets: dict[tuple[str, str], list[str]] = defaultdict(list)
    for system in table:
        datasets[system.model, system.name].append(system.dataset)
    pairs = {}
    for model, systems in groupby(sorted(datasets), key=itemgetter(0)):
        for (_, a), (_, b) in combinations(systems, 2):
            both = [(System(dataset, model, a), System(dataset, model, b)) for dataset in datasets[model, a]]
            pairs[f"{model} {a}".strip(), f"{model} {b}".strip()] = _shared(table, both)
    for names, shared in pairs.items():
        close = all(apart(pair) <= ALIKE * last_digit(pair) + 1e-12 for pair in shared.values())
        if len(shared) >= LEAST_ALIKE and close:
            others = [other for other in pairs.values() if other is not shared]
            if chance_of_agreement(shared, len(pairs), partial(_median_of, others)) < UNLIKELY:
                gaps = [apart(pair) for pair in shared.values()]
                equal = f"{sum(found == 0 for found in gaps)} of {len(gaps)} numbers equal"
                yield Finding("alike", names, f"{equal}, the others at most {max(gaps):g} apart")


def _median_of(pairs: Sequence[Shared], place: CellName) -> float | None:
    return median_gap([apart(pair[place]) for pair in pairs if place in pair])


def _shared(table: PrintedTable, rows: Sequence[tuple[System, System]]) -> Shared:
    return {
        (a.dataset, *metric): (left, table[b][metric])
        for a, b in rows
        if b in table
        for metric, left in table[a].items()
        if metric in table[b]
    }


def _starred_falls(table: PrintedTable, reference: str) -> Iterator[Finding]:
    for system, cells in table.items():
        against = table.get(System(system.dataset, system.model, reference), {})
        for (metric, k), cell in cells.items():
            base = against.get((metric, k))
            if system.name != reference and base and cell.starred and cell.number.value < base.number.value:
                change = cell.number.value / base.number.value - 1
                text = f"{metric}@{k} {cell.number.value:g} is starred and below {reference} {base.number.value:g}"
                yield Finding("worse with a star", (str(system),), f"{text} ({change:+.1%})")


def _outside(table: PrintedTable, reference: str) -> Iterator[Finding]:
    for system, (metric, k), cell, band in banded(table, reference):
        low, high = cell.number.value - cell.number.half, cell.number.value + cell.number.half
        if high < band[0] or low > band[1]:
            text = f"{metric}@{k} {cell.number.value:g} is outside {band[0]:.4f} to {band[1]:.4f}"
            yield Finding("outside the band", (str(system),), text)


def banded(
    table: PrintedTable, reference: str = BASELINE
) -> Iterator[tuple[System, tuple[str, int], PrintedCell, tuple[float, float]]]:
    """The numbers that a published band exists for: system, (metric, cutoff), cell, (low, high).

    The published figures are of the models as they were proposed, so only rows without a system, or of ``reference``,
    are compared. ``VBPR (AAAI'16)`` is VBPR, ``Baby`` and ``Amazon Baby`` are one data set.
    """
    for system, cells in table.items():
        if system.name in ("", reference):
            model = _key(system.model.partition("(")[0], MODEL_TITLES)
            dataset = _key(system.dataset, DATASET_TITLES)
            for (metric, k), cell in cells.items():
                if band := published_band(model, dataset, f"{metric}@{k}"):
                    yield system, (metric, k), cell, band


def _key(text: str, titles: Mapping[str, str]) -> str:
    """The key of a name that is written as a key or as a title, in any case."""
    known = {title.lower(): key for key, title in titles.items()}
    plain = text.strip().lower()
    return known.get(plain, plain)
