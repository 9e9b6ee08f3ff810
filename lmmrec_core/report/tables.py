"""The study's tables: the layout of each, filled with measured or with printed numbers.

``tableN`` gives what was measured here, ``printed_tableN`` what the paper prints, in the same layout.
Numbers stay unrounded; :mod:`lmmrec_core.report.html` rounds.
"""

from collections.abc import Sequence

import pandas as pd

from lmmrec_core.flow import Result, Table
from lmmrec_core.names import ENCODER_TITLES, FLOOR_MODELS, LATER_MODELS
from lmmrec_core.report import published
from lmmrec_core.report.labels import dataset_name, model_name
from lmmrec_core.report.layout import Column, Layout, Row, fill_measured, fill_printed, metric_columns
from lmmrec_core.report.published import METRICS, MODELS, read_results, read_statistics

FUSING = ("mmgcl", "lattice")  # the two models of Tables 1 and 5
MODALITIES = ("V&T", "V", "T")
CONTROLS = ("none", "shuffled", "noise", "zero")
LMM = ("vlmo", "clip")  # the order of the printed rows
QUANTITIES = {
    "users": "Users",
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
CONTROL_NAMES = {"none": "real", "shuffled": "shuffled", "noise": "noise", "zero": "zero"}


def table1(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = MODELS,
    metric: str = "ndcg@20",
    comparisons: pd.DataFrame | None = None,
) -> Table:
    """Motivation: both modalities against one alone, with the modality-specific encoders."""
    caption = "Which modality helps, with the modality-specific encoders."
    return fill_measured("table1", caption, _modality_layout(datasets, models, metric), results, comparisons)


def printed_table1() -> Table:
    """Table 1 of the paper."""
    layout = _modality_layout(published.DATASETS, FUSING, "ndcg@20")
    return fill_printed("printed1", "Table 1 of the paper, as printed.", layout, read_results(1))


def table2(statistics: pd.DataFrame) -> Table:
    """Data sets in numbers.

    ``statistics``: one row per data set, a column per quantity of ``QUANTITIES``; a column or a value that is absent
    is *not run*. Titles come from a column ``dataset`` where there is one, else from the index.
    """
    names = statistics["dataset"] if "dataset" in statistics else pd.Series(statistics.index).map(dataset_name)
    frame = statistics.reindex(columns=list(QUANTITIES))
    cells = {
        name: [int(value) if isinstance(value, float) and value.is_integer() else value for value in row]
        for name, row in zip(names, frame.astype(object).to_numpy(), strict=True)
    }
    values = pd.DataFrame(cells, index=list(QUANTITIES.values()), dtype=object)
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
    values = read_statistics().rename(columns=dataset_name)
    origin = pd.DataFrame("printed", index=values.index, columns=values.columns)
    return Table("printed2", "Table 2 of the paper, as printed.", values, origin)


def table3(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = MODELS,
    metrics: Sequence[str] = METRICS,
    comparisons: pd.DataFrame | None = None,
) -> Table:
    """RQ1: pre-trained CLIP and VLMo against the modality-specific encoders."""
    caption = "Pre-trained multi-modal encoders against the modality-specific ones."
    return fill_measured("table3", caption, _layout3(datasets, models, metrics), results, comparisons)


def printed_table3() -> Table:
    """Table 3 of the paper; a star marks a difference from the baseline, in either direction."""
    layout = _layout3(published.DATASETS, MODELS, METRICS)
    return fill_printed("printed3", "Table 3 of the paper, as printed.", layout, read_results(3))


def table4(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = MODELS,
    metrics: Sequence[str] = METRICS,
    comparisons: pd.DataFrame | None = None,
) -> Table:
    """RQ2: pre-trained, fine-tuned and end-to-end encoders."""
    caption = "Pre-trained (PT), fine-tuned (FT) and end-to-end (ETE) encoders."
    return fill_measured("table4", caption, _layout4(datasets, models, metrics), results, comparisons)


def printed_table4() -> Table:
    """Table 4 of the paper; a star marks a difference from the best of the group."""
    layout = _layout4(published.DATASETS, MODELS, METRICS)
    return fill_printed("printed4", "Table 4 of the paper, as printed.", layout, read_results(4))


def table5(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = MODELS,
    metric: str = "ndcg@20",
    comparisons: pd.DataFrame | None = None,
    encoder: str = "clip",
    paradigm: str = "ETE",
) -> Table:
    """RQ3: both modalities against one alone, with CLIP trained end to end (or another encoder and paradigm)."""
    name = f"{ENCODER_TITLES.get(encoder, encoder)}-{paradigm}"
    layout = _modality_layout(datasets, models, metric, encoder, paradigm)
    return fill_measured("table5", f"Which modality helps, with {name}.", layout, results, comparisons)


def printed_table5() -> Table:
    """Table 5 of the paper; a star marks a difference from V&T."""
    layout = _modality_layout(published.DATASETS, FUSING, "ndcg@20", "clip", "ETE")
    return fill_printed("printed5", "Table 5 of the paper, as printed.", layout, read_results(5))


def ablation(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = MODELS,
    metric: str = "ndcg@20",
    encoder: str = "baseline",
    paradigm: str = "none",
) -> Table:
    """Every model with V&T, V and T, and with its content shuffled over items, replaced by noise, or set to zero."""
    rows = _modality_layout(datasets, models, metric, encoder, paradigm).rows
    columns = [Column(dataset, metric, CONTROL_NAMES[control], control) for dataset in datasets for control in CONTROLS]
    caption = "Modalities in use (rows) and what is fed as content (columns)."
    return fill_measured("ablation", caption, Layout(rows, tuple(columns)), results)


def floor(
    results: Sequence[Result],
    datasets: Sequence[str],
    models: Sequence[str] = FLOOR_MODELS,
    metrics: Sequence[str] = METRICS,
) -> Table:
    """Recommenders that see no content: what interactions alone give."""
    rows = tuple(Row("without content", model_name(model), model) for model in models)
    caption = "Recommenders without content."
    return fill_measured("floor", caption, Layout(rows, metric_columns(datasets, metrics)), results)


def _layout3(datasets: Sequence[str], models: Sequence[str], metrics: Sequence[str]) -> Layout:
    rows = []
    for model in models:
        name = model_name(model)
        rows.append(Row(name, name, model, "baseline", modalities="V&T"))
        rows += [
            Row(name, f"{name} {ENCODER_TITLES[encoder]}", model, encoder, "PT", "V&T", reference="baseline")
            for encoder in (() if model in LATER_MODELS else LMM)
        ]
    return Layout(tuple(rows), metric_columns(datasets, metrics))


def _layout4(datasets: Sequence[str], models: Sequence[str], metrics: Sequence[str]) -> Layout:
    before = {"PT": "", "FT": "PT", "ETE": "FT"}  # the planned pairs FT-PT and ETE-FT (question 63)
    rows = []
    for model in models:
        for encoder in LMM:
            name, short = model_name(model), ENCODER_TITLES[encoder]
            rows += [
                Row(
                    f"{name} {short}",  # the printed stars only make sense within three rows (audit, section 1)
                    f"{name} {short}-{paradigm}",
                    model,
                    encoder,
                    paradigm,
                    "V&T",
                    reference=f"{short}-{previous}" if previous else "",
                )
                for paradigm, previous in before.items()
            ]
    return Layout(tuple(rows), metric_columns(datasets, metrics))


def _modality_layout(
    datasets: Sequence[str], models: Sequence[str], metric: str, encoder: str = "baseline", paradigm: str = "none"
) -> Layout:
    rows = []
    for model in models:
        name = model_name(model)
        both = Row(name, f"{name} V&T", model, encoder, paradigm, "V&T")
        single = [
            Row(name, f"{name} {only}", model, encoder, paradigm, only, reference=both.variant)
            for only in MODALITIES[1:]
        ]
        rows += [both, *single]
    return Layout(tuple(rows), metric_columns(datasets, [metric]))
