"""The book: which notebooks it shows, which of them are out of date, and how it is rendered.

Every notebook of ``notebooks/`` is executed once per track into ``book/_generated/<track>/``. A digest of
all it depends on is kept in its metadata, so nothing runs twice for the same inputs; file times are not
asked, because a fresh clone gives every file the same one.
"""

import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from lmmrec_core.book.runner import faults, read, run_notebook
from lmmrec_core.digests import digest, file_sha256, files_digest
from lmmrec_core.errors import ConfigError, ResultError, unknown
from lmmrec_core.names import TRACKS

SETTINGS = (".py", ".yaml", ".csv", ".json")  # what of the package can change a notebook's outputs
DESCRIPTIONS = ("features", "encoders")  # folders beside the runs whose files pages show
LABEL = re.compile(r"^\(([^()\s]+)\)=\s*$|^\s*:name:\s*(\S+)\s*$|^\s*:label:\s*(\S+)\s*$", re.MULTILINE)
REFERENCE = re.compile(r"(\{(?:numref|ref|eq)\}`(?:[^`<]*<)?)([^`<>]+)(>?`)|(\]\(#)([^)\s]+)(\))")


@dataclass(frozen=True)
class Page:
    """One executed notebook of the book: ``source`` run for ``track`` gives ``target``."""

    source: Path
    track: str
    target: Path

    @property
    def values(self) -> dict[str, Any]:
        """The parameters the book declares; all others keep their defaults."""
        return {"track": self.track}

    def __str__(self) -> str:
        return f"{self.track}/{self.source.stem}"


def pages(root: Path, tracks: Iterable[str] = TRACKS) -> list[Page]:
    """All pages of ``tracks``, in reading order. Raises ConfigError when there are no notebooks."""
    sources = sorted((root / "notebooks").glob("[0-9]*.ipynb"))
    if not sources:
        raise ConfigError(f"{root / 'notebooks'}: no notebooks; is this the repository?")
    generated = root / "book" / "_generated"
    return [Page(source, track, generated / track / source.name) for track in tracks for source in sources]


def package_digest(root: Path) -> str:
    """Digest of the code, tracks and printed tables, and of the pinned environment."""
    files = [path for path in (root / "lmmrec_core").rglob("*") if path.suffix in SETTINGS and path.is_file()]
    pins = root / "requirements.txt"
    return files_digest([*files, pins] if pins.is_file() else files, root)


def inputs_of(page: Page, root: Path, package: str) -> str:
    """Digest of all that an executed page depends on: notebook, parameters, package, what is stored of its track."""
    stored = (root / "results" / page.track).rglob("[!.]*.json")
    runs = files_digest((path for path in stored if path.name == "run.json" or path.parent.name in DESCRIPTIONS), root)
    parts = {"source": file_sha256(page.source), "parameters": page.values, "package": package, "runs": runs}
    return digest(parts, 32)


def stored_inputs(target: Path) -> str | None:
    """The inputs digest an executed notebook carries; None where there is none, or it is not whole."""
    if not target.is_file():
        return None
    try:
        notebook = read(target)
    except ConfigError:
        return None
    return None if faults(notebook) else notebook.metadata.get("lmmrec", {}).get("inputs")


def labels_of(notebooks: Iterable[NotebookNode]) -> set[str]:
    """Every label that Markdown cells and figure metadata define."""
    found: set[str] = set()
    for notebook in notebooks:
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                found.update(next(filter(None, groups)) for groups in LABEL.findall(cell.source))
            name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
            found.update([name] if name else [])
    return found


def prefix_labels(notebook: NotebookNode, prefix: str, labels: set[str]) -> None:
    """Put ``prefix-`` before ``labels`` and before references to them: three tracks share one source."""

    def label(match: re.Match[str]) -> str:
        name = next(filter(None, match.groups()))
        return match.group(0).replace(name, f"{prefix}-{name}", 1)

    def reference(match: re.Match[str]) -> str:
        before, name, after = (match.group(i) or match.group(i + 3) for i in (1, 2, 3))
        return f"{before}{prefix}-{name}{after}" if name in labels else match.group(0)

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = REFERENCE.sub(reference, LABEL.sub(label, cell.source))
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if figure.get("name"):
            figure["name"] = f"{prefix}-{figure['name']}"
        if figure.get("caption"):
            figure["caption"] = REFERENCE.sub(reference, figure["caption"])


def execute_page(root: Path, track: str, name: str) -> None:
    """Run notebook ``name`` for ``track`` in this process and record its inputs in its metadata."""
    known = {page.source.stem: page for page in pages(root, [track])}
    if name not in known:
        raise unknown("notebook", name, known)
    page = known[name]
    inputs = inputs_of(page, root, package_digest(root))
    labels = labels_of(nbformat.read(source, as_version=4) for source in {page.source for page in known.values()})

    def finish(notebook: NotebookNode) -> None:
        prefix_labels(notebook, page.track, labels)
        notebook.metadata["lmmrec"] = {"inputs": inputs, "source": page.source.name, "track": page.track}

    run_notebook(page.source, page.target, page.values, scratch=root / "_build" / "partial", finish=finish)


def execute_all(root: Path, *, tracks: Sequence[str] = TRACKS, jobs: int = 2, force: bool = False) -> list[Page]:
    """Execute the pages whose inputs changed, ``jobs`` at a time, each in a process of its own.

    Gives the executed pages. Raises ResultError naming every page that failed; the others are kept.
    """
    package = package_digest(root)
    wanted = {page: inputs_of(page, root, package) for page in pages(root, tracks)}
    todo = [page for page, inputs in wanted.items() if force or stored_inputs(page.target) != inputs]
    if len(todo) < len(wanted):
        print(f"{len(wanted) - len(todo)} of {len(wanted)} notebooks are up to date", flush=True)
    pool = _Processes(root)
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as workers:
        try:
            failures = list(workers.map(pool.run, todo))
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            pool.stop()
            raise
    failed = [message for message in failures if message]
    if failed:
        raise ResultError("\n".join([*failed, f"{len(failed)} of {len(todo)} notebooks failed; the book is not built"]))
    return todo


class _Processes:
    """The running notebooks, so that an interrupt can end them all."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.running: set[subprocess.Popen[str]] = set()
        self.stopped = threading.Event()

    def run(self, page: Page) -> str:
        """Empty when it went well, else what it printed."""
        if self.stopped.is_set():
            return ""
        start = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "lmmrec_core.cli.book", "page", page.track, page.source.stem],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.running.add(process)
        output, _ = process.communicate()
        self.running.discard(process)
        state = "done" if process.returncode == 0 else "FAILED"
        if not self.stopped.is_set():
            print(f"{page}: {state} in {time.monotonic() - start:.0f} s", flush=True)
        return "" if process.returncode == 0 else output.strip() or f"{page}: ended with status {process.returncode}"

    def stop(self) -> None:
        self.stopped.set()
        for process in list(self.running):
            process.terminate()


def unfit(root: Path) -> list[str]:
    """What keeps the executed notebooks from being the book's: missing, not whole, other parameters."""
    problems = []
    for page in pages(root):
        if not page.target.is_file():
            problems.append(f"{page}: not executed yet; run `make book`")
            continue
        notebook = read(page.target)
        problems += [f"{page}: {fault}" for fault in faults(notebook)]
        recorded: Mapping[str, Any] = notebook.metadata.get("papermill", {}).get("parameters", {})
        if dict(recorded) != page.values:
            problems.append(f"{page}: run with {dict(recorded)}, the book declares {page.values}; run `make book`")
    return problems


def book_digest(root: Path) -> str:
    """Digest of everything the rendered book depends on."""
    files = [path for path in (root / "book").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    files += [root / name for name in ("_config.yml", "_toc.yml", "requirements.txt") if (root / name).is_file()]
    return files_digest(files, root)


def fresh(root: Path) -> bool:
    """Whether ``_build/html`` is the rendering of what is there now."""
    stamp = root / "_build" / "html" / ".inputs"
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == book_digest(root)


def render(root: Path) -> subprocess.CompletedProcess[str]:
    """Render the book in ``root`` from scratch, every warning an error; stamped only when it went well."""
    html = root / "_build" / "html"
    shutil.rmtree(html, ignore_errors=True)
    flags = ["--all", "-W", "-n", "--keep-going", "-q"]
    tool = Path(sys.executable).with_name("jupyter-book")
    done = subprocess.run([tool, "build", ".", *flags], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        (html / ".inputs").write_text(book_digest(root), encoding="utf-8")
    return done


def build(root: Path) -> None:
    """Render unless nothing changed, and say where to open it. Raises ResultError with the warnings."""
    problems = unfit(root)
    if problems:
        raise ResultError("\n".join(problems))
    if fresh(root):
        print("the rendered book is up to date")
    else:
        done = render(root)
        if done.returncode:
            raise ResultError(f"{done.stdout}{done.stderr}\nthe book was not built; mend the pages named above")
    print(f"open {(root / '_build' / 'html' / 'index.html').as_uri()}")
