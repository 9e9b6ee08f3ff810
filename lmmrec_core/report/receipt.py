"""Stored runs → listings for the receipt page: every run, what they cost together, and why others are absent."""

import pandas as pd

from lmmrec_core.report.labels import model_name

_DECIMALS = {"recall@20": 4, "ndcg@20": 4, "seconds": 1, "peak MiB": 0}


def listing(receipt: pd.DataFrame) -> pd.DataFrame:
    """The receipt with readable numbers, one row per run; numbers stay numbers, so that columns sort."""
    return receipt.round({name: digits for name, digits in _DECIMALS.items() if name in receipt})


def cost(receipt: pd.DataFrame) -> pd.DataFrame:
    """Runs, minutes and largest memory for each data set and model; no rows if nothing ran."""
    columns = ["data set and model", "runs", "minutes", "peak MiB"]
    if receipt.empty:
        return pd.DataFrame(columns=columns)
    rows = []
    for (dataset, model), runs in receipt.groupby(["dataset", "model"], sort=False):
        minutes = float(runs["seconds"].sum()) / 60
        rows.append((f"{dataset}, {model_name(str(model))}", len(runs), minutes, float(runs["peak MiB"].max())))
    return pd.DataFrame(rows, columns=columns)


def absent(not_run: pd.DataFrame) -> pd.DataFrame:
    """How many cases of the grid have no result, for each reason; most frequent first."""
    counts = not_run.groupby("reason", sort=False).size().sort_values(ascending=False, kind="stable")
    return pd.DataFrame({"reason": counts.index.astype(str), "cases": counts.to_numpy()})


def receipt_verdict(receipt: pd.DataFrame) -> str:
    """One Markdown sentence: whether the runs were made by one state of the code, with one library version."""
    if receipt.empty:
        return "**Nothing of this track has been run on this machine.**"
    commits, versions = sorted(set(receipt["commit"])), sorted(set(map(str, receipt["torch"])))
    changed = [commit for commit in commits if commit in ("None", "unknown") or commit.endswith("+")]
    made = "one commit" if len(commits) == 1 else f"{len(commits)} commits"
    used = f"PyTorch {versions[0]}" if len(versions) == 1 else f"{len(versions)} versions of PyTorch"
    note = f" Not all of it is in version control: {', '.join(changed)}." if changed else ""
    return f"**{len(receipt)} runs, made by {made} with {used}.**{note}"
