"""Which points of a space are tried, and the next value past the end of a range."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrec_core.study.search.grids import combinations
from lmmrec_core.study.search.points import balanced_points, beyond, edges

RATES = (0.0005, 0.001, 0.002, 0.005, 0.01)
sizes = st.lists(st.integers(1, 6), min_size=1, max_size=4)


@given(sizes, st.integers(1, 12), st.integers(0, 999))
def test_points_are_different_as_many_as_asked_for_and_repeatable(widths, trials, seed):
    space = {f"s{number}": tuple(range(width)) for number, width in enumerate(widths)}
    points = balanced_points(space, trials, seed)
    everything = combinations(space)
    assert len(points) == min(trials, len(everything)) == len({tuple(point.values()) for point in points})
    assert all(point in everything for point in points)
    assert balanced_points(space, trials, seed) == points


@given(st.integers(0, 999))
def test_every_value_of_a_setting_comes_equally_often_or_once_more(seed):
    points = balanced_points({"rate": RATES, "weight": (1, 2, 3, 4), "rows": (True, False)}, 8, seed)
    assert sorted(Counter(point["rate"] for point in points).values()) == [1, 1, 2, 2, 2]
    assert set(Counter(point["weight"] for point in points).values()) == {2}
    assert set(Counter(point["rows"] for point in points).values()) == {4}


@pytest.mark.parametrize(
    ("values", "value", "next_one"),
    [
        (RATES, 0.01, 0.02),  # 0.01 · 0.01 / 0.005
        (RATES, 0.0005, 0.00025),  # 0.0005 · 0.0005 / 0.001
        (RATES, 0.002, None),
        ((0, 0.00001, 0.0001, 0.001), 0, None),  # nothing is below none
        ((0, 0.00001, 0.0001, 0.001), 0.001, 0.01),
        ((1, 2, 3), 3, 4),  # 9/2 is not whole
        ((1, 2, 3), 1, None),
        ((5, 10, 20), 20, 40),
        ((True, False), True, None),
        ((10, 50, None), 50, None),
        (("norm", "squared"), "norm", None),
        ((0.1,), 0.1, None),
    ],
)
def test_the_value_past_an_end_by_hand(values, value, next_one):
    assert beyond(values, value) == next_one
    assert beyond(values[::-1], value) == next_one


def test_each_edge_gives_one_point_and_a_range_that_the_model_ends_none():
    space = {"rate": RATES, "share": (0.2, 0.4, 0.8), "rows": (True, False)}
    best = {"rate": 0.01, "share": 0.8, "rows": True}
    assert edges(space, best, lambda point: point["share"] < 1) == {"rate": {**best, "rate": 0.02}}
    assert list(edges(space, best, lambda point: True)) == ["rate", "share"]
    assert edges(space, {"rate": 0.002, "share": 0.4, "rows": False}, lambda point: True) == {}
