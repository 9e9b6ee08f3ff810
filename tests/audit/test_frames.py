"""Quadruples, stars and counts of the printed tables. The expected figures are facts about these, typed by hand."""

import pytest

from lmmrec_core.audit.cells import paper_cells
from lmmrec_core.audit.counts import FIVE_CORE, counts_frame
from lmmrec_core.audit.quadruples import impossible_systems, quadruples
from lmmrec_core.audit.stars import common_hits_needed, overlap_needed, starred_falls
from lmmrec_core.errors import DataError
from lmmrec_core.report.published import DATASETS, printed_count, printed_statistics, read_results

FRAME = quadruples(read_results(3), read_results(4))
CELLS = paper_cells(read_results(3), read_results(4))


def test_nine_of_135_quadruples_and_six_of_105_systems_are_impossible() -> None:
    distinct = FRAME.drop_duplicates(["system", "dataset"])
    assert (len(FRAME), FRAME["impossible"].sum()) == (135, 9)
    assert (len(distinct), distinct["impossible"].sum(), distinct["steep"].sum()) == (105, 6, 4)
    assert distinct["slope"].quantile([0.25, 0.5, 0.75]).round(4).tolist() == [0.2539, 0.2568, 0.2594]
    assert quadruples(read_results(3), read_results(4), "any")["impossible"].sum() == 0


def test_the_impossible_systems_by_name() -> None:
    found = impossible_systems(FRAME).set_index(["system", "dataset"])
    expected = {
        ("MMGCN CLIP-PT", "clothing"): (0.122, 0.0113),
        ("SLMRec CLIP-ETE", "sports"): (0.136, 0.0489),
        ("MMGCN VLMo-FT", "clothing"): (0.165, 0.0120),
        ("MMGCN CLIP-FT", "clothing"): (0.167, 0.0122),
        ("MMGCN VLMo-PT", "clothing"): (0.188, 0.0111),
        ("LATTICE VLMo-PT", "clothing"): (0.190, 0.0220),
    }
    assert list(found.index) == list(expected)
    for place, (slope, likely) in expected.items():
        assert found.loc[place, "slope"] == pytest.approx(slope, abs=6e-4)
        assert found.loc[place, "expected"] == pytest.approx(likely, abs=6e-5)


def test_36_cells_fell_and_33_of_them_are_starred() -> None:
    falls = starred_falls(CELLS)
    assert falls[["fell", "starred"]].sum().tolist() == [36, 33]
    others = falls[falls["model"] != "lattice"]
    assert others[["model", "encoder", "dataset", "starred"]].to_numpy().tolist() == [
        ["mmgcn", "clip", "baby", 2], ["mmgcn", "vlmo", "baby", 4], ["vbpr", "vlmo", "clothing", 3],
    ]  # fmt: skip
    assert (others["change"] * 100).round(1).tolist() == [-3.6, -15.1, -3.5]


def test_the_overlap_that_starred_recalls_need() -> None:
    needed = overlap_needed(CELLS, {name: int(printed_count("Users", name)) for name in DATASETS})
    assert len(needed) == 60
    assert [int((needed["needed"] >= share).sum()) for share in (0.95, 0.9, 0.8, 0.5)] == [4, 9, 19, 25]
    assert needed.loc[0, "cell"] == "VBPR clip baby recall@10"
    assert (needed["needed"].head(6) * 100).round().tolist() == [97, 96, 96, 95, 95, 94]


def test_common_hits_needed_by_a_difference() -> None:
    """Recall@10 .0479 against .0487 over 19,445 users."""
    assert common_hits_needed(0.0479, 0.0487, 19_445) == pytest.approx(0.9745, abs=5e-5)
    assert common_hits_needed(0.01, 0.5, 19_445) == 0.0
    assert common_hits_needed(0.01, 0.01, 100) == 1.0
    assert common_hits_needed(0.0479, 0.0487, 19_445, 0.00005) < common_hits_needed(0.0479, 0.0487, 19_445)
    with pytest.raises(DataError, match="above 0"):
        common_hits_needed(0.0, 0.1, 10)


def test_counts_of_table_2() -> None:
    frame = counts_frame(printed_statistics()).set_index("dataset")
    assert frame["users lost"].tolist() == [0, 0, 0]
    assert frame["items lost"].to_dict() == {"sports": 70, "clothing": 534, "baby": 13}
    assert frame["interactions lost"].to_dict() == {"sports": 971, "clothing": 7676, "baby": 270}
    assert frame["density"].round(6).to_dict() == {"sports": 0.000454, "clothing": 0.000306, "baby": 0.001173}
    assert frame["per lost item"].round(1).to_dict() == {"sports": 13.9, "clothing": 14.4, "baby": 20.8}
    assert set(FIVE_CORE) == set(DATASETS)
