"""Which numbers of a page lead to their runs: every cell of every table is walked."""

import re
from collections.abc import Iterator

from bs4 import BeautifulSoup, Tag

LINK = 'a[href*="#runs-"]'
_RECORD = "search/"
#: Tables whose numbers no single cell of runs stands behind, and what does.
OTHER_SOURCES = {
    "summary": "the paper's tables", "printed": "the paper's tables", "density": "the paper's tables",
    "table2": "the data", "dropped": "the data", "characteristics": "a simulation",
    "claims": "the lines of the listing above it", "absent": "cases without a run",
    "alignment": "features, by digest on the receipt", "training": "weights, by digest on the receipt",
    "retrieval": "weights, by digest on the receipt", "cost": "the receipt itself", "sources": "the receipt itself",
    "data-card-.+": "the data", "feature-cards": "features, by digest on the receipt", "model-card": "words",
    "model-cost": "the receipt", "score-parts": "one run, which the page names", "deviations": "settings",
    "searched": "the search, by its own record", "cell-runs": "the receipt itself",
}  # fmt: skip


def anchors(page: Tag) -> set[str]:
    """The rows of the receipt that a page links to."""
    return {str(link["href"]).partition("#")[2] for link in page.select(LINK)}


def untraced(page: Tag) -> list[str]:
    """Measured numbers of a page's tables without a link to their runs: table, line, number."""
    return [told for table in page.select("table.results") for told in _untraced(table)]


def _untraced(table: Tag) -> Iterator[str]:
    name = str(table.get("id", "")).removeprefix("T_") or " ".join(table.get("class") or [])
    if any(re.fullmatch(rf"(.* )?{other}\d?", name) for other in OTHER_SOURCES):
        return
    heads = _heads(table)
    if not heads:
        return  # what stands in for a page that was not executed
    for row in table.select("tbody tr"):
        cells = row.find_all("td")
        if cells and heads[-1].endswith("runs") and (cells[-1].select(LINK) or _RECORD in cells[-1].get_text()):
            continue  # the line ends in links to the runs of all its numbers, or in the record of a search
        for cell, head in zip(cells, heads[-len(cells) :], strict=True):
            shown = cell.get_text(" ", strip=True)
            printed = "printed" in (cell.get("class") or []) or "printed" in head.lower().split()
            if re.search(r"\d", shown) and not printed and not cell.select(LINK):
                yield f"{name}: {row.get_text(' ', strip=True)[:60]}: {shown}"


def _heads(table: Tag) -> list[str]:
    """The words above each column, all levels together."""
    found: list[str] = []
    for line in table.select("thead tr"):
        words = [tag.get_text(" ", strip=True) for tag in line.find_all(["th", "td"])
                 for _ in range(int(str(tag.get("colspan", 1))))]  # fmt: skip
        found = [f"{above} {below}".strip() for above, below in zip(found or [""] * len(words), words, strict=True)]
    return found


def soup(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "lxml")
