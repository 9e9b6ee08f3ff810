"""The vectorised metrics against hand-computed values, the slow ones, pytrec_eval, and their invariants."""

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrec_core.audit.relations import slope_limits
from lmmrec_core.errors import ResultError
from lmmrec_core.metrics import METRICS
from lmmrec_core.metrics.ranking import average_precision, ndcg, ndcg_of_retrieved, precision, recall
from tests.oracles import ORACLES

DEPTH = 50


def ranked_users(rng: np.random.Generator, n: int, n_items: int = 80) -> tuple[list[list[int]], list[set[int]]]:
    lists = [rng.permutation(n_items)[:DEPTH].tolist() for _ in range(n)]
    held_out = [set(rng.choice(n_items, size=rng.integers(1, 30), replace=False).tolist()) for _ in range(n)]
    return lists, held_out


def as_hits(lists: list[list[int]], held_out: list[set[int]]) -> tuple[np.ndarray, np.ndarray]:
    hits = np.array([[item in held for item in ranked] for ranked, held in zip(lists, held_out, strict=True)])
    return hits, np.array([len(held) for held in held_out])


def test_hits_at_ranks_two_and_five_of_three_held_out() -> None:
    """Hits at ranks 2 and 5 of 5, three held-out items: worked out by hand, LATTICE's NDCG too."""
    hits, n = np.array([[0, 1, 0, 0, 1]], dtype=bool), np.array([3])
    assert [recall(hits, n, k)[0] for k in (1, 2, 5)] == [0, 1 / 3, 2 / 3]
    expected = [0, 0.386853, 0.296082, 0.296082, 0.477624]
    np.testing.assert_allclose([ndcg(hits, n, k)[0] for k in range(1, 6)], expected, atol=5e-7)
    np.testing.assert_allclose(ndcg_of_retrieved(hits, n, 5), 0.624051, atol=5e-7)
    assert precision(hits, n, 5)[0] == 2 / 5
    assert average_precision(hits, n, 5)[0] == pytest.approx((1 / 2 + 2 / 5) / 3)
    assert average_precision(hits, n, 2)[0] == pytest.approx((1 / 2) / 2)  # divisor min(k, |T_u|)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("k", [1, 2, 10, 20, 50])
def test_agrees_with_the_slow_metric(name: str, k: int) -> None:
    lists, held_out = ranked_users(np.random.default_rng(k), 60)
    slow = [ORACLES[name](ranked, held, k) for ranked, held in zip(lists, held_out, strict=True)]
    np.testing.assert_allclose(METRICS[name](*as_hits(lists, held_out), k), slow, rtol=1e-12)


def test_agrees_with_trec_eval() -> None:
    lists, held_out = ranked_users(np.random.default_rng(7), 80)
    truth = {str(u): {str(i): 1 for i in held} for u, held in enumerate(held_out)}
    run = {str(u): {str(i): float(DEPTH - r) for r, i in enumerate(ranked)} for u, ranked in enumerate(lists)}
    trec = pytrec_eval.RelevanceEvaluator(truth, {"recall", "ndcg_cut", "P", "map_cut"}).evaluate(run)
    hits, n = as_hits(lists, held_out)

    def theirs(measure: str) -> np.ndarray:
        return np.array([trec[str(u)][measure] for u in range(len(lists))])

    for k in (10, 20):
        np.testing.assert_allclose(ndcg(hits, n, k), theirs(f"ndcg_cut_{k}"), rtol=1e-9)
        np.testing.assert_allclose(precision(hits, n, k), theirs(f"P_{k}"), rtol=1e-9)
        # trec_eval divides by |T_u|, we by min(k, |T_u|): the same where k ≥ |T_u|, a known factor elsewhere
        ours = average_precision(hits, n, k) * np.minimum(n, k) / n
        np.testing.assert_allclose(ours, theirs(f"map_cut_{k}"), rtol=1e-9)
        assert (n > k).any() and (n <= k).any()
    np.testing.assert_allclose(recall(hits, n, 20), theirs("recall_20"), rtol=1e-9)
    np.testing.assert_allclose(recall(hits, n, 10), theirs("recall_10"), rtol=1e-9)


hit_lists = st.lists(st.booleans(), min_size=1, max_size=25)


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=60, deadline=None)
@given(pattern=hit_lists, missed=st.integers(0, 20), k=st.integers(1, 25))
def test_lies_between_zero_and_one(name: str, pattern: list[bool], missed: int, k: int) -> None:
    hits, n = np.array([pattern]), np.array([max(1, sum(pattern) + missed)])
    value = METRICS[name](hits, n, min(k, len(pattern)))[0]
    assert 0.0 <= value <= 1.0


@pytest.mark.parametrize("name", ["recall", "ndcg", "precision", "map"])
@settings(max_examples=60, deadline=None)
@given(pattern=hit_lists, place=st.integers(0, 24), spare=st.integers(1, 5), k=st.integers(1, 25))
def test_another_hit_never_lowers(name: str, pattern: list[bool], place: int, spare: int, k: int) -> None:
    """With the held-out items fixed: spare ones were missed before, one of them is found now."""
    more = list(pattern)
    more[place % len(more)] = True
    n, k = np.array([sum(pattern) + spare]), min(k, len(pattern))
    before, after = (METRICS[name](np.array([p]), n, k)[0] for p in (pattern, more))
    assert after >= before - 1e-15


def test_another_hit_can_lower_lattices_ndcg() -> None:
    """Why it is for bridging only: finding a second held-out item at rank 20 costs more than missing it."""
    one, two = np.zeros((1, 20), dtype=bool), np.zeros((1, 20), dtype=bool)
    one[0, 0] = two[0, 0] = two[0, 19] = True
    n = np.array([2])
    assert ndcg_of_retrieved(one, n, 20)[0] == 1.0 > ndcg_of_retrieved(two, n, 20)[0]
    assert ndcg(two, n, 20)[0] > ndcg(one, n, 20)[0]


def test_lattices_ndcg_is_never_below_the_standard_one() -> None:
    hits, n = as_hits(*ranked_users(np.random.default_rng(3), 100))
    for k in (5, 10, 20):
        assert (ndcg_of_retrieved(hits, n, k) >= ndcg(hits, n, k) - 1e-15).all()


@settings(max_examples=100, deadline=None)
@given(ranks=st.sets(st.integers(1, 20), min_size=1, max_size=10), missed=st.integers(0, 9))
def test_ndcg_grows_with_recall(ranks: set[int], missed: int) -> None:
    """With at most ten held-out items NDCG grows at least 1/log2(21) as much as Recall from 10 to 20."""
    hits = np.isin(np.arange(1, 21), list(ranks))[None]
    n = np.array([min(10, len(ranks) + missed)])
    floor, ceiling = slope_limits(10, 20)
    late_recall = recall(hits, n, 20) - recall(hits, n, 10)
    late_ndcg = ndcg(hits, n, 20) - ndcg(hits, n, 10)
    assert late_ndcg[0] >= floor * late_recall[0] - 1e-12
    if n[0] == 1:
        assert late_ndcg[0] <= ceiling * late_recall[0] + 1e-12


def test_a_perfect_list_gives_exactly_one() -> None:
    for n in range(1, 40):
        hits = (np.arange(50) < n)[None]
        assert ndcg(hits, np.array([n]), 20)[0] == 1.0
        assert average_precision(hits, np.array([n]), 20)[0] == 1.0


def test_only_lists_as_deep_as_k_and_users_with_held_out_items_are_measured() -> None:
    hits = np.zeros((2, 10), dtype=bool)
    for k in (0, 11):
        with pytest.raises(ResultError, match=f"k = {k}"):
            recall(hits, np.array([1, 1]), k)
    with pytest.raises(ResultError, match="row 1 has no held-out item"):
        ndcg(hits, np.array([1, 0]), 5)
    with pytest.raises(ResultError, match="row 0 has 10 hits but 2 held-out"):
        precision(np.ones((1, 10), dtype=bool), np.array([2]), 5)
    with pytest.raises(ResultError, match="do not match"):
        recall(hits, np.array([1, 1, 1]), 5)
