"""Results → long frames for the figures: one line per run, or per epoch."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from lmmrec_core.flow import Result
from lmmrec_core.questions import Variant
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name, model_name
from lmmrec_core.report.layout import run_mean

_RUN_COLUMNS = ("dataset", "model", "variant", "label", "split", "seed")


def runs_frame(results: Iterable[Result], metrics: Sequence[str], labels: Labels = PAPER_LABELS) -> pd.DataFrame:
    """One line per run that counts as trained.

    Columns: dataset (display name), model, variant, label, split, seed, seconds, best_epoch, and the metrics.
    """
    rows = []
    for result in (result for result in results if result.trained):
        rows.append(
            {
                **_identity(result, labels),
                "seconds": float((result.record.get("cost") or {}).get("seconds", float("nan"))),
                "best_epoch": int((result.record.get("training") or {}).get("best_epoch", 0)),
                **{metric: run_mean(result, metric) for metric in metrics},
            }
        )
    return pd.DataFrame(rows, columns=[*_RUN_COLUMNS, "seconds", "best_epoch", *metrics])


def history_frame(results: Iterable[Result], labels: Labels = PAPER_LABELS) -> pd.DataFrame:
    """One line per evaluated epoch: the columns of a run, then epoch, loss and valid."""
    rows = []
    for result in results:
        for epoch in (result.record.get("training") or {}).get("history", ()):
            if epoch["valid"] is not None:
                rows.append(
                    {**_identity(result, labels), **{name: epoch[name] for name in ("number", "loss", "valid")}}
                )
    frame = pd.DataFrame(rows, columns=[*_RUN_COLUMNS, "number", "loss", "valid"])
    return frame.rename(columns={"number": "epoch"})


def _identity(result: Result, labels: Labels) -> dict[str, Any]:
    case, variant = result.case, Variant.of(result.case)
    split, seed = result.number
    return {
        "dataset": dataset_name(str(case["dataset"])),
        "model": model_name(str(case["model"])),
        "variant": labels.variant(variant),
        "label": labels.case(str(case["model"]), variant),
        "split": split,
        "seed": seed,
    }
