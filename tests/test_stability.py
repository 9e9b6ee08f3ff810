"""The benchmark of what another machine changes: its comparisons by hand, and two emulated machines that draw alike."""

import importlib
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmmrec_core.names import SEEDLESS_MODELS
from lmmrec_core.study.declared.track_file import read_track


@pytest.fixture
def stability(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    return importlib.import_module("stability")


def test_rows_are_compared_by_hand(stability: Any) -> None:
    first = np.array([[3.0, 4.0], [1.0, 0.0]], dtype=np.float32)
    found = stability.held_against(np.array([[3.0, 4.0], [0.0, 2.0]], dtype=np.float32), first)
    assert found == {"equal": False, "largest_difference": 2.0, "largest_value": 4.0, "smallest_cosine": 0.0}
    same = stability.held_against(first.copy(), first)
    assert same["equal"] and same["largest_difference"] == 0 and same["smallest_cosine"] == pytest.approx(1)


def test_the_spread_over_machines_stands_beside_that_over_seeds(stability: Any) -> None:
    def run(value: float, first: float, lists: float) -> dict[str, float]:
        return {"ndcg@20": value, "change": value / first - 1, "same_lists": lists}

    runs = {
        stability.FIRST: {"1": run(0.2, 0.2, 1), "2": run(0.3, 0.3, 1)},
        stability.AGAIN: {"1": run(0.2, 0.2, 1)},  # says nothing about another machine
        "AVX2": {"1": run(0.1, 0.2, 0.5), "2": run(0.36, 0.3, 0.25)},
        "AVX2, two threads": {"1": run(0.11, 0.2, 0.5), "2": run(0.36, 0.3, 0.25)},
        "no AVX": {"1": run(0.3, 0.2, 0.75)},
    }
    found = stability.summary(runs)
    assert found["largest_change"] == pytest.approx(0.5) and found["fewest_same_lists"] == 0.25
    assert found["deviation_over_seeds"] == pytest.approx(np.std([0.2, 0.3], ddof=1) / 0.25)
    assert found["deviation_over_machines"] == pytest.approx(0.1 / 0.2)  # seed 1: .2, .1 and .3; 2 is not on all
    assert found["changed_by_threads"] == pytest.approx(0.1)


def test_every_model_of_the_track_is_trained_and_one_of_them_under_all_seeds(stability: Any) -> None:
    track, emulated = read_track("controls"), importlib.import_module("emulated")
    few = emulated.cells(track, [1, 2, 3], everywhere=False)
    assert {case.model for case in few} == set(track.models)
    assert {case.slug for case in few if case.seed > 1} == {"mmgcn-baseline-VT-s2", "mmgcn-baseline-VT-s3"}
    assert {case.model for case in few if case.control == "shuffled"} == {"vbpr", "lattice", "mmgcn"}
    assert {case.encoder for case in few} == {"none", *track.encoders}
    many = emulated.cells(track, [1, 2, 3], everywhere=True)
    assert len(many) == 3 * len([c for c in few if c.seed == 1]) - 2 * len(SEEDLESS_MODELS)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="emulates machines by x86's instruction sets")
def test_machines_draw_the_same_data_and_compute_differently(stability: Any, root: Path, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    for machine in (stability.FIRST, "no AVX"):
        stability.start(machine, tmp_path, "--only-data")
        found = json.loads((stability.home_of(tmp_path, machine) / "seen.json").read_text(encoding="utf-8"))
        seen[machine] = found
    first, other = seen.values()
    assert other["capability"] == "DEFAULT" and (first["threads"], other["threads"]) == (1, 1)
    differing = {name for name, value in first["operations"].items() if value != other["operations"][name]}
    assert {"NumPy product", "PyTorch product", "PyTorch convolution"} <= differing  # so the settings took effect
    drawn = {name for name, value in first["drawn"].items() if value != other["drawn"][name]}
    assert drawn <= {"normal initial weights"}
    committed = json.loads((root / "benchmarks" / "stability.json").read_text(encoding="utf-8"))["machines"]
    stored = {name: entry["digest"] for name, entry in committed[stability.FIRST]["drawn"].items()}
    # the bytes of a picture's file are zlib's, and normal draws the instruction set's; numbers are those of any machine
    for name in set(stored) - {"catalogue", "pictures", "normal initial weights"}:
        assert first["drawn"][name] == stored[name], name
