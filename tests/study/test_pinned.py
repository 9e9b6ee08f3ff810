"""Moving code changes nothing that is computed: keys of all cases, and a short training of every model."""

import json
from pathlib import Path

import pytest

from tests.study import pinning

PINNED = json.loads((Path(__file__).parent / "pinned.json").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("track", ["controls", "paper"])
def test_keys_of_every_case(track, tmp_path):
    assert pinning.keys(track, tmp_path, None) == PINNED[track]


@pytest.mark.slow
@pytest.mark.shared
def test_keys_of_every_case_on_films(tmp_path, shared_data):
    assert pinning.keys("films", tmp_path, shared_data) == PINNED["films"]


def test_a_short_training_of_every_model():
    found = pinning.trainings()
    assert list(found) == list(PINNED["trainings"])
    for model, values in found.items():
        assert values == pytest.approx(PINNED["trainings"][model], rel=2e-5), model
