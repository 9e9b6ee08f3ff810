"""Made lines of worlds, as a training would leave them, and a track whose worlds are trained in seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.results import provenance as states
from lmmrec_core.results.provenance import ALLOW, code_now
from lmmrec_core.significance.moments import moments_of
from lmmrec_core.study.calibration.files import add_line, part_path
from lmmrec_core.study.calibration.listings import write_listing
from lmmrec_core.study.calibration.simulated import coverage_made_from
from lmmrec_core.study.calibration.stored_runs import made_from_runs
from lmmrec_core.study.calibration.worlds import KEPT_METRICS, DrawnWorld
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.study import Study
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.workspace import Workspace
from tests.study.conftest import tiny_workspace

USERS = 40


def made_line(world: DrawnWorld, track: TrackSettings, gain: float = 0.0, level: float = 0.3) -> dict[str, Any]:
    """The line of a world whose runs with real content are better by ``gain``; users and seeds vary at random."""
    models = {}
    for number, model in enumerate(world.models):
        cases = world.cases(model, track)
        generator = np.random.default_rng([world.seed, number])
        users = generator.random((USERS, 1)) * 0.2
        values = level + users + 0.05 * generator.standard_normal((USERS, len(cases)))
        values += 0.01 * generator.standard_normal(len(cases))
        values[:, [case.control == "none" and case.modalities == "V&T" for case in cases]] += gain
        moments = moments_of(values, np.arange(USERS), USERS)
        lower = [moments.products[row, : row + 1].tolist() for row in range(len(cases))]
        kept = {"means": moments.means.tolist(), "products": lower}
        runs = [
            {"modalities": c.modalities, "control": c.control, "seed": c.seed, "best_step": 60, "steps": 120,
             "stopped": "patience", "key": "0" * 16} for c in cases
        ]  # fmt: skip
        models[model] = {"users": USERS, "persons": USERS, "runs": runs, "metrics": dict.fromkeys(KEPT_METRICS, kept)}
    return {
        "world": world.name, "kind": world.kind, "seed": world.seed, "declared": world.declared(track),
        "models": models, "cpu_seconds": 1.0,
    }  # fmt: skip


def keep_listing(results: Path, name: str, rows: pd.DataFrame) -> None:
    """Store a listing of a part, or of a part and "-controls", as it would be made now."""
    part = name.removesuffix("-controls")
    study = Study(Workspace(read_track("controls"), results, results), read_track("controls").seeds)
    write_listing(
        results, name, rows, made_from_runs(part, study) if part != name else coverage_made_from(), code_now()
    )


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Says whether files differ from the commit; they do not at first."""
    monkeypatch.delenv(ALLOW, raising=False)

    def say(dirty: bool) -> None:
        monkeypatch.setattr(states, "_commit", lambda root: ("c0ffee00" * 5, dirty))

    say(False)
    return say


@pytest.fixture
def controls() -> TrackSettings:
    return read_track("controls")


@pytest.fixture
def store(tmp_path: Path, controls: TrackSettings, code: Callable[[bool], None]) -> Callable[..., Path]:
    """Stores made lines of worlds; returns the folder of results."""

    def keep(*made: DrawnWorld, gain: float = 0.0) -> Path:
        for world in made:
            add_line(part_path(tmp_path, world.part), made_line(world, controls, gain), code_now())
        return tmp_path

    return keep


def tiny_worlds(results: Path, cache: Path) -> Workspace:
    """A track with tiny worlds, trained for a few steps."""
    kinds = ("null", "complementary", "redundant")
    datasets = {
        kind: {"title": kind, "source": "controls", "options": {"kind": kind, "seed": 11, "users": 120, "items": 60}}
        for kind in kinds
    }
    training = {"steps": 6, "evaluate_steps": 2, "patience_steps": 4, "batch_size": 512, "learning_rate": 0.01}
    return tiny_workspace(results, cache, datasets=datasets, training=training)


@pytest.fixture
def tiny(shared_cache: Path, tmp_path: Path) -> Workspace:
    """Tiny worlds, their encoders' weights made once in a session."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "encoders").symlink_to(shared_cache / "encoders")
    return tiny_worlds(tmp_path / "results", cache)
