"""What a run's mean varies with: planted standard deviations are found, and nothing is invented."""

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.significance.components import cell_squares, variance_components


def cell(
    rng: np.random.Generator, users: float, seeds: float, splits: float, n: int = 400, shape: tuple[int, int] = (3, 5)
) -> dict[tuple[int, int], pd.Series]:
    """Values 1 + user + split + seed; deviations of one user, one seed and one split."""
    base = rng.normal(0, users, n)
    made = {}
    for split in range(shape[0]):
        shift = rng.normal(0, splits)
        for seed in range(shape[1]):
            made[split, seed] = pd.Series(1 + base + shift + rng.normal(0, seeds) + rng.normal(0, 0.05, n))
    return made


def test_a_case_by_hand() -> None:
    one = {(0, 1): pd.Series([0.5, 1.5]), (0, 2): pd.Series([1.0, 3.0])}  # means 1 and 2 of 1.5 over all
    found = cell_squares(one)
    assert found is not None and found.splits is None
    assert found.seeds == (pytest.approx((2 / 1.5 - 1 / 1.5) ** 2 / 2), 1.0)
    # users 0.75 and 2.25 of 1.5: deviations ∓0.5, standard error of the mean of two users 0.5
    assert found.users[0] == pytest.approx(0.25)
    assert cell_squares({(0, 1): pd.Series([0.0, 0.0])}) is None
    alone = cell_squares({(0, 1): pd.Series([0.5, 1.5])})
    assert alone is not None and alone.seeds is None
    assert variance_components([alone])["seeds"] is None and variance_components([])["users"] is None


def test_planted_deviations_are_found() -> None:
    rng = np.random.default_rng(0)
    cells = [cell_squares(cell(rng, 0.4, 0.02, 0.05, shape=(40, 6))) for _ in range(4)]
    found = variance_components(cells)
    assert found["users"] is not None and found["seeds"] is not None and found["splits"] is not None
    assert found["users"].deviation == pytest.approx(0.4 / 20, rel=0.1)
    assert found["seeds"].deviation == pytest.approx(0.02, rel=0.1)
    assert found["splits"].deviation == pytest.approx(0.05, rel=0.3)
    for name, truth in (("users", 0.02), ("seeds", 0.02), ("splits", 0.05)):
        part = found[name]
        assert part is not None and part.low < truth < part.high


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    held = {"users": 0, "seeds": 0}
    for _ in range(200):
        found = variance_components([cell_squares(cell(rng, 0.3, 0.03, 0.0, n=100, shape=(1, 5)))])
        for name, truth in (("users", 0.03), ("seeds", 0.03)):
            part = found[name]
            assert part is not None
            held[name] += part.low <= truth <= part.high
    assert all(0.9 <= count / 200 <= 0.99 for count in held.values())


def test_splits_that_do_nothing_beyond_seeds_have_an_interval_from_zero() -> None:
    rng = np.random.default_rng(2)
    part = variance_components([cell_squares(cell(rng, 0.3, 0.03, 0.0)) for _ in range(3)])["splits"]
    assert part is not None and part.low == 0 and part.df == 2


def test_a_person_counts_once() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(1, 0.3, 100)
    doubled = {(0, s): pd.Series(np.repeat(values + rng.normal(0, 0.01), 2)) for s in (1, 2, 3)}
    whole = {number: pd.Series(one.to_numpy()[::2]) for number, one in doubled.items()}
    groups = pd.Series(np.repeat(np.arange(100), 2))
    a, b = cell_squares(doubled, groups), cell_squares(whole)
    assert a is not None and b is not None
    assert a.users[0] == pytest.approx(b.users[0])
