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

_KEYS = ["dataset", "model", "metric"]


def measured_baselines(results: Sequence[Result], metrics: Sequence[str] = PAPER_METRICS) -> pd.DataFrame:
    """Means over seeds of models as they were proposed: modality-specific encoders, or no content.

    Columns: dataset, model, metric, value.
    """
    rows = [
        (dataset, model, metric, float(np.mean([run_mean(run, metric) for run in runs.values()])))
        for (dataset, model, variant), runs in by_case(results).items()
        if variant in (MODALITY_SPECIFIC, Variant())
        for metric in metrics
    ]
    return pd.DataFrame(rows, columns=[*_KEYS, "value"])


def band_listing(values: pd.DataFrame, bands: pd.DataFrame) -> pd.DataFrame:
    """Values with a published band, in their own order.

    ``values``: dataset, model, metric, value. ``bands``: index (dataset, model, metric); low, high, sources. Columns:
    model, data set, metric, value, from, to, ``sources`` (published values behind the band), ``where`` (inside, below
    or above).
    """
    both = values.merge(bands, left_on=_KEYS, right_index=True)
    below, above = both["value"] < both["low"], both["value"] > both["high"]
    return pd.DataFrame(
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
    ).reset_index(drop=True)


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
