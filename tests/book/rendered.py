"""A rendered book for tests: the real one where it is up to date, else one with stand-in result pages.

A stand-in keeps every cell of its notebook and gets made-up outputs for what is quoted or captioned, so
labels, references and citations are built for real while nothing is executed or trained.
"""

import base64
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import nbformat
import yaml
from filelock import FileLock
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lmmrec_core.book.crossrefs import labels_of, prefix_labels
from lmmrec_core.book.pages import SHARED, Page, inputs_of, package_digest, stored_inputs
from lmmrec_core.book.rendering import fresh, render
from lmmrec_core.book.runner import publish, read_notebook
from lmmrec_core.results.provenance import ALLOW

PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
        "0000000d49444154789c63f8cfc0f01f0005000301a5f64c2d0000000049454e44ae426082"
    )
).decode()
TEXT = re.compile(r"\{glue:text\}`(?:(?P<path>[^`]*?)::)?(?P<key>[^`:]+)(?::(?P<format>[^`]+))?`")
CODE = re.compile(r"^(`{3,})(?!\{)[^\n`]*\n.*?^\1$", re.DOTALL | re.MULTILINE)  # what a guide shows is no quotation
TABLE = re.compile(r"\{glue-(?:table|figure)\}\s+(?P<key>\S+)(?:\n:(?!doc:).*)*(?:\n:doc:\s*(?P<path>\S+))?")


def toc_files(root: Path) -> list[str]:
    """Every document the table of contents names, the front page first."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]


def prose(root: Path) -> list[Path]:
    """The Markdown pages of the table of contents."""
    return [path for name in toc_files(root) if (path := root / f"{name}.md").is_file()]


def quotations(text: str) -> Iterator[tuple[str | None, str, str]]:
    """(notebook or None for the same page, key, format) of everything a page quotes; tables and drawings have
    format ``table``.
    """
    text = CODE.sub("", text)
    for match in TEXT.finditer(text):
        yield match["path"], match["key"], match["format"] or ""
    for match in TABLE.finditer(text):
        yield match["path"], match["key"], "table"


def glued(key: str, kind: str) -> NotebookNode:
    """An output as ``glue`` leaves it: a table, a number or a text, as the quoting page wants it."""
    data = {"text/plain": "'text'"}
    if kind == "table":
        data = {"text/html": '<table class="dataframe results"><tbody><tr><td>1</td></tr></tbody></table>'}
    elif kind[-1:] in tuple("defg%"):
        data = {"text/plain": "3" if kind[-1] == "d" else "0.5"}
    prefix = "application/papermill.record/"
    record = {"scrapbook": {"mime_prefix": prefix, "name": key}}
    return new_output("display_data", {prefix + mime: text for mime, text in data.items()}, metadata=record)


def stand_in(page: Page, root: Path, labels: set[str]) -> NotebookNode:
    """The notebook of ``page`` with made-up outputs instead of executed ones."""
    source = page.source
    notebook = read_notebook(source) if source.is_file() else new_notebook(cells=[new_markdown_cell(f"# {page}")])
    wanted = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            wanted.update({key: kind for path, key, kind in quotations(cell.source) if path is None})
        else:
            figure = "figure" in cell.metadata.get("mystnb", {})
            cell.outputs = [new_output("display_data", {"image/png": PIXEL})] if figure else []
            cell.execution_count = 1
    for path in prose(root):
        for quoted, key, kind in quotations(path.read_text(encoding="utf-8")):
            if quoted and quoted.endswith(f"_generated/{page.place}/{page.source.name}"):
                wanted[key] = kind
    outputs = [glued(key, kind) for key, kind in wanted.items()]
    notebook.cells.append(
        new_code_cell("pass", id="stand-in", outputs=outputs, execution_count=1, metadata={"tags": ["remove-cell"]})
    )
    if page.track:
        prefix_labels(notebook, page.track, labels)
    return notebook


def build_site(root: Path, site: Path) -> None:
    """Render ``root``'s book into ``site``, with stand-ins where an executed page is missing or out of date."""
    with patch.dict(os.environ, {ALLOW: "0"}):  # as `make book` runs; tests allow uncommitted code elsewhere
        _build_site(root, site)


def _build_site(root: Path, site: Path) -> None:
    site.mkdir(parents=True)
    shutil.copytree(root / "book", site / "book", ignore=shutil.ignore_patterns("_generated", "__pycache__"))
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(root / name, site / name)
    package = package_digest(root)
    wanted = {page: inputs_of(page, root, package) if page.source.is_file() else "" for page in declared_pages(root)}
    tracked = {page.source for page in wanted if page.track and page.source.is_file()}
    labels = labels_of(read_notebook(source) for source in tracked)
    for page, inputs in wanted.items():
        target = site / page.target.relative_to(root)
        if stored_inputs(page.target) == inputs:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(page.target, target)
        else:
            publish(stand_in(page, root, labels), target)
    done = render(site)
    (site / "log.txt").write_text(f"{done.returncode}\n{done.stdout}{done.stderr}", encoding="utf-8")


def declared_pages(root: Path) -> list[Page]:
    """The result pages that the table of contents names."""
    pages = []
    for name in toc_files(root):
        if "_generated" in name:
            _, _, place, stem = name.split("/")
            track = None if place == SHARED else place
            pages.append(Page(root / "notebooks" / f"{stem}.ipynb", track, root / f"{name}.ipynb"))
    return pages


def rendered(root: Path, scratch: Path) -> Path:
    """A folder with ``_build/html``; built once however many processes ask for it."""
    if fresh(root):
        return root
    site = scratch / "site"
    with FileLock(scratch / "site.lock"):
        if not (site / "log.txt").is_file():
            shutil.rmtree(site, ignore_errors=True)
            build_site(root, site)
    return site


def notebook_at(path: Path) -> NotebookNode:
    """An executed (or stand-in) notebook of a site."""
    return nbformat.read(path, as_version=4)
