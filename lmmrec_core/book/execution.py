"""The book's notebooks executed: those whose inputs changed, each in a process of its own."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nbformat import NotebookNode

from lmmrec_core.book.crossrefs import labels_of, prefix_labels
from lmmrec_core.book.pages import PLACES, Page, inputs_of, package_digest, pages, stored_inputs
from lmmrec_core.book.runner import read_notebook, run_notebook
from lmmrec_core.errors import ResultError, unknown


def execute_page(root: Path, place: str, name: str) -> None:
    """Run notebook ``name`` for a track, or once (``shared``), in this process; its metadata records its inputs.

    Labels of a track's page get the track in front, those of a page of no track stay as they are.
    """
    known = {page.source.stem: page for page in pages(root, [place])}
    if name not in known:
        raise unknown("notebook", name, known)
    page = known[name]
    inputs = inputs_of(page, root, package_digest(root))
    labels = labels_of(read_notebook(source) for source in {page.source for page in known.values()})

    def finish(notebook: NotebookNode) -> None:
        if page.track:
            prefix_labels(notebook, page.track, labels)
        notebook.metadata["lmmrec"] = {"inputs": inputs, "source": page.source.name, "track": page.track}

    run_notebook(page.source, page.target, page.values, scratch=root / "_build" / "partial", finish=finish)


def execute_all(root: Path, *, places: Sequence[str] = PLACES, jobs: int = 2, force: bool = False) -> list[Page]:
    """Execute the pages whose inputs changed, ``jobs`` at a time, each in a process of its own.

    Returns the executed pages. Raises ResultError naming every page that failed; the others are kept.
    """
    package = package_digest(root)
    wanted = {page: inputs_of(page, root, package) for page in pages(root, places)}
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
    """The notebooks under way, so that an interrupt can end them all."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.running: set[subprocess.Popen[str]] = set()
        self.stopped = threading.Event()

    def run(self, page: Page) -> str:
        """What a failed notebook printed; empty if it went well."""
        if self.stopped.is_set():
            return ""
        start = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "lmmrec_core.cli", "book", "page", page.place, page.source.stem],
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
