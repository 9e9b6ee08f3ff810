"""Cells on several splits: other held-out rows of the same catalogue, in one cell of the tables and in one test."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import Result
from lmmrec_core.questions import MODALITY_SPECIFIC, Variant
from lmmrec_core.report.layout import Layout, TableRow, fill_measured, metric_columns
from lmmrec_core.significance.comparison import compare
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


def test_a_pair_is_tested_on_the_splits_that_both_sides_have() -> None:
    results = made_results(METRIC, (1, 2))
    vbpr = [r for r in results if r.case["model"] == "vbpr"]
    asked = [r for r in vbpr if Variant.of(r.case) in (MODALITY_SPECIFIC, Variant("clip", "PT", "V&T"))]
    alone = comparisons("rq1", results, ["null"], [METRIC])
    lopsided = comparisons(
        "rq1", [*results, *moved([r for r in asked if r.case["encoder"] == "clip"], 5, 1.0)], ["null"], [METRIC]
    )
    pd.testing.assert_frame_equal(lopsided, alone)
    several = comparisons("rq1", [*results, *moved(asked, 5)], ["null"], [METRIC])
    changed = [str(t["pair"]) for t, u in zip(alone.to_dict("records"), several.to_dict("records"), strict=True)
               if t["n"] != u["n"]]  # fmt: skip
    assert changed == ["CLIP-PT / baseline"]
    row = next(t for t in several.to_dict("records") if t["n"] == 120)
    runs = {v: {(int(r.case.get("split", 0)), r.case["seed"]): r.per_user[METRIC] for r in [*asked, *moved(asked, 5)]
                if r.case["encoder"] == v} for v in ("clip", "baseline")}  # fmt: skip
    by_hand = compare(runs["clip"], runs["baseline"], asked[0].per_user["group"])
    assert (row["difference"], row["p"], row["seeds"]) == (by_hand.difference, by_hand.p, 4)
