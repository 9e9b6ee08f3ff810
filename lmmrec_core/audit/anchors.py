"""Published results of known recommenders, each with its source, and the band that they draw around a printed baseline.

``anchors.csv`` holds what public pages print and what they say of split, features and selection; "not stated" stands
where a page says nothing. One page prints Sports twice, and its two values of Recall@10 differ by up to 4 %, so a band
is wider than the values it comes from. Splits and tuning differ between papers: a cell outside the band is a question
to its authors, not a fault.

Many papers copy the figures of their baselines from an older one. A figure that a page shares with a page that is
already listed is left out, so that the number of sources counts measurements. Runs that their authors call untuned are
left out too.
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
    first = anchors[
        anchors["source"].str.startswith("enoche/") & anchors["source"].str.endswith("(Experimental Results)")
    ]
    both = baselines.merge(first, on=["model", "dataset", "metric"], suffixes=("", "_published"))
    return (both["value"] / both["value_published"] - 1).groupby([both["dataset"], both["model"]]).mean()


@cache
def published_bands(margin: float = BAND_MARGIN) -> pd.DataFrame:
    """What published values make likely: the least and the greatest of each cell, widened by ``margin``.

    Index: (dataset, model, metric). Columns: ``low`` and ``high`` of the band, ``sources`` (how many published values
    it comes from). Cells without a published value have no row.
    """
    values = read_anchors().groupby(["dataset", "model", "metric"], sort=False)["value"]
    frame = pd.DataFrame({"low": values.min() * (1 - margin), "high": values.max() * (1 + margin)})
    return frame.assign(sources=values.size())


def published_band(model: str, dataset: str, metric: str) -> tuple[float, float] | None:
    """The band of one cell, for instance ("vbpr", "baby", "recall@20"); None when nothing is published for it."""
    return _bands().get((dataset, model, metric))


@cache
def _bands() -> dict[tuple[str, str, str], tuple[float, float]]:
    bands = published_bands().reset_index()
    return {
        (str(row["dataset"]), str(row["model"]), str(row["metric"])): (float(row["low"]), float(row["high"]))
        for row in bands.to_dict("records")
    }
