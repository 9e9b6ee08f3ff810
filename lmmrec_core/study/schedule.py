"""Carry out many cases: skip what is done, run the rest in parallel processes, survive failures.

Each case is stored as soon as it is done, so an interrupted or killed reproduction loses at most the
epochs since the last checkpoint of the cases under way; the next call continues from there.
"""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue

from tqdm import tqdm

from lmmrec_core import checkpoints
from lmmrec_core.errors import ConfigError, LmmrecError, ResultError
from lmmrec_core.process import end_when_asked, end_with_parent, own_cores, worker_task
from lmmrec_core.study.cases import Case
from lmmrec_core.study.inputs import prepare_cases, reason_of, set_workspace, worker_workspace
from lmmrec_core.study.memory.plans import demands_of
from lmmrec_core.study.memory.room import refuse_at_once, room
from lmmrec_core.study.run import Plan, checkpoint_of, folder_of, is_done, run_case
from lmmrec_core.study.workspace import GPUS_SEEN, Workspace, visible_gpus

_GRACE = 20.0  # seconds that a worker without a parent has to save its state


@dataclass(frozen=True)
class Outcome:
    """What became of a list of cases."""

    done_before: int
    computed: int
    failures: tuple[tuple[Case, str], ...]  # the case and the error's text


def run_cases(cases: Sequence[Case], workspace: Workspace, jobs: int) -> Outcome:
    """Run the given (runnable) cases. Cases that fail, or whose data, weights or features cannot be had, are
    collected; the others go on.

    Raises ConfigError for ``jobs`` below 1, or more than memory suffices for; TrainingError if a process that makes
    weights or features was killed; KeyboardInterrupt when the user stops it. Results stored until then stay.
    """
    if jobs < 1:
        raise ConfigError(f"JOBS={jobs}: at least one process is needed; write JOBS=2")
    planned, kept_out = _planned(cases, workspace, jobs)
    plans = list({folder_of(p, workspace): p for p in planned}.values())  # an arm that changes nothing is its cell
    todo, damaged = _sort_out(plans, workspace)
    before = len(plans) - len(todo) - len(damaged)
    damaged = [*kept_out, *damaged]
    if not todo:
        return Outcome(before, 0, tuple(damaged))
    at_once = min(jobs, len(todo))
    refuse_at_once(demands_of(todo, workspace), at_once, room(workspace.device))
    failures = _run_parallel(todo, workspace, at_once, before)
    return Outcome(before, len(todo) - len(failures), (*damaged, *failures))


def _sort_out(plans: list[Plan], workspace: Workspace) -> tuple[list[Plan], list[tuple[Case, str]]]:
    """(what is still to do, what is stored but damaged). A damaged result is never overwritten: the user decides."""
    todo, damaged = [], []
    for p in plans:
        try:
            if is_done(p, workspace):
                workspace.store.load(folder_of(p, workspace))
                checkpoints.remove(checkpoint_of(p, workspace))  # of a process killed before it could
            else:
                todo.append(p)
        except ResultError as error:
            damaged.append((p.case, str(error)))
    return todo, damaged


def _planned(cases: Sequence[Case], workspace: Workspace, jobs: int) -> tuple[list[Plan], list[tuple[Case, str]]]:
    """(plans with all they need, cases that cannot be run and why).

    Encoders of drawn catalogues are small: several at a time. Others need the machine, and show their own bars.
    """
    if jobs == 1 or not workspace.track.is_drawn:
        return prepare_cases(cases, workspace)
    pool = worker_pool(workspace, jobs)
    try:
        return prepare_cases(cases, workspace, pool)
    except BaseException:
        end_workers(pool)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def worker_pool(workspace: Workspace, jobs: int, threads: int | None = None) -> ProcessPoolExecutor:
    """Processes that know ``workspace`` (``inputs.worker_workspace``); ``threads`` None shares the cores among them.

    Where the track may use any GPU, each process sees one of those that this one sees, in turn.
    """
    context = multiprocessing.get_context("spawn")  # a forked torch hangs once it has used threads
    turns: "SimpleQueue[str] | None" = None
    if gpus := visible_gpus() if workspace.track.device in ("auto", "cuda") else ():
        turns = context.SimpleQueue()
        for number in range(jobs):
            turns.put(gpus[number % len(gpus)])
    return ProcessPoolExecutor(
        jobs,
        mp_context=context,
        initializer=_start_worker,
        initargs=(workspace.quiet(), threads or max(1, own_cores() // jobs), turns),
    )


def end_workers(pool: Executor) -> None:
    """Ask the processes of a pool to save the state of what they do, and end: nobody waits for the rest."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


def _run_parallel(todo: list[Plan], workspace: Workspace, jobs: int, before: int) -> list[tuple[Case, str]]:
    failures: list[tuple[Case, str]] = []
    pool = worker_pool(workspace, jobs)
    total, name = before + len(todo), workspace.track.name
    bar = tqdm(total=total, initial=before, desc=name, unit="run", disable=not workspace.progress)
    try:
        futures: dict[Future[str], Plan] = {pool.submit(_work, p): p for p in todo}
        for future in as_completed(futures):
            case = futures[future].case
            try:
                bar.set_postfix_str(future.result())
            except Exception as error:  # a fault in a member must not cost the other cases
                known = isinstance(error, LmmrecError | BrokenProcessPool)
                failures.append((case, reason_of(error) + ("" if known else "; `lmmrec run` shows where")))
            bar.update()
    except BaseException:
        end_workers(pool)
        raise
    finally:
        bar.close()
        pool.shutdown(wait=True, cancel_futures=True)
    return failures


def _start_worker(workspace: Workspace, threads: int, turns: "SimpleQueue[str] | None") -> None:
    if turns is not None:
        os.environ[GPUS_SEEN] = turns.get()  # read when CUDA is first used, which no import does
    import torch

    torch.set_num_threads(threads)
    set_workspace(workspace)
    end_when_asked()
    end_with_parent(_GRACE)  # the end of the epoch is waited for, and saved


def _work(todo: Plan) -> str:
    """One case in a worker process; returns the line the progress bar shows."""
    with worker_task():
        result = run_case(todo, worker_workspace())
    return f"{todo.case.dataset}/{todo.case.slug} recall@20 {result.mean('recall@20'):.4f}"
