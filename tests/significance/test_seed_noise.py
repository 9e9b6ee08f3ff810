"""Variances over seeds that help each other: by limits, by simulation, and in a test with one seed."""

import numpy as np
import pytest

from lmmrec_core.significance.comparison import compare
from lmmrec_core.significance.seed_noise import CellNoise, SeedNoise, noise_of, seed_noise
from tests.significance.crossing import by_seed, drawn


def cells(squared: np.ndarray, df: float = 2.0) -> list[CellNoise]:
    return [CellNoise(float(one), 0.0, df) for one in squared]


def test_a_cell_by_hand() -> None:
    """Runs' means 1 and 3 around 2: c² = 2 / 2². Users 0 and 2, 2 and 4 shift together: no noise within."""
    found = noise_of(by_seed([[0, 2], [2, 4]]))
    assert found is not None and (found.squared, found.residual, found.df) == pytest.approx((0.5, 0.0, 1.0))
    assert noise_of(by_seed([[1.0], [2.0]])) is None and noise_of(by_seed(np.zeros((3, 2)))) is None


def test_cells_that_vary_alike_help_each_other() -> None:
    """Values that scatter like χ²/2 around one: the mean is found, with many degrees of freedom."""
    rng = np.random.default_rng(0)
    found = seed_noise(cells(0.01 * rng.chisquare(2, 4000) / 2))
    assert found is not None
    assert found.squared == pytest.approx(0.01, rel=0.05) and 30 < found.df <= 4200


def test_cells_that_do_not_vary_alike_leave_few_degrees_of_freedom() -> None:
    """The logarithm of the true values has variance 1 = trigamma(d₀ / 2): d₀ = 2.85 (Smyth 2004)."""
    rng = np.random.default_rng(1)
    true = 0.01 * np.exp(rng.normal(size=4000))
    found = seed_noise(cells(true * rng.chisquare(2, 4000) / 2))
    assert found is not None and found.df == pytest.approx(2.85, rel=0.15)


def test_one_outlying_cell_takes_the_degrees_of_freedom_away() -> None:
    quiet = seed_noise(cells(np.full(8, 0.01)))
    wild = seed_noise(cells(np.array([0.01] * 7 + [1.0])))
    assert quiet is not None and wild is not None
    assert quiet.df == quiet.resting == 16  # no more than the cells have
    assert wild.resting == pytest.approx((2 * 1.07) ** 2 / (7 * 0.01**2 + 1))  # d / (d + 2) is a half
    assert wild.df < 3 and wild.squared == pytest.approx((7 * 0.01 + 1) / 8)


def test_moving_is_between_own_and_common() -> None:
    noise = SeedNoise(squared=0.01, residual=0.0, df=4.0, resting=16.0)
    moved, df = noise.moderated(0.04, 2.0)
    assert (moved, df) == pytest.approx(((4 * 0.01 + 2 * 0.04) / 6, 6.0))
    assert noise.moderated(0.0, 0.0) == pytest.approx((0.01, 4.0))
    assert SeedNoise(0.01, 0.0, np.inf, 16.0).moderated(0.04, 2.0) == (0.01, np.inf)
    assert (noise.known(2.0), noise.known(0.0)) == pytest.approx((0.01 * 4 / 6, 0.01))


def test_two_cells_have_nothing_in_common_yet() -> None:
    assert seed_noise(cells(np.array([0.01, 0.02]))) is None
    assert seed_noise([None, None, None]) is None


def test_one_seed_borrows_from_the_other_cells_of_its_model() -> None:
    rng = np.random.default_rng(1)
    noise = seed_noise(noise_of(by_seed(drawn(80, 3, rng))) for _ in range(8))
    a, b = by_seed(drawn(80, 1, rng)), by_seed(drawn(80, 1, rng))
    found = compare(a, b, noise=(noise, noise))
    assert found.testable and 0 < found.p < 1 and np.isfinite(found.se)
    assert not compare(a, b, noise=(noise, None)).testable


def test_cells_without_any_spread_are_pooled_to_none() -> None:
    noise = seed_noise(cells(np.zeros(5)))
    assert noise is not None and noise.moderated(0.0, 2.0)[0] == 0.0
