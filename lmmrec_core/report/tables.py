"""The study's tables: the layout of each, filled with measured or with printed numbers.

``tableN`` shows what was measured here, ``printed_tableN`` what the paper prints, in the same layout. ``labels`` are
what the measured encoders are called. Recommenders and encoders of other packages (:mod:`lmmrec_core.report.guests`)
follow as further rows of the measured ones.
Numbers stay unrounded; :mod:`lmmrec_core.report.html` rounds.
"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from lmmrec_core.flow import Result, Table
from lmmrec_core.names import (
    BASELINE,
    CONTROL_TITLES,
    FLOOR_MODELS,
    LATER_MODELS,
    LMM_ENCODERS,
    MODALITY_SETS,
    PAPER_METRICS,
    PAPER_MODELS,
    PARADIGMS,
    WARM,
)
from lmmrec_core.questions import AGAINST_TWIN, MODALITY_SPECIFIC, Variant, question_of, trained
from lmmrec_core.report import published
from lmmrec_core.report.guests import NOBODY, Guests, guests_in
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name, model_name
from lmmrec_core.report.layout import Layout, TableRow, fill_measured, fill_printed, filled_rows, metric_columns
from lmmrec_core.report.published import printed_statistics, read_results

_FUSING = ("mmgcl", "lattice")  # the two models of Tables 1 and 5
_SINGLE = tuple(name for name in MODALITY_SETS if name in ("V", "T"))
_STATISTICS = {
    "users": "Users",
    "persons": "Persons behind the users",
    "items": "Items",
    "interactions": "Interactions",
    "density": "Density",
    "per_user": "Interactions per user",
    "per_item": "Interactions per item",
    "gini_items": "Gini of item popularity",
    "train": "Training interactions",
    "valid": "Validation interactions",
    "test": "Test interactions",
    "split_rule": "Split rule",
    "visual_dim": "Visual features, baseline",
    "textual_dim": "Textual features, baseline",
}


def table1(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    metric: str = "ndcg@20",
    comparisons: pd.DataFrame | None = None,
) -> Table:
    """Motivation: both modalities against one alone, with the modality-specific encoders."""
    layout = _modality_layout(datasets, models, metric, MODALITY_SPECIFIC, guests_in(results, datasets))
    return fill_measured("table1", _caption("motivation"), layout, results, comparisons)


def printed_table1() -> Table:
    """Table 1 of the paper."""
    layout = _modality_layout(published.DATASETS, _FUSING, "ndcg@20", MODALITY_SPECIFIC)
    return fill_printed("printed1", "Table 1 of the paper, as printed.", layout, read_results(1))


def table2(statistics: pd.DataFrame) -> Table:
    """Data sets in numbers.

    ``statistics``: one row per data set, a column per quantity of ``_STATISTICS``; a column or a value that is absent
    is *not run*. Persons have a line where some data set has several users of one person. Titles come from the column
    ``dataset`` if there is one, else from the index.
    """
    names = statistics["dataset"] if "dataset" in statistics else pd.Series(statistics.index).map(dataset_name)
    frame = statistics.reindex(columns=list(_STATISTICS))
    shown = dict(_STATISTICS)
    if frame["persons"].isna().all():
        del shown["persons"]
    frame = frame.assign(persons=frame["persons"].where(frame["persons"].notna(), frame["users"]))[list(shown)]
    cells = {
        name: [int(value) if isinstance(value, float) and value.is_integer() else value for value in row]
        for name, row in zip(names, frame.astype(object).to_numpy(), strict=True)
    }
    values = pd.DataFrame(cells, index=list(shown.values()), dtype=object)
    origin = values.isna().map(lambda absent: "not run" if absent else "measured").astype(object)
    return Table("table2", "The data sets of this track, counted after filtering.", values, origin)


def dropped(statistics: pd.DataFrame) -> pd.DataFrame:
    """What was read, merged and dropped: one row per count of ``statistics["counts"]``, one column per data set."""
    names = statistics["dataset"] if "dataset" in statistics else pd.Series(statistics.index).map(dataset_name)
    counts = statistics["counts"] if "counts" in statistics else pd.Series([{}] * len(statistics))
    columns = {name: entry if isinstance(entry, dict) else {} for name, entry in zip(names, counts, strict=True)}
    rows = list(dict.fromkeys(key for entry in columns.values() for key in entry))
    cells = {name: [entry.get(key, "") for key in rows] for name, entry in columns.items()}
    return pd.DataFrame({"count": [key.replace("_", " ") for key in rows], **cells})


def printed_table2() -> Table:
    """Table 2 of the paper, as text."""
    values = printed_statistics().rename(columns=dataset_name)
    origin = pd.DataFrame("printed", index=values.index, columns=values.columns)
    return Table("printed2", "Table 2 of the paper, as printed.", values, origin)


def table3(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    metrics: Sequence[str] = PAPER_METRICS,
    comparisons: pd.DataFrame | None = None,
    labels: Labels = PAPER_LABELS,
) -> Table:
    """RQ1: pre-trained CLIP and VLMo against the modality-specific encoders."""
    layout = _layout3(datasets, models, metrics, guests_in(results, datasets), labels)
    return fill_measured("table3", _caption("rq1"), layout, results, comparisons)


def printed_table3() -> Table:
    """Table 3 of the paper; a star marks a difference from the baseline, in either direction."""
    layout = _layout3(published.DATASETS, PAPER_MODELS, PAPER_METRICS)
    return fill_printed("printed3", "Table 3 of the paper, as printed.", layout, read_results(3))


def table4(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    metrics: Sequence[str] = PAPER_METRICS,
    comparisons: pd.DataFrame | None = None,
    labels: Labels = PAPER_LABELS,
) -> Table:
    """RQ2: pre-trained, fine-tuned and end-to-end encoders."""
    layout = _layout4(datasets, models, metrics, guests_in(results, datasets), labels)
    return fill_measured("table4", _caption("rq2"), layout, results, comparisons)


def printed_table4() -> Table:
    """Table 4 of the paper; a star marks a difference from the best of the group."""
    layout = _layout4(published.DATASETS, PAPER_MODELS, PAPER_METRICS)
    return fill_printed("printed4", "Table 4 of the paper, as printed.", layout, read_results(4))


def table5(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    metric: str = "ndcg@20",
    comparisons: pd.DataFrame | None = None,
    encoder: str = "clip",
    paradigm: str = "ETE",
    labels: Labels = PAPER_LABELS,
) -> Table:
    """RQ3: both modalities against one alone, with CLIP trained end to end (or another encoder and paradigm)."""
    both = trained(encoder, paradigm)
    layout = _modality_layout(datasets, models, metric, both, guests_in(results, datasets))
    return fill_measured("table5", f"Which modality helps, with {labels.variant(both)}.", layout, results, comparisons)


def printed_table5() -> Table:
    """Table 5 of the paper; a star marks a difference from V&T."""
    layout = _modality_layout(published.DATASETS, _FUSING, "ndcg@20", trained("clip", "ETE"))
    return fill_printed("printed5", "Table 5 of the paper, as printed.", layout, read_results(5))


def ablation(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    metric: str = "ndcg@20",
    encoder: str = BASELINE,
    paradigm: str = "none",
) -> Table:
    """Every model with V&T, V and T, and with its content replaced by every control of equal size, one line each."""
    both = trained(encoder, paradigm)
    rows: list[TableRow] = []
    layout = _modality_layout(datasets, models, metric, both, guests_in(results, datasets))
    for row in layout.rows:
        rows.append(row)
        if row.variant.modalities == _SINGLE[-1]:  # the last of a model
            controls = ((replace(both, control=name), title) for name, title in CONTROL_TITLES.items())
            rows += [TableRow(row.group, f"{row.group} V&T, {title}", row.model, broken) for broken, title in controls]
    caption = "Each model with its content as it is, with one modality removed, and with content that says nothing."
    return filled_rows(fill_measured("ablation", caption, Layout(tuple(rows), layout.columns), results))


def references(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    metrics: Sequence[str] = PAPER_METRICS,
    comparisons: pd.DataFrame | None = None,
) -> Table:
    """What content adds to each model: beside its baseline the same model with zero content, and its twin without any.

    The twin is what is left of a model without content: BPR of VBPR, LightGCN of the others.
    """
    rows: list[TableRow] = []
    for model in models:
        name, (twin, without) = model_name(model), AGAINST_TWIN.sides(model)[1]
        rows += [
            TableRow(name, f"{name} baseline", model, MODALITY_SPECIFIC),
            TableRow(name, f"{name} zero content", model, replace(MODALITY_SPECIFIC, control="zero")),
            TableRow(name, f"{model_name(twin)}, twin of {name}", twin, without),
        ]
    caption = "Each model, the same model with zero content, and what is left of it without content."
    layout = Layout(tuple(rows), metric_columns(datasets, metrics))
    return fill_measured("references", caption, layout, results, comparisons)


def floor(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = FLOOR_MODELS,
    metrics: Sequence[str] = PAPER_METRICS,
) -> Table:
    """Recommenders that read no content: how far interactions alone go."""
    shown = guests_in(results, datasets).after(models, lambda variant: variant.encoder == "none")
    rows = tuple(TableRow("without content", model_name(model), model, Variant()) for model in shown)
    caption = "Recommenders without content."
    return fill_measured("floor", caption, Layout(rows, metric_columns(datasets, metrics)), results)


def _layout3(
    datasets: Sequence[str],
    models: Sequence[str],
    metrics: Sequence[str],
    guests: Guests = NOBODY,
    labels: Labels = PAPER_LABELS,
) -> Layout:
    """Per recommender: the modality-specific encoders, VLMo and CLIP pre-trained, then encoders of other packages."""

    def fits(variant: Variant) -> bool:
        return variant.whole and variant.paradigm in ("none", "PT")

    rows = []
    for model in guests.after(models, fits):
        name = model_name(model)
        rows.append(TableRow(name, name, model, MODALITY_SPECIFIC))
        encoders = LMM_ENCODERS if model in models and model not in LATER_MODELS else guests.known_encoders(model, fits)
        for encoder in encoders:
            variant = trained(encoder, "PT")
            rows.append(TableRow(name, labels.case(model, variant).removesuffix("-PT"), model, variant))
        rows += [
            TableRow(name, labels.case(model, variant), model, variant) for variant in guests.variants(model, fits)
        ]
    return Layout(tuple(rows), metric_columns(datasets, metrics))


def _layout4(
    datasets: Sequence[str],
    models: Sequence[str],
    metrics: Sequence[str],
    guests: Guests = NOBODY,
    labels: Labels = PAPER_LABELS,
) -> Layout:
    """Per recommender and encoder: PT, FT and ETE, one group each, as the printed stars compare within them.

    ETE with a warm start follows where it was run; it is ours, and no planned pair is about it.
    """

    def fits(variant: Variant) -> bool:
        return variant.whole and variant.paradigm in ("FT", "ETE")

    rows = []
    for model in guests.after(models, fits):
        encoders = LMM_ENCODERS if model in models else guests.known_encoders(model, fits)
        visiting = dict.fromkeys(variant.encoder for variant in guests.variants(model, fits))
        for encoder in (*encoders, *visiting):
            variants = [trained(encoder, paradigm) for paradigm in PARADIGMS]
            variants += [variant for variant in guests.ran.get(model, ()) if variant == trained(encoder, WARM)]
            group = labels.case(model, variants[0]).removesuffix("-PT")
            rows += [TableRow(group, labels.case(model, variant), model, variant) for variant in variants]
    return Layout(tuple(rows), metric_columns(datasets, metrics))


def _modality_layout(
    datasets: Sequence[str], models: Sequence[str], metric: str, both: Variant, guests: Guests = NOBODY
) -> Layout:
    """Per recommender: ``both`` modalities, then each alone."""

    def fits(variant: Variant) -> bool:
        return (variant.encoder, variant.paradigm) == (both.encoder, both.paradigm)

    rows = []
    for model in guests.after(models, fits):
        name = model_name(model)
        rows.append(TableRow(name, f"{name} V&T", model, both))
        rows += [TableRow(name, f"{name} {only}", model, replace(both, modalities=only)) for only in _SINGLE]
    return Layout(tuple(rows), metric_columns(datasets, [metric]))


def _caption(question: str) -> str:
    return f"{question_of(question).title}."
