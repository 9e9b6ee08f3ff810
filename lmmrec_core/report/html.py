"""Table → HTML: the only place where numbers are rounded.

Numbers become text first, then the text is styled by class, so that light and dark pages share one table.
Best and second are found on the unrounded numbers. Ids are fixed: equal tables give equal HTML.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from numbers import Integral
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from lmmrec_core.flow import Table
from lmmrec_core.report.export import csv_of, latex_of, numbers_of
from lmmrec_core.report.run_links import CellLinks, linked

ABSENT = "–"  # the quantity does not apply here
NOT_RUN = '<span class="notrun absent">not run</span>'
_NOT_TRAINED = '<span class="notrun absent">not trained</span>'
_SAME_RUN = '<span class="notrun absent">as in the table</span>'  # of an arm that changes nothing
_UNCOMMITTED = '<span class="notrun absent">uncommitted</span>'
_NOT_PRINTED = '<span class="notrun absent">not printed</span>'
_CLASSES = "dataframe results"
_LONG = 40  # characters of a row's label that wrap
_TAG = re.compile(r"<[^>]+>")
_CORNER = re.compile(r'<th class="blank (level\d+)" >&nbsp;</th>')
#: Where a notebook keeps, in the metadata of an output, id of each shown table → its text as CSV and as LaTeX.
TABLES_KEPT = "lmmrec_tables"


@dataclass(frozen=True, eq=False, repr=False)
class ShownTable:
    """A styled table with its numbers. Shown in a notebook as HTML; the book offers CSV and LaTeX below it."""

    name: str  # the id of the table in HTML
    styler: Styler
    numbers: pd.DataFrame  # unrounded
    latex: str
    head: str = ""  # of the first column

    def to_html(self) -> str:
        """The table; above its first column stands a head with text, or an empty cell that is none."""
        html = self.styler.to_html()
        corners = list(_CORNER.finditer(html))
        for corner in reversed(corners):
            named = self.head and corner is corners[-1]
            cell = (
                f'<th class="blank {corner[1]}" >{escape(self.head)}</th>'
                if named
                else f'<td class="blank {corner[1]}" ></td>'
            )
            html = html[: corner.start()] + cell + html[corner.end() :]
        return html

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        return f"{len(self.numbers)} rows: {', '.join(map(str, self.numbers.columns))}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> "MimeBundle":
        return joined(self.to_html(), [self])


MimeBundle = tuple[dict[str, Any], dict[str, Any]]  # data by kind, and metadata


def joined(html: str, tables: Iterable[ShownTable]) -> MimeBundle:
    """What a notebook stores of ``html``, which shows ``tables``: itself, and each table as CSV and LaTeX."""
    files = {table.name: {"csv": csv_of(table.numbers), "tex": table.latex} for table in tables}
    return {"text/html": html}, {TABLES_KEPT: files}


def results_table(
    table: Table, *, digits: int | None = 4, percent: bool = False, ranks: bool | None = None, caption: str = ""
) -> ShownTable:
    """Style a table for the book: two header levels, ``best`` and ``second`` by class, stars, ± on a second line.

    ``digits`` are decimals of a value (None: three significant digits); with ``percent`` fractions are shown as
    signed per cent with one decimal.
    ``ranks`` marks best and second within each group of rows (index level ``group``); by default it does so
    if there are groups and the values are not changes. ``caption`` stands above the table.
    """
    grouped = isinstance(table.values.index, pd.MultiIndex)
    text = pd.DataFrame("", index=range(len(table.values)), columns=table.values.columns, dtype=object)
    for i in range(text.shape[0]):
        for j in range(text.shape[1]):
            text.iat[i, j] = _cell(table, i, j, digits, percent)
    # a printed number never looks like a measured one
    classes = table.origin.map(lambda origin: origin if origin in ("printed", "heading") else "")
    if grouped and not percent if ranks is None else ranks:
        classes = (_rank_classes(table.values) + " " + classes).map(str.strip)
    return _style(text, _labels(table.values.index), table.name, classes, numbers_of(table), caption=caption)


def plain_table(
    frame: pd.DataFrame, name: str, *, digits: int | None = 4, percent: tuple[str, ...] = (), prose: bool = False
) -> ShownTable:
    """Style a listing: first column becomes the row label; ``percent`` names columns that hold fractions.

    ``prose`` is for listings of sentences: every column wraps, labels too.
    """
    body = frame.iloc[:, 1:]
    text = pd.DataFrame("", index=range(len(frame)), columns=body.columns, dtype=object)
    for j, column in enumerate(body.columns):
        for i, value in enumerate(body[column].tolist()):
            text.iat[i, j] = (
                signed_percent(value) if column in percent and not _absent(value) else shown_number(value, digits)
            )
    words = pd.DataFrame("", index=text.index, columns=text.columns, dtype=object)
    words = words.mask(text.map(lambda shown: len(_TAG.sub("", shown))) > 24, "text")
    labels = [escape(str(label)) for label in frame.iloc[:, 0]]
    return _style(text, labels, name, words, frame, " prose" * prose, str(frame.columns[0]))


@dataclass(frozen=True)
class Sentence:
    """A sentence in place of a listing without lines. Shown in a notebook as its Markdown."""

    text: str  # "" shows nothing

    def _repr_markdown_(self) -> str:
        return self.text

    def _ipython_display_(self) -> None:
        from IPython.display import Markdown, display

        if self.text:  # an empty output would be shown as the name of its class
            display(Markdown(self.text))


def listing_or_words(frame: pd.DataFrame, name: str, words: str, **options: Any) -> ShownTable | Sentence:
    """:func:`plain_table` with its ``options``, or ``words`` if the listing has no lines."""
    return plain_table(frame, name, **options) if len(frame) else Sentence(words)


def _style(
    text: pd.DataFrame,
    labels: list[str],
    name: str,
    classes: pd.DataFrame,
    numbers: pd.DataFrame,
    more: str = "",
    head: str = "",
    caption: str = "",
) -> ShownTable:
    """``text`` has rows 0, 1, ...: labels may repeat, so they are put on at the end. ``more``: classes of the table."""
    if isinstance(text.columns, pd.MultiIndex):
        parts = [tuple(escape(str(part)) for part in column) for column in text.columns]
        text.columns = pd.MultiIndex.from_tuples(parts)
    else:
        text.columns = pd.Index([escape(str(column)) for column in text.columns])
    ranked = classes.set_axis(text.index, axis=0).set_axis(text.columns, axis=1)
    marks = (ranked + " " + _edges(text)).map(str.strip)
    uuid = re.sub(r"\W+", "-", name)
    styler = Styler(text, uuid=uuid, cell_ids=False, caption=caption or None)
    more += " long-labels" * any(len(label) > _LONG for label in labels)
    styler.set_td_classes(marks).set_table_attributes(f'class="{_CLASSES}{more}"')
    if labels:
        styler.relabel_index(labels, axis=0)
    return ShownTable(f"T_{uuid}", styler, numbers, latex_of(text, labels, marks, head), head)


def _cell(table: Table, i: int, j: int, digits: int | None, percent: bool) -> str:
    value: Any = table.values.iat[i, j]
    origin = table.origin.iat[i, j]
    if origin == "heading":
        return ""
    if origin == "not printed":
        return _NOT_PRINTED
    if origin == "not trained":
        return _NOT_TRAINED
    if origin == "uncommitted":
        return _UNCOMMITTED
    if origin == "same run":
        return _SAME_RUN
    if origin == "not run" or _absent(value):
        return NOT_RUN
    shown = signed_percent(value) if percent else shown_number(value, digits)
    behind = [] if table.runs is None else str(table.runs.iat[i, j]).split()
    shown = linked(shown, behind[0]) if behind else shown
    mark = "" if table.marks is None else str(table.marks.iat[i, j])
    if mark:
        shown += f'<sup class="stars">{escape(mark)}</sup>'
    spread = math.nan if table.spread is None else float(table.spread.to_numpy()[i, j])
    below = [] if math.isnan(spread) else [f"±{f'{100 * spread:.1f}' if percent else shown_number(spread, digits)}"]
    below += [linked(f"to {name}", anchor) for name, anchor in zip("b", behind[1:], strict=False)]
    return f'{shown}<br><span class="pm">{" ".join(below)}</span>' if below else shown


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def signed_percent(value: float) -> str:
    """0.123 → "+12.3 %", with a true minus sign."""
    return f"{100 * value:+.1f} %".replace("-", "−")


def shown_number(value: object, digits: int | None) -> str:
    """A value as text: ``digits`` decimals (None: three significant digits), whole numbers in groups of three."""
    if _absent(value):
        return ""
    if isinstance(value, CellLinks):
        return value.to_html()
    if isinstance(value, (bool, str)):
        return escape(str(value))
    if isinstance(value, Integral):
        return f"{int(value):,}"
    if isinstance(value, float):
        shown = f"{value:,.3g}" if digits is None else f"{value:,.{digits}f}"
        return shown.replace("-", "−") if "e" not in shown else shown
    return escape(str(value))


def _rank_classes(values: pd.DataFrame) -> pd.DataFrame:
    """``best`` if a group has at least two numbers, ``second`` if it has three; ties share a rank."""
    groups = values.index.get_level_values("group").to_numpy()
    ranks = values.astype(float).groupby(groups).rank(ascending=False, method="min")
    counts = values.astype(float).groupby(groups).transform("count")
    classes = pd.DataFrame("", index=values.index, columns=values.columns, dtype=object)
    return classes.mask((ranks == 1) & (counts >= 2), "best").mask((ranks == 2) & (counts >= 3), "second")


def _edges(text: pd.DataFrame) -> pd.DataFrame:
    """``edge`` on the first column of each group of columns but the first."""
    marks = pd.DataFrame("", index=text.index, columns=text.columns, dtype=object)
    if isinstance(text.columns, pd.MultiIndex):
        groups = list(text.columns.get_level_values(0))
        for j in range(1, len(groups)):
            if groups[j] != groups[j - 1]:
                marks.isetitem(j, "edge")
    return marks


def _labels(index: pd.Index) -> list[str]:
    labels = index.get_level_values(-1) if isinstance(index, pd.MultiIndex) else index
    return [escape(str(label)) for label in labels]
