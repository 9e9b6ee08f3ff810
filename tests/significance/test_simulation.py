"""The candidates where the truth is known; made data has the truth it claims; the two-way bootstrap by its law."""

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.errors import ResultError
from lmmrec_core.significance.bootstrap import percentile_test, two_way_bootstrap
from lmmrec_core.significance.crossed import difference_estimate, means_variance
from lmmrec_core.significance.simulation import CANDIDATES, World, made_pair, operating_characteristics
from lmmrec_core.significance.units import crossed, runs_of
from tests.significance.crossing import by_seed

USED, NAIVE = "crossed, moderated", "users only (seeds fixed)"
REPETITIONS = 300
WORLD = World(seed_cv=0.12, unlike=0.0)  # the naive test is at its worst, three seeds


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    worlds = [WORLD, World(seed_cv=0.12, unlike=0.0, effect=1.0)]
    return operating_characteristics(worlds, REPETITIONS, [USED, NAIVE]).set_index(["effect", "candidate"])


def test_the_test_in_use_keeps_its_level_and_its_interval_holds_the_truth(found: pd.DataFrame) -> None:
    """Four standard errors of 300 repetitions around 5 and 95 %; the bar of the long run is two points."""
    slack = 4 * np.sqrt(0.05 * 0.95 / REPETITIONS)
    assert abs(found.loc[(0.0, USED), "rejected"] - 0.05) < slack
    for effect in (0.0, 1.0):
        for kind in ("covered", "covered_relative"):
            assert abs(found.loc[(effect, USED), kind] - 0.95) < slack
    assert found.loc[(1.0, USED), "rejected"] > 0.9


def test_seeds_taken_as_fixed_give_false_alarms(found: pd.DataFrame) -> None:
    assert found.loc[(0.0, NAIVE), "rejected"] > 0.1 and found.loc[(0.0, NAIVE), "covered"] < 0.9


def test_made_data_has_the_truth_it_claims() -> None:
    rng = np.random.default_rng(0)
    world = World(persons=500, effect=0.5, level=0.1)
    pairs = [made_pair(world, rng)[0] for _ in range(150)]
    a, b = (np.array([getattr(pair, side) for pair in pairs]) for side in ("mean_a", "mean_b"))
    assert a.mean() / b.mean() - 1 == pytest.approx(0.5, abs=0.03)
    hits = np.mean([(pair.b[0] > 0).mean() for pair in pairs])
    assert hits == pytest.approx(0.1, rel=0.03)
    users = np.mean([len(pair.person[0]) / pair.persons for pair in pairs])
    assert users == pytest.approx(3.0, rel=0.03)
    seeds = np.mean([pair.b[0].mean(axis=0).var(ddof=1) for pair in pairs]) / b.mean() ** 2
    assert seeds > 0.06**2  # that of the seeds, and what users leave


def test_it_is_repeatable_and_names_its_settings() -> None:
    one, other = (operating_characteristics([WORLD], 5, [USED, NAIVE], seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(one, other)
    assert set(vars(WORLD)) < set(one) and one["candidate"].tolist() == [USED, NAIVE]
    assert (one["repetitions"] == 5).all()


def test_every_candidate_decides() -> None:
    found = operating_characteristics([WORLD], 3)
    assert found["candidate"].tolist() == list(CANDIDATES)
    assert found["width"].gt(0).all()


def test_the_two_way_bootstrap_has_the_spread_of_its_law() -> None:
    """Persons' part, plus two thirds of the seeds' part (three seeds are drawn with replacement), and no less."""
    rng = np.random.default_rng(1)
    effects = rng.normal(0, 1, (60, 1)) + rng.normal(0, 0.3, (1, 3))
    pair = crossed(runs_of("a", by_seed(effects)), runs_of("b", by_seed(np.zeros((60, 3)))))
    spread = two_way_bootstrap(pair, rng, resamples=8000).std()
    persons, seeds = effects.mean(axis=1).var(ddof=0) / 60, effects.mean(axis=0).var(ddof=0) / 3
    assert spread == pytest.approx(np.sqrt(persons + seeds), rel=0.05)
    exact = difference_estimate(pair, means_variance(pair)).se
    assert exact == pytest.approx(np.sqrt(persons * 60 / 59 + seeds * 3 / 2), rel=1e-9) and exact > spread


def test_users_of_a_person_are_drawn_together() -> None:
    rng = np.random.default_rng(2)
    values, person = rng.normal(0, 1, (20, 3)), pd.Series(np.repeat(range(20), 5))
    zeros = by_seed(np.zeros((100, 3)))
    copied = crossed(runs_of("a", by_seed(np.repeat(values, 5, axis=0))), runs_of("b", zeros), person)
    alone = crossed(runs_of("a", by_seed(values)), runs_of("b", by_seed(np.zeros((20, 3)))))
    one, other = (two_way_bootstrap(pair, np.random.default_rng(3)) for pair in (copied, alone))
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_percentiles_by_hand_and_one_split_only() -> None:
    low, high, p = percentile_test(np.arange(-1.0, 99.0))  # 2 of 100 are not above zero
    assert (low, high) == pytest.approx((1.475, 95.525)) and p == pytest.approx(2 * 3 / 101)
    values = pd.Series([0.1, 0.4, 0.3])
    two = {(1, 1): values, (2, 1): values}
    with pytest.raises(ResultError, match="one split"):
        two_way_bootstrap(crossed(runs_of("a", two), runs_of("b", two)), np.random.default_rng(0))
