"""A figure to take home: the numbers that it draws as CSV, itself as PDF. Its SVG is what a page shows.

Figures remember their numbers here, because matplotlib's have no place for them.
"""

import base64
import io
from weakref import WeakKeyDictionary

import pandas as pd
from matplotlib.figure import Figure

from lmmrec_core.report.export import csv_of

#: Where a notebook keeps, in the metadata of an output, the files of the figure that it shows: csv text, pdf in base64.
FIGURE_KEPT = "lmmrec_figure"
_NUMBERS: "WeakKeyDictionary[Figure, pd.DataFrame]" = WeakKeyDictionary()


def remember(figure: Figure, numbers: pd.DataFrame) -> None:
    """Keep the numbers that a figure draws, one row for each thing drawn, for as long as the figure lives."""
    _NUMBERS[figure] = numbers


def numbers_drawn(figure: Figure) -> pd.DataFrame | None:
    """The numbers that a figure draws; None for one that draws none, which says so in words."""
    return _NUMBERS.get(figure)


def files_of(figure: Figure) -> dict[str, str]:
    """``csv``: the numbers; ``pdf``: the figure in base64, alike whenever it is made anew. Empty without numbers."""
    numbers = numbers_drawn(figure)
    if numbers is None:
        return {}
    written = io.BytesIO()
    figure.savefig(written, format="pdf", bbox_inches="tight", metadata={"CreationDate": None})
    return {"csv": csv_of(numbers), "pdf": base64.b64encode(written.getvalue()).decode()}


def bundle_of(figure: Figure) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """What a notebook keeps beside the picture that it shows: no data of its own, the files as metadata."""
    files = files_of(figure)
    return {}, {FIGURE_KEPT: files} if files else {}
