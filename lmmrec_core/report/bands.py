"""Baselines beside the band of published results: where this study, or a printed table, stands among others."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lmmrec_core.flow import Result
from lmmrec_core.names import PAPER_METRICS
from lmmrec_core.questions import MODALITY_SPECIFIC, Variant
from lmmrec_core.report.html import Sentence, ShownTable, plain_table
from lmmrec_core.report.labels import dataset_name, metric_name, model_name
from lmmrec_core.report.layout import by_case, run_mean
from lmmrec_core.report.run_links import CellLinks, cell_anchor

_KEYS = ["dataset", "model", "metric"]


def measured_baselines(results: Sequence[Result], metrics: Sequence[str] = PAPER_METRICS) -> pd.DataFrame:
    """Means over seeds of models as they were proposed: modality-specific encoders, or no content.

    Columns: dataset, model, metric, value, runs (links to them).
    """
    rows = [
        (dataset, model, metric, float(np.mean([run_mean(run, metric) for run in runs.values()])),
         CellLinks((cell_anchor(dataset, model, variant),)))
        for (dataset, model, variant), runs in by_case(results).items()
        if variant in (MODALITY_SPECIFIC, Variant())
        for metric in metrics
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=[*_KEYS, "value", "runs"])


def band_listing(values: pd.DataFrame, bands: pd.DataFrame) -> pd.DataFrame:
    """Values with a published band, in their own order.

    ``values``: dataset, model, metric, value, and maybe runs. ``bands``: index (dataset, model, metric); low, high,
    sources. Columns: model, data set, metric, value, from, to, ``sources`` (published values behind the band),
    ``where`` (inside, below or above), and runs if there are any.
    """
    both = values.merge(bands, left_on=_KEYS, right_index=True)
    below, above = both["value"] < both["low"], both["value"] > both["high"]
    listing = pd.DataFrame(
        {
            "model": both["model"].map(model_name),
            "data set": both["dataset"].map(dataset_name),
            "metric": both["metric"].map(metric_name),
            "value": both["value"],
            "from": both["low"],
            "to": both["high"],
            "sources": both["sources"].astype(int),
            "where": np.select([below, above], ["below", "above"], "inside"),
        }
    )
    return listing.join(both[["runs"]] if "runs" in both else both[[]]).reset_index(drop=True)


def bands_of(results: Sequence[Result], bands: pd.DataFrame) -> ShownTable | Sentence:
    """The baselines that were run, each with its band; nothing at all where nothing is published for the data sets."""
    if bands.empty:
        return Sentence("")
    listing = band_listing(measured_baselines(results), bands)
    if listing.empty:
        return Sentence(
            f"Published results draw a band for {len(bands)} cells of these data sets. None of them was run here."
        )
    return plain_table(listing, "bands")
