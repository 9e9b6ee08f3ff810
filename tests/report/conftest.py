"""Synthetic results: numbers chosen by hand, so that every expected cell can be computed on paper."""

from collections.abc import Callable

import pandas as pd
import pytest

from lmmrec_core.flow import Result
from lmmrec_core.names import PAPER_MODELS
from lmmrec_core.questions import MODALITY_SPECIFIC, controlled
from lmmrec_core.report.changes import claimed_changes
from lmmrec_core.report.published import DATASETS
from lmmrec_core.report.rule import read_rule

MakeResult = Callable[..., Result]


@pytest.fixture
def make_result() -> MakeResult:
    """A result whose mean of every metric is ``value`` (two users, ``value`` ± 0.01).

    ``trained``: whether its end-to-end training counts; None if it is no end-to-end run.
    """

    def make(value: float = 0.1, trained: bool | None = None, **case: object) -> Result:
        full = {
            "track": "controls",
            "dataset": "complementary",
            "model": "vbpr",
            "encoder": "baseline",
            "paradigm": "none",
            "modalities": "V&T",
            "control": "none",
            "seed": 1,
            **case,
        }
        metrics = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
        per_user = pd.DataFrame({name: [value - 0.01, value + 0.01] for name in metrics})
        history = [
            {"number": n, "loss": 1.0 / n, "valid": value * n / 3 if n > 1 else None, "seconds": 0.1} for n in (1, 2, 3)
        ]
        record = {
            "key": f"{value}",
            "case": full,
            "training": {"best_epoch": 3, "epochs": 3, "history": history, "stopped": "end"},
            "data": {"split": "s"},
            "cost": {"seconds": 2.0, "peak_memory_bytes": 1},
        }
        if trained is not None:
            record["training"]["features"] = {"reading": "e2", "trained": trained}
        return Result(full, per_user, {"coverage@20": 0.5}, record)

    return make


def comparison(**fields: object) -> dict[str, object]:
    """One row as the study makes it."""
    return {
        "dataset": "complementary",
        "model": "vbpr",
        "metric": "ndcg@20",
        "pair": controlled(MODALITY_SPECIFIC, "shuffled"),
        "mean_a": 0.12,
        "mean_b": 0.1,
        "difference": 0.02,
        "relative": 0.2,
        "relative_low": 0.1,
        "relative_high": 0.3,
        "ci_low": 0.01,
        "ci_high": 0.03,
        "se": 0.005,
        "df": 12.0,
        "p": 0.001,
        "p_holm": 0.01,
        "splits": 1,
        "effect": 0.1,
        "n": 1000,
        "persons": 800,
        "seeds": 3,
        "share_gained": 0.6,
        "mde": 0.15,
        "mde_holm": 0.2,
        "equivalence_p": 0.99,
        "testable": True,
        "family": "15 planned pairs of rq1 on complementary, ndcg@20",
        "family_size": 15,
        **fields,
    }


def measured_claims(
    share: float, half: float, datasets: tuple[str, ...] = DATASETS, question: str = "rq1"
) -> pd.DataFrame:
    """The claimed comparisons, measured as ``share`` of the printed change, with an interval of ± ``half``."""
    frame = claimed_changes(question, datasets, PAPER_MODELS, "ndcg@20", read_rule().rounding)
    rows = [
        comparison(
            dataset=row["dataset"], model=row["model"], pair=row["pair"], relative=share * row["printed"],
            relative_low=share * row["printed"] - half, relative_high=share * row["printed"] + half,
        )
        for row in frame.to_dict("records")
    ]  # fmt: skip
    return pd.DataFrame(rows)
