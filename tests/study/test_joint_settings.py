"""What end-to-end training may start from and train: it works, or is refused before anything is read."""

from dataclasses import replace

import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.study import run as running
from lmmrec_core.study.cases import Case
from lmmrec_core.study.features import load_features
from lmmrec_core.study.inputs import features_step
from lmmrec_core.study.joint.attach import trained_encoder_of
from lmmrec_core.study.run import plan, run_case
from lmmrec_core.study.weights.making import trained_encoder
from lmmrec_core.study.weights.recipes import read_entry
from tests.study.conftest import tiny_track


def case_of(encoder="vlmo", paradigm="ETE"):
    return Case.build(
        {"track": "controls", "dataset": "complementary", "encoder": encoder, "modalities": "V&T", "model": "vbpr",
         "paradigm": paradigm}, "case",
    )  # fmt: skip


@pytest.mark.parametrize("encoder", ["clip", "vlmo"])
def test_an_encoder_that_was_fine_tuned_can_be_trained_on(encoder, workspace):
    case, plain = case_of(encoder), plan(case_of(encoder), workspace)
    todo = plan(case, workspace, {"end_to_end.weights": "FT"})
    assert todo.key != plain.key
    step = features_step(case, todo.end_to_end)
    assert step == ("complementary", encoder, "FT", str(case.seed)) and features_step(case, plain.end_to_end)[2] == "PT"
    result = run_case(todo, workspace)
    tuned = load_features(workspace, workspace.dataset("complementary"), encoder, "FT", case.seed)
    assert (
        result.record["features"]["digest"]
        == tuned.digest
        != load_features(workspace, workspace.dataset("complementary"), encoder, "PT").digest
    )
    assert all(value < 1e-4 for value in result.record["training"]["features"]["start_difference"].values())
    assert set(trained_encoder_of(workspace, result).note) >= {"ft", "ete"}


@pytest.mark.parametrize("encoder", ["clip", "vlmo"])
@pytest.mark.parametrize(
    "more",
    [
        {"part": "lora", "boundary": "encode"},
        {"part": "top-1", "boundary": "keep"},
        {"part": "top-2", "boundary": "keep-bf16"},
    ],
)
def test_part_of_an_encoder_is_trained(encoder, more, workspace):
    todo = plan(case_of(encoder), workspace, {f"end_to_end.{k}": v for k, v in {"reading": "e3", **more}.items()})
    result = run_case(todo, workspace)
    notes = result.record["training"]["features"]
    assert notes["updates"] > 1 and notes["trained_parameters"] > 0
    start = trained_encoder(workspace, encoder, "PT", workspace.dataset("complementary")).module.state_dict()
    end = trained_encoder_of(workspace, result).module.state_dict()  # of its plain kind, without factors
    assert start.keys() == end.keys() and any((start[key] != end[key]).any() for key in start)


def test_low_rank_factors_can_be_fine_tuned(workspace):
    entry = tiny_track().encoders["vlmo"]
    tuned = {**entry, "fine_tune": {**entry["fine_tune"], "part": "lora", "learning_rate": 0.1}}
    other = replace(workspace, track=tiny_track(encoders={**tiny_track().encoders, "vlmo": tuned}))
    dataset = other.dataset("complementary")
    start, end = (trained_encoder(other, "vlmo", paradigm, dataset, 1).module.state_dict() for paradigm in ("PT", "FT"))
    assert start.keys() == end.keys()
    for key in start:  # linear maps of blocks, and nothing else
        assert (".blocks." in key and key.endswith("weight") and "norm" not in key) or (start[key] == end[key]).all()


@pytest.mark.parametrize(
    ("encoder", "more", "told"),
    [
        ("vlmo", {"part": "top-9"}, "no part 'top-9'; known: all, heads, lora, and top-K with K from 1 to 3"),
        ("clip", {"part": "top-4"}, "give at most top-2"),
    ],
)
def test_what_cannot_be_is_refused_before_features_are_read(encoder, more, told, workspace, monkeypatch):
    monkeypatch.setattr(running, "features_of", None)
    todo = plan(case_of(encoder), workspace, {f"end_to_end.{k}": v for k, v in {"reading": "e3", **more}.items()})
    with pytest.raises(ConfigError, match=told):
        run_case(todo, workspace)


def test_factors_of_nothing_are_refused():
    entry = tiny_track().encoders["clip"]
    tune = {**entry["pretrain"]["tune"], "part": "lora"}
    changed = {**entry, "pretrain": {**entry["pretrain"], "tune": tune}}
    with pytest.raises(ConfigError, match="part 'lora' adapts weights that are there"):
        read_entry(tiny_track(encoders={**tiny_track().encoders, "clip": changed}), "clip")


def test_settings_that_came_later_leave_the_keys_of_before(workspace):
    plain = plan(case_of(), workspace)
    asked = {"end_to_end.weights": "PT", "end_to_end.warm_up_updates": 0}
    assert plan(case_of(), workspace, asked).key == plain.key
    assert plan(case_of(), workspace, {"end_to_end.warm_up_updates": 3}).key != plain.key
