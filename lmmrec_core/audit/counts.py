"""Table 2 against its own counts and against the public 5-core files that it comes from."""

import pandas as pd

# users, items, interactions of the 2014 5-core files (enoche/MMRec: evaluation/README.md for Baby and Sports;
# yunwooseong/RADIAN: README.md for all three)
FIVE_CORE = {
    "sports": (35_598, 18_357, 296_337),
    "clothing": (39_387, 23_033, 278_677),
    "baby": (19_445, 7_050, 160_792),
}


def counts_frame(statistics: pd.DataFrame) -> pd.DataFrame:
    """One row per data set, from ``report.published.printed_statistics()``.

    Columns: dataset, ``density printed`` (text), ``density`` (interactions / (users × items) of the printed counts),
    ``users lost``, ``items lost`` and ``interactions lost`` from the public files, ``share lost`` of interactions,
    ``per lost item`` (interactions that went with each), ``per item`` (of all items in the public files).
    """
    rows = []
    for dataset in statistics.columns:
        printed = tuple(_count(statistics, name, dataset) for name in ("Users", "Items", "Interactions"))
        users, items, pairs = (full - kept for full, kept in zip(FIVE_CORE[dataset], printed, strict=True))
        rows.append(
            {
                "dataset": dataset,
                "density printed": str(statistics.loc["Interaction Density", dataset]),
                "density": printed[2] / (printed[0] * printed[1]),
                "users lost": users,
                "items lost": items,
                "interactions lost": pairs,
                "share lost": pairs / FIVE_CORE[dataset][2],
                "per lost item": pairs / items,
                "per item": FIVE_CORE[dataset][2] / FIVE_CORE[dataset][1],
            }
        )
    return pd.DataFrame(rows)


def _count(statistics: pd.DataFrame, quantity: str, dataset: str) -> int:
    return int(str(statistics.loc[quantity, dataset]).replace(",", ""))
