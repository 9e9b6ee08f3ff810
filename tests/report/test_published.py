"""The carried tables: complete, consistent with each other, and equal to the paper's text where it is at hand."""

import csv
from importlib.resources import files

import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.names import PAPER_METRICS, PAPER_MODELS
from lmmrec_core.questions import MODALITY_SPECIFIC, Variant, trained
from lmmrec_core.report import published
from lmmrec_core.report.published import printed_count, printed_statistics, printed_value, read_results


@pytest.mark.parametrize(("number", "rows", "stars"), [(1, 18, 0), (3, 180, 116), (4, 360, 217), (5, 18, 10)])
def test_every_printed_number_is_there(number: int, rows: int, stars: int) -> None:
    frame = read_results(number)
    assert (len(frame), int(frame["starred"].sum())) == (rows, stars)
    assert len({*zip(frame["dataset"], frame["model"], frame["variant"], frame["metric"], strict=True)}) == rows
    assert frame["value"].between(0.005, 0.12).all()


def test_names_are_those_of_the_study() -> None:
    frame = read_results(4)
    assert set(frame["model"]) == set(PAPER_MODELS)
    assert set(frame["variant"]) == {trained(e, p) for e in ("clip", "vlmo") for p in ("PT", "FT", "ETE")}
    assert {variant.paradigm for variant in read_results(3)["variant"]} == {
        "none",
        "PT",
    }  # "none" is a name, not a missing value
    assert set(read_results(3)["metric"]) == set(PAPER_METRICS)


def test_numbers_printed_in_two_tables_agree() -> None:
    seen: dict[tuple[str, ...], float] = {}
    for number in published.NUMBERS:
        for row in read_results(number).to_dict("records"):
            key = (row["dataset"], row["model"], row["variant"], row["metric"])
            assert seen.setdefault(key, row["value"]) == row["value"], key
    assert len(seen) == 180 + 360 - 120 + 18 - 6 + 18 - 6


def test_single_numbers_against_the_page() -> None:
    assert printed_value("sports", "vbpr", MODALITY_SPECIFIC, "recall@10") == 0.0509
    assert printed_value("baby", "lattice", Variant("clip", "ETE", "T"), "ndcg@20") == 0.0379
    assert printed_value("clothing", "mmgcl", trained("vlmo", "FT"), "recall@20") == 0.0653
    assert printed_value("baby", "freedom", MODALITY_SPECIFIC, "ndcg@20") is None


def test_statistics_keep_their_text() -> None:
    frame = printed_statistics()
    assert list(frame.columns) == ["sports", "clothing", "baby"]
    assert frame.loc["Users", "sports"] == "35,598"
    assert printed_count("Items", "clothing") == 22499
    with pytest.raises(ConfigError, match="4096/768/544"):
        printed_count("CNN/CLIP/VLMo Visual Dimension", "baby")


def test_table_without_results_is_refused() -> None:
    with pytest.raises(ConfigError, match="table of results"):
        read_results(2)


@pytest.mark.shared
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_carried_files_equal_their_source(number: int, shared_data: object) -> None:
    source = shared_data.parent / "paper" / f"table{number}.csv"  # type: ignore[attr-defined]
    carried = files("lmmrec_core.report") / "published" / f"table{number}.csv"
    with source.open(encoding="utf-8") as left, carried.open(encoding="utf-8") as right:
        assert list(csv.reader(left)) == list(csv.reader(right))
