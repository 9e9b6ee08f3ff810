"""A track small enough to run in seconds: one tiny controls data set, few epochs."""

import pytest

from lmmrec_core.study.places import Places
from lmmrec_core.study.track import TrackSettings, read_track


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
    values["training"] = {"epochs": 4, "batch_size": 512, "learning_rate": 0.01, "patience": 4}
    return TrackSettings.build({**values, **changes}, "tiny track")


@pytest.fixture
def track() -> TrackSettings:
    return tiny_track()
