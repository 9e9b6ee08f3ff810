"""The listing of settings that are not the released ones: complete, right by hand, and with a reason for each."""

import re
from pathlib import Path

import pytest

from lmmrec_core.config import read_yaml
from lmmrec_core.names import TRACKS
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.study import Study
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.deviations import DEVIATION_COLUMNS, NO_EFFECT, RELEASED, SEARCHED_WHY, WHY, deviations
from lmmrec_core.study.search.grids import read_grid
from tests.study.conftest import tiny_workspace

ROOT = Path(__file__).resolve().parents[2]


RELEASED_PACE = {"epochs": 1000, "evaluate_every": 1, "patience": 20, "stop_rounding": 4}
IN_STEPS = {"steps": 10000, "evaluate_steps": 60, "patience_steps": 1200}


def of(tmp_path, pace=RELEASED_PACE, **models):
    """(setting, released, here) of one model as a track declares it."""
    if pace is RELEASED_PACE and "mmgcl" in models:  # its release waits for 8 validations
        pace = {**pace, "patience": 8}
    workspace = tiny_workspace(tmp_path, tmp_path, models=models, training=pace, normalise_features=False)
    frame = deviations(workspace)
    return sorted(tuple(row) for row in frame[["setting", "released", "here"]].itertuples(index=False))


def test_released_settings_are_not_listed(tmp_path):
    assert of(tmp_path, mmgcl={"ssl_temp": 0.5, "ssl_alpha": 1.0, "training": {"weight_decay": 0.0001}}) == []
    assert of(tmp_path, lattice={"reg_weight": 0.001, "training": {"lr_decay": 0.96, "lr_decay_epochs": 50}}) == []
    assert of(tmp_path, popularity={}, ease={"reg": 3.0}) == []


def test_what_differs_is_listed_as_it_acts(tmp_path):
    assert of(tmp_path, mmgcn={"stale_eval": False, "reg_weight": 7.0}) == [("stale_eval", "on", "off")]  # no effect
    assert of(tmp_path, slmrec={"mode": "described", "ssl_temp": 0.3, "training": {"weight_decay": 0.0001}}) == [
        ("mode", "reference", "described"), ("rank_by", "sigmoid", "score"),
        ("ssl_temp", "0.1 or 0.2 or 0.5 or 1.0", "0.3"), ("stale_eval", "on", "off"),
    ]  # fmt: skip
    assert of(tmp_path, lattice={"reg_weight": 0.001}) == [("lr_decay", "0.96", "1.0")]
    assert of(tmp_path, mmgcl={"normalise_features": True, "training": {"weight_decay": 0.0001}}) == []  # as released
    assert of(tmp_path, vbpr={"normalise_features": True, "reg_weight": 1.0}) == [("normalise_features", "off", "on")]


def test_how_long_a_training_lasts_is_listed_in_the_unit_of_either_side(tmp_path):
    assert of(tmp_path, {**IN_STEPS, "stop_rounding": None}, bpr={}) == [
        ("evaluate_steps", "1 epoch", "60 steps"), ("patience_steps", "20 validations", "1,200 steps"),
        ("steps", "1,000 epochs", "10,000 steps"), ("stop_rounding", "4 decimals", "unrounded"),
    ]  # fmt: skip
    assert of(tmp_path, {"patience": 1, "stop_rounding": 3}, bpr={}) == [
        ("patience", "20 validations", "1 validation"), ("stop_rounding", "4 decimals", "3 decimals"),
    ]  # fmt: skip
    assert of(tmp_path, {"stop_rounding": 4}, bpr={}) == []  # the toolbox's own values are filled in
    assert of(tmp_path, {"stop_rounding": 4}, mmgcl={"training": {"weight_decay": 0.0001}}) == [
        ("patience", "8 validations", "20 validations")
    ]


def test_a_pace_that_models_share_is_one_row(tmp_path):
    models = {"bpr": {}, "vbpr": {"reg_weight": 1.0, "training": {"steps": 5}}, "mmgcl": {}}
    workspace = tiny_workspace(tmp_path, tmp_path, models=models, training={**IN_STEPS, "stop_rounding": 4})
    frame = deviations(workspace)
    rows = [tuple(row) for row in frame[["model", "setting", "here"]].itertuples(index=False)][:5]
    assert sorted(rows) == [
        ("BPR, MMGCL", "steps", "10,000 steps"), ("BPR, VBPR", "patience_steps", "1,200 steps"),
        ("MMGCL", "patience_steps", "1,200 steps"), ("VBPR", "steps", "5 steps"), ("all", "evaluate_steps", "60 steps"),
    ]  # fmt: skip


@pytest.mark.parametrize("track", TRACKS)
def test_the_pace_of_every_track_is_listed_with_its_reason(track):
    frame = Study.open(track).deviations()
    rows = frame[frame["setting"].isin([*IN_STEPS, "stop_rounding"])]
    assert dict(zip(rows["setting"], rows["here"], strict=True)) == {
        "steps": "10,000 steps", "evaluate_steps": "60 steps", "patience_steps": "1,200 steps",
        "stop_rounding": "unrounded",
    }  # fmt: skip
    assert (rows["why"] == rows["setting"].map(WHY)).all()


def test_a_value_of_an_earlier_search_is_not_called_chosen_for_the_data():
    track = ROOT / "lmmrec_core" / "tracks" / "films.yaml"
    assert '"searched" below: on validation with raw rows and a patience in epochs, an earlier protocol' in (
        track.read_text(encoding="utf-8")
    )
    found = Study.open("films").deviations().query("setting == 'reg_weight'")
    (row,) = found[found["why"] != SEARCHED_WHY].itertuples()
    assert row.model == "FREEDOM" and "on validation under an earlier protocol" in row.why


@pytest.mark.parametrize("track", TRACKS)
def test_every_deviation_of_a_track_has_its_reason(track):
    frame = Study.open(track).deviations()
    assert tuple(frame.columns) == DEVIATION_COLUMNS
    assert set(frame.loc[frame["why"] != SEARCHED_WHY, "setting"]) <= set(WHY)
    assert frame["why"].map(len).min() > 10


@pytest.mark.parametrize("track", TRACKS)
def test_a_switch_that_a_track_file_turns_is_listed(track):
    listed = {(row.model.lower(), row.setting) for row in Study.open(track).deviations().itertuples()}
    released = read_grid("mmrec").models | {"mmgcl": read_grid("release").models["mmgcl"]}
    declared = read_yaml(ROOT / "lmmrec_core" / "tracks" / f"{track}.yaml")["models"]
    searched = read_track(track).searched
    for model, settings in declared.items():
        if model not in released:
            continue
        for name, value in settings.items():
            field = RECOMMENDERS[model].Settings.model_fields.get(name)
            grid = released[model]
            if field is None or name in (*grid.no_effect, *NO_EFFECT.get(model, ())):
                continue
            usual = grid.search.get(name, (grid.fixed.get(name, RELEASED.get(name, field.default)),))
            cells = [cell.settings for cell in searched if cell.model == model and name in cell.settings]
            held = {settings[name] for settings in cells} or {value}  # what a search found goes before the file
            assert ((model, name) in listed) == (not held <= set(usual)), (model, name, held)


def test_the_chapter_says_which_switches_every_track_turns():
    text = (ROOT / "book" / "chapters" / "recommenders.md").read_text(encoding="utf-8")
    assert "use the reference mode" not in re.sub(r"\s+", " ", text)
    assert "`stale_eval: false`" in text and "`rank_by: score`" in text
    for track in TRACKS:
        frame = Study.open(track).deviations()
        turned = {name: set(frame[frame["setting"] == name]["model"]) for name in ("stale_eval", "rank_by")}
        assert turned == {"stale_eval": {"MMGCN", "MMGCL", "SLMRec"}, "rank_by": {"MMGCL", "SLMRec"}}
    widths = {track: "embedding_dim" in set(Study.open(track).deviations()["setting"]) for track in TRACKS}
    assert widths == {"controls": True, "films": False, "paper": False}
