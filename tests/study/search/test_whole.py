"""The search over cells: every trial kept at once, none made twice, the space widened once."""

from concurrent.futures import Executor, Future
from dataclasses import replace

import pytest

from lmmrec_core.disk import read_sealed
from lmmrec_core.errors import ConfigError, FeatureError, TrainingError
from lmmrec_core.study.cases import Case
from lmmrec_core.study.inputs import set_workspace
from lmmrec_core.study.memory import plans
from lmmrec_core.study.memory.demand import GIB
from lmmrec_core.study.memory.room import Room
from lmmrec_core.study.run import plan, run_case
from lmmrec_core.study.search import whole
from lmmrec_core.study.search.cells import cells_of, search_workspace, select
from lmmrec_core.study.search.grids import Grid, ModelGrid
from lmmrec_core.study.search.listing import SEARCH_COLUMNS, estimate, search_rows
from lmmrec_core.study.search.record import read_trials, record_path

RATES = (0.01, 0.02, 0.04)
GRID = Grid(
    name="study", source="a test", trials=4, seed=71, split_seed=4052,
    models={
        "bpr": ModelGrid(search={"learning_rate": RATES, "reg_weight": (0.1, 0.01)}, fixed={"embedding_dim": 8}),
        "vbpr": ModelGrid(search={"learning_rate": RATES, "normalise_features": (True, False)}),
        "itemknn": ModelGrid(search={"shrink": (0, 10), "neighbours": (5, None)}),
    },
)  # fmt: skip


class Inline(Executor):
    """Carries out each task where it is submitted."""

    def submit(self, task, /, *given, **named):
        future = Future()
        try:
            future.set_result(task(*given, **named))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def scored(monkeypatch):
    """Trainings replaced by scores: the points asked for, and what they get."""

    class Scores:
        asked: list[dict]
        valid = staticmethod(lambda point: point["learning_rate"])
        dirty = False

    scores = Scores()
    scores.asked = []

    def try_point(workspace, case, fixed, point):
        scores.asked.append(point)
        made = {"commit": "0" * 40, "dirty": scores.dirty, "time": "2000-01-01T00:00:00.000000+00:00", "torch": "2"}
        done = {"settings": point, "valid": scores.valid(point), "error": None, "key": "0" * 16}
        return {**done, "seconds": 2.0, "made": made}

    monkeypatch.setattr(whole, "try_point", try_point)
    monkeypatch.setattr(whole, "worker_pool", lambda workspace, jobs: set_workspace(workspace) or Inline())
    monkeypatch.setattr(whole, "code_state_now", lambda: "committed")
    return scores


def of(workspace, *models, grid=GRID):
    return select(cells_of(workspace.track, grid), model=models, encoder=["none", "baseline"])


def test_a_trial_is_the_training_of_a_run_on_the_split_of_the_search(own_trials):
    cells = of(own_trials, "itemknn", "bpr")
    outcome = whole.search_cells(own_trials, GRID, cells, jobs=1)
    assert outcome.failures == () and outcome.computed >= 8
    inner = search_workspace(own_trials, GRID)
    for cell in cells:
        found = read_trials(own_trials.results, cell)
        trial = found.base[1]
        case = Case.build({"track": "controls", "dataset": "complementary", "model": cell.case.model, "seed": 71}, "t")
        result = run_case(plan(case, inner, {**cell.fixed, **trial["settings"]}), inner)
        assert trial["valid"] == pytest.approx(result.record["metrics"]["valid"]["recall@20"], abs=1e-12)
        assert trial["key"] == plan(case, inner, {**cell.fixed, **trial["settings"]}).key
        assert found.data["split"] == inner.dataset("complementary").split.fingerprint and found.data["redrawn"]
    assert trial["stopped"] in ("cap", "patience") and trial["best_step"] > 0 and trial["seconds"] > 0
    assert set(trial["made"]) == {"commit", "dirty", "time", "torch"}
    again = whole.search_cells(own_trials, GRID, cells, jobs=1)
    assert (again.computed, again.done_before) == (0, outcome.computed)


def test_the_space_is_widened_once_beyond_the_edge_where_the_winner_lies(own_trials, scored):
    (cell,) = of(own_trials, "vbpr")
    whole.search_cells(own_trials, GRID, [cell], jobs=2)
    assert len(scored.asked) == GRID.trials + 1
    assert scored.asked[-1]["learning_rate"] == 0.08  # 0.04 · 0.04 / 0.02
    found = read_trials(own_trials.results, cell)
    assert found.best["settings"]["learning_rate"] == 0.08 and found.edge == ("learning_rate",) and found.complete
    assert len(found.base) == 4 and len(found.counted) == 5
    whole.search_cells(own_trials, GRID, [cell], jobs=2)  # once
    assert len(scored.asked) == GRID.trials + 1


def test_a_winner_that_the_wider_range_encloses_is_no_edge(own_trials, scored):
    scored.valid = lambda point: 0.0 if point["learning_rate"] > 0.05 else point["learning_rate"]
    (cell,) = of(own_trials, "vbpr")
    whole.search_cells(own_trials, GRID, [cell], jobs=2)
    found = read_trials(own_trials.results, cell)
    assert found.best["settings"]["learning_rate"] == 0.04 and found.edge == () and len(found.counted) == 5


def test_a_stopped_search_keeps_every_trial_and_makes_none_twice(own_trials, scored, monkeypatch):
    cells, real = of(own_trials, "bpr", "vbpr"), whole.try_point
    seen = []

    def stopped(*given):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(given)
        return real(*given)

    monkeypatch.setattr(whole, "try_point", stopped)
    with pytest.raises(KeyboardInterrupt):
        whole.search_cells(own_trials, GRID, cells, jobs=1)
    kept = sum(len(read_trials(own_trials.results, cell).trials) for cell in cells)
    assert kept == 5
    monkeypatch.setattr(whole, "try_point", real)
    outcome = whole.search_cells(own_trials, GRID, cells, jobs=1)
    assert outcome.done_before == 5
    both = [sorted(map(str, read_trials(own_trials.results, cell).counted)) for cell in cells]
    assert len(scored.asked) == sum(map(len, both)) == len({str(point) for point in scored.asked})


def test_a_cell_that_cannot_begin_does_not_cost_the_others(own_trials, scored, monkeypatch):
    real = whole.try_point

    def fails(workspace, case, fixed, point):
        if case.model == "bpr":
            raise FeatureError("no picture")
        return real(workspace, case, fixed, point)

    monkeypatch.setattr(whole, "try_point", fails)
    bpr, vbpr = of(own_trials, "bpr", "vbpr")
    outcome = whole.search_cells(own_trials, GRID, [bpr, vbpr], jobs=1)
    assert {(cell.name, why) for cell, why in outcome.failures} == {(bpr.name, "no picture")}
    assert read_trials(own_trials.results, vbpr).complete and not read_trials(own_trials.results, bpr).trials


def test_trials_of_uncommitted_code_are_made_again(own_trials, scored, monkeypatch):
    monkeypatch.delenv("LMMREC_ALLOW_UNCOMMITTED", raising=False)
    (cell,) = of(own_trials, "vbpr")
    scored.dirty = True
    monkeypatch.setattr(whole, "code_state_now", lambda: "uncommitted")
    whole.search_cells(own_trials, GRID, [cell], jobs=1)
    assert read_trials(own_trials.results, cell).uncommitted
    scored.dirty = False
    monkeypatch.setattr(whole, "code_state_now", lambda: "committed")
    whole.search_cells(own_trials, GRID, [cell], jobs=1)
    assert len(scored.asked) == 10 and not read_trials(own_trials.results, cell).uncommitted


def test_other_data_or_settings_start_anew(own_trials, scored):
    (cell,) = of(own_trials, "vbpr")
    whole.search_cells(own_trials, GRID, [cell], jobs=1)
    other = own_trials.track.model_copy(update={"training": {**own_trials.track.training, "batch_size": 64}})
    (changed,) = select(cells_of(other, GRID), model=["vbpr"], encoder=["baseline"])
    assert read_trials(own_trials.results, changed).trials == ()
    assert len(read_trials(own_trials.results, cell).trials) == 5


def test_the_file_says_what_was_tried_and_the_listing_what_was_found(own_trials, scored):
    cells = of(own_trials, "bpr", "vbpr")
    before = estimate(cells, own_trials.results)
    assert before["trainings"].tolist() == [4, 4] and before["minutes"].isna().all()
    whole.search_cells(own_trials, GRID, cells, jobs=1)
    stored = read_sealed(record_path(own_trials.results, cells[1]))
    assert stored["case"]["model"] == "vbpr" and stored["seed"] == 71 and stored["grid"]["trials"] == 4
    assert stored["grid"]["search"]["learning_rate"] == list(RATES)
    assert estimate(cells, own_trials.results)["trainings"].sum() == 0
    rows = search_rows(own_trials.track, GRID, own_trials.results).set_index(["model", "encoder"])
    assert [*rows.index.names, *rows.columns] != [] and set(SEARCH_COLUMNS) == {*rows.columns, "model", "encoder"}
    row = rows.loc[("vbpr", "baseline")]
    assert row["trials"] == 4 and row["wider"] == 1 and row["best"] == 0.08 and row["lowest"] == 0.01
    assert row["edge"] == "learning_rate" and row["state"] == "searched" and row["minutes"] == pytest.approx(10 / 60)
    assert "learning_rate 0.08" in row["settings"]
    assert rows.loc[("vbpr", "clip"), "state"].tolist() == ["not searched"] * 3


def test_two_searches_of_a_track_at_once_and_no_process_are_refused(own_trials, scored):
    cells = of(own_trials, "vbpr")
    with pytest.raises(ConfigError, match="--jobs 0: at least one process"):
        whole.search_cells(own_trials, GRID, cells, jobs=0)
    with whole._alone(own_trials), pytest.raises(ConfigError, match="being searched by another process"):
        whole.search_cells(own_trials, GRID, cells, jobs=1)
    assert scored.asked == []


def test_a_point_that_cannot_fit_is_refused_before_its_encoder_is_read(own_trials, monkeypatch):
    monkeypatch.setattr(whole, "attach_encoder", None)  # is not reached
    monkeypatch.setattr(plans, "room", lambda device: Room(GIB // 10))
    place = {"track": "controls", "dataset": "complementary", "model": "vbpr", "encoder": "clip", "paradigm": "ETE"}
    with pytest.raises(TrainingError, match="needs about"):
        whole.try_point(own_trials, Case.build({**place, "modalities": "V&T"}, "case"), {}, {"learning_rate": 0.01})


@pytest.mark.parametrize("weights", ["PT", "FT"])
def test_the_features_that_trials_start_from_are_made_beforehand(own_trials, scored, monkeypatch, weights):
    entry = own_trials.track.encoders["clip"]
    encoders = {
        **own_trials.track.encoders,
        "clip": {**entry, "end_to_end": {**entry["end_to_end"], "weights": weights}},
    }
    here = replace(own_trials, track=own_trials.track.model_copy(update={"encoders": encoders}))
    steps = []
    monkeypatch.setattr(whole, "prepare_weights", lambda *given: None)
    monkeypatch.setattr(whole, "make_all", lambda what, made, *given: steps.extend(made))
    cells = select(cells_of(here.track, GRID), model=["vbpr"], encoder=["clip"], paradigm=["ETE"])
    whole.search_cells(here, GRID, cells, jobs=1)
    assert steps == [("complementary", "clip", weights, *(["71"] if weights == "FT" else []))]


def test_a_point_that_cannot_fit_is_no_trial(own_trials, monkeypatch):
    monkeypatch.setattr(whole, "fit", None)  # is not reached
    monkeypatch.setattr(plans, "room", lambda device: Room(GIB // 10))
    place = {"track": "controls", "dataset": "complementary", "model": "bpr", "seed": 1}
    with pytest.raises(TrainingError, match=r"needs about .* 0\.1 GiB of memory are free here"):
        whole.try_point(own_trials, Case.build(place, "case"), {}, {"learning_rate": 0.01})
