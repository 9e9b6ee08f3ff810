"""From lists and a split to the metrics of every user."""

import numpy as np
import pytest

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import Split
from lmmrec_core.metrics import METRICS
from lmmrec_core.metrics.again import hits_from_ranks
from lmmrec_core.metrics.evaluate import PER_USER, evaluate_lists, find_hits, mean_recall
from tests.metrics.splits import interactions, make_split, random_lists, random_split
from tests.oracles import ORACLES

USERS = np.arange(3)
SMALL = make_split(3, 6, train=[(0, 0), (1, 1), (2, 2)], valid=[(0, 1)], test=[(0, 2), (0, 3), (2, 4)])
LISTS = np.array([[1, 3, 4, 2], [0, 2, 3, 4], [4, 5, -1, -1]])


def test_a_case_by_hand() -> None:
    frame, overall = evaluate_lists(LISTS, USERS, SMALL, "test", ks=(2, 4))
    assert frame.index.tolist() == [0, 2] and frame.index.name == "user"  # user 1 has nothing held out
    assert frame["recall@2"].tolist() == [0.5, 1.0]
    assert frame["recall@4"].tolist() == [1.0, 1.0]
    assert frame["precision@4"].tolist() == [0.5, 0.25]  # the divisor is k, also for a list of two
    assert frame["ndcg@2"].tolist() == pytest.approx([(1 / np.log2(3)) / (1 + 1 / np.log2(3)), 1.0])
    assert frame["map@4"].tolist() == pytest.approx([(1 / 2 + 2 / 4) / 2, 1.0])
    assert [ranks.tolist() for ranks in frame["hit_ranks"]] == [[2, 4], [1]]
    assert [items.tolist() for items in frame["hit_items"]] == [[3, 2], [4]]
    assert frame["n_relevant"].tolist() == [2, 1]
    assert overall["coverage@2"] == 4 / 6  # 1, 3 of user 0; 4, 5 of user 2
    assert "group" not in frame.columns


@pytest.mark.parametrize("part", ["valid", "test"])
def test_agrees_with_the_slow_metrics_user_by_user(part: str) -> None:
    rng = np.random.default_rng(5)
    split = random_split(rng)
    lists = random_lists(split, rng)
    frame, _ = evaluate_lists(lists, np.arange(split.n_users), split, part)  # type: ignore[arg-type]
    held = split.part(part)  # type: ignore[arg-type]
    assert set(frame.index) == set(held.user.tolist())
    for user in frame.index:
        truth, ranked = set(held.item[held.user == user].tolist()), [i for i in lists[user].tolist() if i >= 0]
        for name in PER_USER:
            for k in (10, 20):
                assert frame.loc[user, f"{name}@{k}"] == pytest.approx(ORACLES[name](ranked, truth, k), rel=1e-12)


def test_means_are_over_users_with_held_out_rows_only() -> None:
    with_extra = evaluate_lists(LISTS, USERS, SMALL, "test", ks=(4,))[0]
    without = evaluate_lists(LISTS[[0, 2]], np.array([0, 2]), SMALL, "test", ks=(4,))[0]
    assert with_extra.drop(columns=["hit_ranks", "hit_items"]).equals(without.drop(columns=["hit_ranks", "hit_items"]))


def test_the_fast_path_equals_the_column() -> None:
    rng = np.random.default_rng(11)
    split = random_split(rng)
    lists, users = random_lists(split, rng), np.arange(split.n_users)
    frame, _ = evaluate_lists(lists, users, split, "valid")
    assert mean_recall(lists, users, split, "valid", 20) == frame["recall@20"].mean()
    assert mean_recall(lists[:, :10], users, split, "valid", 10) == frame["recall@10"].mean()


def test_renumbering_the_items_changes_nothing() -> None:
    rng = np.random.default_rng(13)
    split = random_split(rng)
    lists, users = random_lists(split, rng), np.arange(split.n_users)
    new = rng.permutation(split.n_items)
    moved = Split(
        split.n_users, split.n_items,
        *(interactions(list(zip(p.user.tolist(), new[p.item].tolist(), strict=True)))
          for p in (split.train, split.valid, split.test)),
        split.rule, split.seed, "g",
    )  # fmt: skip
    before, overall_before = evaluate_lists(lists, users, split, "test")
    after, overall_after = evaluate_lists(np.where(lists >= 0, new[lists], -1), users, moved, "test")
    numbers = [name for name in before.columns if "@" in name]
    assert before[numbers].equals(after[numbers])
    assert overall_before == overall_after


def test_hit_ranks_are_enough_to_compute_any_metric_again() -> None:
    rng = np.random.default_rng(17)
    split = random_split(rng)
    frame, _ = evaluate_lists(random_lists(split, rng), np.arange(split.n_users), split, "test")
    hits, n = hits_from_ranks(frame["hit_ranks"]), frame["n_relevant"].to_numpy()
    for name in PER_USER:
        np.testing.assert_array_equal(METRICS[name](hits, n, 20), frame[f"{name}@20"])
    assert {ranks.dtype for ranks in frame["hit_ranks"]} == {np.dtype(np.int16)}


def test_empty_places_are_never_hits_even_for_the_last_item() -> None:
    split = make_split(1, 3, train=[(0, 0)], valid=[], test=[(0, 2)])
    frame, overall = evaluate_lists(np.array([[-1, -1, 1, -1]]), np.array([0]), split, "test", ks=(4,))
    assert frame["recall@4"].tolist() == [0.0]
    assert overall["coverage@4"] == 1 / 3 and overall["cold_recall@4"] == 0.0
    # the item before the first of user 1 is the last of user 0: an empty place must not read it
    two = make_split(2, 3, train=[(0, 0), (1, 0)], valid=[], test=[(0, 2), (1, 1)])
    assert not find_hits(np.array([[1, -1], [-1, 2]]), np.arange(2), two, "test").hits.any()


def test_persons_are_carried_along() -> None:
    split = make_split(3, 6, [(0, 0)], [], [(0, 2), (2, 4)], group=[7, 7, 9])
    assert evaluate_lists(LISTS, USERS, split, "test", ks=(4,))[0]["group"].tolist() == [7, 9]


@pytest.mark.parametrize(
    ("lists", "users", "message"),
    [
        (LISTS[:2], [0, 1], r"1 users have test rows but no list \(first: user at position 2 \(from 0\)\)"),
        (LISTS[:2], [0, 1, 2], "do not belong to users"),
        (LISTS[::-1], [2, 1, 0], "ascending"),
        (LISTS, [0, 1, 9], "within 0..2"),
        (np.where(LISTS == 5, 6, LISTS), [0, 1, 2], "another catalogue"),
        (LISTS.astype(float), [0, 1, 2], "integers"),
        (np.where(LISTS == 5, 4, LISTS), [0, 1, 2], r"list of user at position 2 \(from 0\) holds an item twice"),
        (np.where(LISTS == 1, 0, LISTS), [0, 1, 2], r"hold training items \(first: user at position 0 \(from 0\)\)"),
        (LISTS[:, :3], [0, 1, 2], "k = 4, but the lists hold 3"),
    ],
)
def test_lists_that_cannot_be_evaluated_are_refused(lists: np.ndarray, users: list[int], message: str) -> None:
    with pytest.raises(ResultError, match=message):
        evaluate_lists(lists, np.array(users), SMALL, "test", ks=(4,))


def test_a_part_without_rows_is_refused_not_averaged_to_nan() -> None:
    empty = make_split(3, 6, [(0, 0)], [], [(0, 2)])
    for measure in (evaluate_lists, mean_recall):
        with pytest.raises(ResultError, match="no user has a valid row"):
            measure(LISTS, USERS, empty, "valid", **({"ks": (4,)} if measure is evaluate_lists else {"k": 4}))
