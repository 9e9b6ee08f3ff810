"""Winners beside the track: written from the stored trials alone, and read by the right cases."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lmmrec_core.errors import ConfigError
from lmmrec_core.names import TRACKS
from lmmrec_core.study import Study
from lmmrec_core.study.cases import Case, all_cases, declared_digest, reason_not_now, split_runnable
from lmmrec_core.study.declared.searched import SEARCHED, SearchedCell, cell_of, read_searched
from lmmrec_core.study.declared.settings import resolve
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.run import plan, run_case
from lmmrec_core.study.search.apply import apply_search, searched_of, trials_digest
from lmmrec_core.study.search.cells import cells_of
from lmmrec_core.study.search.grids import Grid, ModelGrid, read_grid
from lmmrec_core.study.search.record import CellTrials, read_trials, write_trials

ROOT = Path(__file__).resolve().parents[3]
GRID = Grid(
    name="study", source="a test", trials=2, seed=71, split_seed=4052,
    models={"bpr": ModelGrid(search={"reg_weight": (0.1, 0.01)}), "vbpr": ModelGrid(search={"reg_weight": (1, 0.5)})},
)  # fmt: skip
MADE = {"commit": "0" * 40, "dirty": False, "time": "2000-01-01T00:00:00.000000+00:00", "torch": "2"}


def store(workspace, *models, made=MADE, grid=GRID):
    """Trials of every cell of some models: the smallest regulariser that is not beyond an edge wins."""
    for cell in cells_of(workspace.track, grid):
        if cell.case.model in models:
            trials, found = [], CellTrials(cell)
            while found.missing:
                point = found.missing[0]
                score = 0.0 if point["reg_weight"] in (0.001, 0.25) else 1 / (1 + point["reg_weight"])
                trials.append({"settings": point, "valid": score, "error": None, "seconds": 1.0, "made": made})
                found = CellTrials(cell, {}, tuple(trials))
            write_trials(workspace.results, found, grid)


@pytest.mark.parametrize("name", TRACKS)
def test_the_file_beside_a_track_is_what_the_stored_trials_give(name):
    path, applied = SEARCHED / f"{name}.yaml", searched_of(read_track(name), read_grid("study"), ROOT / "results")
    assert (path.read_text(encoding="utf-8") if path.is_file() else None) in (applied.text, None)
    assert path.is_file() or not applied.cells, f"run `lmmrec search --apply --track {name}`"


def test_applying_writes_the_winners_with_the_digest_of_the_trials_and_a_second_time_nothing(own_trials, tmp_path):
    store(own_trials, "bpr", "vbpr")
    applied = apply_search(own_trials.track, GRID, own_trials.results, tmp_path)
    path = tmp_path / "controls.yaml"
    assert path.read_text().startswith("# Settings that a search found. Written by `lmmrec search --apply --track con")
    values = yaml.safe_load(path.read_text())
    found = [read_trials(own_trials.results, cell) for cell in cells_of(own_trials.track, GRID)]
    assert values["trials"] == trials_digest(found) and values["grid"] == "study"
    assert read_searched("controls", tmp_path) == applied.cells and len(applied.cells) == 8
    assert {cell.model: cell.settings["reg_weight"] for cell in applied.cells} == {"bpr": 0.01, "vbpr": 0.5}
    before = path.stat().st_mtime_ns
    apply_search(own_trials.track, GRID, own_trials.results, tmp_path)
    assert path.stat().st_mtime_ns == before
    changed = [CellTrials(one.cell, one.data, one.trials, "another") for one in found]
    assert trials_digest(changed) != values["trials"]


def test_a_model_is_applied_when_all_its_cells_are_searched(own_trials, tmp_path):
    store(own_trials, "bpr", "vbpr")
    (tmp_path / "x").mkdir()
    next(
        path for path in (own_trials.results / "controls" / "search").iterdir() if "vbpr-vlmo-FT" in path.name
    ).unlink()
    applied = apply_search(own_trials.track, GRID, own_trials.results, tmp_path)
    assert {cell.model for cell in applied.cells} == {"bpr"}
    assert applied.left == {
        ("complementary", "vbpr"): "complementary/vbpr-vlmo-FT has 0 of 2 trials, or lacks wider ones"
    }


def test_trials_of_uncommitted_code_are_not_applied_unless_allowed(own_trials, tmp_path, monkeypatch):
    monkeypatch.delenv("LMMREC_ALLOW_UNCOMMITTED", raising=False)
    store(own_trials, "bpr", made={**MADE, "dirty": True})
    with pytest.raises(ConfigError, match="searched by uncommitted code"):
        apply_search(own_trials.track, GRID, own_trials.results, tmp_path)
    monkeypatch.setenv("LMMREC_ALLOW_UNCOMMITTED", "1")
    assert len(apply_search(own_trials.track, GRID, own_trials.results, tmp_path).cells) == 1


def test_nothing_searched_and_a_track_of_ones_own_are_refused(own_trials, tmp_path):
    with pytest.raises(ConfigError, match="no model was searched in full"):
        apply_search(own_trials.track, GRID, own_trials.results, tmp_path)
    mine = own_trials.track.model_copy(update={"name": "mine"})
    with pytest.raises(ConfigError, match="'mine' is not one of controls"):
        apply_search(mine, GRID, own_trials.results, tmp_path)


def test_cells_too_dear_to_search_take_the_settings_of_pt(own_trials, tmp_path):
    rule = {"paradigms": ["ETE"], "why": "dear"}
    track = type(own_trials.track).build({**own_trials.track.model_dump(), "not_searched": [rule]})
    store(own_trials, "vbpr")
    applied = searched_of(track, GRID, own_trials.results)
    taken = [cell for cell in applied.cells if cell.taken_from]
    assert {(cell.encoder, cell.paradigm, cell.taken_from) for cell in taken} == {
        ("clip", "ETE", "PT"), ("vlmo", "ETE", "PT"),
    }  # fmt: skip
    assert all(cell.settings == {"reg_weight": 0.5} for cell in taken)


def test_cells_searched_later_hold_up_no_others_and_are_not_run_before(own_trials, workspace, tmp_path):
    rule = {"encoders": ["vlmo"], "why": "late"}
    track = type(own_trials.track).build({**own_trials.track.model_dump(), "searched_later": [rule]})
    store(own_trials, "vbpr")
    folder = own_trials.results / "controls" / "search"
    next(path for path in folder.iterdir() if "vbpr-vlmo-FT" in path.name).unlink()
    applied = apply_search(track, GRID, own_trials.results, tmp_path)
    assert [(c.encoder, c.paradigm, c.settings) for c in applied.cells if c.awaited] == [("vlmo", "FT", {})]
    assert read_searched("controls", tmp_path) == applied.cells and not applied.left.keys() - {("complementary", "bpr")}
    later = workspace.track.model_copy(update={"searched": applied.cells})
    cases = [case for case in all_cases(later, (1,)) if case.dataset == "complementary"]
    kept_out = [case for case in cases if (reason_not_now(case, later) or "").startswith("its settings are still")]
    assert {cell_of(case.model_dump())[1:] for case in kept_out} == {("vbpr", "vlmo", "FT")}
    assert not set(kept_out) & set(split_runnable(cases, later)[0])
    store(own_trials, "vbpr")
    assert not any(cell.awaited for cell in searched_of(track, GRID, own_trials.results).cells)


FOUND = SearchedCell(
    dataset="complementary", model="vbpr", encoder="baseline",
    settings={"reg_weight": 0.25, "learning_rate": 0.03, "normalise_features": False},
)  # fmt: skip


def test_searched_settings_reach_the_cell_its_controls_and_single_modalities_and_no_other(workspace):
    plain = workspace.track
    tuned = plain.model_copy(update={"searched": (FOUND,)})
    there = replace(workspace, track=tuned)
    reached = set()
    for case in all_cases(plain, (1,)):
        if case.paradigm in ("FT", "ETE") and case.model != "vbpr":
            continue
        before, after = resolve(workspace, case.model, None, case), resolve(there, case.model, None, case)
        moved = declared_digest(plain, case.model_dump()) != declared_digest(tuned, case.model_dump())
        assert moved == (before != after) == (cell_of(case.model_dump()) == FOUND.place)
        if moved:
            reached.add((case.modalities, case.control))
            assert after[0].reg_weight == 0.25 and after[0].normalise_features is False
            assert after[1].learning_rate == 0.03
    controls = {"none", "shuffled", "shuffled-V", "shuffled-T", "noise", "zero", "projected"}
    assert reached == {("V&T", control) for control in controls} | {("V", "none"), ("T", "none")}
    case = Case.build({"track": "controls", "dataset": "complementary", "model": "vbpr", "encoder": "baseline",
                       "modalities": "V&T"}, "case")  # fmt: skip
    assert plan(case, there).key == plan(case, workspace, FOUND.settings).key != plan(case, workspace).key
    assert plan(case, there, {"reg_weight": 2.0}).model.reg_weight == 2.0  # what is asked for goes before


def test_a_warm_start_has_the_settings_of_ete(track):
    found = SearchedCell(dataset="complementary", model="vbpr", encoder="clip", paradigm="ETE", settings={"k": 1})
    case = {"dataset": "complementary", "model": "vbpr", "encoder": "clip", "paradigm": "ETE-warm"}
    assert cell_of(case) == found.place


def test_a_track_of_ones_own_inherits_what_it_does_not_say_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "lmmrec_core.study.declared.track_file.read_searched", lambda name: (FOUND,) if name == "controls" else ()
    )

    def inherited(text: str) -> tuple[SearchedCell, ...]:
        path = tmp_path / "mine.yaml"
        path.write_text(f"extends: controls\n{text}")
        return read_track(str(path)).searched

    assert read_track("controls").searched == inherited("seeds: [4]") == (FOUND,)
    assert inherited("searched: []") == ()
    assert inherited("models: {vbpr: {reg_weight: 7}}") == ()
    assert inherited("models: {bpr: {reg_weight: 7}}") == (FOUND,)
    (one,) = inherited("training: {learning_rate: 0.5}")
    assert one.settings == {"reg_weight": 0.25, "normalise_features": False}
    (one,) = inherited("normalise_features: true")
    assert one.settings == {"reg_weight": 0.25, "learning_rate": 0.03}


def test_searched_values_are_among_the_deviations(workspace):
    cells = (FOUND, FOUND.model_copy(update={"encoder": "clip", "paradigm": "PT", "settings": {"reg_weight": 0.1}}))
    tuned = workspace.track.model_copy(update={"searched": cells})
    frame = Study(replace(workspace, track=tuned), (1,)).deviations()
    rows = frame[frame["model"] == "VBPR"].set_index("setting")
    assert rows.loc["reg_weight", "here"] == "0.1 or 0.25" and "searched" in rows.loc["reg_weight", "why"]
    assert rows.loc["learning_rate", "here"] == "0.03"


def test_a_file_of_another_track_is_refused(tmp_path):
    (tmp_path / "controls.yaml").write_text("track: paper\ngrid: study\ntrials: x\ncells: []\n")
    with pytest.raises(ConfigError, match="is of track 'paper'"):
        read_searched("controls", tmp_path)
    (tmp_path / "controls.yaml").write_text("track: controls\ngrid: study\ntrials: x\ncells: [{dataste: x}]\n")
    with pytest.raises(ConfigError, match="unknown setting 'dataste'; did you mean 'dataset'"):
        read_searched("controls", tmp_path)


def test_results_of_a_cell_that_awaits_its_search_stand_beside_no_searched_ones(own_trials):
    """A run of before has the settings of the track, and others there have searched ones."""
    case = Case.build({"track": "controls", "dataset": "complementary", "model": "popularity"}, "case")
    run_case(plan(case, own_trials), own_trials)
    study = Study(own_trials, (1,))
    assert len(study.results()) == 1
    cell = {"dataset": "complementary", "model": "popularity", "awaited": True}
    awaiting = own_trials.track.model_copy(update={"searched": (SearchedCell.build(cell),)})
    later = Study(replace(own_trials, track=awaiting), (1,))
    assert len(later.results()) == 0
    reasons = later.not_run().query("dataset == 'complementary' and model == 'popularity'").reason
    assert reasons.tolist() == ["its settings are still to be searched: lmmrec search --cells --apply --track controls"]
    mine = awaiting.model_copy(update={"name": "mine"})
    told = reason_not_now(case, mine)
    assert told is not None and told.endswith("give them under `searched` in the track's file")
    with pytest.raises(ConfigError, match="awaited says that nothing was found yet, so its settings have no effect"):
        SearchedCell.build({**cell, "settings": {"reg_weight": 1.0}})
