"""The receipt's listings: nothing lost, sums right, nothing invented when there is nothing."""

import pandas as pd
import pytest

from lmmrec_core.report.receipt import absent, cost, listing, receipt_facts, receipt_verdict, training_note


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


def trained(scores: list[float], stopped: list[str], **columns: list[object]) -> pd.DataFrame:
    """Runs of two cells, two seeds each."""
    same = {
        "encoder": "baseline",
        "paradigm": "none",
        "modalities": "V&T",
        "control": "none",
        "arm": "none",
        "in tables": "yes",
    }
    frame = pd.DataFrame({"dataset": ["a", "a", "b", "b"], "model": "vbpr", "ndcg@20": scores, "stopped": stopped})
    return frame.assign(**same, **columns)


@pytest.mark.parametrize(
    ("scores", "stopped", "told"),
    [
        ([0.2, 0.2, 0.3, 0.3], ["patience"] * 4, "0 of 4 trained runs (0.0 %) ended at the longest training allowed"),
        ([0.2, 0.2, 0.3, 0.3], ["patience"] * 3 + ["cap"], "1 of 4 trained runs (25.0 %)"),
        ([0.2, 0.2, 0.3, 0.3], ["cap"] + [""] * 3, "1 of 1 trained runs (100.0 %)"),  # older records do not say
        ([0.2, 0.26, 0.3, 0.3], ["patience"] * 4, "In 1 of 2 cells the best seed's NDCG@20 is more than 1.25 times"),
        ([0.2, 0.3, 0.3, 0.2], [""] * 4, "In 2 of 2 cells"),
    ],
)
def test_the_note_on_training_counts_caps_and_doubts(scores: list[float], stopped: list[str], told: str) -> None:
    assert told in training_note(trained(scores, stopped))


def test_the_note_on_training_holds_the_share_against_its_bar() -> None:
    assert "as it should be" in training_note(trained([0.2] * 4, ["patience"] * 4))
    assert "too many" in training_note(trained([0.2] * 4, ["cap", *["patience"] * 3]))
    refused = trained([0.2] * 4, ["cap", *["patience"] * 3]).assign(**{"in tables": ["no", "yes", "yes", "yes"]})
    assert "0 of 3 trained runs" in training_note(refused)
    assert training_note(pd.DataFrame()) == ""


def test_facts_for_a_checklist_are_counted() -> None:
    frame = trained([0.1, 0.1, 0.2, 0.3], ["cap"] * 4, seed=[1, 2, 1, 1], seconds=[900.0] * 4, torch="2.1", machine="A")
    facts = receipt_facts(frame.assign(commit=["abc", "abc", "abd", "abc"], machine=["B", "A", "A, cuda: B", "A"]))
    assert facts["runs"] == 4 and facts["hours"] == 1.0
    assert facts["seeds"] == "1 to 2" and facts["code"] == "2 commits" and facts["torch"] == "2.1"
    assert facts["machines"] == "A, A, cuda: B, B"
    assert receipt_facts(frame.assign(commit="abc"))["code"] == "1 commit, abc"
    nothing = receipt_facts(pd.DataFrame())
    assert (nothing["runs"], nothing["hours"], nothing["machines"]) == (0, 0.0, "not run")
