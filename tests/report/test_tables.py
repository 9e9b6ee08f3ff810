"""Which number stands in which cell, with which origin."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.flow import Result, Table
from lmmrec_core.questions import MODALITY_SPECIFIC, Pair, single
from lmmrec_core.report import tables
from lmmrec_core.report.changes import change_table
from lmmrec_core.report.html import results_table
from lmmrec_core.report.published import read_results
from tests.report.conftest import MakeResult, comparison

DATASET = ["complementary"]
TABLES = {
    table.__name__: table
    for table in (tables.floor, tables.table1, tables.table3, tables.table4, tables.table5, tables.ablation)
}


def test_mean_and_sample_deviation_over_seeds(make_result: MakeResult) -> None:
    results = [make_result(value, seed=seed) for seed, value in enumerate((0.1, 0.2, 0.3))]
    table = tables.table3(results, DATASET)
    cell = (("VBPR", "VBPR"), ("Complementary", "NDCG@20"))
    assert table.values.loc[cell] == pytest.approx(0.2)
    assert table.spread is not None
    assert table.spread.loc[cell] == pytest.approx(0.1)  # sample deviation, n − 1
    assert table.origin.loc[cell] == "measured"
    assert "seeds 0, 1, 2" in table.caption


def test_runs_whose_encoder_was_not_trained_enter_no_mean(make_result: MakeResult) -> None:
    case = {"encoder": "clip", "paradigm": "ETE"}
    some = [make_result(0.12 + 0.02 * seed, trained=seed != 3, seed=seed, **case) for seed in (1, 2, 3)]
    none = [make_result(0.9, trained=False, seed=seed, dataset="null", **case) for seed in (1, 2)]
    table = tables.table4([*some, *none], ["complementary", "null"], ["vbpr"], ["ndcg@20"])
    assert table.marks is not None
    found = [
        (frame.xs("VBPR CLIP-ETE", level="label").iloc[0].tolist())
        for frame in (table.values, table.origin, table.marks)
    ]
    assert found[0][0] == pytest.approx(0.15) and math.isnan(found[0][1])
    assert found[1:] == [["measured", "not trained"], ["2 of 3", "0 of 2"]]
    assert "*not trained* and left out" in table.caption and "over seeds 1, 2" in table.caption
    shown = results_table(table).to_html()
    assert '<sup class="stars">2 of 3</sup>' in shown and shown.count(">not trained<") == 1 and "0.9" not in shown
    clean = tables.table4([run for run in some if run.trained], DATASET, ["vbpr"], ["ndcg@20"])
    assert "not trained" not in clean.caption and clean.marks is None


def test_changes_leave_out_what_was_not_trained(make_result: MakeResult) -> None:
    ends = [make_result(0.3, trained=seed != 2, seed=seed, encoder="clip", paradigm="ETE") for seed in (1, 2)]
    base = [make_result(0.1 * seed, seed=seed) for seed in (1, 2)]
    nobody = [make_result(0.3, trained=False, encoder="vlmo", paradigm="ETE")]
    table = change_table("rq2", [*ends, *base, *nobody], ["complementary"], ["vbpr"])
    values, origin = (frame["Measured", "Complementary"].droplevel("group") for frame in (table.values, table.origin))
    assert values["VBPR: CLIP-ETE / baseline"] == pytest.approx(0.3 / 0.15 - 1)
    assert origin["VBPR: VLMo-ETE / baseline"] == "not trained" and math.isnan(values["VBPR: VLMo-ETE / baseline"])


@pytest.mark.parametrize("name", list(TABLES))
def test_without_results_every_cell_is_not_run(name: str) -> None:
    table = TABLES[name]([], ["complementary", "null"])
    assert (table.origin == "not run").all().all()
    assert table.values.isna().all().all()
    assert "Nothing has been run" in table.caption


@pytest.mark.parametrize("name", list(TABLES))
def test_a_cell_is_a_number_exactly_where_it_was_measured(name: str, make_result: MakeResult) -> None:
    results = [
        make_result(0.1),
        make_result(0.2, encoder="clip", paradigm="ETE"),
        make_result(model="bpr", encoder="none"),
    ]
    table = TABLES[name](results, DATASET)
    assert ((table.origin == "measured") == table.values.notna()).all().all()
    assert table.origin.shape == table.values.shape


@pytest.mark.parametrize(
    ("printed", "number"),
    [
        (tables.printed_table1, 1),
        (tables.printed_table3, 3),
        (tables.printed_table4, 4),
        (tables.printed_table5, 5),
    ],
)
def test_printed_tables_hold_all_printed_numbers(printed: object, number: int) -> None:
    table: Table = printed()  # type: ignore[operator]
    source = read_results(number)
    assert (table.origin == "printed").all().all()
    assert np.sort(table.values.to_numpy().ravel()).tolist() == np.sort(source["value"].to_numpy()).tolist()
    assert table.marks is not None
    assert int((table.marks == "*").to_numpy().sum()) == int(source["starred"].sum())


def test_printed_cell_against_the_page() -> None:
    table = tables.printed_table4()
    assert table.values.loc[("LATTICE VLMo", "LATTICE VLMo-FT"), ("Amazon Sports", "NDCG@10")] == 0.0240
    assert table.marks is not None
    assert table.marks.loc[("LATTICE VLMo", "LATTICE VLMo-FT"), ("Amazon Sports", "NDCG@10")] == ""


def test_measured_and_printed_tables_share_their_rows() -> None:
    assert tables.table3([], DATASET).values.index.equals(tables.printed_table3().values.index)
    assert tables.table4([], DATASET).values.index.equals(tables.printed_table4().values.index)


def test_ablation_separates_modalities_and_controls(make_result: MakeResult) -> None:
    results = [
        make_result(0.5),
        make_result(0.4, modalities="V"),
        make_result(0.3, control="shuffled"),
        make_result(0.2, control="shuffled-T"),
    ]
    table = tables.ablation(results, DATASET, ["vbpr"])
    labels = ["VBPR V&T", "VBPR V", "VBPR V&T, shuffled", "VBPR V&T, T shuffled"]
    assert table.values.index.get_level_values("label").tolist() == labels
    np.testing.assert_allclose(table.values.to_numpy()[:, 0], [0.5, 0.4, 0.3, 0.2])
    absent = "VBPR T; VBPR V&T, V shuffled; VBPR V&T, noise; VBPR V&T, zero; VBPR V&T, projected"
    assert f"Rows not run: {absent}." in table.caption


def test_an_ablation_without_runs_shows_what_is_to_be_run() -> None:
    table = tables.ablation([], DATASET, ["vbpr"])
    assert table.values.index.get_level_values("label").tolist() == [
        "VBPR V&T", "VBPR V", "VBPR T", "VBPR V&T, shuffled", "VBPR V&T, V shuffled", "VBPR V&T, T shuffled",
        "VBPR V&T, noise", "VBPR V&T, zero", "VBPR V&T, projected",
    ]  # fmt: skip
    assert "Rows not run" not in table.caption


def test_references_are_zero_content_and_the_twin_of_each_model(make_result: MakeResult) -> None:
    results = [
        make_result(0.5),
        make_result(0.4, control="zero"),
        make_result(0.3, model="bpr", encoder="none", modalities="none"),
        make_result(0.2, model="lightgcn", encoder="none", modalities="none"),
    ]
    values = tables.references(results, DATASET, ["vbpr", "lattice"], ["ndcg@20"]).values
    assert values.index.get_level_values("label").tolist() == [
        "VBPR baseline", "VBPR zero content", "BPR, twin of VBPR",
        "LATTICE baseline", "LATTICE zero content", "LightGCN, twin of LATTICE",
    ]  # fmt: skip
    np.testing.assert_allclose(values.to_numpy()[:, 0], [0.5, 0.4, 0.3, math.nan, math.nan, 0.2])


def test_cells_in_doubt_are_marked_and_the_caption_says_why(make_result: MakeResult) -> None:
    def run(value: float, seed: int, stopped: str = "patience", **case: object) -> Result:
        made = make_result(value, seed=seed, **case)
        return replace(made, record={**made.record, "training": {"stopped": stopped}})

    steady = [run(0.4, 1), run(0.5, 2)]  # 1.25 exactly
    odd = [run(0.2, 1, modalities="V"), run(0.3, 2, modalities="V")]
    capped = [run(0.3, 1, "cap", modalities="T"), run(0.3, 2, modalities="T")]
    table = tables.table1([*steady, *odd, *capped], DATASET, ["vbpr"])
    assert table.marks is not None and table.marks.iloc[:, 0].tolist() == ["", "~", "c"]
    assert "more than 1.25 times the worst" in table.caption and "the longest training allowed" in table.caption
    calm = tables.table1(steady, DATASET, ["vbpr"])
    assert calm.marks is None and "~" not in calm.caption
    both = tables.table1([run(0.2, 1, "cap"), run(0.3, 2)], DATASET, ["vbpr"])
    assert both.marks is not None and both.marks.iloc[0, 0] == "~c"


def test_floor_ignores_models_with_content(make_result: MakeResult) -> None:
    results = [make_result(0.9), make_result(0.2, model="itemknn", encoder="none", modalities="none")]
    table = tables.floor(results, DATASET)
    assert table.values[("Complementary", "NDCG@20")].tolist()[1] == pytest.approx(0.2)
    assert table.values.notna().to_numpy().sum() == 4  # one model, four metrics


def test_arrows_tell_the_sign_from_either_side() -> None:
    pictures, texts = (single(MODALITY_SPECIFIC, modality) for modality in ("V", "T"))
    tests = pd.DataFrame(
        [
            comparison(pair=pictures, difference=0.02, p_holm=0.01),
            comparison(pair=Pair(texts.b, texts.a), difference=0.02, p_holm=0.01),
            comparison(model="lattice", pair=pictures, p_holm=0.05),
        ]
    )
    marks = tables.table1([], DATASET, ["vbpr", "lattice"], comparisons=tests).marks
    assert marks is not None
    assert marks.iloc[:, 0].tolist() == ["", "↓", "↑", "", "", ""]  # 0.05 is not below 0.05


def test_the_size_of_the_family_stands_under_a_table_with_arrows() -> None:
    tests = pd.DataFrame([comparison(family_size=15)])
    caption = tables.table1([], DATASET, ["vbpr"], comparisons=tests).caption
    assert "Holm's correction for the 15 planned pairs" in caption
    assert "Arrows" not in tables.table1([], DATASET, ["vbpr"]).caption
    assert "Arrows" not in tables.table1([], DATASET, ["vbpr"], comparisons=tests.iloc[:0]).caption


def test_two_settings_of_one_case_are_not_averaged(make_result: MakeResult) -> None:
    with pytest.raises(ResultError, match=r"two results of seed 1, keys 0\.1 and 0\.2"):
        tables.table3([make_result(0.1), make_result(0.2)], DATASET)


def test_nan_metric_is_refused(make_result: MakeResult) -> None:
    with pytest.raises(ResultError, match=r"ndcg@\d+ is nan|recall@10 is nan"):
        tables.table3([make_result(math.nan)], DATASET)


def test_unknown_names_are_refused(make_result: MakeResult) -> None:
    with pytest.raises(ConfigError, match="did you mean 'lattice'"):
        tables.table3([], DATASET, ["latice"])
    with pytest.raises(ResultError, match=r"no metric 'ndcg@99'.*holds recall@10"):
        tables.table1([make_result()], DATASET, metric="ndcg@99")
    with pytest.raises(ConfigError, match="at least one"):
        tables.table3([], [])


def test_a_model_of_the_reader_needs_no_registration(make_result: MakeResult) -> None:
    table = tables.table3([make_result(0.3, model="mine")], DATASET, ["mine"])
    assert table.values.iloc[0, 0] == pytest.approx(0.3)


def test_statistics_table_keeps_counts_whole() -> None:
    statistics = pd.DataFrame(
        {
            "dataset": ["A", "B"],
            "users": [10.0, math.nan],
            "density": [0.125, math.nan],
            "counts": [{"dropped_items": 3}, math.nan],
        },
        index=["a", "b"],
    )
    table = tables.table2(statistics)
    assert table.values.loc["Users", "A"] == 10
    assert isinstance(table.values.loc["Users", "A"], int)
    assert table.origin.loc["Users"].tolist() == ["measured", "not run"]
    assert table.origin.loc["Items"].tolist() == ["not run", "not run"]
    assert tables.dropped(statistics).to_dict("records") == [{"count": "dropped items", "A": 3, "B": ""}]


def test_persons_have_a_line_where_users_are_sessions() -> None:
    statistics = pd.DataFrame({"users": [30, 20], "persons": [10, None]}, index=["ml-sparse", "ml-dense"])
    values = tables.table2(statistics).values
    assert list(values.index[:3]) == ["Users", "Persons behind the users", "Items"]
    assert values.loc["Persons behind the users"].tolist() == [10, 20]  # where it is not said, each user is a person
    assert "Persons behind the users" not in tables.table2(statistics[["users"]]).values.index


def test_statistics_of_a_track_that_was_never_read() -> None:
    table = tables.table2(pd.DataFrame({"dataset": ["Amazon Baby"]}, index=["baby"]))
    assert (table.origin == "not run").all().all()
    assert list(table.values.columns) == ["Amazon Baby"]
    assert tables.dropped(pd.DataFrame({"dataset": ["Amazon Baby"]}, index=["baby"])).empty
