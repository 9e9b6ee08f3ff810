"""The cells of a track: one budget for all, a seed and a split of their own."""

import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.names import TRACKS, WARM
from lmmrec_core.study.cases import all_cases, reason_not_run
from lmmrec_core.study.declared.searched import cell_of
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.search.cells import cells_of, cells_taken, search_track, search_workspace, select
from lmmrec_core.study.search.grids import read_grid

GRID = read_grid("study")
REGULARISERS = {"reg_weight", "weight_decay", "reg"}
CLOSED = {"itemknn", "ease"}
WITHOUT_ROWS = {"bpr", "lightgcn", "mmgcl", "slmrec"}  # no content, or always unit rows


@pytest.mark.parametrize("name", TRACKS)
def test_every_cell_has_the_same_number_of_different_trials(name):
    cells = cells_of(read_track(name), GRID)
    assert {len(cell.points) for cell in cells} == {GRID.trials}
    assert all(len({tuple(point.items()) for point in cell.points}) == GRID.trials for cell in cells)
    for model in {cell.case.model for cell in cells}:  # its arms are searched alike
        assert len({str(cell.points) for cell in cells if cell.case.model == model}) == 1


@pytest.mark.parametrize("name", TRACKS)
def test_every_space_has_learning_rate_regulariser_and_rows_where_they_act(name):
    for cell in cells_of(read_track(name), GRID):
        model, names = cell.case.model, set(cell.space)
        if model not in CLOSED:
            assert "learning_rate" in names and names & REGULARISERS
            assert ("normalise_features" in names) != (model in WITHOUT_ROWS)


@pytest.mark.parametrize("name", TRACKS)
def test_every_cell_that_runs_is_searched_or_taken_from_one_that_is(name):
    track = read_track(name)
    there = {cell.place for cell in cells_of(track, GRID)} | set(cells_taken(track, GRID))
    running = [c for c in all_cases(track, track.seeds) if c.model != "popularity" and reason_not_run(c, track) is None]
    assert {cell_of(case.model_dump()) for case in running} == there


def test_no_trial_has_the_seed_or_split_of_a_reported_run(workspace):
    inner = search_workspace(workspace, GRID)
    assert {cell.case.seed for cell in cells_of(workspace.track, GRID)} == {GRID.seed}
    assert GRID.seed not in workspace.track.seeds
    ours, reported = inner.dataset("complementary"), workspace.dataset("complementary")
    assert ours.fingerprint == reported.fingerprint  # the same interactions
    assert ours.split.fingerprint != reported.split.fingerprint and ours.split.seed == GRID.split_seed
    assert inner.results != workspace.results


def test_the_reported_test_rows_are_in_no_part_of_a_trial(workspace):
    def rows(split, *parts):
        some = [split.part(part) for part in parts]
        return {(u, i) for part in some for u, i in zip(part.user.tolist(), part.item.tolist(), strict=True)}

    reported = workspace.dataset("complementary").split
    trial = search_workspace(workspace, GRID).dataset("complementary").split
    assert rows(trial, "train", "valid", "test") == rows(reported, "train", "valid")
    assert rows(trial, "valid") != rows(reported, "valid") and len(trial.valid) and len(trial.test)


@pytest.mark.parametrize("name", TRACKS)
def test_a_seed_that_a_reported_run_uses_is_refused(name):
    track = read_track(name)
    with pytest.raises(ConfigError, match=f"seed {track.seeds[0]} is one of track '{name}'; give the search another"):
        search_track(track, GRID.model_copy(update={"seed": track.seeds[0]}))
    split_seed = next(iter(track.datasets.values())).split.seed
    with pytest.raises(ConfigError, match=f"split_seed {split_seed} is that of data set"):
        search_track(track, GRID.model_copy(update={"split_seed": split_seed}))
    with pytest.raises(ConfigError, match="'mmrec' has no equal budget"):
        search_track(track, read_grid("mmrec"))


def test_a_split_that_cannot_be_drawn_again_stays(track):
    data = {**track.datasets["complementary"].model_dump(), "split": {"rule": "global_time", "seed": None}}
    timed = type(track).build({**track.model_dump(), "datasets": {"complementary": data}})
    assert search_track(timed, GRID).datasets == timed.datasets


def test_cells_too_dear_to_search_are_named_with_the_reason(track):
    rule = {"encoders": ["clip"], "paradigms": ["ETE"], "why": "dear"}
    dear = type(track).build({**track.model_dump(), "not_searched": [rule]})
    taken = cells_taken(dear, GRID)
    assert set(taken.values()) == {"dear"} and {place[2:] for place in taken} == {("clip", "ETE")}
    assert {c.place for c in cells_of(track, GRID)} - {c.place for c in cells_of(dear, GRID)} == set(taken)
    with pytest.raises(ConfigError, match="paradigms"):
        type(track).build({**track.model_dump(), "not_searched": [{"paradigms": ["PT"], "why": "no"}]})


def test_parts_are_selected_by_name_and_an_unknown_one_is_refused(track):
    cells = cells_of(track, GRID)
    some = select(cells, model=["vbpr"], encoder=["clip", "baseline"], paradigm=[])
    assert {cell.place[2:] for cell in some} == {("baseline", "none"), ("clip", "PT"), ("clip", "FT"), ("clip", "ETE")}
    assert not any(cell.case.paradigm == WARM for cell in cells)
    with pytest.raises(ConfigError, match="unknown model 'vbrp'; did you mean 'vbpr'"):
        select(cells, model=["vbrp"])
