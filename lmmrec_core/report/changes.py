"""Relative changes, printed and measured: the numbers that can be compared across data sets.

A change is ``a / b − 1`` of two cells of one model and data set. The printed ones follow from the paper's
tables, the measured ones from runs of the same seeds. They stand in separate columns, never in one cell.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from lmmrec_core.errors import unknown
from lmmrec_core.flow import Result, Table
from lmmrec_core.report.labels import dataset_name, metric_name, model_name, pair_label, variant
from lmmrec_core.report.layout import by_case, mean_of
from lmmrec_core.report.published import DATASETS, METRICS, MODELS, printed_value

Pairs = Sequence[tuple[str, str]]

#: The pairs a question plans to test (question 63), as variants (:func:`labels.variant`).
PLANNED: Mapping[str, Pairs] = {
    "motivation": (("baseline", "baseline (V)"), ("baseline", "baseline (T)")),
    "rq1": (("VLMo-PT", "baseline"), ("CLIP-PT", "baseline")),
    "rq2": (
        ("VLMo-FT", "VLMo-PT"),
        ("VLMo-ETE", "VLMo-FT"),
        ("VLMo-ETE", "baseline"),
        ("CLIP-FT", "CLIP-PT"),
        ("CLIP-ETE", "CLIP-FT"),
        ("CLIP-ETE", "baseline"),
    ),
    "rq3": (("CLIP-ETE", "CLIP-ETE (V)"), ("CLIP-ETE", "CLIP-ETE (T)")),
}
#: The pairs of a question's table of changes: against the modality-specific baseline wherever there is one.
SHOWN: Mapping[str, Pairs] = {
    **PLANNED,
    "rq2": tuple(
        (f"{encoder}-{paradigm}", "baseline") for encoder in ("VLMo", "CLIP") for paradigm in ("PT", "FT", "ETE")
    ),
}


def pairs_of(question: str, shown: bool = False) -> Pairs:
    """The planned (or shown) pairs. Raises ConfigError for a question without pairs."""
    table = SHOWN if shown else PLANNED
    if question not in table:
        raise unknown("research question", question, table)
    return table[question]


def printed_change(dataset: str, model: str, a: str, b: str, metric: str) -> float:
    """``a / b − 1`` from the paper's tables; NaN where it prints one of the two cells not at all."""
    first, second = (printed_value(dataset, model, one, metric) for one in (a, b))
    return math.nan if first is None or second is None else first / second - 1.0


def expected_change(dataset: str, model: str, a: str, b: str, metric: str) -> float:
    """The printed change on ``dataset``; on a data set that is not the paper's, the mean over its three."""
    if dataset in DATASETS:
        return printed_change(dataset, model, a, b, metric)
    return float(np.mean([printed_change(known, model, a, b, metric) for known in DATASETS]))


def planned(question: str, datasets: Iterable[str], models: Iterable[str], metric: str) -> pd.DataFrame:
    """The comparisons of a question for which the paper prints both cells.

    Columns: dataset, model, metric, a, b, printed (relative change, see :func:`expected_change`).
    """
    rows = [
        (dataset, model, metric, a, b, expected_change(dataset, model, a, b, metric))
        for dataset in datasets
        for model in models
        for a, b in pairs_of(question)
    ]
    frame = pd.DataFrame(rows, columns=["dataset", "model", "metric", "a", "b", "printed"])
    return frame.dropna(subset="printed").reset_index(drop=True)


def change_table(
    question: str,
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = MODELS,
    metric: str = "ndcg@20",
) -> Table:
    """Relative changes of a question's pairs: columns *Printed* (the paper's data sets) and *Measured* (this track's).

    Measured cells use the seeds that both runs share; ``spread`` is the deviation of the change over them.
    Values are fractions (0.05 is +5 %). Origin is "derived" where there is a value.
    """
    pairs = pairs_of(question, shown=True)
    rows = [(model_name(model), f"{model_name(model)}: {pair_label(a, b)}") for model in models for a, b in pairs]
    columns = [("Printed", dataset_name(known)) for known in DATASETS]
    columns += [("Measured", dataset_name(name)) for name in datasets]
    index = pd.MultiIndex.from_tuples(rows, names=["group", "label"])
    header = pd.MultiIndex.from_tuples(columns, names=["source", "dataset"])
    values = pd.DataFrame(math.nan, index=index, columns=header)
    spread = values.copy()
    origin = pd.DataFrame("not run", index=index, columns=header, dtype=object)
    runs = _by_variant(results)
    for i, (model, (a, b)) in enumerate((model, pair) for model in models for pair in pairs):
        for j, known in enumerate(DATASETS):
            change = printed_change(known, model, a, b, metric)
            values.iat[i, j] = change
            origin.iat[i, j] = "not printed" if math.isnan(change) else "derived"
        for j, dataset in enumerate(datasets, start=len(DATASETS)):
            first, second = runs.get((dataset, model, a), {}), runs.get((dataset, model, b), {})
            change, deviation = _measured_change(first, second, metric)
            values.iat[i, j], spread.iat[i, j] = change, deviation
            origin.iat[i, j] = "not run" if math.isnan(change) else "derived"
    caption = f"Relative change of {metric_name(metric)}, a / b − 1: from the paper's tables, and measured here."
    return Table(f"changes-{question}", caption, values, origin, spread=spread)


def printed_summary(question: str) -> pd.DataFrame:
    """Per planned pair, how often and how much the paper's own numbers change, over models, data sets and metrics."""
    rows = []
    for a, b in pairs_of(question):
        cells = [printed_change(d, m, a, b, metric) for d in DATASETS for m in MODELS for metric in METRICS]
        changes = np.array([cell for cell in cells if not math.isnan(cell)])
        counts = [int((changes > 0).sum()), int((changes == 0).sum()), int((changes < 0).sum())]
        rows.append((pair_label(a, b), len(changes), *counts, float(changes.mean())))
    return pd.DataFrame(rows, columns=["pair", "cells", "up", "equal", "down", "mean change"])


def _by_variant(results: Iterable[Result]) -> dict[tuple[str, str, str], dict[int, Result]]:
    grouped = by_case(results)
    return {
        (str(case["dataset"]), str(case["model"]), variant(case)): seeds
        for seeds in grouped.values()
        for case in [next(iter(seeds.values())).case]
    }


def _measured_change(a: Mapping[int, Result], b: Mapping[int, Result], metric: str) -> tuple[float, float]:
    """Change of the means over shared seeds, and its deviation over them; NaN where not defined."""
    shared = sorted(set(a) & set(b))
    first = np.array([mean_of(a[seed], metric) for seed in shared])
    second = np.array([mean_of(b[seed], metric) for seed in shared])
    if not shared or second.mean() == 0:
        return math.nan, math.nan
    deviation = float(np.std(first / second - 1.0, ddof=1)) if len(shared) > 1 and (second > 0).all() else math.nan
    return float(first.mean() / second.mean() - 1.0), deviation
