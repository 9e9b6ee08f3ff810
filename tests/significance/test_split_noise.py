"""The spread over splits that the cells of a model share: by hand, and what it leaves out."""

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.significance.crossed import difference_estimate, means_variance
from lmmrec_core.significance.seed_noise import SeedNoise
from lmmrec_core.significance.split_noise import means_by_split, split_noise
from lmmrec_core.significance.units import crossed, runs_of


def test_by_hand() -> None:
    """Relative means .9, 1.1 / 1.1, .9 / 1, 1: the mean over cells is 1, so c² is 3/2 · (.01 + .01), twice, and 0."""
    noise = split_noise([[9, 11], [2.2, 1.8], [5, 5]])
    assert noise is not None
    assert noise.squared == pytest.approx((0.03 + 0.03 + 0) / 3) and noise.resting == pytest.approx(2.0)


def test_what_a_split_does_to_all_cells_alike_is_no_noise() -> None:
    rng = np.random.default_rng(0)
    means = 0.1 * rng.random((5, 3)) + 1
    means /= means.mean(axis=1, keepdims=True)
    harder = means * [1.0, 0.6, 1.4] / (means * [1.0, 0.6, 1.4]).mean(axis=1, keepdims=True)
    one, other = split_noise(means), split_noise(harder)
    assert one is not None and other is not None
    assert other.squared == pytest.approx(one.squared, rel=0.2)  # no more than what the products add
    scaled = split_noise(means * np.array([[1.0], [2.0], [0.1], [3.0], [7.0]]))
    assert scaled is not None and scaled.squared == pytest.approx(one.squared)


def test_too_few_cells_or_one_split_say_nothing() -> None:
    assert split_noise([[1, 2], [2, 3]]) is None
    assert split_noise([[1, 2], [2, 3], [0, 0]]) is None  # a mean of zero has no relative spread
    assert split_noise([[1], [2], [3]]) is None


def test_means_of_a_cell_by_split() -> None:
    cell = {(7, 1): pd.Series([0.0, 1.0]), (0, 2): pd.Series([1.0, 1.0]), (0, 1): pd.Series([0.0, 0.0])}
    assert means_by_split(cell) == [0.5, 0.5]


def test_the_variance_over_splits_is_moved_to_that_of_the_model() -> None:
    """Users without spread: the error is that of the splits alone, by hand."""
    a, b = ({(s, 1): pd.Series(np.full(4, m)) for s, m in enumerate(means)} for means in ([0.9, 1.1], [2.0, 2.0]))
    pair = crossed(runs_of("a", a), runs_of("b", b))
    own = 0.02 / 2  # relative differences −.1 and .1
    known = 0.03 * 3 / 4  # the part that is the model's own estimate
    for noise, squared, df in ((None, None, 1.0), (SeedNoise(0.03, 0.0, 3.0, 6.0), (3 * 0.03 + own) / 4, None)):
        found = difference_estimate(pair, means_variance(pair, (noise, noise)))
        variance = 0.02 / 2 if squared is None else squared * (1.0 + 4.0) / 2
        assert found.se == pytest.approx(np.sqrt(variance)) and found.df == pytest.approx(
            df or squared**2 / (squared**2 / 4 + known**2 / 6)
        )
