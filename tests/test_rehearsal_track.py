"""The rehearsal of a whole track and the growth benchmark, at toy size: complete, resumed, and told what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lmmrec_core.recommenders import RECOMMENDERS
from tests.test_benchmarks import needs_peaks

MODELS = ("popularity", "vbpr", "lattice")


def script(root: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "benchmarks" / name), *words]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def rehearsed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The record after two calls, of which the second had one thing left to do; what the second said."""
    target = tmp_path_factory.mktemp("rehearsal") / "record.json"
    words = ("--smoke", "--json", str(target), "--models", *MODELS)
    first = script(root, "rehearse_track.py", *words)
    assert first.returncode == 0, first.stderr
    record = json.loads(target.read_text(encoding="utf-8"))
    record["parts"]["epoch"]["toy, vbpr"] = {"failed": "killed"}
    record["parts"]["epoch"]["toy, popularity"]["kept"] = True
    target.write_text(json.dumps(record), encoding="utf-8")
    second = script(root, "rehearse_track.py", *words)
    assert second.returncode == 0, second.stderr
    return target, second.stdout


@pytest.mark.slow
@needs_peaks
def test_every_paradigm_and_model_is_rehearsed_once_and_goes_on_where_it_stopped(rehearsed: tuple[Path, str]) -> None:
    target, told = rehearsed
    parts: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))["parts"]
    assert [len(parts[part]) for part in ("encode", "tune", "update")] == [2, 2, 2]
    assert set(parts["epoch"]) == {f"toy, {model}" for model in MODELS}
    assert not [entry for entries in parts.values() for entry in entries.values() if "failed" in entry]
    assert parts["epoch"]["toy, popularity"]["kept"]  # was not measured again
    assert told.count("epoch, toy, vbpr") == 1 and "encode, " not in told
    vbpr = parts["epoch"]["toy, vbpr"]
    assert vbpr["whole_epoch"] and vbpr["batches"] == vbpr["batches_done"] == 1
    assert vbpr["peak_bytes"] >= vbpr["build_peak_bytes"] > 2**20
    for entry in parts["update"].values():
        assert entry["update_seconds_per_item"] > 0 and entry["peak_bytes"] > 0


def test_a_track_whose_sizes_nobody_knows_is_refused(root: Path, tmp_path: Path) -> None:
    done = script(root, "rehearse_track.py", "--track", "controls", "--json", str(tmp_path / "record.json"))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "no size is known for data set complementary; rehearse TRACK=paper" in done.stderr


@pytest.fixture
def growth(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    import growth

    return growth


@pytest.mark.parametrize("seconds", [60.0, 0.0])
def test_an_epoch_is_measured_whole_or_worked_out_from_its_batches(
    growth: Any, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    import catalogues

    size = catalogues.Size(60, 40, 300, 60, 40, 12, 6)
    plain = growth.built

    def small_batches(*given: Any, **more: Any) -> Any:
        return plain(*given, batch_size=50, **more)

    monkeypatch.setattr(growth, "built", small_batches)
    found = growth.measure("bpr", size, growth.How(seconds=seconds))
    assert found["batches"] == 6 and found["whole_epoch"] == (seconds > 0)
    assert found["batches_done"] == (6 if seconds else 2)
    parts = found["seconds_until_the_first_batch"] + found["first_batch_seconds"] + 5 * found["batch_seconds"]
    assert found["epoch_seconds"] == pytest.approx(parts) and found["evaluation_seconds"] > 0


def test_an_evaluation_of_some_users_is_worked_out_for_all(growth: Any) -> None:
    import catalogues

    found = growth.measure("popularity", catalogues.Size(60, 40, 300, 60, 40, 12, 6), growth.How(users=10))
    assert found["users_ranked"] == 10 < found["users_to_rank"] <= 60


def test_neighbours_may_be_drawn_after_the_first_blocks(growth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    rows = torch.nn.functional.normalize(torch.randn(40, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    monkeypatch.setattr(growth.item_graph, "_BLOCK_ENTRIES", 3 * 40)
    searched, drawn = growth.item_graph.nearest_columns(rows, 5), growth.first_blocks_then_drawn(rows, 5)
    assert drawn.shape == (40, 5) and torch.equal(drawn[:6], searched[:6]) and not torch.equal(drawn[6:], searched[6:])
    assert int(drawn.min()) >= 0 and int(drawn.max()) < 40


def test_a_process_of_its_own_is_given_every_option(growth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import catalogues

    how = growth.How(2, 1.5, "cpu", "films", users=7, draw_neighbours=True)
    words = ["--one", "--sizes", "baby", "--models", "bpr", *how.words()]
    assert growth.How.given(growth.arguments(words)) == how and growth.How.given(growth.arguments([])) == growth.How()
    monkeypatch.setitem(catalogues.SIZES, "baby", catalogues.Size(60, 40, 300, 60, 40, 12, 6))
    for module in (growth.lattice, growth.freedom):
        monkeypatch.setattr(module, "nearest_columns", module.nearest_columns)  # put back afterwards
    assert growth.one("bpr", growth.arguments(words))["neighbours"] == "drawn after the first blocks"


def test_what_a_model_refuses_is_recorded(growth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import catalogues

    monkeypatch.setitem(catalogues.SIZES, "toy", catalogues.Size(60, 40_001, 300, 60, 40, 2, 2))
    given = growth.argparse.Namespace(
        sizes=["toy"], threads=1, seconds=1.0, device="cpu", track="user", users=None, draw_neighbours=False
    )
    assert "max_items is 40000" in growth.one("ease", given)["refused"]


def test_sizes_are_the_published_ones(growth: Any) -> None:
    counts = {
        name: (size.users, size.items, size.train + size.valid + size.test) for name, size in growth.SIZES.items()
    }
    assert counts["baby"] == (19_445, 7_050, 160_792) and counts["electronics"] == (192_403, 63_001, 1_689_188)
    assert counts["sports"] == (35_598, 18_357, 296_337) and counts["clothing"] == (39_387, 23_033, 278_677)


def test_the_record_of_growth_stays_within_eight_gib(root: Path) -> None:
    record = json.loads((root / "benchmarks" / "growth.json").read_text(encoding="utf-8"))
    electronics = record["models"]["electronics"]
    assert {"vbpr", "mmgcn", "lightgcn", "bpr"} <= set(electronics) <= set(RECOMMENDERS)
    for model, entry in electronics.items():
        assert entry.get("peak_bytes", 0) < 8 * 2**30 and ("refused" in entry) == (model == "ease"), model
        assert "refused" in entry or "epoch_seconds" in entry or not hasattr(RECOMMENDERS[model], "loss"), model
