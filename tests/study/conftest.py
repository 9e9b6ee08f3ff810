"""A track small enough to run in seconds: one tiny controls data set, few epochs."""

import pytest

from lmmrec_core.study.search import search as tuning
from lmmrec_core.study.search.grids import Grid, ModelGrid
from lmmrec_core.study.track import TrackSettings, read_track
from lmmrec_core.study.workspace import Places


@pytest.fixture(scope="session")
def tiny_places(tmp_path_factory) -> Places:
    """Folders shared by the tests of a session, so that light encoders are trained once."""
    home = tmp_path_factory.mktemp("home")
    return Places(results=home / "results", cache=home / "cache")


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
    return TrackSettings.build({**values, **changes}, "tiny track")


@pytest.fixture
def track() -> TrackSettings:
    return tiny_track()


TUNING_RATES = (0.001, 0.01, 0.05)
TUNING_GRID = Grid(
    name="study", source="a test", trials=None,
    models={
        "bpr": ModelGrid(
            search={"learning_rate": TUNING_RATES, "reg_weight": (0.1, 0.001)}, fixed={"embedding_dim": 8}
        ),
        "itemknn": ModelGrid(search={"shrink": (0, 10), "neighbours": (5, None)}),
        "vbpr": ModelGrid(search={"reg_weight": (1, 0.1)}, fixed={"embedding_dim": 8}),
    },
)  # fmt: skip


@pytest.fixture
def places(tiny_places, tmp_path) -> Places:
    """Results and trials of one test alone, light encoders and features shared."""
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("catalogues", "features", "encoders"):
        (tiny_places.cache / name).mkdir(parents=True, exist_ok=True)
        (cache / name).symlink_to(tiny_places.cache / name)
    return Places(results=tmp_path / "results", cache=cache)


@pytest.fixture
def search(track, places):
    """``tune`` on the tiny track; keywords change the call."""

    def call(model="bpr", **changes):
        given = {"track": track, "grid": TUNING_GRID, "places": places, "progress": False, **changes}
        return tuning.tune(model, "complementary", **given)

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

    monkeypatch.setattr(tuning, "_measure", measure)
    return trainings
