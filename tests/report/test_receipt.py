"""The receipt's listings: nothing lost, sums right, nothing invented when there is nothing."""

import pandas as pd

from lmmrec_core.report.receipt import absent, cost, listing, receipt_verdict


def runs(**columns: list[object]) -> pd.DataFrame:
    base: dict[str, list[object]] = {
        "dataset": ["b", "a", "b"], "model": ["vbpr", "bpr", "vbpr"], "recall@20": [0.123456, 0.2, 0.3],
        "seconds": [30.0, 60.0, 90.0], "peak MiB": [100.4, 50.0, 200.6], "commit": ["abc"] * 3, "torch": ["2"] * 3,
    }  # fmt: skip
    return pd.DataFrame({**base, **columns})


def test_listing_keeps_every_run_and_its_numbers() -> None:
    shown = listing(runs())
    assert len(shown) == 3
    assert shown["recall@20"].tolist() == [0.1235, 0.2, 0.3]
    assert listing(pd.DataFrame()).empty


def test_cost_adds_up_per_data_set_and_model() -> None:
    shown = cost(runs())
    assert shown.iloc[:, 0].tolist() == ["b, VBPR", "a, BPR"]
    assert shown["runs"].tolist() == [2, 1] and shown["minutes"].tolist() == [2.0, 1.0]
    assert shown["peak MiB"].tolist() == [200.6, 50.0]
    assert cost(pd.DataFrame()).empty


def test_absent_counts_each_reason() -> None:
    shown = absent(pd.DataFrame({"reason": ["no weights", "no data", "no weights"]}))
    assert shown.values.tolist() == [["no weights", 2], ["no data", 1]]
    assert absent(pd.DataFrame(columns=["reason"])).empty


def test_verdict_names_mixed_commits_and_uncommitted_code() -> None:
    assert receipt_verdict(runs()) == "**3 runs, made by one commit with PyTorch 2.**"
    mixed = receipt_verdict(runs(commit=["abc", "abc+", "def"], torch=["2", "3", "2"]))
    assert "3 commits with 2 versions" in mixed and "The code of abc+ was changed after the commit." in mixed
    assert "2 were made outside a git checkout" in receipt_verdict(runs(commit=["None", "abc", "None"]))
    refused = receipt_verdict(runs(**{"in tables": ["yes", "no", "yes"], "key": ["1", "2", "3"]}))
    assert "1 of them stand in no table: 2." in refused
    assert "Nothing" in receipt_verdict(pd.DataFrame())
