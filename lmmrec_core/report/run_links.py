"""From a number to its runs: each measured number links to the row of its cell on the track's receipt page.

A cell is all runs of one recommender and variant on one data set; its row there lists the key of each run. What is
computed from two cells has two links, ``a`` and ``b``, the reference. Cells of a side track are on no receipt: the page
that shows them lists their runs itself, and links within (:func:`here`).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from lmmrec_core.questions import Pair, Variant
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name

_PAGE = "05_receipt.html"  # beside every page of a track
_START = "runs-"
_SIDES = ("a", "b", "c", "d")  # what links are called where a line has several


def cell_anchor(dataset: str, model: str, variant: Variant) -> str:
    """The id of a cell's row on the receipt page: ``"runs-ml-sparse-vbpr-baseline-VT"``."""
    parts = (variant.encoder, variant.paradigm, variant.modalities.replace("&", ""), variant.control, variant.arm)
    return _START + "-".join([dataset, model, *(part for part in parts if part != "none")])


@dataclass(frozen=True)
class CellLinks:
    """The cells that a line of a listing is computed from; shown as links.

    ``anchors``: ids of rows of the receipt; with ``#`` before it, of a row of the same page.
    """

    anchors: tuple[str, ...]

    def to_html(self) -> str:
        names = ["runs"] if len(self.anchors) == 1 else _SIDES
        return " ".join(linked(name, anchor) for name, anchor in zip(names, self.anchors, strict=False))

    def __str__(self) -> str:
        return ", ".join(anchor.removeprefix("#").removeprefix(_START) for anchor in self.anchors)


def linked(text: str, anchor: str) -> str:
    """``text``, which is HTML, as a link to a row of the receipt, or of the same page (``#`` before the id)."""
    place = anchor if anchor.startswith("#") else f"{_PAGE}#{anchor}"
    return f'<a href="{escape(place)}">{text}</a>'


def here(dataset: str, model: str, variant: Variant) -> str:
    """:func:`cell_anchor` of a cell that the page lists itself."""
    return f"#{cell_anchor(dataset, model, variant)}"


def pair_links(dataset: str, model: str, pair: Pair, *more: Pair) -> CellLinks:
    """The two cells of a comparison, and those of further ones."""
    sides = [side for one in (pair, *more) for side in one.sides(model)]
    return CellLinks(tuple(dict.fromkeys(cell_anchor(dataset, *side) for side in sides)))


@dataclass(frozen=True, eq=False, repr=False)
class CellRuns:
    """The receipt's listing of cells. Shown in a notebook as HTML, or as a sentence where nothing was run."""

    rows: tuple[tuple[str, str, str], ...]  # id, cell, runs as HTML

    def _repr_html_(self) -> str:
        if not self.rows:
            return "<p>Nothing of this track has been run yet.</p>"
        lines = "".join(
            f'<tr id="{escape(anchor)}"><th class="row_heading">{escape(cell)}</th><td class="text">{runs}</td></tr>\n'
            for anchor, cell, runs in self.rows
        )
        head = "<thead><tr><th>cell</th><th>key of each run, with its seed</th></tr></thead>"
        return f'<table class="dataframe results cell-runs">{head}<tbody>\n{lines}</tbody></table>'

    def __repr__(self) -> str:
        return f"{len(self.rows)} cells"


def cell_runs(receipt: pd.DataFrame, labels: Labels = PAPER_LABELS, only: Collection[str] | None = None) -> CellRuns:
    """One row per cell of the runs that stand in tables, in their order; ``receipt``: ``Study.receipt``.

    ``only``: the ids of the wanted rows, by default all.
    """
    cells: dict[str, tuple[str, list[Mapping[Any, Any]]]] = {}
    for run in receipt.to_dict("records") if len(receipt) else ():
        if run["in tables"] != "yes":
            continue
        variant, model = Variant.of({str(name): value for name, value in run.items()}), str(run["model"])
        name = f"{dataset_name(str(run['dataset']))}, {labels.case(model, variant)}"
        cells.setdefault(cell_anchor(str(run["dataset"]), model, variant), (name, []))[1].append(run)
    shown = {anchor: cell for anchor, cell in cells.items() if only is None or anchor in only}
    return CellRuns(tuple((anchor, name, _keys(runs)) for anchor, (name, runs) in shown.items()))


def _keys(runs: Iterable[Mapping[Any, Any]]) -> str:
    """``1: <code>key</code>, 2: …``; where a cell has several splits, a line for each, named by its seed."""
    by_split: dict[str, list[str]] = {}
    for run in sorted(runs, key=lambda run: (str(run["split seed"]), run["seed"])):
        key = f"{run['seed']}: <code>{escape(str(run['key']))}</code>"
        by_split.setdefault(str(run["split seed"]), []).append(key)
    named = {f"split {split}: " if len(by_split) > 1 else "": keys for split, keys in by_split.items()}
    return "<br>".join(name + ", ".join(keys) for name, keys in named.items())
