"""The book's notebooks executed: those whose inputs changed, several at a time."""

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path

from nbformat import NotebookNode

from lmmrec_core.book.crossrefs import labels_of, prefix_labels
from lmmrec_core.book.pages import PLACES, Page, inputs_of, package_digest, pages, stored_inputs
from lmmrec_core.book.runner import read_notebook, run_notebook
from lmmrec_core.errors import LmmrecError, ResultError, unknown
from lmmrec_core.process import terminate_as_interrupt


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
    """Execute the pages whose inputs changed, in ``jobs`` processes; each page has a kernel of its own.

    Returns the executed pages. Raises ResultError naming every page that failed; the others are kept.
    """
    package = package_digest(root)
    wanted = {page: inputs_of(page, root, package) for page in pages(root, places)}
    todo = [page for page, inputs in wanted.items() if force or stored_inputs(page.target) != inputs]
    if len(todo) < len(wanted):
        print(f"{len(wanted) - len(todo)} of {len(wanted)} notebooks are up to date", flush=True)
    if not todo:
        return []
    failed = []
    # a process executes one page after the other: importing papermill takes as long as a short page
    pool = ProcessPoolExecutor(
        min(max(1, jobs), len(todo)), multiprocessing.get_context("spawn"), terminate_as_interrupt
    )
    try:
        under_way = {pool.submit(_execute, root, page): page for page in todo}
        for done in as_completed(under_way):
            page, (seconds, failure) = under_way[done], _outcome(done)
            print(f"{page}: {'FAILED' if failure else 'done'} in {seconds:.0f} s", flush=True)
            failed += [failure] if failure else []
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    pool.shutdown()
    if failed:
        raise ResultError("\n".join([*failed, f"{len(failed)} of {len(todo)} notebooks failed; the book is not built"]))
    return todo


def _execute(root: Path, page: Page) -> tuple[float, str]:
    """(seconds, what failed), in a process of the pool."""
    start, failure = time.monotonic(), ""
    try:
        execute_page(root, page.place, page.source.stem)
    except LmmrecError as error:
        failure = str(error)
    return time.monotonic() - start, failure


def _outcome(done: "Future[tuple[float, str]]") -> tuple[float, str]:
    try:
        return done.result()
    except Exception as error:  # of one page, or a process that was killed; the other pages are kept
        return 0.0, f"ended with {type(error).__name__}: {error}"
