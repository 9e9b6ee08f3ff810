"""The rehearsal at toy size on the CPU: every part runs, and what it records is what its name says."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.test_benchmarks import needs_peaks

MODELS = {"vbpr", "mmgcn", "mmgcl", "slmrec", "lattice", "freedom", "bm3", "bpr", "lightgcn"}


@pytest.fixture
def module(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(root / "benchmarks"))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


@pytest.fixture(scope="module")
def parts(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("rehearsal") / "record.json"
    command = [sys.executable, str(root / "benchmarks" / "rehearsal.py"), "--smoke", "--json", str(target)]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))["parts"]
    return found


@pytest.mark.slow
@needs_peaks
def test_every_part_runs_in_both_precisions(parts: dict[str, Any]) -> None:
    failed = {f"{part}, {name}": entry for part in parts for name, entry in parts[part].items() if "failed" in entry}
    assert failed == {}
    assert set(parts["recommenders"]) == MODELS and set(parts["equality"]) > MODELS
    assert len(parts["update"]) == 8 and sum("bf16" in name for name in parts["update"]) == 4
    assert len(parts["fine_tuning"]) == 4 and len(parts["precision"]) == 2
    assert parts["busy"] == parts["cpu"] == {}  # there is no other device


@pytest.mark.slow
@needs_peaks
def test_a_device_equals_itself_and_an_interruption_changes_nothing(parts: dict[str, Any]) -> None:
    for name in MODELS:
        assert parts["equality"][name]["largest_relative_difference_of_losses"] == 0
        assert parts["equality"][name]["same_top_20"] == 1
    assert len(parts["resume"]) == 6
    for entry in parts["resume"].values():
        assert entry["interrupted"] and entry["repeats_bit_for_bit"] and entry["resumes_bit_for_bit"]
    for entry in parts["precision"].values():
        differences = [value for name, value in entry.items() if name.endswith("row_difference")]
        assert len(differences) == 2 and min(differences) > 0 and max(differences) < 0.05


@pytest.mark.slow
@needs_peaks
def test_an_update_is_scaled_by_items(parts: dict[str, Any]) -> None:
    for entry in parts["update"].values():
        per_item = entry["measured"][1]["update_seconds"] / 32
        assert entry["update_seconds_per_item"] == pytest.approx(per_item)
        assert entry["extrapolated"]["baby"]["update_seconds"] == pytest.approx(7050 * per_item)
        assert entry["extrapolated"]["clothing"]["epoch_minutes"] == pytest.approx(8 * 23033 * per_item / 60)
    updates = {name: entry["updates_per_epoch"] for name, entry in parts["ete"].items()}
    assert updates == {
        "vbpr, clip-tiny-32": 8, "vbpr, vlmo-tiny": 8, "lattice, clip-tiny-32": 1, "lattice, vlmo-tiny": 1,
    }  # fmt: skip


def test_the_made_up_catalogue_has_the_published_size(module: Any) -> None:
    catalogues = module("catalogues")
    data, split = catalogues.made_up(catalogues.BABY)
    counts = [len(part.user) for part in (split.train, split.valid, split.test)]
    assert counts == [118_551, 20_559, 21_682] and sum(counts) == 160_792
    assert (split.n_users, split.n_items) == (19_445, 7_050)
    assert {m: tuple(matrix.shape) for m, matrix in data.features.items()} == {
        "visual": (7050, 4096), "textual": (7050, 384),
    }  # fmt: skip
    keys = [part.user * split.n_items + part.item for part in (split.train, split.valid, split.test)]
    assert len(np.unique(np.concatenate(keys))) == 160_792  # no interaction is in two parts
    assert set(split.valid.user) | set(split.test.user) <= set(split.train.user)
    popular = np.sort(np.bincount(split.train.item))[::-1]
    assert popular[:70].sum() > 0.1 * popular.sum()  # a hundredth of the items


def test_a_failure_is_recorded_and_the_rest_goes_on(module: Any, tmp_path: Path) -> None:
    rehearse = module("rehearse")
    target = tmp_path / "record.json"

    def fail() -> dict[str, Any]:
        raise RuntimeError("CUDA out of memory\nmore")

    def endless() -> dict[str, Any]:
        while True:
            pass

    rehearsal = rehearse.Rehearsal(target, 0.08, rehearse.SMOKE, "cpu", {}, longest=0.1)
    rehearsal.take("part", "first", fail)
    rehearsal.take("part", "second", lambda: {"value": 1})
    rehearsal.take("part", "slow", endless)
    rehearsal.longest = 60.0
    rehearsal.take("part", "third", endless)
    rehearsal.take("part", "fourth", lambda: {"value": 1})
    found = json.loads(target.read_text(encoding="utf-8"))["parts"]["part"]
    assert found["first"] == {"failed": "RuntimeError: CUDA out of memory | more"}
    assert found["second"]["value"] == 1
    assert found["slow"] == {"failed": "TimeoutError: stopped after 0.1 s"}
    assert found["third"] == {"failed": f"TimeoutError: {rehearse.OUT_OF_TIME}"}
    assert found["fourth"] == {"failed": rehearse.OUT_OF_TIME}


def test_the_chapter_on_training_says_what_was_measured(root: Path) -> None:
    record = json.loads((root / "benchmarks" / "rehearsal.json").read_text(encoding="utf-8"))
    text = (root / "book" / "chapters" / "training.md").read_text(encoding="utf-8")
    parts, names = record["parts"], {"CLIP ViT-B/16": "clip-b16", "VLMo Base Plus": "vlmo-base-plus"}
    assert not [name for entries in parts.values() for name, entry in entries.items() if "failed" in entry]
    assert record["machine"]["gpu"]["name"] in text and not record["machine"]["gpu"]["tf32"]
    lines = text[text.index("| encoder | precision |") :].partition("\n\n")[0].splitlines()[2:]
    per_item = {}
    for line in lines:
        title, precision, seconds, memory = (cell.strip() for cell in line.strip("| ").split("|"))
        entry = parts["update"][f"{names[title]}, {precision}, chunk 256"]
        per_item[title, precision] = entry["update_seconds_per_item"]
        assert seconds == f"{entry['extrapolated']['baby']['update_seconds']:.2g} s"
        assert memory == f"{entry['peak_bytes'] / 2**30:.0f} GiB"
        assert entry["rest_grows"] < 1.025 and entry["items_grow"] == 4
    assert len(per_item) == 4
    slower = {kind: per_item["VLMo Base Plus", kind] / per_item["CLIP ViT-B/16", kind] for kind in ("fp32", "bf16")}
    assert slower == {"fp32": pytest.approx(1.21, abs=0.005), "bf16": pytest.approx(2, abs=0.05)}
    epochs = [entry["epoch_seconds"] for entry in parts["recommenders"].values()]
    assert round(min(epochs), 1) == 0.1 and round(max(epochs), 1) == 0.5
    assert all(entry["interrupted"] and entry["resumes_bit_for_bit"] for entry in parts["resume"].values())
    for entry in parts["equality"].values():
        assert max(value for name, value in entry.items() if "difference" in name) < 3e-6
