"""What every metric promises; runs on each member of METRICS, also on those that other installed packages bring."""

import inspect

import numpy as np
import pytest

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import BoolArray, IntArray
from lmmrec_core.metrics import METRICS, ranking
from lmmrec_core.roles import Metric

MEMBERS = list(METRICS)
N_USERS, DEPTH, K = 60, 20, 10


def lists(seed: int = 0) -> tuple[BoolArray, IntArray]:
    """Hits [user, DEPTH] and held-out items [user]: some users without a hit, some with items that were missed."""
    draw = np.random.default_rng(seed)
    hits = draw.random((N_USERS, DEPTH)) < draw.random((N_USERS, 1)) * 0.4
    hits[0] = False
    return hits, np.maximum(1, hits.sum(axis=1) + draw.integers(0, 5, N_USERS))


def test_every_metric_of_the_stage_is_a_member() -> None:
    """A function of hits in ranking.py that METRICS does not name would never be tested."""
    arguments = ["hits", "n_relevant", "k"]
    functions = [
        function
        for name, function in inspect.getmembers(ranking, inspect.isfunction)
        if list(inspect.signature(function).parameters) == arguments and not name.startswith(("_", "check"))
    ]
    assert set(functions) == {METRICS[name] for name in METRICS.own}


@pytest.mark.parametrize("name", MEMBERS)
def test_plays_its_role(name: str) -> None:
    assert isinstance(METRICS[name], Metric)
    assert inspect.getdoc(METRICS[name])


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("k", [1, K, DEPTH])
def test_one_float_per_user_between_zero_and_one(name: str, k: int) -> None:
    hits, n_relevant = lists()
    values = METRICS[name](hits, n_relevant, k)
    assert values.shape == (N_USERS,) and values.dtype == np.float64
    assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("name", MEMBERS)
def test_what_was_given_is_left_as_it_was(name: str) -> None:
    hits, n_relevant = lists()
    before = hits.copy(), n_relevant.copy()
    METRICS[name](hits, n_relevant, K)
    assert (hits == before[0]).all() and (n_relevant == before[1]).all()


@pytest.mark.parametrize("name", MEMBERS)
def test_zero_without_a_hit_among_the_first_k(name: str) -> None:
    hits, n_relevant = lists()
    hits[:, :K] = False
    assert (METRICS[name](hits, n_relevant, K) == 0).all()


@pytest.mark.parametrize("name", MEMBERS)
def test_one_when_the_first_k_are_exactly_the_held_out_items(name: str) -> None:
    hits = np.broadcast_to(np.arange(DEPTH) < K, (3, DEPTH))
    assert METRICS[name](hits, np.full(3, K), K) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_hit_that_changes_places_with_the_miss_before_it_never_lowers(name: str) -> None:
    hits, n_relevant = lists(1)
    before = METRICS[name](hits, n_relevant, K)
    for rank in range(1, K):
        better = hits.copy()
        moves = hits[:, rank] & ~hits[:, rank - 1]
        better[moves, rank - 1], better[moves, rank] = True, False
        assert moves.any()
        assert (METRICS[name](better, n_relevant, K) >= before - 1e-15).all()


@pytest.mark.parametrize("name", MEMBERS)
def test_a_user_counts_the_same_whoever_the_others_are(name: str) -> None:
    hits, n_relevant = lists()
    values = METRICS[name](hits, n_relevant, K)
    order = np.random.default_rng(2).permutation(N_USERS)
    np.testing.assert_array_equal(METRICS[name](hits[order], n_relevant[order], K), values[order])
    np.testing.assert_array_equal(METRICS[name](hits[7:8], n_relevant[7:8], K), values[7:8])


@pytest.mark.parametrize("name", MEMBERS)
def test_deeper_lists_change_nothing_beyond_what_the_metric_reads(name: str) -> None:
    """A stored run keeps 50 ranks, whatever k is asked for later: misses appended to a list do not count."""
    hits, n_relevant = lists()
    deeper = np.hstack([hits, np.zeros((N_USERS, 30), dtype=bool)])
    np.testing.assert_array_equal(METRICS[name](deeper, n_relevant, K), METRICS[name](hits, n_relevant, K))


@pytest.mark.parametrize("name", MEMBERS)
def test_what_cannot_be_measured_is_refused(name: str) -> None:
    hits, n_relevant = lists()
    for k in (0, DEPTH + 1):
        with pytest.raises(ResultError, match=f"k = {k}"):
            METRICS[name](hits, n_relevant, k)
    with pytest.raises(ResultError, match="no held-out item"):
        METRICS[name](hits, np.where(np.arange(N_USERS) == 3, 0, n_relevant), K)


@pytest.mark.parametrize("name", MEMBERS)
def test_nobody_to_measure_gives_no_values(name: str) -> None:
    assert METRICS[name](np.zeros((0, DEPTH), dtype=bool), np.zeros(0, dtype=np.int64), K).shape == (0,)
