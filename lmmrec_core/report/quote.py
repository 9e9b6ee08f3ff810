"""Notebook → book: numbers and tables under a name, so that pages can quote them.

``glue`` stores what is *displayed*: a NumPy number would lose its value, a NaN would be printed as a
result. Both are refused here.
"""

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import Table
from lmmrec_core.report.html import results_table

_HIDDEN = "application/papermill.record/"  # before the kind of what is kept and not shown


def quotable(name: str, value: Any) -> float | int | str:
    """A NumPy or Python scalar as float, int or str.

    Raises ResultError for NaN, infinity and anything that is not a number or text.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, Real) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
        raise ResultError(f"quoted value {name!r} is {value}; quote the words 'not run' if there is no number")
    raise ResultError(f"quoted value {name!r} is a {type(value).__name__}; give a number or text")


def quote(name: str, value: Any) -> None:
    """Keep ``value`` in the notebook under ``name`` without showing it."""
    _glue(name, quotable(name, value), display=False)


def quote_all(values: Mapping[str, Any]) -> None:
    """:func:`quote` each value under its name."""
    for name, value in values.items():
        quote(name, value)


def show(name: str, table: Any, **options: Any) -> None:
    """Show a table and keep it under ``name``; a :class:`Table` is styled with ``options`` of :func:`results_table`.

    In the book the cell's own output is removed (cell tag ``remove-output``) and the table stands where
    ``{glue-table}`` puts it, with its caption and number.
    """
    _glue(name, results_table(table, **options) if isinstance(table, Table) else table)


def _glue(name: str, value: Any, display: bool = True) -> None:
    """What ``myst_nb.glue`` does. Its import builds dozens of parsers of web addresses: more than a second a page."""
    from IPython import display as ipython
    from IPython.core.formatters import format_display_data

    prefix = "" if display else _HIDDEN
    forms, metadata = format_display_data(value)
    metadata["scrapbook"] = {"name": name, "mime_prefix": prefix}
    ipython.display({prefix + kind: form for kind, form in forms.items()}, raw=True, metadata=metadata)
