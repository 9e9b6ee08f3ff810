import math

import numpy as np
import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import Results
from lmmrec_core.questions import MODALITY_SPECIFIC, Pair, Variant, single, trained
from lmmrec_core.report.changes import change_table, claimed_changes, printed_change, printed_summary
from tests.report.conftest import MakeResult


def test_printed_change_by_hand() -> None:
    pretrained = Pair(trained("clip", "PT"), MODALITY_SPECIFIC)
    assert printed_change("baby", "vbpr", pretrained, "ndcg@20") == pytest.approx(0.0336 / 0.0329 - 1)
    assert math.isnan(printed_change("baby", "vbpr", single(trained("clip", "ETE"), "V"), "ndcg@20"))
    assert math.isnan(printed_change("baby", "vbpr", Pair(MODALITY_SPECIFIC, Variant(), "lightgcn"), "ndcg@20"))


def test_summary_agrees_with_a_count_by_hand() -> None:
    """Tables 3 and 4: PT beats the baseline in 84 of 120 cells, FT beats PT in 87, CLIP-ETE beats FT in 49."""
    rq1 = printed_summary("rq1")
    assert rq1[["cells", "up", "equal", "down"]].sum().tolist() == [120, 84, 0, 36]
    assert rq1["mean change"].round(3).tolist() == [-0.022, 0.010]
    rq2 = printed_summary("rq2").set_index("pair")
    tuned = rq2.loc[["VLMo-FT / VLMo-PT", "CLIP-FT / CLIP-PT"], ["up", "equal", "down"]].sum()
    assert tuned.tolist() == [87, 3, 30]
    assert rq2.loc["CLIP-ETE / CLIP-FT", "up"] == 49
    assert printed_summary("rq3")["cells"].tolist() == [6, 6]
    assert printed_summary("motivation")["up"].tolist() == [4, 1]


def test_claims_hold_only_what_the_paper_prints() -> None:
    frame = claimed_changes("rq3", ["baby", "null", "ml-sparse"], ["vbpr", "lattice"], "ndcg@20", 0.0001)
    assert set(frame["model"]) == {"lattice"} and set(frame["dataset"]) == {"baby", "ml-sparse"}  # null is synthetic
    of_pictures = frame["pair"] == single(trained("clip", "ETE"), "V")
    own = frame[(frame["dataset"] == "baby") & of_pictures]["printed"].item()
    assert own == pytest.approx(393 / 371 - 1)
    other = frame[(frame["dataset"] == "ml-sparse") & of_pictures]["printed"].item()
    assert other == pytest.approx((451 / 440 + 361 / 346 + 393 / 371) / 3 - 1)


def test_a_measured_change_is_from_one_cell_of_the_tables_to_another(make_result: MakeResult) -> None:
    results = [
        make_result(0.10, seed=1),
        make_result(0.20, seed=2),
        make_result(0.12, seed=1, encoder="clip", paradigm="PT"),
        make_result(0.22, seed=2, encoder="clip", paradigm="PT"),
        make_result(0.90, seed=3, encoder="clip", paradigm="PT"),  # no baseline of seed 3: a cell has its own seeds
    ]
    table = change_table("rq1", results, ["complementary"], ["vbpr"])
    row = ("VBPR", "VBPR: CLIP-PT / baseline")
    assert table.values.loc[row, ("Measured", "Complementary")] == pytest.approx((1.24 / 3) / 0.15 - 1)
    assert table.spread is not None
    relative = (np.std([0.12, 0.22, 0.90], ddof=1) / (1.24 / 3)) ** 2 + (np.std([0.1, 0.2], ddof=1) / 0.15) ** 2
    spread = table.spread.loc[row, ("Measured", "Complementary")]
    assert spread == pytest.approx((1.24 / 3) / 0.15 * relative**0.5)  # as of a ratio of independent means
    assert table.origin.loc[("VBPR", "VBPR: VLMo-PT / baseline"), ("Measured", "Complementary")] == "not run"


def test_printed_columns_do_not_depend_on_what_was_run(make_result: MakeResult) -> None:
    empty = change_table("rq1", [], ["complementary"])
    full = change_table("rq1", [make_result(), make_result(encoder="clip", paradigm="PT")], ["complementary"])
    assert empty.values["Printed"].equals(full.values["Printed"])
    assert (empty.origin["Measured"] == "not run").all().all()
    assert (change_table("rq3", [], ["null"], ["vbpr"]).origin["Printed"] == "not printed").all().all()


def test_zero_baseline_has_no_relative_change(make_result: MakeResult) -> None:
    results = [make_result(0.0), make_result(0.1, encoder="clip", paradigm="PT")]
    origin = change_table("rq1", results, ["complementary"], ["vbpr"]).origin
    assert origin.loc[("VBPR", "VBPR: CLIP-PT / baseline"), ("Measured", "Complementary")] == "not run"


def test_unknown_question() -> None:
    with pytest.raises(ConfigError, match="research question 'rq9'"):
        printed_summary("rq9")


def test_changes_of_withheld_results_say_so(make_result: MakeResult) -> None:
    both = [make_result(0.2), make_result(0.1, modalities="V")]
    table = change_table("motivation", Results(both[:1], both[1:]), ["complementary"], ["vbpr"])
    measured = table.origin["Measured"].iloc[:, 0]
    assert measured.tolist() == ["uncommitted", "not run"]
