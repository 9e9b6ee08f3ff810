"""The frame of a table: rows and columns that select cases, and how cells are filled.

One layout is filled either with measured or with printed numbers, never with both: the two are
separate tables. A cell without a run is *not run*, never a number.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmrec_core.errors import ConfigError, ResultError, unknown
from lmmrec_core.flow import Result, Table
from lmmrec_core.names import MODEL_TITLES
from lmmrec_core.report.labels import dataset_name, metric_name, variant, with_variants

CASE_FIELDS = ("dataset", "model", "encoder", "paradigm", "modalities", "control")
ABOVE, BELOW = "↑", "↓"


@dataclass(frozen=True)
class Row:
    """One line: the case it shows, and its label. Rows of one ``group`` compete for best and second."""

    group: str
    label: str
    model: str
    encoder: str = "none"
    paradigm: str = "none"
    modalities: str = "none"
    control: str = "none"
    reference: str = ""  # the variant that this row is tested against, see :func:`significance_marks`

    @property
    def variant(self) -> str:
        return variant(vars(self))


@dataclass(frozen=True)
class Column:
    """One column under a two-level heading; ``control`` overrides that of the row where given."""

    dataset: str
    metric: str
    heading: str
    control: str | None = None


@dataclass(frozen=True)
class Layout:
    """Rows × columns of a table."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        if not self.rows or not self.columns:
            raise ConfigError("a table needs at least one model, one data set and one metric; check the parameters")

    def index(self) -> pd.MultiIndex:
        return pd.MultiIndex.from_tuples([(row.group, row.label) for row in self.rows], names=["group", "label"])

    def header(self) -> pd.MultiIndex:
        headings = [(dataset_name(column.dataset), column.heading) for column in self.columns]
        return pd.MultiIndex.from_tuples(headings, names=["dataset", "metric"])

    def empty(self, fill: float | str) -> pd.DataFrame:
        kind = float if isinstance(fill, float) else object
        return pd.DataFrame(fill, index=self.index(), columns=self.header(), dtype=kind)


def metric_columns(datasets: Iterable[str], metrics: Sequence[str]) -> tuple[Column, ...]:
    """A group of metrics per data set."""
    return tuple(Column(dataset, metric, metric_name(metric)) for dataset in datasets for metric in metrics)


def mean_of(result: Result, metric: str) -> float:
    """The metric of one run. Raises ResultError when the run lacks it or it is not a finite number."""
    try:
        value = result.mean(metric)
    except KeyError:
        held = ", ".join([*result.per_user.columns, *result.overall])
        raise ResultError(f"{_name(result.case)}: no metric {metric!r}; the run holds {held}") from None
    if not math.isfinite(value):
        raise ResultError(f"{_name(result.case)}: {metric} is {value}; delete this run's folder and run the case again")
    return value


def by_case(results: Iterable[Result]) -> dict[tuple[str, ...], dict[int, Result]]:
    """Results grouped by what a cell shows: (dataset, model, ..., control) → seed → result.

    Raises ResultError when two results share case and seed, because their mean would mix two settings.
    """
    grouped: dict[tuple[str, ...], dict[int, Result]] = {}
    for result in results:
        seeds = grouped.setdefault(tuple(str(result.case[name]) for name in CASE_FIELDS), {})
        seed = int(result.case["seed"])
        if seed in seeds:
            keys = [str(found.record.get("key", "?")) for found in (seeds[seed], result)]
            raise ResultError(
                f"{_name(result.case)}: two results of seed {seed}, keys {' and '.join(keys)}; "
                "a table shows one setting, so select one of them before building it"
            )
        seeds[seed] = result
    return grouped


def fill_measured(
    name: str, caption: str, layout: Layout, results: Iterable[Result], comparisons: pd.DataFrame | None = None
) -> Table:
    """Mean over seeds in each cell, sample standard deviation over seeds where there are several.

    ``comparisons`` (optional) puts arrows on significant differences, see :func:`significance_marks`.
    Raises ConfigError for a model that neither the study nor any result knows.
    """
    grouped = by_case(results)
    known = {*MODEL_TITLES, *(key[1] for key in grouped)}
    for row in layout.rows:
        if row.model not in known:
            raise unknown("model", row.model, known, name)
    values, spread, origin = layout.empty(math.nan), layout.empty(math.nan), layout.empty("not run")
    shown = []
    for i, row in enumerate(layout.rows):
        for j, column in enumerate(layout.columns):
            control = row.control if column.control is None else column.control
            key = (column.dataset, row.model, row.encoder, row.paradigm, row.modalities, control)
            runs = grouped.get(key, {})
            if not runs:
                continue
            numbers = [mean_of(run, column.metric) for run in runs.values()]
            values.iat[i, j] = float(np.mean(numbers))
            spread.iat[i, j] = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else math.nan
            origin.iat[i, j] = "measured"
            shown.append(frozenset(runs))
    marks = None if comparisons is None else significance_marks(layout, comparisons)
    return Table(name, f"{caption} {seeds_note(shown)}", values, origin, marks, spread)


def fill_printed(name: str, caption: str, layout: Layout, published: pd.DataFrame) -> Table:
    """The printed numbers of one table (:func:`published.read_results`) with the printed stars.

    Raises ResultError when the layout asks for a cell that the table does not hold.
    """
    keys = published[[*CASE_FIELDS, "metric"]].itertuples(index=False, name=None)
    cells = dict(zip(keys, published[["value", "starred"]].itertuples(index=False, name=None), strict=True))
    values, origin, marks = layout.empty(math.nan), layout.empty("printed"), layout.empty("")
    for i, row in enumerate(layout.rows):
        for j, column in enumerate(layout.columns):
            key = (column.dataset, row.model, row.encoder, row.paradigm, row.modalities, row.control, column.metric)
            if key not in cells:
                raise ResultError(f"{name}: the paper prints no {column.metric} of {row.label} on {column.dataset}")
            value, starred = cells[key]
            values.iat[i, j], marks.iat[i, j] = float(value), "*" * bool(starred)
    return Table(name, caption, values, origin, marks)


def significance_marks(layout: Layout, comparisons: pd.DataFrame, alpha: float = 0.05) -> pd.DataFrame:
    """``↑`` or ``↓`` where a row differs from its ``reference`` with adjusted p below ``alpha``.

    ``comparisons``: one row per test with dataset, model, metric, a, b, difference (a − b), p_holm; it is found in
    either direction. An arrow tells the sign, which the paper's star does not.
    """
    marks = layout.empty("")
    tests = {
        (str(row["dataset"]), str(row["model"]), str(row["metric"]), str(row["a"]), str(row["b"])): row
        for row in with_variants(comparisons).to_dict("records")
    }
    for i, row in enumerate(layout.rows):
        for j, column in enumerate(layout.columns):
            if not row.reference or column.control is not None:
                continue
            start = (column.dataset, row.model, column.metric)
            for a, b, sign in ((row.variant, row.reference, 1.0), (row.reference, row.variant, -1.0)):
                test: Mapping | None = tests.get((*start, a, b))
                if test is not None and test["p_holm"] < alpha:
                    marks.iat[i, j] = ABOVE if sign * test["difference"] > 0 else BELOW
    return marks


def seeds_note(shown: Sequence[frozenset[int]]) -> str:
    """The sentence of a caption that says over which seeds the cells are means."""
    if not shown:
        return "Nothing has been run."
    if len(set(shown)) == 1:
        seeds = sorted(shown[0])
        if len(seeds) == 1:
            return f"One run per cell, seed {seeds[0]}."
        return f"Mean over seeds {', '.join(map(str, seeds))}, ± standard deviation over seeds."
    sizes = sorted({len(seeds) for seeds in shown})
    if len(sizes) == 1:
        return f"Mean over {sizes[0]} seeds per cell (not the same ones everywhere), ± standard deviation over seeds."
    return f"Mean over {sizes[0]} to {sizes[-1]} seeds per cell, ± standard deviation where there are several."


def _name(case: Mapping) -> str:
    return f"run {case['model']} {variant(case)} on {case['dataset']}, seed {case['seed']}"
