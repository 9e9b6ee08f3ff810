"""Figures draw what they are given; text does not overlap; where there is nothing they say so."""

import itertools

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from IPython.core.pylabtools import print_figure
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lmmrec_core.report import figures
from lmmrec_core.report.changes import change_table
from tests.report.conftest import MakeResult, comparison

SETS = ("complementary", "redundant", "null")


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of tick labels of one axis whose boxes meet, after drawing."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    found = []
    for axes in figure.axes:
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [(label.get_text(), label.get_window_extent(renderer)) for label in labels if label.get_text()]
            found += [(a, b) for (a, left), (b, right) in itertools.pairwise(boxes) if left.overlaps(right)]
    return found


@pytest.fixture
def results(make_result: MakeResult) -> list:
    return [
        make_result(0.1 + 0.01 * seed, dataset=name, model=model, modalities=modalities, seed=seed)
        for name in SETS
        for model in ("vbpr", "lattice")
        for modalities in ("V&T", "V")
        for seed in (1, 2)
    ]


def says_nothing(figure: Figure) -> bool:
    return [text.get_text() for axes in figure.axes for text in axes.texts] == [figures.NOTHING]


def forest_rows() -> pd.DataFrame:
    return pd.DataFrame(
        [
            comparison(dataset=name, model=model, p_holm=p)
            for name in SETS
            for model, p in (("vbpr", 0.01), ("lattice", 0.2))
        ]
    )


def test_nothing_to_draw_is_said_in_words() -> None:
    for figure in (
        figures.seed_strip([]),
        figures.forest(pd.DataFrame()),
        figures.training_curves([]),
        figures.coverage_and_cost([]),
    ):
        assert says_nothing(figure)
        assert print_figure(figure)  # None here would show a notebook's reader the type of the object


def test_every_figure_is_closed_white_and_narrow(results: list) -> None:
    made = [
        figures.seed_strip(results),
        figures.forest(forest_rows()),
        figures.training_curves(results),
        figures.coverage_and_cost(results),
        figures.printed_and_measured(change_table("rq1", [], ["null"])),
    ]
    assert plt.get_fignums() == []
    for figure in made:
        assert figure.get_figwidth() <= 6
        assert figure.get_facecolor() == (1, 1, 1, 1)
        assert overlaps(figure) == []


def test_strip_has_a_panel_per_data_set_and_a_dot_per_run(results: list) -> None:
    figure = figures.seed_strip(results)
    assert [axes.get_title() for axes in figure.axes] == ["Complementary", "Redundant", "Null"]
    dots = sum(len(part.get_offsets()) for part in figure.axes[0].collections)
    assert dots == 8
    means = figure.axes[0].lines[-1].get_xdata()
    assert list(means) == pytest.approx([0.115] * 4)


def test_forest_shows_intervals_and_fills_the_significant() -> None:
    axes = figures.forest(forest_rows()).axes[0]
    intervals = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_marker() == "None"][1:]
    assert [list(line.get_xdata()) for line in intervals] == [[0.01, 0.03], [0.01, 0.03]]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [point.get_markerfacecolor() for point in points] == [figures.ORANGE, "white"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "VBPR: baseline real − shuffled",
        "LATTICE: baseline real − shuffled",
    ]


def test_forest_of_another_metric_is_not_drawn() -> None:
    assert says_nothing(figures.forest(forest_rows(), "recall@20"))


def test_curves_leave_out_epochs_that_were_not_evaluated(results: list) -> None:
    figure = figures.training_curves(results)
    assert [axes.get_title() for axes in figure.axes] == ["VBPR", "LATTICE"]
    for axes in figure.axes:
        assert [tuple(line.get_xdata()) for line in axes.lines] == [(2, 3)] * len(SETS)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Complementary", "Redundant", "Null"]


def test_a_curve_is_the_median_of_its_runs_within_their_range(make_result: MakeResult) -> None:
    runs = [make_result(dataset="null", seed=seed) for seed in (1, 2, 3)]
    for run, scores in zip(runs, ([0.1], [0.2, 0.4], [0.6, 0.8]), strict=True):
        run.record["training"]["history"] = [
            {"number": number, "loss": 1.0, "valid": score} for number, score in enumerate(scores, start=1)
        ]
    (axes, _empty) = figures.training_curves(runs).axes
    (line,) = axes.lines
    assert list(line.get_ydata()) == pytest.approx([0.2, 0.6])
    (band,) = axes.collections
    low, high = band.get_paths()[0].get_extents().get_points()
    assert (low[1], high[1]) == pytest.approx((0.1, 0.8))


def test_models_without_epochs_have_no_curve(make_result: MakeResult) -> None:
    result = make_result(model="itemknn", encoder="none")
    bare = type(result)(result.case, result.per_user, result.overall, {**result.record, "training": None})
    assert says_nothing(figures.training_curves([bare]))
    assert not says_nothing(figures.seed_strip([bare]))


def test_changes_of_all_models_can_share_a_line() -> None:
    changes = change_table("rq1", [], ["null"], ["vbpr", "lattice"])
    apart, together = (figures.printed_and_measured(changes, by_model=value).axes[0] for value in (True, False))
    assert [len(axes.get_yticklabels()) for axes in (apart, together)] == [4, 2]
    assert {label.get_text() for label in together.get_yticklabels()} == {"VLMo-PT / baseline", "CLIP-PT / baseline"}
    dots = [
        sorted(line.get_xdata()) for axes in (apart, together) for line in axes.lines if line.get_label() == "printed"
    ]
    assert dots[0] == dots[1] and len(dots[0]) == 12
