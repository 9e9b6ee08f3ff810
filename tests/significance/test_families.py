"""Holm–Bonferroni by hand and by its definition; families keep their planned size."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from lmmrec_core.errors import ResultError
from lmmrec_core.significance.families import Family, Planned, compare_family, holm
from tests.significance.crossing import by_seed


@pytest.fixture(scope="module", autouse=True)
def no_collection() -> Iterator[None]:
    """statsmodels collects garbage at every call: half a second each with torch loaded, thousands of calls here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.collect", lambda *_: 0)
        yield


def test_by_hand() -> None:
    # sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, then never falling
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    assert holm([0.7, 0.6]).tolist() == [1.0, 1.0]
    assert holm([]).size == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_properties(p_values: list[float]) -> None:
    p, adjusted = np.array(p_values), holm(p_values)
    order = np.sort(p)
    slow = np.array([min(1, max((len(p) - j) * order[j] for j in range(len(p)) if order[j] <= one)) for one in p])
    np.testing.assert_allclose(adjusted, slow, rtol=1e-12)
    assert (adjusted >= p - 1e-15).all() and (adjusted <= 1).all()
    np.testing.assert_allclose(adjusted, multipletests(p, method="holm")[1], rtol=1e-12)
    bonferroni = multipletests(p, method="bonferroni")[1]
    assert (adjusted <= bonferroni + 1e-12).all()  # Holm is never weaker


def test_values_that_are_no_p_values_are_refused() -> None:
    for wrong in ([0.1, float("nan")], [1.2], [-0.1]):
        with pytest.raises(ResultError, match=r"not within 0\.\.1"):
            holm(wrong)


def systems() -> dict[str, dict[int, pd.Series]]:
    rng = np.random.default_rng(0)
    base = rng.random((100, 3))
    return {
        "base": by_seed(base),
        "better": by_seed(base + rng.normal(0.2, 0.1, (100, 3))),
        "worse": by_seed(base + rng.normal(-0.2, 0.1, (100, 3))),
        "same": by_seed(base),
    }


FAMILY = Family(
    "rq1", "each encoder against the baseline, one data set, Recall@20",
    tuple(Planned(f"{name} - base", name, "base") for name in ("better", "worse", "same", "clip")),
)  # fmt: skip


def test_a_family_tells_better_worse_equal_and_not_run() -> None:
    better, worse, same, clip = compare_family(FAMILY, systems(), allow_missing=True)
    assert better.comparison is not None and better.comparison.difference > 0 and better.p_adjusted < 0.05
    assert worse.comparison is not None and worse.comparison.difference < 0 and worse.p_adjusted < 0.05
    assert same.comparison is not None and (same.comparison.difference, same.p_adjusted) == (0.0, 1.0)
    assert clip.comparison is None and clip.p_adjusted == 1.0


def test_a_family_keeps_its_planned_size() -> None:
    members = compare_family(FAMILY, systems(), allow_missing=True)
    raw = [member.comparison.p for member in members if member.comparison is not None]
    small, large = sorted(raw[:2])
    by_rank = sorted(member.p_adjusted for member in members[:2])
    assert by_rank == pytest.approx([small * 4, max(small * 4, large * 3)])  # four planned, though three were tested
    with pytest.raises(ResultError, match=r"'clip - base': no results of clip"):
        compare_family(FAMILY, systems())


def test_a_family_must_be_stated_once_and_not_empty() -> None:
    with pytest.raises(ResultError, match="plans no comparison"):
        Family("empty", "nothing", ())
    with pytest.raises(ResultError, match=r"\['x'\] twice"):
        Family("twice", "the same twice", (Planned("x", "a", "b"), Planned("x", "a", "c")))


def test_one_true_effect_among_many_nulls_is_the_only_star() -> None:
    """Uncorrected, twenty null comparisons raise a false alarm in most families; Holm keeps it near 5 %."""
    rng = np.random.default_rng(1)
    null = rng.random((200, 20))
    corrected = np.mean([(holm(p) < 0.05).any() for p in null])
    assert corrected < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 200) < np.mean((null < 0.05).any(axis=1))
