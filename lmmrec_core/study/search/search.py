"""Search the settings of a recommender on the validation part, with an equal and published budget.

A trial is one training through the code of ``lmmrec run``. It is no result of the study: it is kept apart, has a seed
of its own (0 unless told otherwise; the tracks use 1, 2, 3) and is scored on validation. The toolbox enoche/MMRec keeps
the grid point with the best *test* score (src/utils/quick_start.py); ``measure_leak`` measures what that is worth.
"""

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from tqdm import tqdm

from lmmrec_core import checkpoints
from lmmrec_core.digests import digest
from lmmrec_core.errors import ConfigError, TrainingError, unknown
from lmmrec_core.flow import Split
from lmmrec_core.names import BASELINE
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.roles import Recommender, TrainingData
from lmmrec_core.study.cases import Case
from lmmrec_core.study.datasets import Dataset
from lmmrec_core.study.declared.settings import resolve
from lmmrec_core.study.inputs import prepare_weights
from lmmrec_core.study.memory.plans import refuse_plan_that_cannot_fit
from lmmrec_core.study.run import Plan, features_of, fit, plan, training_data
from lmmrec_core.study.search.grids import Grid, ModelGrid, Point, check_names, combinations, read_grid
from lmmrec_core.study.search.summary import chosen, frame_of, leak_of, score_of, summary_path, write_summary
from lmmrec_core.study.search.trials import Trial, open_trials, points_to_try
from lmmrec_core.study.search.validation import CUTOFF, recall_20, stopping_metric, validation
from lmmrec_core.study.workspace import Workspace, check_device
from lmmrec_core.training.loop import Training
from lmmrec_core.training.pace import laid_over

SELECT_ON = ("valid", "test")
SEARCH_SEED = 0
LEAK_WARNING = (
    "warning: settings are chosen by their TEST score. This measures the leak of the released grid search; "
    "a result made with these settings is not a result."
)
_STORED_AS = 2  # of what is stored per trial: raised with every change


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search found. ``best`` are the searched settings alone, as ``lmmrec run --set`` takes them."""

    best: Point
    score: float  # validation Recall@20 of ``best``, at the best epoch
    trials: pd.DataFrame  # one row per point, in the order tried: its settings, scores, cost, error
    summary: Mapping[str, Any]  # as stored below results/<track>/search/


@dataclass(frozen=True)
class _Search:
    """A search with everything resolved; ``plan_of`` returns the plan of the training at a point."""

    workspace: Workspace
    case: Case
    grid: Grid
    own: ModelGrid
    live: dict[str, Any]  # setting → choices, without settings that change nothing
    fixed: Mapping[str, Any]
    trials: int | None
    select_on: str
    measure_test: bool
    start: Point | None = None  # the point that is tried first, of the grid or not

    def plan_of(self, point: Point) -> Plan:
        return plan(self.case, self.workspace, {**self.fixed, **point})

    @property
    def dataset(self) -> Dataset:
        return self.workspace.dataset(self.case.dataset)

    @property
    def distinct(self) -> int:
        return math.prod(map(len, self.live.values()))

    @property
    def budget(self) -> int:
        return min(self.trials or self.grid.trials or self.distinct, self.distinct)

    @property
    def folder(self) -> Path:
        """Where its trials are kept. Named by content: other data, features, fixed settings or grid, another folder."""
        first = combinations(self.live)[0]
        identity = {
            "version": _STORED_AS,
            "first": self.plan_of(first).key,  # holds data, split, features, seed and every setting
            "search": {name: list(choices) for name, choices in self.live.items()},
            "test": self.measure_test,
        }
        return self.workspace.cache / "search" / f"{self.case.slug}-{digest(identity)}"


def search_settings(
    workspace: Workspace,
    model: str,
    dataset: str,
    *,
    encoder: str = BASELINE,
    modalities: str = "V&T",
    grid: str | Grid = "study",
    trials: int | None = None,
    seed: int = SEARCH_SEED,
    select_on: Literal["valid", "test"] = "valid",
    measure_leak: bool = False,
    settings: Mapping[str, Any] | None = None,
    from_declared: bool = False,
) -> SearchResult:
    """Try points of a grid and return the best: the one with the highest validation Recall@20 at its best epoch.

    ``trials`` is the number of trainings, None takes the grid's own budget. With as many as the grid has distinct
    points all are tried, with fewer some are drawn (``trials.points_to_try``). Of equal scores the first tried wins.
    ``settings`` are kept fixed, on top of the track's and the grid's. With ``from_declared`` the first of the trainings
    is at what the track declares, in the grid or not: on validation, the choice is no worse than that. A point whose
    training fails counts, with its error. The test part is not looked at, unless ``measure_leak`` asks to store the
    test Recall@20 of every point beside the other (the search does not see it). With ``select_on="test"`` the best of
    the same points by test is returned, with a warning.

    It can be interrupted at any time: the same call goes on, and trains no point twice. A summary is written to
    ``results/<track>/search/``.

    Raises ConfigError for an unknown model, grid, setting or data set, DataError and FeatureError for data that
    cannot be used, TrainingError if every point failed, ResultError if the trials cannot be stored.
    """
    grid = read_grid(grid) if isinstance(grid, str) else grid
    if select_on not in SELECT_ON:
        raise unknown("part", select_on, SELECT_ON, "select_on")
    if trials is not None and trials < 1:
        raise ConfigError(f"trials = {trials}: at least one point must be tried; write for instance --trials 20")
    own = grid.model(model)
    fixed = _fixed(own, grid, model, settings or {})
    resolved, training = resolve(workspace, model, fixed)
    live = own.live(resolved.model_dump())
    declared = {**training.model_dump(), **resolved.model_dump()}
    start = {name: declared[name] for name in live} if from_declared else None
    case = _case(workspace, model, dataset, encoder, modalities, seed)
    fixed = {name: value for name, value in fixed.items() if name not in live}
    prepare_weights([case], workspace)
    search = _Search(
        workspace, case, grid, own, live, fixed, trials, select_on, measure_leak or select_on == "test", start
    )
    folder = search.folder  # refuses a case that cannot run
    if select_on == "test":
        print(LEAK_WARNING, file=sys.stderr)
    features = features_of(search.case, workspace)
    done = _try_points(search, folder, training_data(search.dataset.split, features))
    if all(trial.valid is None for trial in done):
        raise TrainingError(
            f"search for {model} on {dataset}: each of the {len(done)} points failed; the first, {done[0].settings}: "
            f"{done[0].error}"
        )
    best = chosen(done, select_on)
    summary = write_summary(
        summary_path(workspace.results, search.case, grid.name, search.measure_test),
        _summary(search, done, best, features.digest if features else None),
    )
    return SearchResult(dict(best.settings), score_of(best, "valid"), frame_of(done), summary)


def _fixed(own: ModelGrid, grid: Grid, model: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What stays the same in every trial: searched settings without effect, the grid's own, then the caller's."""
    check_names(own, model, f"grid {grid.name!r}, model {model!r}")
    for name in settings:
        if name in own.search:
            raise ConfigError(
                f"setting {name!r} is searched by grid {grid.name!r}, so it cannot be fixed to {settings[name]!r}; "
                "leave one of the two out"
            )
    return laid_over({**{name: own.search[name][0] for name in own.no_effect}, **own.fixed}, settings)


def _case(workspace: Workspace, model: str, dataset: str, encoder: str, modalities: str, seed: int) -> Case:
    cell: dict[str, Any] = {"track": workspace.track.name, "dataset": dataset, "model": model, "seed": seed}
    if RECOMMENDERS[model].uses_features:
        paradigm = workspace.track.paradigms(encoder)[0]
        cell |= {"encoder": encoder, "modalities": modalities, "paradigm": paradigm}
    return Case.build(cell, "search")


def _try_points(search: _Search, folder: Path, inputs: TrainingData) -> list[Trial]:
    """Train until the budget is spent; the points of the budget, in the order tried."""
    points = points_to_try(combinations(search.live), search.budget, search.case.seed)
    if search.start is not None:
        points = [search.start, *(point for point in points if point != search.start)][: search.budget]
    quiet = not search.workspace.progress
    done: list[Trial] = []
    bar = tqdm(total=len(points), desc=f"search {search.case.model}", unit="trial", disable=quiet)
    with open_trials(folder) as trials, bar:
        try:
            for point in points:
                trial, todo = trials.get(point), search.plan_of(point)
                checkpoint = search.workspace.checkpoints / f"search-{todo.key}.pt"
                if trial is None:
                    trial = _try_point(search, point, todo, inputs, checkpoint)
                    trials.put(trial)
                checkpoints.remove(checkpoint)  # only now: the trial is safe, perhaps since an earlier call
                done.append(trial)
                scores = [trial.valid for trial in done if trial.valid is not None]
                bar.set_postfix(best=f"{max(scores):.4f}" if scores else "none yet")
                bar.update()
        except (KeyboardInterrupt, SystemExit):
            kept = f"{len(done)} of {search.budget} trials are stored"
            print(f"search stopped: {kept}; the same call goes on from there", file=sys.stderr)
            raise
    return done


def _try_point(search: _Search, point: Point, todo: Plan, inputs: TrainingData, checkpoint: Path) -> Trial:
    """Train at a point; a trial with its score or its failure. Raises TrainingError for one that cannot fit memory."""
    check_device(todo.training.device)
    track = search.workspace.track
    refuse_plan_that_cannot_fit(todo, search.dataset.split, inputs.features, track)
    began = time.perf_counter()
    try:
        valid, notes = _measure(todo, search, inputs, checkpoint)
        # a training that was taken up again has seconds from its earlier sittings
        seconds = max(time.perf_counter() - began, notes.pop("trained", 0.0))
        return Trial(point, valid, None, {**notes, "seconds": seconds})
    except TrainingError as error:
        catalogue = search.dataset.catalogue
        error = error.with_ids({"user": catalogue.user_ids, "item": catalogue.item_ids})
        return Trial(point, None, str(error), {"seconds": time.perf_counter() - began})


def _measure(todo: Plan, search: _Search, inputs: TrainingData, checkpoint: Path) -> tuple[float, dict[str, Any]]:
    """Train at one point: validation Recall@20 of the best epoch, and what to note; the test part only if asked."""
    split = search.dataset.split
    model, trained = fit(todo, split, inputs, checkpoint, progress=False)
    valid, notes = score_of_training(todo, model, trained, split)
    if trained is not None:
        notes["trained"] = trained.seconds
    if search.measure_test:
        mask = search.workspace.track.evaluation.mask_valid
        notes["test"] = recall_20(model.scorer(), split, "test", mask_valid=mask)
    return valid, notes


def score_of_training(
    todo: Plan, model: Recommender, trained: Training | None, split: Split
) -> tuple[float, dict[str, Any]]:
    """The validation score of the best epoch, and how the training went. Raises TrainingError if it is no number."""
    notes: dict[str, Any] = {}
    valid: float | None = None
    if trained is not None:
        notes = {
            "best_epoch": trained.best_epoch, "best_step": trained.best_step, "epochs": len(trained.history),
            "stopped": trained.stopped,
        }  # fmt: skip
        valid = next((epoch.valid for epoch in trained.history if epoch.number == trained.best_epoch), None)
    valid = validation(split)(model.scorer()) if valid is None else valid
    if not math.isfinite(valid):
        raise TrainingError(f"{todo.case.model}: the validation score is {valid}; check that the split has users there")
    return valid, notes


def _summary(search: _Search, done: list[Trial], best: Trial, features: str | None) -> dict[str, Any]:
    """What is published about a search: budget, points, choice, cost; no path and no name of a machine."""
    todo = search.plan_of(best.settings)
    record: dict[str, Any] = {
        "case": search.case.model_dump(exclude={"control", "split", "seed"}),
        "seed": search.case.seed,
        "seed_in_study": search.case.seed in search.workspace.track.seeds,
        "objective": f"{stopping_metric(search.dataset.split)}@{CUTOFF} on the validation part, at the best epoch",
        "select_on": search.select_on,
        "grid": {
            "name": search.grid.name, "source": search.grid.source, "points": search.own.points,
            "distinct": search.distinct, "search": {name: list(values) for name, values in search.live.items()},
        },
        "budget": {
            "trials": search.budget, "failed": sum(trial.error is not None for trial in done),
            "share_of_distinct": len(done) / search.distinct,
        },
        "order": ("" if search.start is None else "the declared settings, then ")
        + ("all points" if search.budget >= search.distinct else "drawn without repetition"),
        "settings": {
            "model": {k: v for k, v in todo.model.model_dump(mode="json").items() if k not in search.live},
            "training": {k: v for k, v in todo.training.model_dump(mode="json").items() if k not in search.live},
        },
        "best": {"settings": best.settings, "valid": best.valid},
        "trials": [
            {"settings": trial.settings, "valid": trial.valid, "error": trial.error, **trial.notes} for trial in done
        ],
        "wall_seconds": sum(trial.notes.get("seconds", 0.0) for trial in done),
        "data": {
            "catalogue": search.dataset.fingerprint, "split": search.dataset.split.fingerprint, "features": features,
        },
    }  # fmt: skip
    if search.measure_test:
        record["leak"] = leak_of(done)
    if search.select_on == "test":
        record["warning"] = LEAK_WARNING
    return record
