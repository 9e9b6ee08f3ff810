"""Alignment diagnostics for readers: a listing with intervals as text, and one figure per measure.

``diagnostics`` has one row per data set, encoder and paradigm, with ``time`` and every measure
under a dotted name, its interval under ``.low`` and ``.high``. A cell is empty if the measure does not apply.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lmmrec_core.errors import unknown
from lmmrec_core.report import figures
from lmmrec_core.report.html import ABSENT, shown_number
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name

ALIGNMENT_MEASURES: dict[str, str] = {
    "modality.visual.uniformity": "Uniformity, picture",
    "modality.textual.uniformity": "Uniformity, text",
    "pair.adjusted_overlap@10": "Shared neighbours, adjusted",
    "pair.cka": "CKA",
    "shared.align": "Alignment",
    "shared.gap": "Gap",
    "shared.visual_to_textual.R@10": "Picture to text Recall@10",
    "shared.textual_to_visual.R@10": "Text to picture Recall@10",
    "cca.visual_to_textual.R@10": "Picture to text Recall@10 after CCA",
    "graph.union.symmetric_density": "Density of both graphs",
    "graph.union.effective_degree": "Effective degree",
    "graph.union.common_user_lift": "Edges with a common user, lift",
    "graph.union.reachable": "Reachable held-out items",
}
CHANCE: dict[str, str | float] = {  # a column, or the level itself
    "pair.adjusted_overlap@10": 0.0,
    "shared.align": "shared.align_by_chance",
    "shared.visual_to_textual.R@10": "shared.chance@10",
    "shared.textual_to_visual.R@10": "shared.chance@10",
    "cca.visual_to_textual.R@10": "cca.chance@10",
    "graph.union.common_user_lift": 1.0,
    "graph.union.reachable": "graph.union.reachable_by_chance",
}


def alignment_listing(
    diagnostics: pd.DataFrame,
    measures: Mapping[str, str] = ALIGNMENT_MEASURES,
    digits: int | None = None,
    labels: Labels = PAPER_LABELS,
) -> pd.DataFrame:
    """One line per data set, encoder and paradigm: the newest features of each (under ETE, of each recommender).

    Cells read like "0.0155 [0.0140, 0.0171]". ``measures``: dotted name → heading; ``digits``: decimals, by default
    three significant digits. A measure that no row has is left out; a dash marks a cell that the measure does not fit.
    """
    newest = latest(diagnostics)
    shown = {name: head for name, head in measures.items() if name in newest and newest[name].notna().any()}
    rows = []
    for row in newest.to_dict("records"):
        features = labels.features(row["encoder"], row["paradigm"])
        label = f"{dataset_name(str(row['dataset']))}, {features}"
        rows.append({"features": label, **{head: _cell(row, name, digits) for name, head in shown.items()}})
    return pd.DataFrame(rows, columns=["features", *shown.values()])


def alignment_figure(
    diagnostics: pd.DataFrame, measure: str = "pair.adjusted_overlap@10", labels: Labels = PAPER_LABELS
) -> Figure:
    """One measure of every encoder and paradigm with its 95 % interval, one panel per data set; grey: its chance level.

    Raises ConfigError for a measure that no diagnostics hold.
    """
    if not len(diagnostics):
        return figures.nothing_drawn()
    if measure not in diagnostics:
        raise unknown(
            "measure", measure, [name for name in ALIGNMENT_MEASURES if name in diagnostics], "alignment figure"
        )
    chosen = latest(diagnostics)
    chosen = chosen[chosen[measure].notna()]
    if chosen.empty:
        return figures.nothing_drawn()
    records = chosen.to_dict("records")
    frame = chosen.assign(
        dataset=[dataset_name(str(row["dataset"])) for row in records],
        label=[labels.features(row["encoder"], row["paradigm"]) for row in records],
        chance=[_chance(row, measure) for row in records],
    )
    with figures.theme():
        figure, panels = figures.stacked_panels(frame, rows_of=len)
        for axes, (name, part) in zip(panels, figures.by_dataset(frame), strict=True):
            sns.stripplot(part, x=measure, y="label", color=figures.BLUE, size=7, jitter=False, ax=axes)
            for y, row in enumerate(part.to_dict("records")):
                low, high = row.get(f"{measure}.low", math.nan), row.get(f"{measure}.high", math.nan)
                axes.plot([low, high], [y, y], color=figures.BLUE, linewidth=2)
                axes.plot([row["chance"]] * 2, [y - 0.35, y + 0.35], color=figures.GREY, linewidth=1)
            axes.set(title=name, xlabel="", ylabel="", ylim=(len(part) - 0.5, -0.5))
            axes.xaxis.set_major_locator(MaxNLocator(5))
        grey = "; grey: chance" if frame["chance"].notna().any() else ""
        panels[-1].set_xlabel(f"{ALIGNMENT_MEASURES.get(measure, measure)}\n(95 % interval{grey})")
        ends = [name for name in (f"{measure}.low", f"{measure}.high") if name in frame]
        return figures.closed(figure, frame[["dataset", "label", measure, *ends, "chance"]])


def latest(diagnostics: pd.DataFrame) -> pd.DataFrame:
    """The newest row of each data set, encoder and paradigm, in the order of first appearance."""
    if not len(diagnostics):
        return diagnostics
    keys = ["dataset", "encoder", "paradigm"]
    first = diagnostics.groupby(keys, sort=False).ngroup()
    newest = diagnostics.sort_values("time", kind="stable").groupby(keys, sort=False).tail(1)
    return newest.assign(_order=first.loc[newest.index]).sort_values("_order").drop(columns="_order")


def _cell(row: Mapping[Any, Any], name: str, digits: int | None) -> str:
    value, low, high = (float(row.get(f"{name}{end}", math.nan)) for end in ("", ".low", ".high"))
    if math.isnan(value):
        return ABSENT
    if math.isnan(low) or math.isnan(high):
        return shown_number(value, digits)
    return f"{shown_number(value, digits)} [{shown_number(low, digits)}, {shown_number(high, digits)}]"


def _chance(row: Mapping[Any, Any], measure: str) -> float:
    level = CHANCE.get(measure, math.nan)
    return float(row.get(level, math.nan)) if isinstance(level, str) else level
