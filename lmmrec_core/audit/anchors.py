"""Published results of known recommenders, each with its source, and the band that they draw around a printed baseline.

``anchors.csv`` holds what a public page prints and what it says of split, features and selection; "not stated" stands
where the page says nothing. The page prints Sports twice, and its two values of Recall@10 differ by up to 4 %, so a
band is wider than the values it comes from. Splits and tuning differ between papers: a cell outside the band is a
question to its authors, not a fault.
"""

from functools import cache
from importlib.resources import files

import pandas as pd

BAND_MARGIN = 0.10  # of the least and the greatest published value: more than twice what one page differs from itself


@cache
def read_anchors() -> pd.DataFrame:
    """Every published figure. Columns: model, dataset, metric, value, split, features, selection, source."""
    with (files("lmmrec_core.audit") / "anchors.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False)


def against_published(baselines: pd.DataFrame) -> pd.Series:
    """How far baselines are from the first published table: mean of value / published − 1, by (dataset, model).

    ``baselines`` has the columns model, dataset, metric and value; cells that are not published do not count.
    """
    anchors = read_anchors()
    first = anchors[anchors["source"].str.contains("Experimental Results", regex=False)]
    both = baselines.merge(first, on=["model", "dataset", "metric"], suffixes=("", "_published"))
    return (both["value"] / both["value_published"] - 1).groupby([both["dataset"], both["model"]]).mean()


@cache
def _extremes() -> dict[tuple[str, str, str], tuple[float, float]]:
    found: dict[tuple[str, str, str], tuple[float, float]] = {}
    for row in read_anchors().to_dict("records"):
        key, value = (str(row["model"]), str(row["dataset"]), str(row["metric"])), float(row["value"])
        low, high = found.get(key, (value, value))
        found[key] = min(low, value), max(high, value)
    return found


def published_band(model: str, dataset: str, metric: str, margin: float = BAND_MARGIN) -> tuple[float, float] | None:
    """Least and greatest value that published ones make likely, for instance of ("vbpr", "baby", "recall@20").

    The published extremes, widened by ``margin``. None when nothing is published for the cell.
    """
    found = _extremes().get((model, dataset, metric))
    return (found[0] * (1 - margin), found[1] * (1 + margin)) if found else None
