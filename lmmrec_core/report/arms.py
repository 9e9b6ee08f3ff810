"""Cells under other settings than the track's own: the same recommender and encoder, one row for each arm."""

from collections.abc import Sequence
from dataclasses import replace

from lmmrec_core.flow import Result, Table
from lmmrec_core.questions import Variant
from lmmrec_core.report.html import Sentence, ShownTable, results_table
from lmmrec_core.report.labels import PAPER_LABELS, Labels, model_name
from lmmrec_core.report.layout import Layout, TableRow, by_case, fill_measured, metric_columns


def arms_table(
    results: Sequence[Result],
    datasets: Sequence[str],
    paradigms: Sequence[str],
    metrics: Sequence[str] = ("recall@20", "ndcg@20"),
    labels: Labels = PAPER_LABELS,
) -> Table | None:
    """Per recommender and encoder under one of ``paradigms``: the row of the track's settings, then its arms.

    Cells that no arm repeats have no row; None if no arm was run.
    """
    ran = [(model, variant) for dataset, model, variant in by_case(results) if dataset in datasets]
    bases: dict[tuple[str, Variant], list[Variant]] = {}
    for model, variant in dict.fromkeys(ran):
        if variant.arm != "none" and variant.paradigm in paradigms:
            bases.setdefault((model, replace(variant, arm="none")), []).append(variant)
    rows = [
        TableRow(model_name(model), labels.case(model, variant), model, variant)
        for (model, base), arms in bases.items()
        for variant in (base, *arms)
    ]
    if not rows:
        return None
    caption = "Cells that were also run under other settings, named in brackets."
    if any(result.shared for result in results):
        caption += " *As in the table*: the cell has these settings anyway, so it is the same run."
    return fill_measured("arms", caption, Layout(tuple(rows), metric_columns(datasets, metrics)), results)


def arms_or_words(
    results: Sequence[Result], datasets: Sequence[str], paradigms: Sequence[str], labels: Labels = PAPER_LABELS
) -> ShownTable | Sentence:
    """:func:`arms_table` as a page shows it, or a sentence if no arm was run."""
    table = arms_table(results, datasets, paradigms, labels=labels)
    return Sentence("No cell was run under other settings.") if table is None else results_table(table)
