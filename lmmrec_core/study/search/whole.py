"""Searches the settings of many cells of a track: trains what is missing, in parallel, and keeps each trial at once."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lmmrec_core import checkpoints
from lmmrec_core.data.splitting import REDRAWN
from lmmrec_core.disk import held_alone
from lmmrec_core.errors import ConfigError, TrainingError
from lmmrec_core.flow import Features
from lmmrec_core.process import worker_task
from lmmrec_core.results.provenance import Code, code_now, code_state_now, provenance
from lmmrec_core.study.cases import Case
from lmmrec_core.study.features import load_features
from lmmrec_core.study.inputs import Step, features_step, make_all, prepare_weights, reason_of, worker_workspace
from lmmrec_core.study.joint.attach import attach_encoder
from lmmrec_core.study.memory.plans import refuse_plan_that_cannot_fit
from lmmrec_core.study.run import features_of, fit, plan, training_data
from lmmrec_core.study.schedule import end_workers, worker_pool
from lmmrec_core.study.search.cells import Cell, search_workspace
from lmmrec_core.study.search.grids import Grid, Point
from lmmrec_core.study.search.record import CellTrials, check_same_data, read_trials, write_trials
from lmmrec_core.study.search.search import score_of_training
from lmmrec_core.study.weights.recipes import end_to_end_settings
from lmmrec_core.study.weights.records import suspect_weights, weights_read
from lmmrec_core.study.workspace import Workspace


@dataclass(frozen=True)
class SearchOutcome:
    """What became of the cells: trials that were there, trials made now, and cells that could not go on, with why."""

    done_before: int
    computed: int
    failures: tuple[tuple[Cell, str], ...]


def search_cells(workspace: Workspace, grid: Grid, cells: Sequence[Cell], jobs: int) -> SearchOutcome:
    """Train the missing trials of these cells; ``workspace`` is that of the study.

    A trial is stored in the parent when it ends, so a search that is stopped or killed loses the trials under way at
    most, and these go on from their checkpoints. A training that fails is a trial, with its error. A cell's space is
    widened once, when all its points were tried.

    Raises ConfigError for ``jobs`` below 1 or when another process searches the track, DataError for data that cannot
    be read, ResultError for a damaged file of trials, KeyboardInterrupt when the user stops it.
    """
    if jobs < 1:
        raise ConfigError(f"--jobs {jobs}: at least one process is needed; write --jobs 2")
    inner = search_workspace(workspace, grid)
    with _alone(workspace):
        return _search(workspace, inner, grid, cells, jobs)


def _search(workspace: Workspace, inner: Workspace, grid: Grid, cells: Sequence[Cell], jobs: int) -> SearchOutcome:
    committed = code_state_now() == "committed"
    found = {
        cell.place: check_same_data(read_trials(workspace.results, cell, committed), data_of(inner, cell))
        for cell in cells
    }
    for trials in found.values():
        _remove_checkpoints(inner, trials.trials)  # of a process killed before it could
    before = sum(len(trials.counted) for trials in found.values())
    open_cells = [cell for cell in cells if not found[cell.place].complete]
    if not open_cells:
        return SearchOutcome(before, 0, ())
    pool = worker_pool(inner, jobs)
    # encoders of drawn catalogues are small, so several are made at a time; others need the machine
    small = pool if jobs > 1 and inner.track.is_drawn else None
    cases = [cell.case for cell in open_cells]
    try:
        prepare_weights(cases, inner, small)
        reading = [_reading(case, inner) for case in cases if case.encoder != "none"]
        make_all("features", dict.fromkeys(reading), _make_features, inner, small)
        return _Search(workspace, grid, found, before, pool).run(open_cells, jobs)
    except BaseException:
        end_workers(pool)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone(workspace: Workspace) -> AbstractContextManager[None]:
    return held_alone(
        workspace.cache / "search" / f"{workspace.track.name}.lock",
        f"track {workspace.track.name!r} is being searched by another process; wait for it, or stop it",
    )


def _reading(case: Case, workspace: Workspace) -> Step:
    """The features that the trials of a case start from."""
    joint = end_to_end_settings(workspace.track, case.encoder) if case.paradigm == "ETE" else None
    return features_step(case, joint)


def _make_features(workspace: Workspace, step: Step) -> None:
    dataset, encoder, paradigm, *seeds = step
    load_features(workspace, workspace.dataset(dataset), encoder, paradigm, int(seeds[0]) if seeds else None)


def data_of(workspace: Workspace, cell: Cell) -> dict[str, Any]:
    """What the trials of a cell are trained on: catalogue and split; ``redrawn``: whether no reported run has it."""
    dataset = workspace.dataset(cell.case.dataset)
    split = dataset.split
    return {
        "catalogue": dataset.fingerprint, "split": split.fingerprint, "rule": split.rule, "split_seed": split.seed,
        "redrawn": split.rule in REDRAWN,
    }  # fmt: skip


class _Search:
    """One call: the trials that are there, and those under way."""

    def __init__(
        self, workspace: Workspace, grid: Grid, found: dict[tuple[str, ...], CellTrials], before: int, pool: Executor
    ) -> None:
        self.workspace, self.grid, self.found, self.before, self.pool = workspace, grid, found, before, pool
        self.failures: list[tuple[Cell, str]] = []
        self.computed = 0

    def run(self, cells: Iterable[Cell], jobs: int) -> SearchOutcome:
        waiting = deque((cell, point) for cell in cells for point in self.found[cell.place].missing)
        running: dict[Future[dict[str, Any]], tuple[Cell, Point]] = {}
        name, off = f"{self.workspace.track.name}: search", not self.workspace.progress
        bar = tqdm(total=self.before + len(waiting), initial=self.before, desc=name, unit="trial", disable=off)
        try:
            while waiting or running:
                while waiting and len(running) < jobs:  # no more than can run: the order stays that of the cells
                    cell, point = waiting.popleft()
                    running[self.pool.submit(_work, cell.case, dict(cell.fixed), point)] = (cell, point)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    cell, point = running.pop(future)
                    more = self._take(future, cell, bar)
                    waiting.extend((cell, wider) for wider in more)
                    bar.total += len(more)
                    bar.update()
        except BrokenProcessPool as error:  # nothing can be given to it any more
            self.failures += [(cell, reason_of(error)) for cell, _ in waiting]
        finally:
            bar.close()
        return SearchOutcome(self.before, self.computed, tuple(self.failures))

    def _take(self, future: "Future[dict[str, Any]]", cell: Cell, bar: Any) -> list[Point]:
        """Store a trial that ended; the points to try beyond the edges, if it was the last of its cell's budget."""
        try:
            trial = future.result()
        except Exception as error:  # a fault in a member must not cost the other cells
            self.failures.append((cell, reason_of(error)))
            return []
        now = self.found[cell.place]
        budget_left = any(now.trial(point) is None for point in cell.points)
        now = replace(now, trials=(*now.trials, trial))
        self.found[cell.place] = now
        write_trials(self.workspace.results, now, self.grid)
        _remove_checkpoints(self.workspace, [trial])
        self.computed += 1
        bar.set_postfix_str(f"{cell.name} {'failed' if trial['valid'] is None else format(trial['valid'], '.4f')}")
        ended = budget_left and all(now.trial(point) is not None for point in cell.points)
        return now.missing if ended else []


def _work(case: Case, fixed: dict[str, Any], point: Point) -> dict[str, Any]:
    with worker_task():
        return try_point(worker_workspace(), case, fixed, point)


def try_point(workspace: Workspace, case: Case, fixed: dict[str, Any], point: Point) -> dict[str, Any]:
    """Train at a point, in the workspace of the trials: the trial as it is stored.

    The encoder's own settings under ETE stay those of the track. Raises what ``run.plan`` and ``run.features_of``
    raise, and TrainingError for one that cannot fit memory: a training that fails is a trial, one that cannot begin is
    not.
    """
    started, began = code_now(), time.perf_counter()
    todo = plan(case, workspace, {**fixed, **point})
    features = features_of(case, workspace, todo.end_to_end)
    checkpoint = _checkpoint_of(workspace, todo.key)
    split = workspace.dataset(case.dataset).split
    trial: dict[str, Any] = {"settings": point, "valid": None, "error": None, "key": todo.key}
    seconds = 0.0
    content = {} if features is None else features.matrices
    refuse_plan_that_cannot_fit(todo, split, content, workspace.track)
    joint = attach_encoder(workspace, case, todo.end_to_end, features) if todo.end_to_end else None
    try:
        inputs = training_data(split, features)
        model, trained = fit(todo, split, inputs, checkpoint, False, joint.features if joint else None)
        trial["valid"], notes = score_of_training(todo, model, trained, split)
        trial |= notes
        seconds = trained.seconds if trained else 0.0  # of all sittings
    except TrainingError as error:
        trial["error"] = str(error)
    made = provenance(todo.training.device, _worst(started, workspace, features))
    trial["seconds"] = max(seconds, time.perf_counter() - began)
    trial["made"] = {name: made[name] for name in ("commit", "dirty", "time")} | {"torch": made["versions"]["torch"]}
    return trial


def _checkpoint_of(workspace: Workspace, key: str) -> Path:
    return workspace.checkpoints / f"search-{key}.pt"


def _remove_checkpoints(workspace: Workspace, stored: Iterable[Mapping[str, Any]]) -> None:
    """Trials that are stored need theirs no more."""
    for trial in stored:
        checkpoints.remove(_checkpoint_of(workspace, str(trial["key"])))


def _worst(started: Code, workspace: Workspace, features: Features | None) -> Code:
    """The code when a trial began, as uncommitted if that of the encoder's weights was."""
    if features is None:
        return started
    read = weights_read({"features": {"card": features.card}})
    suspect = not read.keys().isdisjoint(suspect_weights(workspace.track, workspace.results))
    return replace(started, dirty=True) if suspect else started
