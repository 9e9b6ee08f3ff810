"""One world: draw it, train its runs, keep what the tests need, and throw the rest away.

The path is that of every run (plan, features, fit, rank, evaluate). What is kept of the values per user are their
moments (:mod:`lmmrec_core.significance.moments`), from which each test follows exactly; catalogue, pictures, features,
weights and ranked lists go when the world is done. They can be made again from the seed.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lmmrec_core.metrics.evaluate import evaluate_lists
from lmmrec_core.significance.moments import moments_of
from lmmrec_core.study.calibration.worlds import KEPT_METRICS, DrawnWorld
from lmmrec_core.study.run import Plan, checkpoint_of, features_of, fit, plan, training_data
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.loop import Training
from lmmrec_core.training.recommend import top_k


@dataclass(frozen=True, eq=False)
class _Throwaway(Workspace):
    """A workspace for one world; encoders' weights are those of the study."""

    shared: Path = Path()

    @property
    def encoders(self) -> Path:
        return self.shared


def run_world(world: DrawnWorld, workspace: Workspace) -> dict[str, Any]:
    """Train all runs of a world; the line that is kept of it, without provenance.

    ``workspace`` is that of the controls track. Raises what :func:`~lmmrec_core.study.run.fit` raises.
    """
    started = time.process_time()
    scratch = _scratch(workspace) / f"{world.part}-{world.name}"
    shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
    track = world.track(workspace.track)
    here = _Throwaway(track, scratch / "results", scratch, None, progress=False, shared=workspace.encoders)
    try:
        dataset = here.dataset(world.kind)
        models = {
            model: _runs([plan(case, here) for case in world.cases(model, track)], here) for model in world.models
        }
        features = features_of(world.cases(world.models[0], track)[0], here)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    assert features is not None, "models of a world read content"
    return {
        "world": world.name,
        "kind": world.kind,
        "seed": world.seed,
        "content": world.group.content,
        "declared": world.declared(workspace.track),
        "data": {
            "catalogue": dataset.fingerprint, "split": dataset.split.fingerprint, "features": features.digest,
            "users": dataset.split.n_users, "items": dataset.split.n_items,
        },
        "models": models,
        "cpu_seconds": round(time.process_time() - started, 2),
    }  # fmt: skip


def remove_scratch(workspace: Workspace) -> None:
    """Remove what worlds of killed processes left; no other process may be running worlds."""
    shutil.rmtree(_scratch(workspace), ignore_errors=True)


def _scratch(workspace: Workspace) -> Path:
    return workspace.cache / "calibration"


def _runs(plans: list[Plan], workspace: Workspace) -> dict[str, Any]:
    """All runs of one model: what became of each, and the moments of the metrics over users."""
    measured = [_run(todo, workspace) for todo in plans]
    frames = [per_user for _, per_user in measured]
    users = frames[0].index
    person = np.arange(len(users)) if "group" not in frames[0] else pd.factorize(frames[0]["group"])[0]
    persons, metrics = int(person.max()) + 1, {}
    for metric in KEPT_METRICS:
        values = np.column_stack([frame[metric].to_numpy(dtype=np.float64) for frame in frames])
        moments = moments_of(values, person, persons)
        lower = [moments.products[row, : row + 1].tolist() for row in range(len(plans))]
        metrics[metric] = {"means": moments.means.tolist(), "products": lower}
    return {"users": len(users), "persons": persons, "runs": [run for run, _ in measured], "metrics": metrics}


def _run(todo: Plan, workspace: Workspace) -> tuple[dict[str, Any], pd.DataFrame]:
    """(what became of a run, its metrics by test user)."""
    case, split = todo.case, workspace.dataset(todo.case.dataset).split
    features = features_of(case, workspace)
    model, trained = fit(todo, split, training_data(split, features), checkpoint_of(todo, workspace), progress=False)
    users = np.unique(split.test.user)
    protocol = workspace.track.evaluation
    with torch.no_grad():
        lists = top_k(model.scorer(), users, split, k=protocol.k, mask_valid=protocol.mask_valid)
    per_user, _ = evaluate_lists(lists, users, split, "test")
    return {
        "modalities": case.modalities, "control": case.control, "seed": case.seed, "key": todo.key, **_course(trained),
    }, per_user  # fmt: skip


def _course(trained: Training | None) -> dict[str, Any]:
    if trained is None:
        return {"best_step": 0, "steps": 0, "stopped": "nothing to train"}
    steps = len(trained.history) * trained.steps_per_epoch
    return {"best_step": trained.best_step, "steps": steps, "stopped": trained.stopped}
