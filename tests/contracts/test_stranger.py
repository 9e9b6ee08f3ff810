"""A stranger's package, installed beside ours: every command, the grid and the tables know its members.

One module brings a recommender, two encoders, a metric and a data format through entry points; one track file names
them. Nothing of ours is changed for it.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.contracts.guests import LMMREC, install, run

pytestmark = pytest.mark.slow  # several processes, each of which imports torch

TRACK = """
name: mine
title: Mine
description: A track of a stranger's own.
where: any machine
datasets:
  shop: {title: Shop, source: lines, path: shop, k_core: null}
encoders:
  baseline: {visual: colours, textual: letters}
  mine: {visual: colours, textual: letters}
models:
  popularity: {}
  bpr: {embedding_dim: 8}
  vbpr: {embedding_dim: 8}
  tastes: {power: 2.0}
training: {epochs: 2, batch_size: 256, learning_rate: 0.01}
seeds: [1]
"""
LOOK = """
import json, sys
from lmmrec_core.report.tables import table3
from lmmrec_core.study import Study
study = Study.open(sys.argv[1], data=sys.argv[2])
results = study.results()
table = table3(study.results("rq1"), study.datasets, metrics=["recall@20", "hitrate@20"])
print(json.dumps({
    "cases": [case.slug for case in study.cases()],
    "not run": len(study.not_run()),
    "hitrate": {case.case["model"] + " " + case.case["encoder"]: case.mean("hitrate@20") for case in results
                if case.case["modalities"] in ("V&T", "none") and case.case["control"] == "none"},
    "recall": {case.case["model"] + " " + case.case["encoder"]: case.mean("recall@20") for case in results
               if case.case["modalities"] in ("V&T", "none") and case.case["control"] == "none"},
    "rows": [" ".join(map(str, row)) for row in table.values.index],
    "empty": int(table.values.loc["tastes"].isna().sum().sum()),
}))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The stranger's package, as pip would leave it."""
    source = (root / "tests" / "contracts" / "strangers_kit.py").read_text(encoding="utf-8")
    points = {
        "lmmrec.recommenders": {"tastes": "Tastes"},
        "lmmrec.encoders": {"colours": "Colours", "letters": "Letters"},
        "lmmrec.metrics": {"hitrate": "hitrate"},
        "lmmrec.sources": {"lines": "Lines"},
    }
    return install(tmp_path_factory.mktemp("site"), "strangers_kit", source, points)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue in the stranger's format, and a track file that names all that the stranger brings."""
    home = tmp_path_factory.mktemp("data")
    folder = home / "shop"
    (folder / "images").mkdir(parents=True)
    rng, lines = np.random.default_rng(4), []
    for item in range(40):
        colour = tuple(int(value) for value in rng.integers(0, 255, 3))
        Image.new("RGB", (16, 16), colour).save(folder / "images" / f"{item}.png")
        words = " ".join(rng.choice(["cup", "jug", "tea", "pot"], 3))
        lines.append({"item": f"i{item}", "text": words, "image": f"images/{item}.png"})
    for user in range(50):
        lines += [{"user": f"u{user}", "item": f"i{item}"} for item in rng.permutation(40)[:8]]
    text = "\n".join(map(json.dumps, lines)) + "\n"
    (folder / "catalogue.jsonl").write_text(text, encoding="utf-8")
    (home / "mine.yaml").write_text(TRACK, encoding="utf-8")
    return home


def test_help_lists_what_a_stranger_brings(site: Path) -> None:
    shown = run(site, *LMMREC, "run", "--help").stdout
    assert "tastes" in shown and "colours" not in run(site, *LMMREC, "data", "--help").stdout


def test_a_strangers_format_is_recognised(site: Path, shop: Path, tmp_path: Path) -> None:
    done = run(site, *LMMREC, "data", str(shop / "shop"), "--k-core", "1", LMMREC_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "50" in done.stdout and "40" in done.stdout


def test_a_strangers_recommender_runs_on_a_catalogue(site: Path, shop: Path, tmp_path: Path) -> None:
    entry = tmp_path / "own.yaml"
    entry.write_text("visual: colours\ntextual: letters\n", encoding="utf-8")
    call = ("run", "--data", str(shop / "shop"), "--model", "tastes", "--encoder", str(entry), "--set", "power=3")
    done = run(site, *LMMREC, *call, "--k-core", "1", "--quiet", LMMREC_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "recall@20" in done.stdout


def test_a_track_of_ones_own_runs_the_grid_and_fills_the_tables(site: Path, shop: Path, tmp_path: Path) -> None:
    track, home = str(shop / "mine.yaml"), {"LMMREC_HOME": str(tmp_path)}
    done = run(site, *LMMREC, "reproduce", "--track", track, "--data", str(shop), "--jobs", "1", **home)
    assert done.returncode == 0, done.stderr
    looked = run(site, "-c", LOOK, track, str(shop), **home)
    assert looked.returncode == 0, looked.stderr
    found = json.loads(looked.stdout)
    assert found["not run"] == 0
    wanted = {"popularity-s1", "bpr-s1", "tastes-baseline-VT-s1", "tastes-mine-VT-s1", "vbpr-mine-VT-s1"}
    assert wanted <= {*found["cases"]}
    assert found["hitrate"].keys() == found["recall"].keys() and "tastes mine" in found["hitrate"]
    for system, share in found["hitrate"].items():  # one held-out item a user: hit or not is recall
        assert share == pytest.approx(found["recall"][system], abs=1e-12)
    rows = "\n".join(found["rows"])
    assert "tastes mine" in rows and "VBPR mine" in rows and found["empty"] == 0
