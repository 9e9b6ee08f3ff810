"""Table 2 put to the test: printed counts against counted ones, and the printed density against its own counts."""

import math
from collections.abc import Sequence

import pandas as pd

from lmmrec_core.report.labels import dataset_name
from lmmrec_core.report.published import DATASETS, printed_count
from lmmrec_core.report.verdict import NO_VERDICT, Verdict

_QUANTITIES = {"users": "Users", "items": "Items", "interactions": "Interactions"}
_CLOSE = 0.01
_ORDER = ("not run", "different", "close", "as printed")
_RULE = (
    f"A count is *as printed* when it is the printed one, *close* when it is within {_CLOSE:.0%} of it, and "
    "*different* otherwise. The track takes the word of its worst count."
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
    """Users, items and interactions of the paper's data sets: printed against counted; *no verdict* on others.

    ``statistics``: one row per data set (the index holds its name) with users, items and interactions.
    """
    counts_of = statistics.reindex(columns=list(_QUANTITIES)).stack().to_dict()
    if not set(statistics.index) & set(datasets):
        return Verdict("data", NO_VERDICT, {}, "None of the paper's data sets is on this track.", _RULE)
    statuses, told = [], []
    for dataset in datasets:
        for column, quantity in _QUANTITIES.items():
            counted = float(counts_of.get((dataset, column), math.nan))
            if math.isnan(counted):
                statuses.append("not run")
                continue
            printed = printed_count(quantity, dataset)
            off = counted / printed - 1.0
            close = "close" if abs(off) <= _CLOSE else "different"
            statuses.append("as printed" if off == 0 else close)
            told.append(f"{dataset_name(dataset)} {column} {counted:,.0f} ({printed:,.0f} printed)")
    counts = {name: statuses.count(name) for name in reversed(_ORDER)}
    status = next(name for name in _ORDER if counts[name])
    sentence = f"Counted here: {'; '.join(told)}." if told else "None of them has been read yet."
    return Verdict("data", status, counts, sentence, _RULE)
