"""Labels of a notebook's page: three tracks share one source, so each page gets its track in front of its labels."""

import re
from collections.abc import Iterable

from nbformat import NotebookNode

_LABEL = re.compile(r"^\(([^()\s]+)\)=\s*$|^\s*:name:\s*(\S+)\s*$|^\s*:label:\s*(\S+)\s*$", re.MULTILINE)
_REFERENCE = re.compile(r"(\{(?:numref|ref|eq)\}`(?:[^`<]*<)?)([^`<>]+)(>?`)|(\]\(#)([^)\s]+)(\))")


def labels_of(notebooks: Iterable[NotebookNode]) -> set[str]:
    """Every label that Markdown cells and the metadata of figures define."""
    found: set[str] = set()
    for notebook in notebooks:
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                found.update(next(filter(None, groups)) for groups in _LABEL.findall(cell.source))
            name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
            found.update([name] if name else [])
    return found


def prefix_labels(notebook: NotebookNode, prefix: str, labels: set[str]) -> None:
    """Put ``prefix-`` before ``labels`` and before references to them; other labels stay as they are."""

    def label(match: re.Match[str]) -> str:
        name = next(filter(None, match.groups()))
        return match.group(0).replace(name, f"{prefix}-{name}", 1)

    def reference(match: re.Match[str]) -> str:
        before, name, after = (match.group(i) or match.group(i + 3) for i in (1, 2, 3))
        return f"{before}{prefix}-{name}{after}" if name in labels else match.group(0)

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _REFERENCE.sub(reference, _LABEL.sub(label, cell.source))
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if figure.get("name"):
            figure["name"] = f"{prefix}-{figure['name']}"
        if figure.get("caption"):
            figure["caption"] = _REFERENCE.sub(reference, figure["caption"])
