"""Carry out the worlds of the calibration: skip what is stored, run the rest in parallel, store each as it ends."""

from collections.abc import Sequence
from concurrent.futures import Future, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from lmmrec_core.disk import held_alone
from lmmrec_core.errors import ConfigError
from lmmrec_core.process import worker_task
from lmmrec_core.results.provenance import Code, allows_uncommitted, code_now, code_state, code_state_now
from lmmrec_core.study.calibration.files import Line, add_line, part_path, read_lines
from lmmrec_core.study.calibration.run_world import remove_scratch, run_world
from lmmrec_core.study.calibration.worlds import DrawnWorld, encoder_cases
from lmmrec_core.study.inputs import prepare_weights, reason_of, worker_workspace
from lmmrec_core.study.schedule import end_workers, worker_pool
from lmmrec_core.study.workspace import Workspace

_THREADS = 1  # catalogues are small, and one thread sums in one order


@dataclass(frozen=True)
class WorldsOutcome:
    """What became of a list of worlds."""

    done_before: int
    computed: int
    failures: tuple[tuple[DrawnWorld, str], ...]  # the world and the error's text


def stored(workspace: Workspace, world: DrawnWorld, lines: Sequence[Line]) -> Line | None:
    """The line of a world that counts among today's, whoever made it; None if it was declared otherwise or not run."""
    declared = world.declared(workspace.track)
    return next((line for line in lines if line["world"] == world.name and line["declared"] == declared), None)


def waiting(worlds: Sequence[DrawnWorld], workspace: Workspace) -> list[DrawnWorld]:
    """The worlds that are still to run: also those of uncommitted code, once the code is committed."""
    lines = {part: read_lines(part_path(workspace.results, part)) for part in {world.part for world in worlds}}
    todo = []
    for world in worlds:
        line = stored(workspace, world, lines[world.part])
        again = line is not None and code_state(line["provenance"]) == "uncommitted"
        if line is None or (again and not allows_uncommitted() and code_state_now() == "committed"):
            todo.append(world)
    return todo


def run_worlds(worlds: Sequence[DrawnWorld], workspace: Workspace, jobs: int) -> WorldsOutcome:
    """Run the worlds that are not stored yet. Failed ones are collected, the others go on.

    ``workspace`` is that of the track whose settings the worlds have. Raises ConfigError for ``jobs`` below 1 or where
    another process calibrates, ResultError for a damaged file or a full disk, KeyboardInterrupt when the user stops it;
    what is stored until then stays.
    """
    if jobs < 1:
        raise ConfigError(f"JOBS={jobs}: at least one process is needed; write JOBS=2")
    with _alone(workspace):
        remove_scratch(workspace)
        todo = waiting(worlds, workspace)
        before = len(worlds) - len(todo)
        if not todo:
            return WorldsOutcome(before, 0, ())
        started = code_now()
        prepare_weights(encoder_cases(workspace.track), workspace)
        failures: list[tuple[DrawnWorld, str]] = []
        pool = worker_pool(workspace, min(jobs, len(todo)), _THREADS)
        bar = tqdm(total=len(worlds), initial=before, desc="worlds", unit="world", disable=not workspace.progress)
        try:
            futures: dict[Future[dict[str, Any]], DrawnWorld] = {pool.submit(_work, world): world for world in todo}
            for future in as_completed(futures):
                world = futures[future]
                if reason := _keep(future, world, workspace, started):
                    failures.append((world, reason))
                bar.set_postfix_str(f"{world.part} {world.name}")
                bar.update()
        except BaseException:
            end_workers(pool)
            raise
        finally:
            bar.close()
            pool.shutdown(wait=True, cancel_futures=True)
    return WorldsOutcome(before, len(todo) - len(failures), tuple(failures))


def _alone(workspace: Workspace) -> AbstractContextManager[None]:
    busy = "a calibration is running in another process; wait for it, or stop it"
    return held_alone(workspace.cache / "calibration.lock", busy)


def _keep(future: "Future[dict[str, Any]]", world: DrawnWorld, workspace: Workspace, started: Code) -> str:
    """Store what a world gave; "" or why it gave nothing. A file that can't be written stops everything."""
    try:
        line = future.result()
    except Exception as error:  # a fault in one world must not cost the others
        return reason_of(error)
    add_line(part_path(workspace.results, world.part), line, started)
    return ""


def _work(world: DrawnWorld) -> dict[str, Any]:
    """One world in a worker process."""
    with worker_task():
        return run_world(world, worker_workspace())
