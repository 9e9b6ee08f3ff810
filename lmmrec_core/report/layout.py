"""The frame of a table: rows and columns that select cases, and how cells are filled.

One layout is filled either with measured or with printed numbers, never with both: the two are
separate tables. A cell without a run is *not run*, one with runs of uncommitted code alone is *uncommitted*; neither
is a number.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from lmmrec_core.errors import ConfigError, ResultError, unknown
from lmmrec_core.flow import Result, Results, Table, common_splits, on_splits
from lmmrec_core.names import MODEL_TITLES
from lmmrec_core.questions import ALPHA, Pair, Variant
from lmmrec_core.report.labels import Labels, dataset_name, metric_name, model_name
from lmmrec_core.report.marks import doubts, doubts_note
from lmmrec_core.report.run_links import cell_anchor

_UNTRAINED = (
    "Runs whose kept state precedes the second update of their encoder are *not trained* and left out; "
    "“2 of 3” behind a number: that of two seeds, the third was not trained."
)
ABOVE, BELOW = "↑", "↓"


@dataclass(frozen=True)
class TableRow:
    """One line: the case it shows, and its label. Rows of one ``group`` compete for best and second."""

    group: str
    label: str
    model: str
    variant: Variant


@dataclass(frozen=True)
class TableColumn:
    """One column under a two-level heading."""

    dataset: str
    metric: str
    heading: str


@dataclass(frozen=True)
class Layout:
    """Rows × columns of a table."""

    rows: tuple[TableRow, ...]
    columns: tuple[TableColumn, ...]

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


def metric_columns(datasets: Iterable[str], metrics: Sequence[str]) -> tuple[TableColumn, ...]:
    """A group of metrics per data set."""
    return tuple(TableColumn(dataset, metric, metric_name(metric)) for dataset in datasets for metric in metrics)


def run_mean(result: Result, metric: str) -> float:
    """The metric of one run. Raises ResultError when the run lacks it or it is not a finite number."""
    try:
        value = result.mean(metric)
    except KeyError:
        held = ", ".join([*result.per_user.columns, *result.overall])
        raise ResultError(f"{_name(result.case)}: no metric {metric!r}; the run holds {held}") from None
    if not math.isfinite(value):
        raise ResultError(f"{_name(result.case)}: {metric} is {value}; delete this run's folder and run the case again")
    return value


def is_uncommitted(result: Result) -> bool:
    """Whether a run, or the encoder weights that it read, were made while the code differed from its commit."""
    made = result.record.get("provenance") or {}
    return bool(made.get("dirty")) or made.get("weights") == "uncommitted"


def withheld_cells(results: Iterable[Result]) -> frozenset[tuple[str, str, Variant]]:
    """(dataset, model, variant) of the runs that do not count, see :class:`~lmmrec_core.flow.Results`."""
    return frozenset(by_case(results.withheld)) if isinstance(results, Results) else frozenset()


RunsOfCell: TypeAlias = Mapping[tuple[int, int], Result]  # (split, seed) → run


def by_case(results: Iterable[Result]) -> dict[tuple[str, str, Variant], dict[tuple[int, int], Result]]:
    """Results grouped by what a cell shows: (dataset, model, variant) → (split, seed) → result; not trained ones too.

    Raises ResultError when two results share case, split and seed, because their mean would mix two settings.
    """
    grouped: dict[tuple[str, str, Variant], dict[tuple[int, int], Result]] = {}
    for result in results:
        case = result.case
        runs = grouped.setdefault((str(case["dataset"]), str(case["model"]), Variant.of(case)), {})
        if result.number in runs:
            keys = [str(found.record.get("key", "?")) for found in (runs[result.number], result)]
            raise ResultError(
                f"{_name(result.case)}: two results of seed {case['seed']}, keys {' and '.join(keys)}; "
                "a table shows one setting, so select one of them before building it"
            )
        runs[result.number] = result
    return grouped


def trained_runs(runs: RunsOfCell) -> dict[tuple[int, int], Result]:
    """Those of the runs of a cell that enter its mean: all that count as trained (:attr:`Result.trained`)."""
    return {number: result for number, result in runs.items() if result.trained}


def splits_of_cells(cells: Iterable[RunsOfCell]) -> frozenset[int]:
    """The splits that all cells with a trained run have: numbers on other held-out items are not compared.

    Without such a cell, the data set's own.
    """
    return common_splits(trained_runs(runs) for runs in cells)


def fill_measured(
    name: str, caption: str, layout: Layout, results: Iterable[Result], comparisons: pd.DataFrame | None = None
) -> Table:
    """Mean over seeds in each cell, sample standard deviation over seeds if there are several.

    Runs that do not count as trained enter no mean: the cell says how many seeds are left, or that none is. The cells
    of a recommender on a data set are over the same splits, those that all of them have, and the seeds that a cell has
    on each. Cells in doubt are marked (:mod:`lmmrec_core.report.marks`).

    ``comparisons`` (optional) puts arrows on significant differences, see :func:`significance_marks`, and the size of
    their family in the caption. Cells that have runs of uncommitted code alone say so; where such runs were allowed to
    count, the caption says so.
    Raises ConfigError for a model that neither the study nor any result knows.
    """
    grouped = by_case(results)
    withheld = withheld_cells(results)
    known = {*MODEL_TITLES, *(key[1] for key in (*grouped, *withheld))}
    for row in layout.rows:
        if row.model not in known:
            raise unknown("model", row.model, known, name)
    values, spread, origin = layout.empty(math.nan), layout.empty(math.nan), layout.empty("not run")
    shown, left_out, doubtful, uncommitted = [], layout.empty(""), layout.empty(""), 0
    behind = layout.empty("")
    used = {
        (dataset, model): splits_of_cells(
            grouped.get((dataset, model, row.variant), {}) for row in layout.rows if row.model == model
        )
        for dataset in dict.fromkeys(column.dataset for column in layout.columns)
        for model in dict.fromkeys(row.model for row in layout.rows)
    }
    for i, row in enumerate(layout.rows):
        for j, column in enumerate(layout.columns):
            cell = (column.dataset, row.model, row.variant)
            found = on_splits(grouped.get(cell, {}), used[column.dataset, row.model])
            runs = on_splits(trained_runs(grouped.get(cell, {})), used[column.dataset, row.model])
            left_out.iat[i, j] = f"{len(runs)} of {len(found)}" if len(runs) < len(found) else ""
            if not runs:
                origin.iat[i, j] = "not trained" if found else "uncommitted" if cell in withheld else "not run"
                continue
            if all(run.shared for run in runs.values()):
                origin.iat[i, j] = "same run"
                continue
            numbers = [run_mean(run, column.metric) for run in runs.values()]
            values.iat[i, j] = float(np.mean(numbers))
            spread.iat[i, j] = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else math.nan
            origin.iat[i, j] = "measured"
            behind.iat[i, j] = cell_anchor(*cell)
            doubtful.iat[i, j] = doubts(numbers, runs.values())
            shown.append(frozenset(runs))
            uncommitted += any(is_uncommitted(run) for run in runs.values())
    added = [frame for frame in (doubtful, left_out) if frame.astype(bool).to_numpy().any()]
    if left_out.astype(bool).to_numpy().any():
        caption = f"{caption} {_UNTRAINED}"
    marks = None if comparisons is None else significance_marks(layout, comparisons)
    for frame in added:
        marks = frame if marks is None else (marks + " " + frame).map(str.strip)
    caption = f"{caption} {seeds_note(shown)}{arrows_note(comparisons)}{_allowed_note(uncommitted, len(shown))}"
    caption += _other_splits_note(used, comparisons)
    caption += doubts_note(doubtful.to_numpy().ravel())
    return Table(name, caption, values, origin, marks, spread, behind)


def filled_rows(table: Table) -> Table:
    """The table without the rows of which nothing was run, named in the caption instead; whole if all were."""
    empty = (table.origin == "not run").all(axis=1).to_numpy()
    if not empty.any() or empty.all():
        return table
    named = "; ".join(dict.fromkeys(str(label) for _, label in table.origin.index[empty]))
    return replace(
        table,
        caption=f"{table.caption} Rows not run: {named}.",
        values=table.values[~empty],
        origin=table.origin[~empty],
        marks=None if table.marks is None else table.marks[~empty],
        spread=None if table.spread is None else table.spread[~empty],
        runs=None if table.runs is None else table.runs[~empty],
    )


def fill_printed(name: str, caption: str, layout: Layout, published: pd.DataFrame) -> Table:
    """The printed numbers of one table (:func:`published.read_results`) with the printed stars.

    Raises ResultError when the layout asks for a cell that the table does not hold.
    """
    keys = published[["dataset", "model", "variant", "metric"]].itertuples(index=False, name=None)
    cells = dict(zip(keys, published[["value", "starred"]].itertuples(index=False, name=None), strict=True))
    values, origin, marks = layout.empty(math.nan), layout.empty("printed"), layout.empty("")
    for i, row in enumerate(layout.rows):
        for j, column in enumerate(layout.columns):
            key = (column.dataset, row.model, row.variant, column.metric)
            if key not in cells:
                raise ResultError(f"{name}: the paper prints no {column.metric} of {row.label} on {column.dataset}")
            value, starred = cells[key]
            values.iat[i, j], marks.iat[i, j] = float(value), "*" * bool(starred)
    return Table(name, caption, values, origin, marks)


def significance_marks(layout: Layout, comparisons: pd.DataFrame, alpha: float = ALPHA) -> pd.DataFrame:
    """``↑`` or ``↓`` if a row differs, with adjusted p below ``alpha``, from a row above that it was tested against.

    ``comparisons``: one row per test with dataset, model, metric, pair, difference (a − b) and p_holm. Only rows of one
    group are held against each other, the nearest tested one counts, and either may be the pair's ``a``. An arrow tells
    the sign, which the paper's star does not. A row that no planned pair is about has no arrow.
    """
    marks = layout.empty("")
    tests = {
        (str(test["dataset"]), str(test["model"]), str(test["metric"]), test["pair"]): test
        for test in comparisons.to_dict("records")
    }
    for i, row in enumerate(layout.rows):
        above = [other for other in layout.rows[:i] if (other.group, other.model) == (row.group, row.model)]
        for j, column in enumerate(layout.columns):
            place = (column.dataset, row.model, column.metric)
            marks.iat[i, j] = _arrow(place, row.variant, above, tests, alpha)
    return marks


def _arrow(
    place: tuple[str, str, str], variant: Variant, above: Sequence[TableRow], tests: Mapping[Any, Any], alpha: float
) -> str:
    for other in reversed(above):
        for pair, sign in ((Pair(variant, other.variant), 1.0), (Pair(other.variant, variant), -1.0)):
            if (test := tests.get((*place, pair))) is not None:
                return "" if test["p_holm"] >= alpha else ABOVE if sign * test["difference"] > 0 else BELOW
    return ""


def _allowed_note(uncommitted: int, shown: int) -> str:
    return f" Of {shown} cells, {uncommitted} hold runs of **uncommitted code**." if uncommitted else ""


def arrows_note(comparisons: pd.DataFrame | None, alpha: float = ALPHA) -> str:
    """The sentence of a caption that says what an arrow has survived: the size of its family, or of each family."""
    if comparisons is None or comparisons.empty:
        return ""
    sizes = " or ".join(str(size) for size in sorted(set(comparisons["family_size"])))
    return (
        f" Arrows: p below {alpha} after Holm's correction for the {sizes} planned pairs of a data set and a metric, "
        "users and seeds both taken as samples."
    )


def _other_splits_note(used: Mapping[tuple[str, str], Collection[int]], comparisons: pd.DataFrame | None) -> str:
    """The sentence of a caption that names the recommenders whose tests are over other splits than their cells."""
    named = {}
    for test in () if comparisons is None else comparisons.to_dict("records"):
        place = test["dataset"], test["model"]
        if place in used and len(used[place]) != test["splits"]:
            named[place] = f"{model_name(test['model'])} on {dataset_name(test['dataset'])}"
    return f" Over other splits than the tests: {', '.join(named.values())}." if named else ""


def seeds_note(shown: Sequence[frozenset[tuple[int, int]]]) -> str:
    """The sentence of a caption that says over which runs, (split, seed), the cells are means."""
    if not shown:
        return "Nothing has been run."
    seeds = [frozenset(seed for _, seed in runs) for runs in shown]
    splits = max(len({split for split, _ in runs}) for runs in shown)
    of = f" on each of up to {splits} splits" if splits > 1 else ""
    over = "runs" if splits > 1 else "seeds"
    if len(set(shown)) == 1:
        numbers = sorted(seeds[0])
        if len(shown[0]) == 1:
            return f"One run per cell, seed {numbers[0]}."
        of = of.replace("up to ", "")
        return f"Mean over seeds {', '.join(map(str, numbers))}{of}, ± standard deviation over {over}."
    sizes = sorted({len(numbers) for numbers in seeds})
    if len(sizes) == 1:
        same = "not the same ones everywhere" if len(set(seeds)) > 1 else "the same ones everywhere"
        return f"Mean over {sizes[0]} seeds per cell ({same}){of}, ± standard deviation over {over}."
    return f"Mean over {sizes[0]} to {sizes[-1]} seeds per cell{of}, ± standard deviation where there are several."


def _name(case: Mapping[str, Any]) -> str:
    by_key = Labels({})  # an error names what stands in the record
    return f"run {by_key.case(str(case['model']), Variant.of(case))} on {case['dataset']}, seed {case['seed']}"
