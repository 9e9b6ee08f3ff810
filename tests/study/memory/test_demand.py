"""The estimate of memory is held against the peaks that the benchmarks measured, and its parts against hand counts."""

import json

import pytest

from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.study.declared.settings import resolve
from lmmrec_core.study.memory.demand import (
    GIB,
    Demand,
    activations,
    demand_of_extraction,
    demand_of_run,
    demand_of_tuning,
)
from lmmrec_core.study.preview.costs import Size, cost_table
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.joint.settings import EndToEndSettings

BABY = Size(19_445, 7_050, 118_551)
WIDTHS = {"visual": 4096, "textual": 384}


def demand(model, size=BABY, widths=WIDTHS, joint=None, encoder="", **changes):
    settings, training = resolve(Workspace.open("user"), model, changes if hasattr(RECOMMENDERS[model], "loss") else {})
    return demand_of_run(f"{model} on x", model, settings, training, size, widths, joint, encoder)


def record(root, name):
    return json.loads((root / "benchmarks" / f"{name}.json").read_text())


def test_estimates_hold_the_measured_peaks_without_being_far_above(root):
    """On the CPU; the benchmark holds the features once, a run twice."""
    growth, seen = record(root, "growth"), set()
    for name, entries in growth["models"].items():
        size = growth["sizes"][name]
        shape = Size(size["users"], size["items"], size["train"])
        for model, entry in entries.items():
            if "peak_bytes" not in entry:
                continue
            reads = RECOMMENDERS[model].uses_features
            widths = {m: size[m] for m in WIDTHS} if reads else {}
            content = 4 * shape.items * (size["visual"] + size["textual"])
            found = demand(model, shape, widths, device="cpu").host_bytes
            measured = entry["peak_bytes"] + (content if reads else -content)
            assert 0.9 * measured < found < 2 * measured + GIB / 2, (name, model, found / GIB, measured / GIB)
            seen.add((name, model))
    assert {"baby", "electronics"} <= {size for size, _ in seen}
    assert {"vbpr", "mmgcn", "lightgcn", "bpr"} <= {model for size, model in seen if size == "electronics"}


def test_on_a_gpu_the_estimates_hold_what_was_measured_there(root):
    for model, entry in record(root, "rehearsal")["parts"]["recommenders"].items():
        widths = WIDTHS if RECOMMENDERS[model].uses_features else {}
        found = demand(model, widths=widths, device="cuda", **_trained(model)).device
        assert 0.8 * entry["peak_device_bytes"] < sum(found.values()) - found["program"], model


def _trained(model):
    """The rehearsal's models trained their copies of the features."""
    return {"trainable_features": True} if model in ("lattice", "freedom", "bm3") else {}


def test_features_and_tables_are_counted_by_hand():
    found = demand("vbpr", device="cpu")
    content = 4 * 7050 * (4096 + 384)
    assert found.host["features"] == 3 * content  # as stored, as the model has them, and one for a step
    mapped = (4096 + 384 + 1) * 64
    assert found.host["weights"] == 4 * (5 * 64 * (2 * 19_445 + 7_050) + 6 * mapped)
    assert found.host_bytes == round(1.1 * sum(found.host.values())) and not found.device
    double = demand("vbpr", device="cpu", embedding_dim=128)
    assert double.host["weights"] == 2 * found.host["weights"]
    on_gpu = demand("vbpr", device="cuda")
    assert on_gpu.device["weights"] == found.host["weights"] and "weights" not in on_gpu.host
    assert on_gpu.host["features"] == 2 * content == on_gpu.device["features"]


def test_copies_that_are_trained_cost_five_times_the_features():
    content = 4 * 7050 * (4096 + 384)
    free, fixed = (demand("lattice", device="cpu", trainable_features=on) for on in (True, False))
    assert free.host_bytes - fixed.host_bytes == pytest.approx(1.1 * 5 * content, rel=1e-6)
    assert free.cures[0] == "set trainable_features=false" and len(fixed.cures) == 2


def test_a_matrix_of_items_by_items_is_seen(root):
    assert demand("ease", Size(192_403, 63_001, 1_330_000), {}, device="cpu").host_bytes > 45 * GIB
    assert demand("itemknn", Size(192_403, 63_001, 1_330_000), {}, device="cpu").host_bytes < 8 * GIB


def test_end_to_end_training_grows_with_the_chunk_and_not_with_the_items():
    widths = {"visual": 512, "textual": 512}
    few, many = (
        demand("vbpr", widths=widths, device="cuda", joint=EndToEndSettings(chunk=chunk, precision="bf16"),
               encoder="clip-b16")
        for chunk in (64, 256)
    )  # fmt: skip
    parameters, per_item = activations("clip-b16", "bf16")
    rows = {row["chunk"]: row["device_bytes"] for row in cost_table()["updates"]
            if (row["encoder"], row["precision"]) == ("clip-b16", "bf16")}  # fmt: skip
    assert per_item == (rows[256] - rows[64]) / 192 and parameters == 149_620_737
    grown = many.device["activations of 256 items"] - few.device["activations of 64 items"]
    assert grown == pytest.approx(192 * per_item, abs=2)
    # what was measured above weights, pictures and data: gradients, two moments, activations
    for chunk, measured in rows.items():
        found = {64: few, 256: many}[chunk].device
        held = found["encoder"] * 3 / 5 + found[f"activations of {chunk} items"]
        assert 0.9 * measured < held < 1.2 * measured
    larger = demand("vbpr", Size(39_387, 23_033, 205_000), widths, device="cuda", encoder="clip-b16",
                    joint=EndToEndSettings(chunk=64, precision="bf16"))  # fmt: skip
    assert larger.device["activations of 64 items"] == few.device["activations of 64 items"]
    assert larger.host["pictures"] == 23_033 * 3 * 224 * 224
    assert few.cures[0] == "lower end_to_end.chunk (now 64)"
    assert activations("clip-tiny", "fp32") is None


def test_fine_tuning_grows_with_the_pairs_at_once():
    settings = FineTuneSettings.build(
        {"objectives": ["itc"], "batch_size": 256, "micro_batch": 64, "precision": "bf16", "device": "cuda"}, "x"
    )
    found = demand_of_tuning("tuning", "clip-b16", settings)
    double = demand_of_tuning("tuning", "clip-b16", settings.model_copy(update={"micro_batch": 128}))
    whole = demand_of_tuning("tuning", "clip-b16", settings.model_copy(update={"micro_batch": None}))
    assert found is not None and double is not None and whole is not None
    assert double.device["activations of 128 pairs"] == pytest.approx(2 * found.device["activations of 64 pairs"])
    assert "activations of 256 pairs" in whole.device and "micro_batch (now 64)" in found.cures[0]
    assert demand_of_tuning("tuning", "clip-tiny", settings) is None


def test_making_features_takes_rows_and_one_batch():
    found = demand_of_extraction("features", ["clip-b16", "clip-b16"], 7050, 1024, "cuda")
    assert found.host["features"] == 2 * 4 * 7050 * 1024
    assert found.device["encoder"] == 4 * 149_620_737 and "activations of 256 items" in found.device
    assert not demand_of_extraction("features", ["light-cnn"], 60, 8, "cpu").device


def test_small_parts_are_not_named():
    told = Demand("x", {"program": GIB, "lists": GIB // 100}, {"encoder": 2 * GIB}).told()
    assert told == "about 1.1 GiB (program 1.0), about 2.2 GiB on the GPU (encoder 2.0)"
