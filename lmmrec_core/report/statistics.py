"""Table 2 put to the test: printed counts against counted ones, and the printed density against its own counts."""

import math
from collections.abc import Sequence

import pandas as pd

from lmmrec_core.report.labels import dataset_name
from lmmrec_core.report.published import DATASETS, printed_count
from lmmrec_core.report.verdict import Verdict

_QUANTITIES = {"users": "Users", "items": "Items", "interactions": "Interactions"}
_CLOSE = 0.01
_RULE = (
    "A count is *reproduced* when it is the printed one, in the *same direction* (close) when it is within "
    f"{_CLOSE:.0%} of it, and *not reproduced* otherwise."
)


def density_check() -> pd.DataFrame:
    """Per data set of the paper: printed density, interactions / (users × items) of the printed counts, their ratio."""
    rows = []
    for dataset in DATASETS:
        users, items, pairs = (printed_count(quantity, dataset) for quantity in _QUANTITIES.values())
        printed = printed_count("Interaction Density", dataset)
        rows.append((dataset_name(dataset), printed, pairs / (users * items), printed * users * items / pairs))
    return pd.DataFrame(rows, columns=["data set", "printed density", "from the printed counts", "ratio"])


def data_verdict(statistics: pd.DataFrame, datasets: Sequence[str] = DATASETS) -> Verdict:
    """Users, items and interactions of the paper's data sets: printed against counted.

    ``statistics``: one row per data set (the index holds its name) with users, items and interactions.
    """
    counts_of = statistics.reindex(columns=list(_QUANTITIES)).stack().to_dict()
    statuses, told = [], []
    for dataset in datasets:
        for column, quantity in _QUANTITIES.items():
            counted = float(counts_of.get((dataset, column), math.nan))
            if math.isnan(counted):
                statuses.append("not run")
                continue
            printed = printed_count(quantity, dataset)
            off = counted / printed - 1.0
            close = "same direction" if abs(off) <= _CLOSE else "not reproduced"
            statuses.append("reproduced" if off == 0 else close)
            told.append(f"{dataset_name(dataset)} {column} {counted:,.0f} ({printed:,.0f} printed)")
    counts = {name: statuses.count(name) for name in ("reproduced", "same direction", "not reproduced", "not run")}
    order = ("not run", "not reproduced", "same direction", "reproduced")
    status = next(name for name in order if counts[name])
    nothing = "None of the paper's data sets has been read on this track."
    sentence = f"Counted here: {'; '.join(told)}." if told else nothing
    return Verdict("data", status, counts, sentence, _RULE)
