"""The listing of comparisons: what was tested, with which result, on how much, and what could have been found."""

import math

import pandas as pd

from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name
from lmmrec_core.report.run_links import pair_links

#: Columns of :func:`compared_listing` that hold fractions.
FRACTIONS = ("change", "from", "to", "users gained", "detectable", "detectable, family")
_NUMBERS = {
    "change": "relative",
    "from": "relative_low",
    "to": "relative_high",
    "p": "p",
    "adjusted p": "p_holm",
    "effect": "effect",
    "users gained": "share_gained",
    "detectable": "mde",
    "detectable, family": "mde_holm",
}


def compared_listing(comparisons: pd.DataFrame, metric: str = "ndcg@20", labels: Labels = PAPER_LABELS) -> pd.DataFrame:
    """The comparisons of one metric for readers, one line each.

    comparison, data set, change (relative) with its 95 % interval *from* … *to*, p and adjusted p, effect (d_z over
    users), *users gained* (share of a's among the users that one side serves better), *detectable* (relative change
    found with probability 0.8, alone and at Holm's first step), users (of a split), persons, splits, seeds (on a
    split), df, and links to the runs of a and b. Empty where a ratio is not defined; where seeds are too few for a
    test, p is "not testable".
    """
    rows = []
    for test in comparisons.to_dict("records") if len(comparisons) else []:
        if test["metric"] != metric:
            continue
        row: dict[str, object] = {
            "comparison": labels.pair(str(test["model"]), test["pair"]),
            "data set": dataset_name(str(test["dataset"])),
            **{title: _finite(test[name]) for title, name in _NUMBERS.items()},
            **{name: int(test[name]) for name in ("n", "persons", "splits", "seeds")},
            "df": f"{test['df']:.1f}",
            "runs": pair_links(str(test["dataset"]), str(test["model"]), test["pair"]),
        }
        if not test["testable"]:
            row |= {"p": "not testable", "adjusted p": "not testable", "df": ""}
        rows.append(row)
    columns = ["comparison", "data set", *_NUMBERS, "n", "persons", "splits", "seeds", "df", "runs"]
    return pd.DataFrame(rows, columns=columns).rename(columns={"n": "users"})


def _finite(value: float | None) -> float:
    return float(value) if value is not None and math.isfinite(value) else math.nan
