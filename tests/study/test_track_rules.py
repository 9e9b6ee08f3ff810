"""Rules of a track file without effect are refused, with what there is near them; and what a file extends."""

import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.names import TRACKS
from lmmrec_core.study.declared.rules import check_effects
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.weights.recipes import check_entry


def written(folder, text: str, name: str = "own.yaml", base: str = "controls") -> str:
    file = folder / name
    file.write_text(f"extends: {base}\n{text}\n")
    return str(file)


def refused(folder, text: str, base: str = "controls") -> str:
    with pytest.raises(ConfigError) as told:
        read_track(written(folder, text, base=base))
    return str(told.value)


ALL = "datasets: [complementary], models: [vbpr], encoders: [clip]"


@pytest.mark.parametrize(
    ("text", "place", "near"),
    [
        (
            "searched: [{dataset: complementary, model: ease, encoder: clip, paradigm: PT, settings: {reg: 3}}]",
            "searched[0]: no case of the grid has datasets complementary and models ease and encoders clip",
            "models are vbpr, mmgcn, mmgcl, slmrec, lattice;",
        ),
        (
            "searched: [{dataset: 'null', model: vbpr, encoder: baseline, paradigm: PT, settings: {reg_weight: 3}}]",
            "searched[0]",
            "with datasets null and models vbpr and encoders baseline, paradigms are none",
        ),
        ("kept_models: [{models: [ease]}]", "kept_models[0]", "models are bpr, lightgcn, vbpr,"),  # it has no vectors
        ("kept_models: [{models: [bpr], encoders: [clip]}]", "kept_models[0]", "with models bpr, encoders are none"),
        ("kept_models: [{models: [vbpr, ease]}]", "kept_models[0]: no case of the grid has models ease", "vbpr"),
        ("kept_models: [{models: []}]", "kept_models[0]: no case of the grid has models (none)", "bpr"),
        ("arms: {x: {settings: {n_layers: 3}, models: [ease], why: w}}", "arms.x", "models are vbpr, mmgcn"),
        (
            "arms: {x: {settings: {steps: 3}, encoders: [clip], paradigms: [none], why: w}}",
            "arms.x",
            "with encoders clip, paradigms are PT, FT, ETE, ETE-warm",
        ),
        ("not_searched: [{models: [bpr], why: w}]", "not_searched[0]", "with models bpr, paradigms are none"),
        ("not_searched: [{encoders: [baseline], why: w}]", "not_searched[0]", "encoders are clip, vlmo"),
        (
            "searched_later: [{models: [vbpr, popularity], why: w}]",
            "searched_later[0]: grid 'study' lists no settings of model 'popularity', so none are searched",
            "remove it",
        ),
        ("not_searched: [{models: [popularity], why: w}]", "not_searched[0]: grid 'study' lists no settings", ""),
        (f"warm_start: {{{ALL.replace('vbpr', 'bpr')}}}", "warm_start", "models are vbpr, mmgcl"),
        (f"warm_start: {{{ALL.replace('clip', 'baseline')}}}", "warm_start", "encoders are clip, vlmo"),
        (f"warm_start: {{{ALL.replace('vbpr', 'vbpr, freedom')}}}", "models freedom and encoders clip", "vbpr"),
        ("further_splits: [{splits: [7], models: [bpr], encoders: [clip]}]", "further_splits[0]", "encoders are none"),
        ("further_splits: [{splits: [7], models: [bpr], arms: [raw]}]", "further_splits[0]", "arms are none"),
        ("left_out: [{models: [bpr], controls: [zero], why: w}]", "left_out[0]", "with models bpr, controls are none"),
        (
            "left_out: [{models: [vbpr], why: w}, {arms: [raw], why: w}]",
            "left_out.1: unknown setting 'arms'",
            "known: controls, datasets",
        ),
    ],
)
def test_a_rule_that_meets_no_case_is_refused_with_what_there_is(tmp_path, text, place, near):
    error = refused(tmp_path, text)
    assert f"own.yaml: {place}" in error or (place in error and "own.yaml: " in error)
    assert near in error


def test_a_rule_about_what_the_track_leaves_out_is_refused(tmp_path):
    kept = "kept_models: [{datasets: [redundant], models: [mmgcn]}]"
    error = refused(tmp_path, kept)
    assert (
        "kept_models[0]: the track leaves out datasets redundant and models mmgcn (five of the models run on" in error
    )


def test_seeds_that_leave_nothing_out_are_refused(tmp_path):
    assert "seeds = 3 leaves none out: the track has 3, [1, 2, 3]" in refused(
        tmp_path, "left_out: [{models: [vbpr], seeds: 3, why: w}]"
    )
    assert "popularity, itemknn run with one seed anyway" in refused(
        tmp_path, "left_out: [{models: [popularity, itemknn], seeds: 1, why: w}]"
    )


def test_further_splits_that_are_no_others_are_refused(tmp_path):
    assert "split 2026 is data set complementary's own" in refused(
        tmp_path, "further_splits: [{splits: [2027, 2026], models: [bpr]}]"
    )
    timed = "{title: x, source: controls, options: {kind: 'null', seed: 3}, split: {rule: global_time}}"
    assert "'global_time' of data set timed draws nothing" in refused(
        tmp_path, f"datasets: {{timed: {timed}}}\nfurther_splits: [{{splits: [7], datasets: [timed]}}]"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ablate: {baseline: [none]}", "ablate.baseline has no effect: its modalities are removed and shuffled anyway"),
        ("arms: {}", "arms: {} adds nothing to that of track 'controls'; leave it out"),
        ("models: {vbrp: {}}", "own.yaml: models: unknown model 'vbrp'; did you mean 'vbpr'?"),
        ("seeds: [1, 1]", "own.yaml: seeds = [1, 1] is not valid: seeds must be distinct"),
        ("seeds: []", "own.yaml: seeds = [] is not valid: seeds must be distinct"),
        (
            "datasets: {y: {title: x, source: controls, path: z, options: {kind: 'null', seed: 1}}}",
            "own.yaml: datasets.y: path 'z' has no effect: data of source 'controls' are drawn",
        ),
        (
            "datasets: {y: {title: x, source: folder, path: z, split: {rule: given}}}",
            "datasets.y: k_core 5 would take rows out of the split that the data bring",
        ),
        (
            "datasets: {y: {title: x, source: folder, path: z, split: {rule: global_time, seed: 3}}}",
            "datasets.y: seed 3 has no effect: split rule 'global_time' draws nothing",
        ),
        ("extend: films", "own.yaml: unknown setting 'extend'; did you mean 'extends'?"),
    ],
)
def test_other_settings_without_effect_are_refused(tmp_path, text, message):
    assert message in refused(tmp_path, text)


def test_what_is_inherited_may_come_to_nothing(tmp_path):
    """The rules of a track with more seeds, or with cells that a file takes out, are not its own."""
    track = read_track(written(tmp_path, "seeds: [1]\nleft_out: [{models: [vbpr], why: w}]"))
    assert track.seeds == (1,) and track.kept_models and track.arms["raw"].models == ("vbpr",)
    read_track(written(tmp_path, "name: more", "more.yaml", base=written(tmp_path, "seeds: [5]", "one.yaml")))


@pytest.mark.parametrize("name", TRACKS)
def test_every_rule_of_our_tracks_has_an_effect(name):
    track = read_track(name)
    named = {f"{kind}.{one}" for kind in ("arms", "ablate") for one in getattr(track, kind) or {}}
    check_effects(track, name, {*TrackSettings.model_fields, *named})


def test_a_file_is_looked_for_beside_the_one_that_names_it(tmp_path, monkeypatch):
    inner, elsewhere = tmp_path / "inner", tmp_path / "elsewhere"
    inner.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    written(inner, "seeds: [7]", "base.yaml")
    written(elsewhere, "seeds: [8]", "base.yaml")
    assert read_track(written(inner, "title: x", base="base.yaml")).seeds == (7,)
    assert read_track(written(inner, "title: x", base="../elsewhere/base.yaml")).seeds == (8,)
    written(elsewhere, "seeds: [9]", "other.yaml")
    with pytest.raises(ConfigError, match=r"inner/other\.yaml: no such settings file"):
        read_track(written(inner, "title: x", base="other.yaml"))


def test_the_name_of_a_file_without_its_ending_is_told(tmp_path, monkeypatch):
    written(tmp_path, "seeds: [7]", "half.yaml")
    assert "'half' is no track of ours; write half.yaml if you mean that file" in refused(tmp_path, "", base="half")
    assert "unknown track 'halb'" in refused(tmp_path, "", base="halb")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"write half\.yaml if you mean that file"):
        read_track("half")
    with pytest.raises(ConfigError, match=r"unknown track 'searched/controls'"):
        read_track("searched/controls")
    for value in ("[controls]", "5", "null"):
        assert "is no name; write that of a track" in refused(tmp_path, "", base=value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: films", "name 'films' is that of another track, whose results these would be taken for"),
        ("encoders: {none: {encoder: clip-tiny}}", "encoders: 'none' stands for models without content"),
        ("datasets: {y: {title: x, source: folder}}", "datasets.y: source 'folder' reads files; give their folder"),
        (
            "datasets: {y: {title: x, source: folder, path: z, split: {seed: null}}}",
            "datasets.y: split rule 'mmrec' draws at random; give it a seed",
        ),
        (
            "left_out: {models: [vbpr], why: w}",
            "left_out = {'models': ['vbpr'], 'why': 'w'} is not valid: write a list",
        ),
        ("left_out: [{models: vbpr, why: w}]", "left_out.0.models = 'vbpr' is not valid: write a list, as [a, b]"),
        ("arms: {x: 3}", "arms.x = 3 is not valid: write settings by name, as {name: value}"),
    ],
)
def test_what_is_written_in_another_form_is_refused_in_plain_words(tmp_path, text, message):
    assert message in refused(tmp_path, text)


@pytest.mark.parametrize("name", ["controls", "films", "user"])
def test_a_file_that_extends_nothing_may_not_bear_a_name_of_ours(name, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(f"name: {name}\ntitle: mine\n")
    with pytest.raises(ConfigError, match=f"'{name}' is that of another track, .* write extends: {name}, or"):
        read_track(str(file))
    file.write_text(f"extends: {name}\nname: {name}\ntitle: mine\n")
    assert read_track(str(file)).name == name


def test_a_pace_in_epochs_takes_the_place_of_the_inherited_one_in_steps(tmp_path):
    track = read_track(written(tmp_path, "training: {epochs: 3, patience: 2}"))
    assert track.training["epochs"] == 3 and not {"steps", "patience_steps"} & track.training.keys()
    assert track.training["evaluate_steps"] == read_track("controls").training["evaluate_steps"]


def test_parts_of_tracks_are_no_tracks():
    with pytest.raises(ConfigError, match="unknown track 'parity'"):
        read_track("parity")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"visual": "minilm", "textual": "minilm"}, "visual: minilm encodes textual alone; name another"),
        ({"visual": "lite0", "textual": "minilm", "outside_items": 50}, "outside_items has no effect"),
    ],
)
def test_an_entry_of_an_encoder_that_cannot_be_meant_is_told_before_anything_runs(tmp_path, entry, message):
    track = read_track(written(tmp_path, f"encoders: {{mine: {entry}}}"))
    with pytest.raises(ConfigError, match=message):
        check_entry(track, "mine")
