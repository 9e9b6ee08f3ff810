"""Relative changes, printed and measured: the numbers that can be compared across data sets.

A change is ``a / b − 1`` of the two sides of a pair (:mod:`lmmrec_core.questions`), within one recommender and data
set. Printed changes follow from the paper's tables, measured ones from our tables' cells. They stand in separate
columns, never in one cell.
"""

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd

from lmmrec_core.flow import Result, Table, on_splits
from lmmrec_core.names import DRAWN, PAPER_METRICS, PAPER_MODELS
from lmmrec_core.questions import Pair, question_of
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name, metric_name, model_name
from lmmrec_core.report.layout import (
    RunsOfCell,
    by_case,
    run_mean,
    splits_of_cells,
    trained_runs,
    withheld_cells,
)
from lmmrec_core.report.published import DATASETS, printed_value
from lmmrec_core.report.run_links import pair_links


def printed_change(dataset: str, model: str, pair: Pair, metric: str) -> float:
    """``a / b − 1`` from the paper's tables; NaN unless it prints both cells."""
    a, b = (printed_value(dataset, name, variant, metric) for name, variant in pair.sides(model))
    return math.nan if a is None or b is None else a / b - 1.0


def expected_change(dataset: str, model: str, pair: Pair, metric: str) -> float:
    """The printed change on ``dataset``; on a data set that is not the paper's, the mean over its three."""
    if dataset in DATASETS:
        return printed_change(dataset, model, pair, metric)
    return float(np.mean([printed_change(known, model, pair, metric) for known in DATASETS]))


def printed_direction(dataset: str, model: str, pair: Pair, metric: str, rounding: float) -> int:
    """The sign of the printed change on ``dataset``, of all three on a data set that is not the paper's.

    0, no direction, where the two figures are no further apart than ``rounding``, or where the three signs differ.
    """
    signs = set()
    for known in [dataset] if dataset in DATASETS else DATASETS:
        a, b = (printed_value(known, name, variant, metric) for name, variant in pair.sides(model))
        if a is None or b is None or abs(a - b) < rounding + 1e-9:
            signs.add(0)
        else:
            signs.add(1 if a > b else -1)
    return signs.pop() if len(signs) == 1 else 0


def claimed_changes(
    question: str,
    datasets: Iterable[str],
    models: Iterable[str],
    metric: str,
    rounding: float,
    drawn: Collection[str] = DRAWN,
) -> pd.DataFrame:
    """The claimed pairs of a question for which the paper prints both cells; none on data sets that are ``drawn``.

    Columns: dataset, model, metric, pair, printed (relative change, see :func:`expected_change`), direction (its sign,
    see :func:`printed_direction`).
    """
    rows = [
        (dataset, model, metric, pair, expected_change(dataset, model, pair, metric),
         printed_direction(dataset, model, pair, metric, rounding))
        for dataset in datasets
        if dataset not in drawn
        for model in models
        for pair in question_of(question).claimed
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["dataset", "model", "metric", "pair", "printed", "direction"])
    return frame.dropna(subset="printed").reset_index(drop=True)


def change_table(
    question: str,
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    metric: str = "ndcg@20",
    labels: Labels = PAPER_LABELS,
) -> Table:
    """Relative changes of a question's pairs: columns *Printed* (the paper's data sets) and *Measured* (this track's).

    A measured cell is the change from one cell of our tables to another, of the runs that count as trained; ``spread``
    is its deviation over seeds, those of either side drawn by themselves. Values are fractions (0.05 is +5 %). The
    origin of a value is "derived".
    """
    asked = question_of(question)
    lines = [(model, pair) for model in models for pair in asked.shown]
    rows = [(model_name(model), labels.printed_and_measured(model, pair)) for model, pair in lines]
    columns = [("Printed", dataset_name(known)) for known in DATASETS]
    columns += [("Measured", dataset_name(name)) for name in datasets]
    index = pd.MultiIndex.from_tuples(rows, names=["group", "label"])
    header = pd.MultiIndex.from_tuples(columns, names=["source", "dataset"])
    values = pd.DataFrame(math.nan, index=index, columns=header)
    spread = values.copy()
    origin = pd.DataFrame("not run", index=index, columns=header, dtype=object)
    behind = origin.map(lambda _: "")
    runs, withheld = by_case(results), withheld_cells(results)
    for i, (model, pair) in enumerate(lines):
        for j, known in enumerate(DATASETS):
            printed = printed_change(known, model, pair, metric)
            values.iat[i, j] = printed
            origin.iat[i, j] = "not printed" if math.isnan(printed) else "derived"
        for j, dataset in enumerate(datasets, start=len(DATASETS)):
            a, b = (runs.get((dataset, *side), {}) for side in pair.sides(model))
            splits = splits_of_cells(runs.get((dataset, *side), {}) for side in asked.sides(model))
            first, second = (on_splits(trained_runs(side), splits) for side in (a, b))
            measured, deviation = _measured_change(first, second, metric)
            values.iat[i, j], spread.iat[i, j] = measured, deviation
            if math.isnan(measured):
                hidden = any((dataset, *side) in withheld for side in pair.sides(model))
                untrained = any(side and not trained_runs(side) for side in (a, b))
                origin.iat[i, j] = "not trained" if untrained else "uncommitted" if hidden else "not run"
            else:
                origin.iat[i, j], behind.iat[i, j] = "derived", " ".join(pair_links(dataset, model, pair).anchors)
    change = f"relative change of {metric_name(metric)}, a / b − 1, from the paper's tables and measured here"
    return Table(f"changes-{question}", f"{asked.title}: {change}.", values, origin, spread=spread, runs=behind)


def printed_summary(question: str) -> pd.DataFrame:
    """Per claimed pair, how often and how much the paper's own numbers change, over models, data sets and metrics."""
    rows = []
    for pair in question_of(question).claimed:
        cells = [printed_change(d, m, pair, metric) for d in DATASETS for m in PAPER_MODELS for metric in PAPER_METRICS]
        changes = np.array([cell for cell in cells if not math.isnan(cell)])
        counts = [int((changes > 0).sum()), int((changes == 0).sum()), int((changes < 0).sum())]
        rows.append((str(pair), len(changes), *counts, float(changes.mean())))
    return pd.DataFrame(rows, columns=["pair", "cells", "up", "equal", "down", "mean change"])


def _measured_change(a: RunsOfCell, b: RunsOfCell, metric: str) -> tuple[float, float]:
    """Change of the means over seeds, and the deviation of the change of one run of each; NaN if not defined."""
    first, second = (np.array([run_mean(run, metric) for run in side.values()]) for side in (a, b))
    if not len(first) or not len(second) or second.mean() == 0:
        return math.nan, math.nan
    ratio = float(first.mean() / second.mean())
    if len(first) < 2 or len(second) < 2 or first.mean() == 0:
        return ratio - 1.0, math.nan
    squares = [(side.std(ddof=1) / side.mean()) ** 2 for side in (first, second)]
    return ratio - 1.0, float(ratio * np.sqrt(sum(squares)))  # by the delta method
