"""The audit's figure and listings: what is drawn where, and the labels."""

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.report.printed_audit import change_listing, gap_listing, labelled, slope_figure
from lmmrec_core.study.evidence.printed import PrintedAudit

AUDIT = PrintedAudit()


def test_exactly_the_impossible_points_are_squares_in_the_shaded_region() -> None:
    (axes,) = slope_figure(AUDIT.systems, *AUDIT.slopes).axes
    points = {line.get_label(): line for line in axes.lines if not str(line.get_label()).startswith("_")}
    possible, impossible = points["possible"], points["impossible"]
    assert (len(possible.get_xdata()), len(impossible.get_xdata())) == (99, 6)
    assert possible.get_marker() != impossible.get_marker()
    floor, _, slack = AUDIT.slopes
    for line, inside in ((possible, False), (impossible, True)):
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        assert ((y < (floor * (x - slack) - slack) / x) == inside).all()
    (region,) = axes.collections
    assert (
        region.get_paths()[0]
        .contains_points(list(zip(impossible.get_xdata(), impossible.get_ydata(), strict=True)))
        .all()
    )
    names = {text.get_text() for text in axes.texts}
    assert "SLMRec CLIP-ETE, Sports" in names and len(names) == 6


def test_nothing_to_draw_is_said_in_words() -> None:
    (axes,) = slope_figure(AUDIT.systems.head(0), *AUDIT.slopes).axes
    assert "nothing" in axes.texts[0].get_text()


def test_keys_become_titles() -> None:
    frame = pd.DataFrame(
        {
            "cell": ["MMGCL vlmo sports ndcg@20"],
            "encoder": ["clip"],
            "dataset": ["baby"],
            "recall@10": [0.1],
            "fell": [3],
        }
    )
    shown = labelled(frame)
    assert list(shown.columns) == ["cell", "encoder", "data set", "Recall@10", "fell"]
    assert shown.iloc[0, :3].tolist() == ["MMGCL VLMo, Amazon Sports, NDCG@20", "CLIP", "Amazon Baby"]


def test_listings_of_changes_and_gaps() -> None:
    left_out = change_listing(AUDIT.carriers("PT", "none"), "left out")
    assert left_out["left out"].tolist()[:2] == ["none", "LATTICE"]
    assert left_out.set_index("left out").loc["LATTICE", "change"] == pytest.approx(0.038, abs=5e-4)
    gaps = gap_listing(AUDIT.gaps()).set_index("model")
    assert gaps.loc["LATTICE", ["ETE, greatest", "ETE, equal cells"]].tolist() == [pytest.approx(0.0003), "4 of 12"]
    toolbox = change_listing(AUDIT.against_toolbox(), "model").set_index("model")
    assert toolbox.loc["MMGCN", "sports"] == pytest.approx(-0.21, abs=5e-4)
