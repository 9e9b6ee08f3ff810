"""A track small enough to run in seconds: one tiny controls data set, few epochs."""

from dataclasses import replace
from pathlib import Path

import pytest

from lmmrec_core.study.datasets import Dataset
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.search import search as searching
from lmmrec_core.study.search.grids import Grid, ModelGrid
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.weights.making import make_shared_weights
from lmmrec_core.study.workspace import Workspace


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory) -> Path:
    """A cache shared by the tests of a session, with the weights of the light encoders."""
    cache = tmp_path_factory.mktemp("home") / "cache"
    workspace = tiny_workspace(cache.parent / "results", cache)
    make_shared_weights(workspace, "baseline", workspace.dataset("complementary"))
    return cache


def tiny_track(**changes) -> TrackSettings:
    values = read_track("controls").model_dump()
    values["datasets"] = {
        "complementary": {
            "title": "Complementary",
            "source": "controls",
            "options": {"kind": "complementary", "seed": 11, "users": 120, "items": 60},
        }
    }
    values["encoders"]["baseline"]["outside_items"] = 120
    for name in ("clip", "vlmo"):
        entry = values["encoders"][name]
        entry["pretrain"] = {
            "source": "controls",
            "items": 120,
            "seed": 7,
            "level_epochs": 2,
            "tune": {"part": "heads", "keep_start": False, "epochs": 2, "batch_size": 40, "learning_rate": 0.01},
        }
        entry["fine_tune"] |= {"epochs": 1, "batch_size": 20}
    values["training"] = {"epochs": 4, "batch_size": 512, "learning_rate": 0.01, "patience": 4}
    values |= {"left_out": (), "warm_start": None, "searched": ()}
    return TrackSettings.build({**values, **changes}, "tiny track")


def tiny_workspace(results: Path, cache: Path, **changes) -> Workspace:
    return Workspace(tiny_track(**changes), results, cache, None, progress=False)


@pytest.fixture
def track() -> TrackSettings:
    return tiny_track()


@pytest.fixture
def workspace(shared_cache, tmp_path) -> Workspace:
    """Results of one test alone, the session's cache."""
    return tiny_workspace(tmp_path / "results", shared_cache)


@pytest.fixture(scope="session")
def dataset(shared_cache, tmp_path_factory) -> Dataset:
    """The one data set of the tiny track."""
    return tiny_workspace(tmp_path_factory.mktemp("none"), shared_cache).dataset("complementary")


SEARCH_RATES = (0.001, 0.01, 0.05)
SEARCH_GRID = Grid(
    name="study", source="a test", trials=None,
    models={
        "bpr": ModelGrid(
            search={"learning_rate": SEARCH_RATES, "reg_weight": (0.1, 0.001)}, fixed={"embedding_dim": 8}
        ),
        "itemknn": ModelGrid(search={"shrink": (0, 10), "neighbours": (5, None)}),
        "vbpr": ModelGrid(search={"reg_weight": (1, 0.1)}, fixed={"embedding_dim": 8}),
    },
)  # fmt: skip


@pytest.fixture
def own_trials(shared_cache, tmp_path) -> Workspace:
    """Results and trials of one test alone, light encoders and features shared."""
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("catalogues", "features", "encoders"):
        (shared_cache / name).mkdir(parents=True, exist_ok=True)
        (cache / name).symlink_to(shared_cache / name)
    return tiny_workspace(tmp_path / "results", cache)


@pytest.fixture
def search(own_trials):
    """``search_settings`` on the tiny track; keywords change the call, ``track`` the track."""

    def call(model="bpr", track=None, **changes):
        workspace = own_trials if track is None else replace(own_trials, track=track)
        return searching.search_settings(workspace, model, "complementary", **{"grid": SEARCH_GRID, **changes})

    return call


@pytest.fixture
def made_up(monkeypatch):
    """Trainings replaced by scores: the points asked for, and what they get."""

    class Trainings:
        asked: list[dict]
        valid = staticmethod(lambda point: point["learning_rate"])
        test = staticmethod(lambda point: 1 - point["learning_rate"])

    trainings = Trainings()
    trainings.asked = []

    def measure(todo, search, inputs, checkpoint):
        point = {"learning_rate": todo.training.learning_rate, "reg_weight": todo.model.reg_weight}
        trainings.asked.append(point)
        notes = {"test": trainings.test(point)} if search.measure_test else {}
        return trainings.valid(point), notes

    monkeypatch.setattr(searching, "_measure", measure)
    return trainings
