"""Parts of users and items: how well each is served, and how much of the catalogue is shown. One table per data set."""

from collections.abc import Sequence
from dataclasses import dataclass

from lmmrec_core.flow import Result
from lmmrec_core.names import FLOOR_MODELS, LMM_ENCODERS, PAPER_MODELS
from lmmrec_core.questions import MODALITY_SPECIFIC, Variant, trained
from lmmrec_core.report.html import MimeBundle, Sentence, ShownTable, joined, results_table
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name, model_name
from lmmrec_core.report.layout import Layout, TableColumn, TableRow, fill_measured, filled_rows

#: Metric of a whole run → the head of its column.
_SLICES = {
    "recall@20": "all", "head_recall@20": "popular", "middle_recall@20": "middle", "tail_recall@20": "rare",
    "cold_recall@20": "cold", "short_recall@20": "short",
}  # fmt: skip
_LISTS = {"coverage@20": "coverage", "exposure_gini@20": "Gini", "novelty@20": "novelty"}


@dataclass(frozen=True, eq=False, repr=False)
class TablePerDataset:
    """Tables below each other, each under the name of its data set. Shown in a notebook as HTML."""

    tables: tuple[ShownTable, ...]

    def to_html(self) -> str:
        return "\n".join(table.to_html() for table in self.tables)

    def _repr_html_(self) -> str:
        return self.to_html()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> MimeBundle:
        return joined(self.to_html(), self.tables)

    def __repr__(self) -> str:
        return f"{len(self.tables)} tables"


def slices_tables(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    labels: Labels = PAPER_LABELS,
) -> TablePerDataset | Sentence:
    """Recall@20 of each slice: the baseline and the pre-trained encoders in each model, and the floor."""
    return _tables("slices", _SLICES, results, datasets, models, labels)


def lists_tables(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    labels: Labels = PAPER_LABELS,
) -> TablePerDataset | Sentence:
    """Coverage, Gini of exposure and novelty of the first twenty, of the same systems."""
    return _tables("lists", _LISTS, results, datasets, models, labels)


def _tables(
    name: str,
    metrics: dict[str, str],
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str],
    labels: Labels,
) -> TablePerDataset | Sentence:
    """A metric that some run of a data set does not have, because no held-out row falls into the slice, is left out."""
    rows = [TableRow("without content", model_name(model), model, Variant()) for model in FLOOR_MODELS]
    variants = [MODALITY_SPECIFIC, *(trained(encoder, "PT") for encoder in LMM_ENCODERS)]
    rows += [TableRow(model_name(m), labels.case(m, v), m, v) for m in models for v in variants]
    shown, wanted = [], {(row.model, row.variant) for row in rows}
    for dataset in datasets:
        runs = [
            run for run in results if run.case["dataset"] == dataset
            and (str(run.case["model"]), Variant.of(run.case)) in wanted
        ]  # fmt: skip
        columns = tuple(
            TableColumn(dataset, metric, head) for metric, head in metrics.items() if all(_has(r, metric) for r in runs)
        )
        if runs and columns:
            table = filled_rows(fill_measured(f"{name}-{dataset}", "", Layout(tuple(rows), columns), runs))
            shown.append(results_table(table, ranks=False, digits=None, caption=dataset_name(dataset)))
    return TablePerDataset(tuple(shown)) if shown else Sentence("Nothing of this track has been run yet: **not run**.")


def _has(run: Result, metric: str) -> bool:
    return metric in run.overall or metric in run.per_user.columns
