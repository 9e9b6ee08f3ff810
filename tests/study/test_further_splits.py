"""Cells on several splits: other held-out rows of the same catalogue, in one cell of the tables and in one test."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import OWN_SPLIT, Result, common_splits, on_splits
from lmmrec_core.questions import MODALITY_SPECIFIC, Variant, question_of
from lmmrec_core.report.layout import Layout, TableRow, fill_measured, metric_columns
from lmmrec_core.significance.comparison import compare
from lmmrec_core.significance.split_noise import means_by_split, split_noise
from lmmrec_core.study.cases import Case, all_cases
from lmmrec_core.study.comparisons import comparisons
from lmmrec_core.study.run import plan, run_case
from lmmrec_core.study.study import Study
from lmmrec_core.study.track import TrackSettings
from tests.study.conftest import tiny_track
from tests.study.made import made_results

METRIC = "ndcg@20"
CASE = Case.build({"track": "controls", "dataset": "complementary", "model": "popularity"}, "case")


def with_splits(track: TrackSettings, *rules: dict) -> TrackSettings:
    return TrackSettings.build(track.model_dump() | {"further_splits": rules}, "a test")


def moved(results: list[Result], split: int, lift: float = 0.0) -> list[Result]:
    """The same runs as if on another split, with every value higher by ``lift``."""
    found = []
    for r in results:
        frame = r.per_user.assign(**{METRIC: r.per_user[METRIC].to_numpy()[::-1] + lift})
        data = {"data": {"split": f"s{split}"}, "key": f"{r.record['key']}-{split}"}
        found.append(Result({**r.case, "split": split}, frame, r.overall, {**r.record, **data}))
    return found


def test_the_cells_of_a_rule_are_in_the_grid_once_more_on_each_split() -> None:
    track = with_splits(tiny_track(), {"splits": [5, 6], "models": ["bpr", "vbpr"], "controls": ["none"]})
    grid = all_cases(track, (1, 2))
    further = [case for case in grid if case.split]
    assert {case.model for case in further} == {"bpr", "vbpr"} and {case.split for case in further} == {5, 6}
    own = [case for case in grid if not case.split and case.model in ("bpr", "vbpr") and case.control == "none"]
    assert len(further) == 2 * len([case for case in own if case.arm == "none"])
    assert len({(case.dataset, case.slug) for case in grid}) == len(grid)
    assert CASE.model_copy(update={"split": 5}).slug == "popularity-split5-s1"


@pytest.mark.parametrize(
    ("rule", "message"), [({"splits": [5, 5]}, "distinct"), ({"splits": [0]}, "at least 1"), ({"splits": []}, "splits")]
)
def test_a_rule_without_seeds_is_refused(rule, message) -> None:
    with pytest.raises(ConfigError, match=message):
        with_splits(tiny_track(), rule)


def test_a_run_on_a_further_split_holds_out_other_rows_of_the_same_catalogue(workspace, track) -> None:
    here = replace(workspace, track=with_splits(track, {"splits": [5]}))
    other = CASE.model_copy(update={"split": 5})
    plans = [plan(case, here) for case in (CASE, other)]
    assert plans[0].key == plan(CASE, workspace).key != plans[1].key and plans[0].declared != plans[1].declared
    own, further = (run_case(one, here) for one in plans)
    assert own.record["data"]["catalogue"] == further.record["data"]["catalogue"]
    assert own.record["data"]["split"] != further.record["data"]["split"] and further.record["data"]["seed"] == 5
    study = Study(here, (1,), allow_uncommitted=True)
    assert [result.case["split"] for result in study.results()] == [0, 5]
    rows = (TableRow("floor", "Popularity", "popularity", Variant()),)
    table = fill_measured("t", "", Layout(rows, metric_columns(["complementary"], [METRIC])), study.results())
    assert table.values.iat[0, 0] == pytest.approx((own.mean(METRIC) + further.mean(METRIC)) / 2)
    assert "on each of 2 splits" in table.caption and table.spread is not None


def test_a_split_that_is_not_another_is_refused(workspace, track) -> None:
    with pytest.raises(ConfigError, match="split 2026 is its own"):
        plan(CASE.model_copy(update={"split": 2026}), workspace)
    timed = track.model_dump()
    timed["datasets"]["complementary"]["split"] = {"rule": "global_time"}
    here = replace(workspace, track=TrackSettings.build(timed, "a test"))
    here.hold(workspace.dataset("complementary"))
    with pytest.raises(ConfigError, match="'global_time' draws nothing"):
        here.dataset("complementary", 5)


def test_the_cells_of_a_column_are_over_the_splits_that_all_of_them_have() -> None:
    results = [r for r in made_results(METRIC, (1, 2)) if r.case["model"] == "vbpr"]
    whole = [r for r in results if Variant.of(r.case) in (MODALITY_SPECIFIC, Variant("clip", "PT", "V&T"))]
    baseline = [r for r in whole if r.case["encoder"] == "baseline"]
    rows = tuple(TableRow("VBPR", v.label, "vbpr", v) for v in (MODALITY_SPECIFIC, Variant("clip", "PT", "V&T")))
    layout = Layout(rows, metric_columns(["null"], [METRIC]))
    own = fill_measured("t", "", layout, whole).values
    lopsided = fill_measured("t", "", layout, [*whole, *moved(baseline, 5, lift=1.0)])
    pd.testing.assert_frame_equal(lopsided.values, own)  # a split of one row only would lift that row
    both = fill_measured("t", "", layout, [*whole, *moved(whole, 5, lift=1.0)])
    np.testing.assert_allclose(both.values, own + 0.5)
    assert "Mean over seeds 1, 2 on each of 2 splits" in both.caption


def test_the_cells_of_another_recommender_have_splits_of_their_own() -> None:
    results = made_results(METRIC, (1, 2))
    rows = tuple(TableRow(model, "", model, MODALITY_SPECIFIC) for model in ("vbpr", "lattice"))
    layout = Layout(rows, metric_columns(["null"], [METRIC]))
    own = fill_measured("t", "", layout, results).values
    vbpr = [r for r in results if r.case["model"] == "vbpr"]
    found = fill_measured("t", "", layout, [*results, *moved(vbpr, 5, lift=1.0)]).values
    np.testing.assert_allclose(found - own, [[0.5], [0.0]])


def test_a_pair_is_tested_on_the_splits_of_its_recommender_as_its_cells_are_shown() -> None:
    results = made_results(METRIC, (1, 2))
    asked = dict.fromkeys(question_of("rq1").sides("vbpr"))
    compared = [r for r in results if (r.case["model"], Variant.of(r.case)) in asked]
    alone = comparisons("rq1", results, ["null"], [METRIC])
    some = [r for r in compared if r.case["encoder"] in ("clip", "baseline")]
    lopsided = comparisons("rq1", [*results, *moved(some, 5, 1.0)], ["null"], [METRIC])
    pd.testing.assert_frame_equal(lopsided, alone)  # one of its cells lacks the split
    whole = [*results, *moved(compared, 5)]
    several = comparisons("rq1", whole, ["null"], [METRIC])
    assert {(row["model"], row["splits"]) for row in several.to_dict("records")} == {
        (model, 2 if model == "vbpr" else 1) for model in alone["model"]
    }
    for row in several.to_dict("records"):
        sides = question_of("rq1").sides(row["model"])
        rows = tuple(TableRow("", "", model, variant) for model, variant in sides if model == row["model"])
        cells = fill_measured("t", "", Layout(rows, metric_columns(["null"], [METRIC])), whole).values.iloc[:, 0]
        shown = dict(zip([(r.model, r.variant) for r in rows], cells, strict=True))
        for mean, side in zip((row["mean_a"], row["mean_b"]), row["pair"].sides(row["model"]), strict=True):
            assert side not in shown or mean == pytest.approx(shown[side], rel=1e-12)
    row = next(t for t in several.to_dict("records") if str(t["pair"]) == "CLIP-PT / baseline" and t["splits"] == 2)
    runs = {v: {r.number: r.per_user[METRIC] for r in [*some, *moved(some, 5)] if Variant.of(r.case) == v}
            for v in (row["pair"].a, row["pair"].b)}  # fmt: skip
    cells: dict[Variant, dict] = {}
    for r in [*compared, *moved(compared, 5)]:
        if r.case["model"] == "vbpr":
            cells.setdefault(Variant.of(r.case), {})[r.number] = r.per_user[METRIC]
    noise = split_noise(map(means_by_split, cells.values()))
    assert noise is not None and len(cells) == 4
    by_hand = compare(runs[row["pair"].a], runs[row["pair"].b], some[0].per_user["group"], (noise, noise))
    assert (row["difference"], row["p"], row["seeds"]) == (by_hand.difference, by_hand.p, 2)


def test_splits_that_leave_a_cell_without_a_seed_are_not_compared_on() -> None:
    """The second cell has seed 1 on its own split and seed 2 on the further one: no seed is on both."""
    whole, crosswise = [(0, 1), (0, 2), (5, 1), (5, 2)], [(0, 1), (5, 2)]
    assert common_splits([whole, whole]) == {0, 5}
    assert common_splits([whole, crosswise]) == {OWN_SPLIT}
    assert on_splits(dict.fromkeys(crosswise), common_splits([whole, crosswise])).keys() == {(0, 1)}


def test_a_caption_says_where_tests_are_over_other_splits_than_the_cells() -> None:
    results = made_results(METRIC, (1, 2))
    asked = dict.fromkeys(question_of("rq1").sides("vbpr"))
    whole = [*results, *moved([r for r in results if (r.case["model"], Variant.of(r.case)) in asked], 5)]
    variants = MODALITY_SPECIFIC, Variant("clip", "PT", "V&T"), Variant("clip", "FT", "V&T")
    rows = tuple(TableRow("VBPR", v.label, "vbpr", v) for v in variants)
    layout = Layout(rows, metric_columns(["null"], [METRIC]))
    tests = comparisons("rq1", whole, ["null"], [METRIC])
    assert "Over other splits than the tests: VBPR on Null." in fill_measured("t", "", layout, whole, tests).caption
    shown = fill_measured("t", "", replace(layout, rows=rows[:2]), whole, tests)
    assert "Over other splits" not in shown.caption


def test_while_splits_are_under_way_cells_and_tests_take_the_same_seeds() -> None:
    """Of the further split one seed is not there yet, another one for CLIP than for the rest."""
    results = made_results(METRIC, (1, 2, 3))
    asked = dict.fromkeys(question_of("rq1").sides("vbpr"))
    compared = [r for r in results if (r.case["model"], Variant.of(r.case)) in asked]
    half = [r for r in moved(compared, 5, lift=1.0) if r.case["seed"] != (1 if r.case["encoder"] == "clip" else 3)]
    tested = comparisons("rq1", [*results, *half], ["null"], [METRIC])
    rows = [row for row in tested.to_dict("records") if row["splits"] == 2]
    assert rows and {row["seeds"] for row in rows} == {2}
    for row in rows:
        of_vbpr = tuple(TableRow("", "", *side) for side in question_of("rq1").sides("vbpr") if side[0] == "vbpr")
        layout = Layout(of_vbpr, metric_columns(["null"], [METRIC]))
        cells = fill_measured("t", "", layout, [*results, *half]).values.iloc[:, 0]
        shown = dict(zip([(one.model, one.variant) for one in of_vbpr], cells, strict=True))
        for mean, side in zip((row["mean_a"], row["mean_b"]), row["pair"].sides("vbpr"), strict=True):
            assert side not in shown or mean == pytest.approx(shown[side], rel=1e-12)
    apart = [r for r in half if r.case["encoder"] != "clip"]  # CLIP has not begun there
    left = comparisons("rq1", [*results, *apart], ["null"], [METRIC])
    assert set(left["splits"]) == {1} and set(left["seeds"]) == {3}


def test_an_untrained_run_on_a_split_takes_its_seed_out_of_cells_and_tests() -> None:
    results = made_results(METRIC, (1, 2))
    asked = dict.fromkeys(question_of("rq1").sides("vbpr"))
    compared = [r for r in results if (r.case["model"], Variant.of(r.case)) in asked]
    further = moved(compared, 5, lift=1.0)
    number = next(n for n, r in enumerate(further) if r.case["encoder"] == "clip" and r.case["seed"] == 2)
    untrained = {**further[number].record, "training": {"features": {"trained": False}}}
    further[number] = replace(further[number], record=untrained)
    assert not further[number].trained
    variant = Variant.of(further[number].case)
    layout = Layout((TableRow("", "", "vbpr", variant),), metric_columns(["null"], [METRIC]))
    cell = fill_measured("t", "", layout, [*compared, *further]).values.iat[0, 0]
    rows = comparisons("rq1", [*compared, *further], ["null"], [METRIC]).to_dict("records")
    means = [row["mean_a"] for row in rows if row["pair"].a == variant]
    assert means and means == pytest.approx([cell] * len(means), rel=1e-12)
