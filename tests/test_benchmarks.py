"""The benchmarks at toy size: what they count is right; how long things take is not asserted."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lmmrec_core.encoders.clip.build import architecture
from lmmrec_core.encoders.clip.official import ClipB16
from lmmrec_core.encoders.vlmo.presets import VLMoBasePlus
from lmmrec_core.encoders.vlmo.settings import VLMoSettings
from tests.recommenders.toys import random_data

SIZES, CHUNK, UPDATES, REPEATS = (32, 160), 16, 2, 2
CLEAR_REFS = Path("/proc/self/clear_refs")
needs_peaks = pytest.mark.skipif(
    not os.access(CLEAR_REFS, os.W_OK), reason=f"peak memory is reset through {CLEAR_REFS}, which this system lacks"
)


TOY = {
    "end_to_end": ("--encoder", "clip-tiny-32", "--sizes", *SIZES, "--chunk", CHUNK, "--updates", UPDATES,
                   "--repeats", REPEATS),
    "official_step": ("--encoders", "clip-tiny-32", "vlmo-tiny", "--chunks", 2, 64),
}  # fmt: skip
RUN_ALL = """
import json, runpy, sys
for command in json.loads(sys.argv[1]):
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def reports(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Both scripts as a user runs them, in one process because importing takes longer than they do."""
    scripts, folder = root / "benchmarks", tmp_path_factory.mktemp("benchmarks")
    targets = {name: folder / f"{name}.json" for name in TOY}
    commands = [
        [str(scripts / f"{name}.py"), *map(str, options), "--json", str(targets[name])] for name, options in TOY.items()
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(scripts)]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN_ALL, json.dumps(commands)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return {name: json.loads(target.read_text(encoding="utf-8")) for name, target in targets.items()}


@pytest.fixture
def end_to_end(reports: dict[str, Any]) -> Any:
    return reports["end_to_end"]


@pytest.fixture
def benchmark(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A script of the folder as a module."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


@pytest.mark.slow
@needs_peaks
def test_every_item_is_encoded_twice_per_update(end_to_end: dict[str, Any]) -> None:
    for n, entry in zip(SIZES, end_to_end["memory"]["window"], strict=True):
        assert (entry["items"], entry["updates"]) == (n, UPDATES)
        assert entry["passes_per_update"] == 2
        # the check of the first chunk, twice; twice an update; once for the evaluation at the end
        assert entry["items_encoded"] == 2 * CHUNK + n * (2 * UPDATES + 1)


@pytest.mark.slow
@needs_peaks
def test_the_whole_graph_grows_with_the_catalogue_and_windows_do_not(end_to_end: dict[str, Any]) -> None:
    memory = end_to_end["memory"]
    whole = [entry["peak_bytes"] for entry in memory["whole_graph"]]
    windows = [entry["rest_bytes"] for entry in memory["window"]]
    assert not any(entry["extrapolated"] for entry in memory["whole_graph"])
    assert min(whole + windows) > 0
    assert whole[1] > 3 * whole[0] and windows[1] < 1.5 * windows[0]  # 5 times the items
    assert memory["growth"] == {"items": 5, "window_rest": windows[1] / windows[0], "whole_graph": whole[1] / whole[0]}


@pytest.mark.slow
@needs_peaks
def test_what_grows_by_construction_is_counted_by_hand(end_to_end: dict[str, Any]) -> None:
    for n, entry in zip(SIZES, end_to_end["memory"]["window"], strict=True):
        matrix = n * (32 + 32) * 4  # clip-tiny-32: 32 numbers per modality
        tables = (n * 128 + n * 64 + (32 + 32) * 64 + 64) * 4  # VBPR of 64: users, items, map and its bias
        grows = entry["grows_by_construction_bytes"]
        assert sum(grows.values()) == 2 * matrix + matrix + 3 * tables
        assert entry["rest_bytes"] == entry["peak_bytes"] - sum(grows.values())
        assert entry["pictures_bytes"] == n * 3 * 32 * 32


@pytest.mark.slow
@needs_peaks
def test_an_update_is_held_against_its_passes(end_to_end: dict[str, Any]) -> None:
    timing = end_to_end["time"]
    update = [each["fill"] + each["gradient_and_step"] for each in timing["update"]]
    alone = [each["forward"] + each["forward_and_backward"] for each in timing["passes_alone"]]
    assert timing["items"] == SIZES[0] and len(update) == len(alone) == REPEATS and min(update + alone) > 0
    assert timing["ratios"] == pytest.approx([a / b for a, b in zip(update, alone, strict=True)])
    assert timing["ratio"] == pytest.approx(median(timing["ratios"]))
    assert end_to_end["provenance"]["machine"]["device"] == "cpu"


@pytest.mark.slow
@needs_peaks
def test_the_step_of_an_encoder_is_measured_and_extrapolated(reports: dict[str, Any]) -> None:
    report = reports["official_step"]
    assert list(report["encoders"]) == ["clip-tiny-32", "vlmo-tiny"] and report["precision"] == "fp32"
    for encoder in report["encoders"].values():
        few, many = encoder["chunks"]
        for entry in (few, many):
            passes = sum(value for part, value in entry["seconds"].items() if part != "clip_and_adamw")
            assert min(entry["seconds"].values()) > 0
            assert entry["seconds_per_item"] == pytest.approx(passes / entry["chunk"])
            flop = entry["effective_tflops"] * 1e12 * passes
            assert flop == pytest.approx(4e9 * entry["gflop_per_item"]["both"] * entry["chunk"])
            with_gradient = entry["parameters_with_gradient"]
            assert 0 < with_gradient < entry["parameters"]  # the scale of the contrastive loss has none here
            assert entry["weights_gradients_moments_bytes"] == 4 * entry["parameters"] + 3 * 4 * with_gradient
        assert many["activation_bytes"] > max(0, few["activation_bytes"])
        best = min(encoder["chunks"], key=lambda entry: entry["seconds_per_item"])
        found = encoder["extrapolated"]
        assert found["extrapolated"] is True and found["from_chunk"] == best["chunk"]
        expected = 7050 * best["seconds_per_item"] + best["seconds"]["clip_and_adamw"]
        assert found["baby"]["update_seconds"] == pytest.approx(expected)
        assert found["baby"]["epoch_minutes"] == pytest.approx(8 * expected / 60)


def bare(member: type, **values: Any) -> Any:
    """An encoder without its network."""
    encoder = object.__new__(member)
    vars(encoder).update(values)
    return encoder


@pytest.mark.parametrize(
    ("encoder", "image", "text", "megabytes", "as_built"),
    [
        (bare(ClipB16, config=architecture("ViT-B-16-quickgelu")), 35.1, 6.0, 78, 192),
        (bare(VLMoBasePlus, settings=VLMoSettings.base_plus()), 35.8, 6.9, 105, 213),
    ],
    ids=["clip-b16", "vlmo-base-plus"],
)
def test_the_estimates_are_those_worked_out_by_hand(
    benchmark: Any, encoder: Any, image: float, text: float, megabytes: int, as_built: int
) -> None:
    found = benchmark("official_step").towers(encoder)
    assert {path: round(tower.gflop, 1) for path, tower in found.items()} == {"image": image, "text": text}
    assert round(sum(tower.kept_bytes("bf16", as_built=False) for tower in found.values()) / 1e6) == megabytes
    assert round(sum(tower.kept_bytes("fp32", as_built=True) for tower in found.values()) / 1e6) == as_built


def test_the_extrapolation_to_the_paper_s_data_sets(benchmark: Any) -> None:
    step = benchmark("official_step")
    flop = 4 * sum(tower.gflop for tower in step.towers(bare(ClipB16, config=architecture("ViT-B-16"))).values())
    best = {"chunk": 8, "seconds_per_item": 2.0, "seconds": {"clip_and_adamw": 3.0}}
    found = step.extrapolated({**best, "gflop_per_item": {"exact_update": flop}})
    assert found["baby"]["update_seconds"] == 7050 * 2 + 3
    assert found["clothing"]["epoch_minutes"] == pytest.approx(8 * (23033 * 2 + 3) / 60)
    updates = [found[name]["update_flop"] / 1e15 for name in ("baby", "sports", "clothing")]
    assert [round(update, 2) for update in updates] == [1.16, 3.02, 3.79]
    seconds = found["baby"]["update_seconds_at_assumed_rates"].values()
    assert [round(value, 1) for value in seconds] == [19.3, 3.9, 1.7]


@pytest.mark.parametrize("name", ["clip-tiny-32", "vlmo-tiny"])
def test_flop_by_formula_are_those_that_torch_counts(benchmark: Any, name: str) -> None:
    measuring = benchmark("measuring")
    items = measuring.MadeUpItems(measuring.ENCODERS[name](), 3, "cpu")
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        items.rows(torch.arange(3))
    expected = sum(tower.gflop for tower in benchmark("official_step").towers(items.encoder).values())
    assert counter.get_total_flops() == pytest.approx(3 * expected * 1e9)


def test_made_up_interactions_touch_every_item_equally(benchmark: Any) -> None:
    split = benchmark("end_to_end").made_up(20)
    for part, times in (("train", 8), ("valid", 1), ("test", 1)):
        assert split.part(part).user.tolist() == sorted(list(range(20)) * times)
        assert sorted(split.part(part).item.tolist()) == sorted(list(range(20)) * times)
    assert len(set(split.train_keys)) == 160


def test_what_a_policy_saves_and_how_far_it_is_from_exact(benchmark: Any) -> None:
    policies = benchmark("policies")
    rows, n = policies.policies(32), 32

    def found(model: str, policy: str) -> dict[str, Any]:
        return policies.measure("clip-tiny-32", n, model, rows[policy])

    assert found("mmgcn", "window")["items_encoded_per_update"] == pytest.approx(2 * n, rel=0.1)
    bank = found("vbpr", "bank")  # vbpr reads the items of its batch and no others
    assert bank["updates"] == 2 * policies.STEPS and len(bank["cosine"]) == policies.MEASURED
    assert bank["median_cosine"] == pytest.approx(1) and bank["median_relative_error"] < 1e-3
    assert "once an epoch" in found("lattice", "bank")["refused"]
    few, more = (found("lattice", f"top, {share} of the items") for share in ("1/8", "1/4"))
    assert few["updates"] == len(few["cosine"]) == policies.MEASURED
    assert 0 < few["median_cosine"] < more["median_cosine"] < 1
    # all items are filled before an update, but for the first one; then the kept ones are encoded with gradient
    encoded = [entry["items_encoded_per_update"] for entry in (few, more)]
    assert encoded == [n * (7 / 8 + share) for share in (1 / 8, 1 / 4)]


def test_every_way_of_propagating_computes_the_same(benchmark: Any) -> None:
    found = benchmark("propagation").measure(random_data(2), repeats=1)
    assert len(found) == 4 and found["ours"]["times_ours"] == 1
    assert max(entry["largest_difference"] for entry in found.values()) < 1e-5
