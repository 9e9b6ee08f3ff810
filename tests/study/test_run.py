import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from lmmrec_core.encoders.features.content import make_features
from lmmrec_core.errors import ConfigError, FeatureError, TrainingError
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.results.store import ResultStore
from lmmrec_core.study.calibration.stored_runs import made_from_runs
from lmmrec_core.study.cases import Case
from lmmrec_core.study.declared.settings import resolve
from lmmrec_core.study.run import features_of, plan, run_case
from lmmrec_core.study.study import Study
from tests.study.conftest import tiny_track


def case_of(model="bpr", **fields):
    return Case.build({"track": "controls", "dataset": "complementary", "model": model, **fields}, "case")


def test_settings_go_to_the_class_that_has_them(workspace):
    model, training = resolve(workspace, "bpr", {"reg_weight": 0.5, "epochs": 3})
    assert model.reg_weight == 0.5
    assert training.epochs == 3


def test_what_is_asked_in_epochs_takes_the_place_of_steps(workspace):
    declared = {**workspace.track.training, "epochs": None, "patience": None}
    track = workspace.track.model_copy(
        update={"training": {k: v for k, v in declared.items() if v is not None} | {"steps": 900, "patience_steps": 90}}
    )
    _, plain = resolve(replace(workspace, track=track), "bpr")
    assert (plain.steps, plain.epochs, plain.patience_steps, plain.patience) == (900, None, 90, None)
    _, asked = resolve(replace(workspace, track=track), "bpr", {"epochs": 3})
    assert (asked.steps, asked.epochs, asked.patience_steps) == (None, 3, 90)


@pytest.mark.parametrize("asked", [{"epochs": 2, "steps": 3}, {"patience_steps": 3, "patience": 2}])
def test_the_same_in_two_units_is_refused(workspace, asked):
    with pytest.raises(ConfigError, match="say the same in two units; give one of them"):
        resolve(workspace, "bpr", asked)


def test_features_that_are_all_zero_are_told(workspace, monkeypatch):
    features = make_features(
        {"visual": np.zeros((60, 3), np.float32), "textual": np.ones((60, 3), np.float32)},
        {"visual": np.ones(60, bool), "textual": np.ones(60, bool)}, {},
    )  # fmt: skip
    monkeypatch.setattr("lmmrec_core.study.run.load_features", lambda *_: features)
    with pytest.warns(UserWarning, match="all visual features of encoder 'baseline' are zero"):
        features_of(case_of("vbpr", encoder="baseline", modalities="V&T"), workspace)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features_of(case_of("vbpr", encoder="baseline", modalities="T"), workspace)
        features_of(case_of("vbpr", encoder="baseline", modalities="V&T", control="zero"), workspace)


def test_training_of_a_model_that_is_no_mapping_is_refused():
    with pytest.raises(ConfigError, match=r"models: training of 'bpr' is 5; write settings by name"):
        tiny_track(models={"bpr": {"training": 5}})


def test_rows_are_of_unit_length_unless_asked_otherwise(workspace):
    for model, asked, expected in [("vbpr", {}, True), ("lattice", {"normalise_features": False}, False)]:
        assert resolve(workspace, model, asked)[0].normalise_features is expected
    raw = replace(workspace, track=workspace.track.model_copy(update={"normalise_features": False}))
    assert resolve(raw, "vbpr")[0].normalise_features is False
    assert not hasattr(resolve(workspace, "bpr")[0], "normalise_features")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"modalities": "V", "control": "shuffled-T"}, "moves one modality of two; use modalities 'V&T'"),
        (
            {"paradigm": "ETE", "encoder": "clip", "modalities": "V&T", "control": "noise"},
            "control of the shuffled kind",
        ),
        ({"paradigm": "ETE", "encoder": "clip", "modalities": "V&V"}, "'V&V' need fixed features"),
    ],
)
def test_a_control_that_cannot_be_is_refused(workspace, fields, message):
    with pytest.raises(ConfigError, match=message):
        plan(case_of("vbpr", **{"encoder": "baseline", **fields}), workspace)


def test_misspelt_setting_names_the_nearest_of_model_and_training(workspace):
    with pytest.raises(ConfigError, match="unknown setting 'learning_rat'; did you mean 'learning_rate'"):
        resolve(workspace, "bpr", {"learning_rat": 1})
    with pytest.raises(ConfigError, match="unknown model 'latice'; did you mean 'lattice'"):
        resolve(workspace, "latice")


def test_key_depends_on_what_determines_the_result_only(workspace):
    def key(case, **overrides):
        return plan(case, workspace, overrides).key

    base = key(case_of())
    assert key(case_of(), threads=1) == base
    assert key(case_of(), checkpoint_seconds=5.0) == base
    assert key(case_of(), reg_weight=0.7) != base
    assert key(case_of(seed=2)) != base
    content = key(case_of("vbpr", encoder="baseline", modalities="V&T"))
    assert key(case_of("vbpr", encoder="baseline", modalities="V")) != content
    assert key(case_of("vbpr", encoder="baseline", modalities="V&T", control="shuffled")) != content


def test_content_model_without_encoder_is_refused(workspace):
    with pytest.raises(ConfigError, match="needs content"):
        plan(case_of("vbpr"), workspace)


@pytest.mark.parametrize(
    "case",
    [
        case_of("popularity"),
        case_of("lightgcn"),
        case_of("vbpr", encoder="baseline", modalities="V&T"),
        case_of("lattice", encoder="baseline", modalities="T"),
        case_of("lattice", encoder="baseline", modalities="V&T", control="zero"),
    ],
    ids=lambda case: case.slug,
)
def test_run_is_stored_with_its_identity_and_returned_when_asked_again(case, dataset, workspace):
    todo = plan(case, workspace)
    result = run_case(todo, workspace)
    assert 0 < result.mean("recall@20") < 1
    folder = ResultStore(workspace.results).path_of(todo.key, "controls", "complementary", case.slug)
    before = (folder / "run.json").stat().st_mtime_ns
    again = run_case(todo, workspace)
    assert (folder / "run.json").stat().st_mtime_ns == before
    assert again.mean("ndcg@20") == result.mean("ndcg@20")
    record = json.loads((folder / "run.json").read_text())
    assert record["data"]["split"] == dataset.split.fingerprint
    assert record["metrics"]["test"]["recall@20"] == pytest.approx(result.mean("recall@20"), abs=1e-12)
    assert len(result.per_user) == len(set(dataset.split.test.user))


def test_the_same_case_computed_twice_gives_the_same_lists(workspace, tmp_path):
    todo = plan(case_of("lattice", encoder="baseline", modalities="V&T", seed=5), workspace)
    first = run_case(todo, workspace)
    elsewhere = replace(workspace, results=tmp_path / "elsewhere")
    second = run_case(todo, elsewhere)
    numbers = [c for c in first.per_user.columns if "@" in c]
    assert first.per_user[numbers].equals(second.per_user[numbers])


def test_statistics_tell_counts_and_feature_widths_of_what_was_run(dataset, workspace):
    from lmmrec_core.study.datasets import store_statistics

    store_statistics(dataset, workspace.track, workspace.results)
    todo = plan(case_of("vbpr", encoder="baseline", modalities="V&T"), workspace)
    run_case(todo, workspace)
    statistics = Study(workspace, (1,)).statistics()
    assert statistics.loc["complementary", "users"] == dataset.catalogue.n_users
    assert statistics.loc["complementary", "interactions"] == len(dataset.catalogue.user)
    assert statistics.loc["complementary", ["visual_dim", "textual_dim"]].tolist() == [64, 64]


def test_planning_trains_and_extracts_nothing(workspace, tmp_path):
    """Features of encoders trained here are known by their weights; on an empty cache that is said, not mended."""
    empty = replace(workspace, cache=tmp_path / "empty")
    with pytest.raises(FeatureError, match="weights were not made yet"):
        plan(case_of("vbpr", encoder="baseline", modalities="V&T"), empty)
    plan(case_of("vbpr", encoder="clip", paradigm="FT", modalities="V&T"), empty)
    assert [path.name for path in empty.cache.iterdir()] == ["catalogues"]


def test_a_recommender_that_lacks_part_of_its_role_is_refused_not_stored_untrained(workspace, monkeypatch):
    class Misspelt(torch.nn.Module):
        name, uses_features = "bpr", False

        def __init__(self, data, settings, generator):
            super().__init__()
            self.shape = data.n_users, data.n_items

        def lossy(self, batch, generator):
            return torch.zeros(())

        def scorer(self):
            return lambda users: torch.zeros(len(users), self.shape[1])

    todo = plan(case_of("bpr"), workspace)
    monkeypatch.setitem(RECOMMENDERS._loaded, "bpr", Misspelt)
    with pytest.raises(TrainingError, match=r"Misspelt cannot be trained because it has no .*loss"):
        run_case(todo, workspace)
    assert not workspace.store.find_records()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"visual": "light-cnn", "textual": "light-text"}, "needs outside_items and seed"),
        ({"visual": "light-cnn", "outside_items": "many", "seed": 7}, "outside_items = 'many' is not valid"),
        ({"visual": "lite0", "colour": "lite0"}, "unknown setting 'colour'"),
        ({"visual": {"encoder": "lite0", "sttings": {}}}, "sttings"),
        ({"outside_items": 100}, "it names no encoder; write visual, textual, or encoder"),
        ({"visual": "lite1"}, "unknown encoder 'lite1'; did you mean 'lite0'"),
    ],
)
def test_an_entry_of_separate_encoders_is_checked(workspace, entry, message):
    track = workspace.track.model_copy(update={"encoders": {"own": entry}})
    with pytest.raises(ConfigError, match=message):
        plan(case_of("vbpr", encoder="own", modalities="V"), replace(workspace, track=track))


def test_an_arm_is_another_run_with_its_own_settings(workspace):
    arms = {"raw": {"settings": {"normalise_features": False}, "why": "a test"}}
    track = type(workspace.track).build(workspace.track.model_dump() | {"arms": arms}, "a test")
    here = replace(workspace, track=track)
    case = case_of("vbpr", encoder="baseline", modalities="V&T")
    plain, raw = (plan(case.model_copy(update={"arm": arm}), here) for arm in ("none", "raw"))
    assert (plain.model.normalise_features, raw.model.normalise_features) == (True, False)
    assert plain.key != raw.key and plain.declared != raw.declared
    with pytest.raises(ConfigError, match="unknown arm 'rw'; did you mean 'raw'"):
        plan(case.model_copy(update={"arm": "rw"}), here)


def test_a_run_of_a_cell_that_the_track_leaves_out_now_does_not_count(workspace):
    """Else a copy with old runs would show, and hold against themselves, what a fresh one does not have."""
    run_case(plan(case_of("popularity"), workspace), workspace)
    gone = {"models": ("popularity",), "why": "a test"}
    track = type(workspace.track).build(workspace.track.model_dump() | {"left_out": [gone]}, "a test")
    before, after = (Study(replace(workspace, track=t), (1,), allow_uncommitted=True) for t in (workspace.track, track))
    assert len(before.results()) == 1 and len(after.results()) == 0
    made_from = [made_from_runs("against-itself", study) for study in (before, after)]
    assert made_from[0]["settings"] != made_from[1]["settings"] and "runs" not in made_from[1]
