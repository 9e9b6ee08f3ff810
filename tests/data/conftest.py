"""A valid catalogue folder, which tests damage."""

from pathlib import Path

import pytest
from PIL import Image

from tests.data.made import INTERACTIONS, ITEMS, write_csv


@pytest.fixture
def folder(tmp_path) -> Path:
    """A valid catalogue folder; tests damage it."""
    path = tmp_path / "shop"
    (path / "images").mkdir(parents=True)
    for number, name in enumerate(("10", "2", "7", "B1")):
        Image.new("RGB", (4, 4), (number * 40, 0, 0)).save(path / "images" / f"{name}.jpg")
    write_csv(path / "items.csv", ITEMS)
    write_csv(path / "interactions.csv", INTERACTIONS)
    return path
