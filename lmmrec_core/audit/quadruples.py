"""The four printed numbers of one system on one data set, and whether one ranking can give them."""

import pandas as pd

from lmmrec_core.audit.relations import PrintedValue, broken_relations
from lmmrec_core.names import MODEL_TITLES

LAST_DIGIT = 0.00005  # half a unit of it: how far the true number may be from the printed one
LOW, HIGH = 10, 20  # the printed cutoffs


def quadruples(table3: pd.DataFrame, table4: pd.DataFrame, held_out: str = "few") -> pd.DataFrame:
    """One row per system and data set of Tables 3 and 4: 45 + 90, the 30 pre-trained ones twice.

    Columns: table, system, dataset; ``recall@10`` … ``ndcg@20``; ``recall growth`` and ``ndcg growth`` from 10 to 20;
    ``slope``, the second by the first; ``impossible`` (no ranking gives it, rounding allowed); ``steep`` (impossible
    only if every user has one held-out item). ``held_out`` is that of ``relations.broken_relations``.
    """
    both = pd.concat([table3, table4])
    labels = [
        f"{MODEL_TITLES[model]} {variant.label}" for model, variant in zip(both["model"], both["variant"], strict=True)
    ]
    wide = both.assign(system=labels).pivot_table(
        index=["table", "system", "dataset"], columns="metric", values="value", sort=False
    )
    frame = wide.rename_axis(columns=None).reset_index()
    frame["recall growth"] = frame[f"recall@{HIGH}"] - frame[f"recall@{LOW}"]
    frame["ndcg growth"] = frame[f"ndcg@{HIGH}"] - frame[f"ndcg@{LOW}"]
    frame["slope"] = frame["ndcg growth"] / frame["recall growth"]
    broken, one = ([_broken(row, word) for row in frame.to_dict("records")] for word in (held_out, "one"))
    frame["impossible"] = broken
    frame["steep"] = [strict and not loose for strict, loose in zip(one, broken, strict=True)]
    return frame


def _broken(row: dict[object, object], held_out: str) -> bool:
    printed = {
        (metric, k): PrintedValue(float(str(row[f"{metric}@{k}"])), LAST_DIGIT)
        for metric in ("recall", "ndcg")
        for k in (LOW, HIGH)
    }
    return bool(broken_relations(printed, held_out))


def impossible_systems(frame: pd.DataFrame) -> pd.DataFrame:
    """The distinct impossible systems of :func:`quadruples`, lowest slope first, each with a likely NDCG@20.

    Columns: system, dataset, the four numbers, ``slope``, ``expected`` (NDCG@20 if the slope were the median of all
    distinct systems).
    """
    distinct = frame.drop_duplicates(["system", "dataset"])
    usual = float(distinct["slope"].median())
    found = distinct[distinct["impossible"]].sort_values("slope", ignore_index=True)
    names = [f"{metric}@{k}" for metric in ("recall", "ndcg") for k in (LOW, HIGH)]
    expected = found[f"ndcg@{LOW}"] + usual * found["recall growth"]
    return found[["system", "dataset", *names, "slope"]].assign(expected=expected)
