"""Recommenders and encoders of other packages appear in the tables under their own key, after what is planned."""

from collections.abc import Sequence

import pytest

from lmmrec_core.flow import Result, Table
from lmmrec_core.names import PAPER_MODELS
from lmmrec_core.report import tables
from tests.report.conftest import MakeResult

DATASET = ["complementary"]


@pytest.fixture
def results(make_result: MakeResult) -> list[Result]:
    """A guest recommender, a guest floor and a guest encoder among the study's own."""
    return [
        make_result(0.11),
        make_result(0.12, modalities="V"),
        make_result(0.21, encoder="mine", paradigm="PT"),
        make_result(0.22, encoder="mine", paradigm="FT"),
        make_result(0.23, encoder="split"),  # one encoder for pictures, one for texts: no paradigm
        make_result(0.31, model="guest"),
        make_result(0.32, model="guest", encoder="clip", paradigm="PT"),
        make_result(0.33, model="guest", encoder="clip", paradigm="ETE"),
        make_result(0.34, model="guest", control="shuffled"),
        make_result(0.41, model="random", encoder="none", modalities="none"),
        make_result(0.51, model="elsewhere", dataset="null"),
        make_result(0.61, model="bpr", encoder="none", modalities="none"),
    ]


def labels(table: Table) -> list[str]:
    return [str(label) for label in table.values.index.get_level_values("label")]


def first(table: Table, label: str) -> float:
    return float(table.values.xs(label, level="label").iloc[0, 0])


def test_table3_shows_guest_encoders_after_ours_and_guest_models_last(results: Sequence[Result]) -> None:
    table = tables.table3(results, DATASET, ["vbpr", "lattice"])
    assert labels(table) == [
        "VBPR", "VBPR VLMo", "VBPR CLIP", "VBPR mine-PT", "VBPR split",
        "LATTICE", "LATTICE VLMo", "LATTICE CLIP",
        "guest", "guest CLIP",
    ]  # fmt: skip
    assert first(table, "VBPR mine-PT") == pytest.approx(0.21)
    assert first(table, "VBPR split") == pytest.approx(0.23)
    assert first(table, "guest CLIP") == pytest.approx(0.32)


def test_table4_shows_a_group_per_guest_that_was_tuned(results: Sequence[Result]) -> None:
    table = tables.table4(results, DATASET, ["vbpr"])
    groups = list(dict.fromkeys(table.values.index.get_level_values("group")))
    assert groups == ["VBPR VLMo", "VBPR CLIP", "VBPR mine", "guest CLIP"]
    assert labels(table)[6:] == [f"{name}-{p}" for name in ("VBPR mine", "guest CLIP") for p in ("PT", "FT", "ETE")]
    assert first(table, "VBPR mine-FT") == pytest.approx(0.22)
    assert first(table, "guest CLIP-ETE") == pytest.approx(0.33)


def test_tables_of_modalities_show_guests_that_ran_with_their_encoder(results: Sequence[Result]) -> None:
    assert labels(tables.table1(results, DATASET, ["vbpr"]))[3:] == ["guest V&T", "guest V", "guest T"]
    assert labels(tables.table5(results, DATASET, ["vbpr"]))[3:] == ["guest V&T", "guest V", "guest T"]
    mine = tables.table5(results, DATASET, ["vbpr"], encoder="mine", paradigm="FT")
    assert labels(mine) == ["VBPR V&T", "VBPR V", "VBPR T"]
    assert "mine-FT" in mine.caption and first(mine, "VBPR V&T") == pytest.approx(0.22)
    broken = tables.ablation(results, DATASET, ["vbpr"])
    assert first(broken, "guest V&T") == pytest.approx(0.31)
    assert first(broken, "guest V&T, shuffled") == pytest.approx(0.34)


def test_the_floor_shows_guests_without_content(results: Sequence[Result]) -> None:
    table = tables.floor(results, DATASET, ["bpr"])
    assert labels(table) == ["BPR", "random"]
    assert first(table, "random") == pytest.approx(0.41)


def test_without_guests_and_in_print_the_rows_are_the_planned_ones(make_result: MakeResult) -> None:
    known = [make_result(), make_result(model="freedom"), make_result(encoder="clip", paradigm="ETE")]
    assert len(labels(tables.table3(known, DATASET))) == 3 * len(PAPER_MODELS)
    assert len(labels(tables.table4(known, DATASET))) == 6 * len(PAPER_MODELS)
    assert len(labels(tables.printed_table3())) == 15


def test_a_guest_that_was_asked_for_is_shown_once(results: Sequence[Result]) -> None:
    assert labels(tables.table1(results, DATASET, ["guest"])) == ["guest V&T", "guest V", "guest T"]
