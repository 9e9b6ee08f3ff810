"""Our baselines beside the band of published results."""

import pandas as pd
import pytest

from lmmrec_core.audit.anchors import published_bands
from lmmrec_core.flow import Result
from lmmrec_core.report.bands import band_listing, bands_of, measured_baselines
from lmmrec_core.report.html import Sentence
from lmmrec_core.study import Study

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


def result(model: str, encoder: str, value: float, seed: int = 1, control: str = "none") -> Result:
    """A made-up run on Baby with one value for all users and metrics."""
    case = {"track": "paper", "dataset": "baby", "model": model, "encoder": encoder, "paradigm": "none"}
    case |= {"modalities": "none" if encoder == "none" else "V&T", "control": control, "seed": seed}
    per_user = pd.DataFrame(dict.fromkeys(METRICS, [value] * 3), index=pd.RangeIndex(3, name="user"))
    return Result(case, per_user, {}, {"key": str(seed), "case": case})


RUNS = [
    result("vbpr", "baseline", 0.05, seed=1), result("vbpr", "baseline", 0.07, seed=2), result("bpr", "none", 0.02),
    result("vbpr", "clip", 0.9), result("vbpr", "baseline", 0.9, control="zero"), result("ease", "none", 0.5),
]  # fmt: skip


def test_means_of_the_models_as_proposed_are_compared() -> None:
    found = measured_baselines(RUNS, ["recall@20"])
    assert [str(runs) for runs in found.pop("runs")] == ["baby-vbpr-baseline-VT", "baby-bpr", "baby-ease"]
    assert found.to_numpy().tolist() == [
        ["baby", "vbpr", "recall@20", pytest.approx(0.06)], ["baby", "bpr", "recall@20", 0.02],
        ["baby", "ease", "recall@20", 0.5],
    ]  # fmt: skip


def test_each_value_is_inside_below_or_above_its_band() -> None:
    listing = band_listing(measured_baselines(RUNS), published_bands())
    where = listing.set_index(["model", "metric"])["where"].to_dict()
    assert where["VBPR", "Recall@20"] == "inside" and where["VBPR", "NDCG@20"] == "above"
    assert where["BPR", "Recall@20"] == "below" and ("EASE", "Recall@20") not in where
    assert len(listing) == 8
    html = bands_of(RUNS, published_bands()).to_html()
    assert "Amazon Baby" in html and "above" in html and "nan" not in html.lower()


def test_only_data_sets_with_anchors_have_a_listing() -> None:
    assert Study.open("controls").published_bands().empty and Study.open("films").published_bands().empty
    bands = Study.open("paper").published_bands()
    assert set(bands.index.get_level_values("dataset")) == {"baby", "sports", "clothing"}
    assert bands_of(RUNS, Study.open("controls").published_bands()) == Sentence("")
    assert "None of them was run here" in bands_of([], bands).text
