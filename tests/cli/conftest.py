"""A working folder of its own for every test, and a sound catalogue to spoil."""

import numpy as np
import pytest
from PIL import Image

from tests.cli.shops import write_items, write_rows


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path / "home"))


@pytest.fixture
def shop(tmp_path):
    """30 users, 12 items, 6 interactions each; texts and pictures, nothing ready."""
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = [(u, int(i)) for u in range(30) for i in sorted(rng.choice(12, 6, replace=False))]
    write_rows(
        folder, "user_id,item_id,rating,timestamp", [f"u{u},i{i},{1 + (u + i) % 5},{u * 100 + i}" for u, i in rows]
    )
    for i in range(12):
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(folder / "images" / f"{i}.png")
    write_items(folder, {i: f"images/{i}.png" for i in range(12)})
    return folder
