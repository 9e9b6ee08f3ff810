"""Alignment diagnostics for readers: a listing with intervals as text, and one figure per measure.

``diagnostics``: one row per data set, encoder and stage with ``dataset``, ``encoder``, ``stage``, ``time`` and every
measure under a dotted name, its interval under ``.low`` and ``.high``; empty cells where a measure does not apply.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lmmrec_core.errors import unknown
from lmmrec_core.names import ENCODER_TITLES
from lmmrec_core.report import figures
from lmmrec_core.report.html import _number
from lmmrec_core.report.labels import dataset_name, model_name

ABSENT = "–"  # the measure does not apply, for instance a gap without a shared space
MEASURES: dict[str, str] = {
    "modality.visual.uniformity": "Uniformity, picture",
    "modality.textual.uniformity": "Uniformity, text",
    "pair.adjusted_overlap@10": "Shared neighbours, adjusted",
    "pair.cka": "CKA",
    "shared.align": "Alignment",
    "shared.gap": "Gap",
    "shared.visual_to_textual.R@10": "Picture to text R@10",
    "shared.textual_to_visual.R@10": "Text to picture R@10",
    "cca.visual_to_textual.R@10": "Picture to text R@10 after CCA",
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
    diagnostics: pd.DataFrame, measures: Mapping[str, str] = MEASURES, digits: int | None = None
) -> pd.DataFrame:
    """One line per data set, encoder and stage (the newest features of each, under ETE of each recommender).

    Cells are like "0.0155 [0.0140, 0.0171]".

    ``measures``: dotted name → heading. ``digits`` decimals, by default three significant digits. A heading whose
    measure no row has is left out; a dash marks a cell to which the measure does not apply.
    """
    newest = latest(diagnostics)
    shown = {name: head for name, head in measures.items() if name in newest and newest[name].notna().any()}
    rows = []
    for row in newest.to_dict("records"):
        label = f"{dataset_name(str(row['dataset']))}, {_stage_label(row)}"
        rows.append({"features": label, **{head: _cell(row, name, digits) for name, head in shown.items()}})
    return pd.DataFrame(rows, columns=["features", *shown.values()])


def alignment_figure(diagnostics: pd.DataFrame, measure: str = "pair.adjusted_overlap@10") -> Figure:
    """One measure of every encoder and stage with its 95 % interval, one panel per data set; grey: its chance level.

    Raises ConfigError for a measure that no diagnostics hold.
    """
    if not len(diagnostics):
        return figures._nothing()
    if measure not in diagnostics:
        raise unknown("measure", measure, [name for name in MEASURES if name in diagnostics], "alignment figure")
    chosen = latest(diagnostics)
    chosen = chosen[chosen[measure].notna()]
    if chosen.empty:
        return figures._nothing()
    records = chosen.to_dict("records")
    frame = chosen.assign(
        dataset=[dataset_name(str(row["dataset"])) for row in records],
        label=[_stage_label(row) for row in records],
        chance=[_chance(row, measure) for row in records],
    )
    with figures._theme():
        figure, panels = figures._stack(frame, rows_of=len)
        for axes, (name, part) in zip(panels, figures._by_dataset(frame), strict=True):
            sns.stripplot(part, x=measure, y="label", color=figures.BLUE, size=7, jitter=False, ax=axes)
            for y, row in enumerate(part.to_dict("records")):
                low, high = row.get(f"{measure}.low", math.nan), row.get(f"{measure}.high", math.nan)
                axes.plot([low, high], [y, y], color=figures.BLUE, linewidth=2)
                axes.plot([row["chance"]] * 2, [y - 0.35, y + 0.35], color=figures.GREY, linewidth=1)
            axes.set(title=name, xlabel="", ylabel="", ylim=(len(part) - 0.5, -0.5))
            axes.xaxis.set_major_locator(MaxNLocator(5))
        grey = "; grey: chance" if frame["chance"].notna().any() else ""
        panels[-1].set_xlabel(f"{MEASURES.get(measure, measure)}\n(95 % interval{grey})")
        return figures._closed(figure)


def latest(diagnostics: pd.DataFrame) -> pd.DataFrame:
    """Of each data set, encoder and stage the newest row, in the order of first appearance."""
    if not len(diagnostics):
        return diagnostics
    keys = ["dataset", "encoder", "stage"]
    first = diagnostics.groupby(keys, sort=False).ngroup()
    newest = diagnostics.sort_values("time", kind="stable").groupby(keys, sort=False).tail(1)
    return newest.assign(_order=first.loc[newest.index]).sort_values("_order").drop(columns="_order")


def _stage_label(row: Mapping[Any, Any]) -> str:
    encoder, (stage, _, model) = str(row["encoder"]), str(row["stage"]).partition("+")
    named = ENCODER_TITLES.get(encoder, encoder) + ("" if stage == "none" else f"-{stage}")
    return f"{named} with {model_name(model)}" if model else named


def _cell(row: Mapping[Any, Any], name: str, digits: int | None) -> str:
    value, low, high = (float(row.get(f"{name}{end}", math.nan)) for end in ("", ".low", ".high"))
    if math.isnan(value):
        return ABSENT
    if math.isnan(low) or math.isnan(high):
        return _number(value, digits)
    return f"{_number(value, digits)} [{_number(low, digits)}, {_number(high, digits)}]"


def _chance(row: Mapping[Any, Any], measure: str) -> float:
    level = CHANCE.get(measure, math.nan)
    return float(row.get(level, math.nan)) if isinstance(level, str) else level
