"""Costs: from stored runs, else from the table that is gathered from the benchmarks, else nothing."""

import importlib
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from lmmrec_core.names import WARM
from lmmrec_core.study.cases import Case, all_cases
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.preview import costs
from lmmrec_core.study.preview.costs import Size, cost_table, estimate_costs
from lmmrec_core.study.workspace import Workspace

TRACK = read_track("paper")
HOUR = 3600


@pytest.fixture
def workspace(tmp_path):
    return Workspace(TRACK, tmp_path / "results", tmp_path / "cache", None, progress=False)


def case(**fields):
    return Case.build({"track": "paper", "dataset": "baby", "seed": 1, **fields}, "case")


def row_of(machine, model):
    (row,) = (r for r in cost_table()["epochs"] if (r["machine"], r["model"]) == (machine, model))
    return row


def at_size(monkeypatch, **size):
    """Baby as large as is said: by default as it was measured."""
    row = row_of("cuda", "vbpr")
    there = Size(**{"users": row["users"], "items": row["items"], "rows": row["rows"], **size})
    monkeypatch.setattr(costs, "known_sizes", lambda workspace: {"baby": there})


def test_the_table_in_the_package_is_what_the_records_say(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    assert importlib.import_module("costs").gather() == cost_table()
    speed = json.loads((root / "benchmarks/speed.json").read_text())
    assert row_of("cpu", "vbpr")["epoch_seconds"] == speed["models"]["vbpr"]["epoch_seconds"]


def test_a_training_costs_at_most_its_steps_and_validations_at_the_measured_pace(workspace, monkeypatch):
    at_size(monkeypatch)
    cpu, cuda = estimate_costs([case(model="bpr")], [], workspace).machines
    row = row_of("cpu", "bpr")
    epochs = math.ceil(10_000 / 58)  # of 58 steps, validated after each
    assert cpu.seconds == pytest.approx(epochs * row["epoch_seconds"] + (epochs + 2) * row["evaluation_seconds"])
    assert (cpu.cases, cpu.extrapolated, cpu.host_bytes) == (1, 0, row["host_bytes"])
    assert cuda.device_bytes == row_of("cuda", "bpr")["device_bytes"] and cuda.seconds < cpu.seconds


def test_end_to_end_adds_the_updates_of_the_encoder(workspace, monkeypatch):
    at_size(monkeypatch)
    fields = {"encoder": "clip", "modalities": "V&T"}
    for model, updates in (("vbpr", 8), ("lattice", 1)):
        fixed = estimate_costs([case(model=model, **fields, paradigm="PT")], [], workspace).machines[1]
        joint = estimate_costs([case(model=model, **fields, paradigm="ETE")], [], workspace).machines[1]
        (update,) = (
            r for r in cost_table()["updates"] if (r["encoder"], r["precision"], r["chunk"]) == ("clip-b16", "bf16", 64)
        )
        passes = math.ceil(10_000 / 58) * updates * 7050 * update["seconds_per_item"]
        assert joint.seconds - fixed.seconds == pytest.approx(passes)
        assert joint.device_bytes == update["device_bytes"] and joint.extrapolated == 1
    assert (
        estimate_costs([case(model="vbpr", **fields, paradigm="ETE")], [], workspace).machines[0].unknown == 1
    )  # on a CPU


def test_another_size_is_marked_and_never_cheaper(workspace, monkeypatch):
    at_size(monkeypatch)
    measured = estimate_costs([case(model="lightgcn")], [], workspace).machines[1]
    at_size(monkeypatch, users=38_890, items=14_100, rows=237_102)
    doubled = estimate_costs([case(model="lightgcn")], [], workspace).machines[1]
    assert doubled.extrapolated == 1 and doubled.seconds > 1.9 * measured.seconds
    assert doubled.device_bytes is None  # was not measured at this size
    assert estimate_costs([case(model="ease")], [], workspace).machines[0].unknown == 1  # grows otherwise than its rows
    at_size(monkeypatch, users=1000, items=500, rows=8000)
    small = estimate_costs([case(model="lightgcn")], [], workspace).machines[1]
    assert small.extrapolated == 1 and small.seconds >= 10_000 / 58 * row_of("cuda", "lightgcn")["epoch_seconds"]


def test_fine_tuning_is_counted_once_for_all_that_read_it(workspace, monkeypatch):
    at_size(monkeypatch)
    read = {"encoder": "vlmo", "paradigm": "FT", "modalities": "V&T"}
    cases = [case(model=model, **read) for model in ("vbpr", "lattice")]
    cpu, cuda = estimate_costs(cases, [], workspace).machines
    assert (cpu.tunings, cpu.tunings_unknown, cuda.tunings, cuda.tunings_unknown) == (0, 1, 1, 0)
    (row,) = (r for r in cost_table()["fine_tuning"] if (r["encoder"], r["precision"]) == ("vlmo-base-plus", "bf16"))
    alone = sum(estimate_costs([one], [], workspace).machines[1].seconds for one in cases)
    assert alone - cuda.seconds == pytest.approx(10 * 7050 * row["seconds_per_pair"])


def test_training_end_to_end_from_a_fine_tuned_encoder_needs_its_fine_tuning(workspace, monkeypatch):
    at_size(monkeypatch)
    encoders = workspace.track.encoders
    tuned = {**encoders["vlmo"], "end_to_end": {**encoders["vlmo"]["end_to_end"], "weights": "FT"}}
    track = workspace.track.model_copy(update={"encoders": {**encoders, "vlmo": tuned}})
    joint = [case(model="vbpr", encoder="vlmo", paradigm=how, modalities="V&T") for how in ("ETE", WARM)]
    asked = [*joint, case(model="vbpr", encoder="vlmo", paradigm="FT", modalities="V&T")]
    assert estimate_costs(joint, [], workspace).machines[1].tunings == 0
    for cases in (joint, asked):  # one encoder serves them all
        found = estimate_costs(cases, [], replace(workspace, track=track))
        assert found.machines[1].tunings == 1 and found.disk["fine-tuned encoders"] > 0


def test_stored_runs_of_the_same_kind_go_first(workspace):
    def run(seconds, memory, **fields):
        fields = case(**fields).model_dump()
        return SimpleNamespace(case=fields, data={"cost": {"seconds": seconds, "peak_memory_bytes": memory}})

    runs = [run(100, 7, model="bpr"), run(300, 9, model="bpr"), run(5000, 1, model="lightgcn")]
    found = estimate_costs([case(model="bpr", seed=seed) for seed in (2, 3)], runs, workspace)
    assert (found.stored.cases, found.stored.seconds, found.stored.host_bytes) == (2, 400, 9)
    assert all(bill.cases == 0 for bill in found.machines)
    other = estimate_costs([case(model="bpr", dataset="sports")], runs, workspace)
    assert other.stored.cases == 0 and other.machines[0].cases == 1


def test_what_was_not_measured_has_no_estimate(workspace, tmp_path):
    controls = read_track("controls")  # of no size that is known here
    here = replace(workspace, track=controls)
    found = estimate_costs(all_cases(controls, (1,))[:5], [], here)
    (cpu,) = found.machines
    assert (cpu.cases, cpu.unknown, cpu.seconds, cpu.host_bytes) == (0, 5, 0, None) and not found.disk


def test_the_disk_of_kept_encoders_is_their_weights_and_that_of_pictures_a_byte_a_colour(workspace):
    read = {"encoder": "clip", "modalities": "V&T"}
    cases = [case(model=model, **read, paradigm=p, seed=s) for model in ("vbpr", "mmgcn") for s in (1, 2)
             for p in ("PT", "FT", "ETE")]  # fmt: skip
    weights = 149_620_737 * 4
    assert estimate_costs(cases, [], workspace).disk == {
        "encoders trained end to end": 4 * weights, "fine-tuned encoders": 2 * weights,
        "pictures as encoders read them": 7037 * 3 * 224 * 224,
    }  # fmt: skip


def test_the_papers_sizes_are_known_without_data(workspace):
    cases = [case(model="vbpr", encoder="baseline", modalities="V&T", dataset=name) for name in TRACK.datasets]
    found = estimate_costs(cases, [], workspace)
    assert [bill.unknown for bill in found.machines] == [0, 0]
    assert [bill.extrapolated for bill in found.machines] == [2, 2]  # Baby's is the measured one
