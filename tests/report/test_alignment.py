"""The listing and the figure of alignment diagnostics show what they are given."""

import math

import pandas as pd
import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.report import figures
from lmmrec_core.report.alignment import ALIGNMENT_MEASURES, CHANCE, alignment_figure, alignment_listing, latest
from lmmrec_core.report.html import ABSENT, plain_table
from tests.report.test_figures import overlaps, says_nothing

MEASURE = "pair.adjusted_overlap@10"


def row(
    dataset: str = "ml-sparse", encoder: str = "baseline", stage: str = "none", value: float = 0.02, **more: object
):
    return {
        "dataset": dataset, "encoder": encoder, "paradigm": stage, "time": "2026-01-01",
        MEASURE: value, f"{MEASURE}.low": value - 0.01, f"{MEASURE}.high": value + 0.01,
        "graph.union.symmetric_density": 0.1 + value, **more,
    }  # fmt: skip


@pytest.fixture
def diagnostics() -> pd.DataFrame:
    shared = {"shared.align": 1.25, "shared.align.low": 1.2, "shared.align.high": 1.3, "shared.align_by_chance": 1.9}
    return pd.DataFrame(
        [
            row(), row(encoder="clip", stage="PT", value=0.3, **shared),
            row("ml-dense"), row("ml-dense", "clip", "PT", 0.25, **shared),
        ]
    )  # fmt: skip


def test_cells_are_the_value_and_its_interval(diagnostics: pd.DataFrame) -> None:
    listing = alignment_listing(diagnostics)
    assert listing["features"].tolist() == [
        "ML-sparse, baseline", "ML-sparse, CLIP-PT", "ML-dense, baseline", "ML-dense, CLIP-PT"
    ]  # fmt: skip
    assert listing[ALIGNMENT_MEASURES[MEASURE]].tolist()[:2] == ["0.02 [0.01, 0.03]", "0.3 [0.29, 0.31]"]
    assert listing["Density of both graphs"].tolist()[0] == "0.12"  # no interval, no brackets
    assert listing["Alignment"].tolist() == [ABSENT, "1.25 [1.2, 1.3]"] * 2
    assert "Gap" not in listing  # nobody has it
    assert alignment_listing(diagnostics, digits=2)[ALIGNMENT_MEASURES[MEASURE]].tolist()[0] == "0.02 [0.01, 0.03]"


def test_features_of_end_to_end_training_name_their_recommender() -> None:
    rows = pd.DataFrame([row(encoder="clip", stage="ETE+vbpr"), row(encoder="clip", stage="ETE+lattice")])
    assert alignment_listing(rows)["features"].tolist() == [
        "ML-sparse, CLIP-ETE with VBPR", "ML-sparse, CLIP-ETE with LATTICE"
    ]  # fmt: skip


def test_negative_numbers_have_a_minus_sign(diagnostics: pd.DataFrame) -> None:
    changed = diagnostics.assign(**{MEASURE: -0.5, f"{MEASURE}.low": -0.6, f"{MEASURE}.high": -0.4})
    assert alignment_listing(changed)[ALIGNMENT_MEASURES[MEASURE]][0] == "−0.5 [−0.6, −0.4]"


def test_the_listing_can_be_shown(diagnostics: pd.DataFrame) -> None:
    html = plain_table(alignment_listing(diagnostics), "alignment").to_html()
    assert "0.3 [0.29, 0.31]" in html and "ML-sparse, CLIP-PT" in html


def test_chosen_measures_under_their_headings(diagnostics: pd.DataFrame) -> None:
    listing = alignment_listing(diagnostics, {MEASURE: "agreement", "not.there": "nothing"})
    assert list(listing.columns) == ["features", "agreement"]


def test_only_the_newest_features_of_a_case_are_shown(diagnostics: pd.DataFrame) -> None:
    older = pd.DataFrame([row(value=0.9, time="2025-01-01")])
    both = pd.concat([diagnostics, older], ignore_index=True)
    pd.testing.assert_frame_equal(latest(both), diagnostics)
    newer = pd.concat([diagnostics, older.assign(time="2027-01-01")], ignore_index=True)
    assert alignment_listing(newer)[ALIGNMENT_MEASURES[MEASURE]][0] == "0.9 [0.89, 0.91]"
    assert alignment_listing(newer)["features"].tolist() == alignment_listing(diagnostics)["features"].tolist()


def test_nothing_measured(diagnostics: pd.DataFrame) -> None:
    assert alignment_listing(pd.DataFrame()).empty
    assert says_nothing(alignment_figure(pd.DataFrame(columns=["dataset", "encoder", "paradigm", "time"])))
    assert says_nothing(alignment_figure(diagnostics.assign(**{MEASURE: math.nan})))
    with pytest.raises(ConfigError, match=r"unknown measure 'pair\.ckaa'"):
        alignment_figure(diagnostics.assign(**{"pair.cka": 1.0}), "pair.ckaa")


def test_the_figure_shows_values_intervals_and_chance(diagnostics: pd.DataFrame) -> None:
    figure = alignment_figure(diagnostics)
    assert [axes.get_title() for axes in figure.axes] == ["ML-sparse", "ML-dense"]
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["baseline", "CLIP-PT"]
    dots = [tuple(point) for part in axes.collections for point in part.get_offsets()]
    assert dots == [pytest.approx((0.02, 0)), pytest.approx((0.3, 1))]
    lines = {line.get_color(): [] for line in axes.lines}
    for line in axes.lines:
        lines[line.get_color()].append(list(line.get_xdata()))
    assert lines[figures.BLUE] == [pytest.approx([0.01, 0.03]), pytest.approx([0.29, 0.31])]
    assert lines[figures.GREY] == [[0.0, 0.0], [0.0, 0.0]]
    assert figure.get_figwidth() <= 6 and overlaps(figure) == []


def test_encoders_without_the_measure_are_not_drawn(diagnostics: pd.DataFrame) -> None:
    axes = alignment_figure(diagnostics, "shared.align").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["CLIP-PT"]
    grey = [list(line.get_xdata()) for line in axes.lines if line.get_color() == figures.GREY]
    assert grey == [[1.9, 1.9]]  # chance is a column of its own


def test_chance_levels_belong_to_shown_measures() -> None:
    assert set(CHANCE) <= set(ALIGNMENT_MEASURES)
