"""A listing that readers sort, filter and search on the page, without a network: all of its rows are in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lmmrec_core.report.html import Sentence

# A menu for each of some columns, above the table: each of the texts in it, or all. It is made with the
# first drawing, since itables 2.9 loses a function that is given as `initComplete`.
_MENUS = """function () {
  const table = this.api(), whole = table.table().container(), box = document.createElement("div");
  if (whole.querySelector(".explorer-filters")) return;
  box.className = "explorer-filters";
  table.columns(%(places)s).every(function () {
    const column = this, menu = document.createElement("select"), label = document.createElement("label");
    menu.add(new Option("all", ""));
    [...new Set(column.data().toArray())].sort().forEach((value) => menu.add(new Option(value, value)));
    menu.addEventListener("change", () =>
      column.search(menu.value, { exact: menu.value !== "" }).draw());
    label.append(column.title() + " ", menu);
    box.append(label, " ");
  });
  whole.prepend(box);
}"""


@dataclass(frozen=True, repr=False)
class Explorer:
    """The listing as HTML; a notebook or page that shows it has loaded the library (``itables.init_notebook_mode``)."""

    html: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return "an interactive table, which is shown in notebooks and in the book"


def explore(frame: pd.DataFrame, name: str, filters: Sequence[str], best: str, rows: int = 10) -> Explorer | Sentence:
    """``frame`` as the table ``name``: click a head to sort, choose in menus, type to search.

    ``filters``: columns of texts that get a menu. ``best``: the column by which the rows stand at first, the largest
    above; ``rows`` are on a page of the table. Nothing is shown of a frame without rows. Raises KeyError for a column
    that the frame does not have.
    """
    if not len(frame):
        return Sentence("")
    from itables import JavascriptFunction, to_html_datatable

    columns = list(frame.columns)
    for column in (*filters, best):
        if column not in columns:
            raise KeyError(column)
    places = [columns.index(column) for column in filters]
    return Explorer(
        to_html_datatable(
            frame,
            table_id=name,
            connected=False,
            pageLength=rows,
            scrollX=True,
            showIndex=False,
            text_in_header_can_be_selected=False,  # a click on a head sorts
            maxBytes=0,  # a limit would leave rows out of a long listing
            order=[[columns.index(best), "desc"]],
            drawCallback=JavascriptFunction(_MENUS % {"places": places}),
        )
    )
