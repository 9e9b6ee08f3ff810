"""Stored runs → listings for the receipt page: every run, what they cost together, and why others are absent."""

import pandas as pd

from lmmrec_core.report.labels import PAPER_LABELS, Labels, metric_name, model_name
from lmmrec_core.report.marks import DISAGREEMENT, MOST_AT_CAP, seeds_disagree

NO_ENERGY = "not measured"
_DECIMALS = {"recall@20": 4, "ndcg@20": 4, "seconds": 1, "peak MiB": 0}


def listing(receipt: pd.DataFrame, labels: Labels = PAPER_LABELS) -> pd.DataFrame:
    """The receipt with readable numbers and names, one row per run; numbers stay numbers, so that columns sort."""
    shown = receipt.round({name: digits for name, digits in _DECIMALS.items() if name in receipt})
    if "encoder" in shown:
        shown["encoder"] = [labels.encoders.get(key, key) for key in shown["encoder"]]
    return shown


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


_CELL = ["dataset", "model", "encoder", "paradigm", "modalities", "control", "arm"]


def training_note(receipt: pd.DataFrame, metric: str = "ndcg@20") -> str:
    """Markdown: the share of trained runs that ended at the cap, and the cells whose seeds disagree; "" without runs.

    ``receipt``: ``Study.receipt``. Runs that stand in no table are left out.
    """
    counted = receipt[receipt["in tables"] == "yes"] if len(receipt) else receipt
    if counted.empty:
        return ""
    trained = counted[counted["stopped"].isin(["patience", "cap"])]
    told = []
    if len(trained):
        capped = int((trained["stopped"] == "cap").sum())
        share = capped / len(trained)
        state = "as it should be" if share <= MOST_AT_CAP else "**too many**"
        told.append(
            f"{capped} of {len(trained)} trained runs ({100 * share:.1f} %) ended at the longest training allowed; at "
            f"most {MOST_AT_CAP:.0%} should: {state}."
        )
    cells = counted.groupby(_CELL, sort=False)[metric].agg(list)
    odd = int(cells.map(seeds_disagree).sum())
    told.append(f"In {odd} of {len(cells)} cells the best seed's {metric_name(metric)} is more than "
                f"{DISAGREEMENT:g} times the worst's.")  # fmt: skip
    return " ".join(told)


def weights_note(sources: pd.DataFrame) -> str:
    """One Markdown sentence on weights that uncommitted code made, with the cure; "" if there are none."""
    suspect = sources[(sources["what"] == "weights") & (sources["made by"] == "uncommitted")]
    if suspect.empty:
        return ""
    named = ", ".join(f"{row['of']} ({row['digest'][:8]}, read by {row['runs']} runs)" for _, row in suspect.iterrows())
    return (
        f"**{len(suspect)} sets of weights were made by uncommitted code**: {named}. To make them and their features "
        "again, commit the code, delete `.cache/encoders` and `.cache/features`, and run the track again."
    )


def receipt_verdict(receipt: pd.DataFrame) -> str:
    """Markdown: whether the runs were made by one state of the code, with one library version, and which do not count.

    ``receipt``: ``Study.receipt``.
    """
    if receipt.empty:
        return "**Nothing of this track has been run on this machine.**"
    refused = receipt[receipt["in tables"] == "no"] if "in tables" in receipt else receipt[:0]
    commits, versions = sorted(set(receipt["commit"])), sorted(set(map(str, receipt["torch"])))
    changed = [commit for commit in commits if commit.endswith("+")]
    outside = sum(commit == "None" for commit in receipt["commit"])
    made = "one commit" if len(commits) == 1 else f"{len(commits)} commits"
    used = f"PyTorch {versions[0]}" if len(versions) == 1 else f"{len(versions)} versions of PyTorch"
    note = f" The code of {', '.join(changed)} was changed after the commit." if changed else ""
    note += f" {outside} were made outside a git checkout, so their commit is not known." if outside else ""
    note += f" {len(refused)} of them stand in no table: {', '.join(refused['key'])}." if len(refused) else ""
    return f"**{len(receipt)} runs, made by {made} with {used}.**{note}"


def receipt_facts(receipt: pd.DataFrame) -> dict[str, int | float | str]:
    """What a checklist asks of the runs: how many, by what code, on what, for how long; words where there are none.

    ``receipt``: ``Study.receipt``.
    """
    if receipt.empty:
        nothing = "not run"
        return {"runs": 0, "seeds": nothing, "hours": 0.0, "energy": NO_ENERGY, "code": nothing,
                "torch": nothing, "machines": nothing}  # fmt: skip
    seeds = receipt.groupby(_CELL, sort=False)["seed"].nunique()
    least, most = int(seeds.min()), int(seeds.max())
    commits = sorted(set(receipt["commit"]))
    return {
        "runs": len(receipt),
        "seeds": f"{least}" if least == most else f"{least} to {most}",
        "hours": float(receipt["seconds"].sum()) / 3600,
        "energy": _energy(receipt),
        "code": f"1 commit, {commits[0]}" if len(commits) == 1 else f"{len(commits)} commits",
        "torch": ", ".join(sorted(set(map(str, receipt["torch"])))),
        "machines": ", ".join(sorted(set(map(str, receipt["machine"])))),
    }


def _energy(receipt: pd.DataFrame) -> str:
    """The energy of the runs that have a reading, and how many these are."""
    measured = pd.to_numeric(receipt["energy Wh"], errors="coerce").dropna() if "energy Wh" in receipt else pd.Series()
    if measured.empty:
        return NO_ENERGY
    return f"{measured.sum() / 1000:.3g} kWh, estimated in {len(measured)} of {len(receipt)} runs"
