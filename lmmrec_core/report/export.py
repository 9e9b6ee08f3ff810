"""A table to take home: its numbers as CSV, unrounded, and what a page shows of it as LaTeX."""

import re
from html import unescape

import pandas as pd

from lmmrec_core.flow import Table

_TAG = re.compile(r"<[^>]+>")
_SPECIAL = str.maketrans(
    {
        "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "±": r"$\pm$", "−": "$-$", "↑": r"$\uparrow$",
        "↓": r"$\downarrow$", "→": r"$\rightarrow$", "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$", "⊣": r"$\dashv$",
        "ε": r"$\varepsilon$", "α": r"$\alpha$", "\xa0": "~", "“": "``", "”": "''", "’": "'",
    }
)  # fmt: skip
_MARKED = {"best": r"\textbf{%s}", "second": r"\underline{%s}"}


def numbers_of(table: Table) -> pd.DataFrame:
    """Every number of a table as it was computed: a line a row, a column a heading, ``±`` beside it where there is one.

    A cell without a number holds its reason, for instance *not run*.
    """
    values = table.values.astype(object).where(table.values.notna(), table.origin)
    columns = {"row": [_flat(label) for label in _last(table.values.index)]}
    if isinstance(table.values.index, pd.MultiIndex):
        columns = {"group": [_flat(group) for group in table.values.index.get_level_values(0)], **columns}
    for j, head in enumerate(table.values.columns):
        name = _flat(head)
        columns[name] = values.iloc[:, j].tolist()
        if table.spread is not None and table.spread.iloc[:, j].notna().any():
            columns[f"{name} ±"] = table.spread.iloc[:, j].tolist()
    lines = pd.DataFrame(columns)
    return lines[(table.origin != "heading").all(axis=1).to_numpy()].reset_index(drop=True)


def csv_of(numbers: pd.DataFrame) -> str:
    """The numbers with a header line, ready for a file."""
    return numbers.to_csv(index=False, lineterminator="\n")


def latex_of(text: pd.DataFrame, labels: list[str], classes: pd.DataFrame, head: str = "") -> str:
    """A ``tabular`` of the shown text (HTML, :mod:`lmmrec_core.report.html`); needs the package booktabs.

    ``text`` and ``classes`` have the shape of the table; best is bold, second underlined, as on the page.
    """
    lines = [r"\begin{tabular}{l" + "r" * text.shape[1] + "}", r"\toprule"]
    levels = text.columns.nlevels
    for level in range(levels):
        first = head if level == levels - 1 else ""
        lines.append(_line([first, *_heads(text.columns.get_level_values(level), spans=level < levels - 1)]))
    lines.append(r"\midrule")
    for i, label in enumerate(labels):
        cells = [_cell(str(text.iat[i, j]), str(classes.iat[i, j])) for j in range(text.shape[1])]
        lines.append(_line([_plain(label), *cells]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _heads(level: pd.Index, spans: bool) -> list[str]:
    names = [_plain(str(name)) for name in level]
    if not spans:
        return names
    merged: list[tuple[str, int]] = []
    for name in names:
        if merged and merged[-1][0] == name:
            merged[-1] = (name, merged[-1][1] + 1)
        else:
            merged.append((name, 1))
    return [rf"\multicolumn{{{count}}}{{c}}{{{name}}}" for name, count in merged]


def _cell(shown: str, classes: str) -> str:
    number, *marks = re.split(r'(?=<sup class="stars">)|<br>', shown)
    text = _plain(number)
    for name, form in _MARKED.items():
        text = form % text if text and name in classes.split() else text
    for mark in marks:
        text += rf"\textsuperscript{{{_plain(mark)}}}" if mark.startswith("<sup") else f" {_plain(mark)}"
    return text


def _plain(shown: str) -> str:
    return unescape(_TAG.sub("", shown)).translate(_SPECIAL).replace("\n", " ")


def _flat(label: object) -> str:
    parts = label if isinstance(label, tuple) else (label,)
    return " ".join(str(part) for part in parts).replace("\n", " ")


def _last(index: pd.Index) -> pd.Index:
    return index.get_level_values(-1)
