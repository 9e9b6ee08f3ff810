"""What is impossible in a printed table, and what is odd: the checks of ``lmmrec check-table``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from lmmrec_core.audit.anchors import published_band
from lmmrec_core.audit.printed import PrintedCell, PrintedTable, System
from lmmrec_core.audit.relations import broken_relations
from lmmrec_core.errors import DataError
from lmmrec_core.names import BASELINE, DATASET_TITLES, MODEL_TITLES

#: Kinds of findings. Only the first cannot be right; each other one is a question to the authors.
FINDINGS = {
    "impossible": "no ranking gives these numbers",
    "repeated": "two rows with the same numbers",
    "alike": "two systems that hardly differ anywhere",
    "worse with a star": "a star marks a fall",
    "outside the band": "far from what is published for this model",
}
LEAST_CELLS = 3  # equal cells that make two rows repeated; fewer are equal by chance
LEAST_ALIKE = 8
ALIKE = 3  # units of the last digit that two systems may differ by, in every cell, to count as alike


@dataclass(frozen=True)
class Finding:
    """A remark on a table: its kind (of :data:`FINDINGS`), the rows it is about, and what is seen there."""

    kind: str
    rows: tuple[str, ...]
    text: str


def check_printed(table: PrintedTable, held_out: str = "few", reference: str = BASELINE) -> list[Finding]:
    """Everything that the checks find, in the order of :data:`FINDINGS`.

    ``held_out`` is that of :func:`~lmmrec_core.audit.relations.broken_relations`. ``reference`` is the system that a
    star compares with; the check of stars needs rows of it, and others of the same model.
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


def _impossible(table: PrintedTable, held_out: str) -> Iterator[Finding]:
    for system, cells in table.items():
        numbers = {metric: cell.number for metric, cell in cells.items()}
        for text in broken_relations(numbers, held_out):
            yield Finding("impossible", (str(system),), text)


def _repeated(table: PrintedTable) -> Iterator[Finding]:
    for (a, left), (b, right) in combinations(table.items(), 2):
        values = {metric: cell.number.value for metric, cell in left.items() if cell.number.value > 0}
        same = len(values) >= LEAST_CELLS and values == {metric: cell.number.value for metric, cell in right.items()}
        if same and a.dataset == b.dataset:
            yield Finding("repeated", (str(a), str(b)), f"the same {len(values)} numbers")


def _alike(table: PrintedTable) -> Iterator[Finding]:
    """Two systems of one model, over all their data sets together."""
    systems = sorted({(system.model, system.name) for system in table})
    for (model, a), (other, b) in combinations(systems, 2):
        if model != other:
            continue
        pairs = [
            (left, right)
            for system, cells in table.items()
            if (system.model, system.name) == (model, a)
            for metric, left in cells.items()
            if (right := table.get(System(system.dataset, model, b), {}).get(metric))
        ]
        if len(pairs) < LEAST_ALIKE:
            continue
        gaps = [abs(left.number.value - right.number.value) for left, right in pairs]
        if all(gap <= _allowed(left, right) for gap, (left, right) in zip(gaps, pairs, strict=True)):
            equal = f"{sum(gap == 0 for gap in gaps)} of {len(gaps)} numbers equal"
            text = f"{equal}, the others at most {max(gaps):g} apart"
            yield Finding("alike", (f"{model} {a}".strip(), f"{model} {b}".strip()), text)


def _allowed(left: PrintedCell, right: PrintedCell) -> float:
    return ALIKE * 2 * max(left.number.half, right.number.half) + 1e-12


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
