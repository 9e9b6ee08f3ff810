"""The paper's numbers beside ours: one table where both are about the same data sets, else two with the same heads."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lmmrec_core.flow import Table
from lmmrec_core.report.html import MimeBundle, ShownTable, joined, results_table

PRINTED, MEASURED = "Printed", "Measured"


@dataclass(frozen=True, eq=False)
class Beside:
    """A printed table and a measured one below it, each with its name above. Shown in a notebook as HTML."""

    printed: ShownTable
    measured: ShownTable

    def to_html(self) -> str:
        return f"{self.printed.to_html()}\n{self.measured.to_html()}"

    def _repr_html_(self) -> str:
        return self.to_html()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> MimeBundle:
        return joined(self.to_html(), [self.printed, self.measured])


def beside(printed: Table, measured: Table) -> ShownTable | Beside:
    """Show both: under the heads *Printed* and *Measured* of one table if the measured data sets are the paper's.

    With several metrics each data set has a block of rows, with one metric a column under either head. Rows that the
    paper does not have are *not printed*. On other data sets the two stay apart, printed first.
    """
    sets, metrics = _levels(measured.values.columns)
    if not set(sets) <= set(_levels(printed.values.columns)[0]):
        return Beside(
            results_table(printed, caption=f"{PRINTED} in the paper"),
            results_table(measured, caption=f"{MEASURED} here"),
        )
    if len(metrics) == 1:
        parts = {(source, dataset): (table, (dataset, metrics[0])) for source, table in _sources(printed, measured)
                 for dataset in sets}  # fmt: skip
        return results_table(_block(measured, parts, ""))
    blocks = []
    for dataset in sets:
        parts = {(source, metric): (table, (dataset, metric)) for source, table in _sources(printed, measured)
                 for metric in metrics}  # fmt: skip
        blocks += [_heading(dataset, parts), _block(measured, parts, f"{dataset}, ")]
    return results_table(_stacked(blocks))


def _sources(printed: Table, measured: Table) -> tuple[tuple[str, Table], tuple[str, Table]]:
    return (PRINTED, printed), (MEASURED, measured)


def _levels(columns: pd.Index) -> tuple[list[str], list[str]]:
    return tuple(list(dict.fromkeys(columns.get_level_values(level))) for level in (0, 1))  # type: ignore[return-value]


_Parts = dict[tuple[str, str], tuple[Table, tuple[str, str]]]  # column shown → the table and column it comes from


def _block(measured: Table, parts: _Parts, prefix: str) -> Table:
    """The rows of the measured table, each cell from the table that its column names."""
    rows = list(measured.values.index)
    index = pd.MultiIndex.from_tuples([(f"{prefix}{group}", label) for group, label in rows], names=["group", "label"])
    columns = pd.MultiIndex.from_tuples(list(parts))
    values = pd.DataFrame(math.nan, index=index, columns=columns)
    spread, origin = values.copy(), values.astype(object).map(lambda _: "not printed")
    marks, behind = origin.map(lambda _: ""), origin.map(lambda _: "")
    for j, (table, column) in enumerate(parts.values()):
        places = {row: i for i, row in enumerate(table.values.index)}
        from_column = [tuple(head) for head in table.values.columns].index(column)
        for i, row in enumerate(rows):
            if row not in places:
                continue
            place = places[row], from_column
            number: Any = table.values.iat[place]
            values.iat[i, j], origin.iat[i, j] = number, str(table.origin.iat[place])
            marks.iat[i, j] = "" if table.marks is None else str(table.marks.iat[place])
            behind.iat[i, j] = "" if table.runs is None else str(table.runs.iat[place])
            deviation: Any = math.nan if table.spread is None else table.spread.iat[place]
            spread.iat[i, j] = deviation
    return Table(measured.name, measured.caption, values, origin, marks, spread, behind)


def _heading(dataset: str, parts: _Parts) -> Table:
    """One line without numbers that names the data set of the rows below."""
    index = pd.MultiIndex.from_tuples([(f"{dataset}, heading", dataset)], names=["group", "label"])
    values = pd.DataFrame(math.nan, index=index, columns=pd.MultiIndex.from_tuples(list(parts)))
    words = values.astype(object)
    blank = words.map(lambda _: "")
    return Table("", "", values, words.map(lambda _: "heading"), blank, values.copy(), blank)


def _stacked(blocks: Iterable[Table]) -> Table:
    several = list(blocks)
    frames: dict[str, Any] = {
        part: pd.concat([getattr(table, part) for table in several])
        for part in ("values", "origin", "marks", "spread", "runs")
    }
    return Table(several[-1].name, several[-1].caption, **frames)
