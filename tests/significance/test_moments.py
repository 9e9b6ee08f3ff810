"""Tests from moments equal the tests from per-user values."""

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.significance.comparison import compare
from lmmrec_core.significance.crossed import users_only
from lmmrec_core.significance.moments import moments_of
from lmmrec_core.significance.seed_noise import SeedNoise, cell_noise
from lmmrec_core.significance.units import crossed, runs_of

A, B = (0, 2, 3), (1, 4)


@pytest.fixture
def values() -> np.ndarray:
    """50 users of 30 persons, five runs, a shared part and shifts between runs."""
    generator = np.random.default_rng(3)
    user = generator.random((50, 1))
    return np.clip(user + 0.3 * generator.standard_normal((50, 5)) + [0.1, 0.0, 0.05, 0.2, -0.1], 0, 1)


@pytest.fixture
def person() -> np.ndarray:
    return np.r_[np.arange(30), np.arange(20)]


def by_seed(values: np.ndarray, rows: tuple[int, ...]) -> dict[int, pd.Series]:
    return {row: pd.Series(values[:, row]) for row in rows}


@pytest.mark.parametrize("noise", [(None, None), (SeedNoise(0.02, 0.001, 5.0, 12.0), SeedNoise(0.03, 0.002, 4.0, 9.0))])
def test_a_test_from_moments_is_that_from_values(values, person, noise) -> None:
    expected = compare(by_seed(values, A), by_seed(values, B), pd.Series(person), noise)
    test = moments_of(values, person, 30).between(A, B, noise)
    found = test.crossed
    for name in ("difference", "se", "df", "p"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-9), name
    assert test.relative() == pytest.approx((expected.relative_low, expected.relative_high), rel=1e-9)
    assert (test.mean_a, test.mean_b) == pytest.approx((expected.mean_a, expected.mean_b), rel=1e-12)


def test_the_reference_that_takes_seeds_as_fixed_is_the_same_too(values, person) -> None:
    a, b = (runs_of(name, by_seed(values, rows)) for name, rows in (("a", A), ("b", B)))
    expected = users_only(crossed(a, b, pd.Series(person)))
    found = moments_of(values, person, 30).between(A, B).users_only
    assert (found.p, found.se, found.df) == pytest.approx((expected.p, expected.se, expected.df), rel=1e-9)


def test_the_noise_of_a_cell_is_the_same(values, person) -> None:
    expected = cell_noise(values[:, list(A)], person, 30)
    found = moments_of(values, person, 30).cell_noise(A)
    assert expected is not None and found is not None
    assert vars(found) == pytest.approx(vars(expected), rel=1e-9)


def test_one_run_says_nothing_of_seeds(values, person) -> None:
    moments = moments_of(values, person, 30)
    assert moments.cell_noise((0,)) is None
    assert not moments.between((0,), (1,)).crossed.testable
    assert moments.between((0,), (1,)).crossed.p == 1
