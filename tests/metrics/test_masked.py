"""A test ranking without validation items, from what a run keeps."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import Result
from lmmrec_core.metrics.again import measured_again, measured_masked
from lmmrec_core.metrics.evaluate import evaluate_lists
from lmmrec_core.results.files import read_table, table_bytes
from tests.metrics.splits import make_split, random_lists, random_split


def result_of(frame: pd.DataFrame, k: int = 50) -> Result:
    return Result({}, frame, {}, {"settings": {"evaluation": {"k": k}}})


def test_a_case_by_hand() -> None:
    split = make_split(3, 6, train=[(0, 0), (1, 1), (2, 2)], valid=[(0, 1), (2, 5)], test=[(0, 2), (0, 3), (2, 4)])
    lists = np.array([[1, 3, 4, 2], [0, 2, 3, 4], [4, 5, -1, -1]])
    frame, _ = evaluate_lists(lists, np.arange(3), split, "test", ks=(2,))
    assert [ranks.tolist() for ranks in frame["valid_ranks"]] == [[1], [2]]
    # user 0's list becomes 3, 4, 2, …: ranks 2 and 4 become 1 and 3; user 2's hit stays first
    run = result_of(frame, k=4)
    assert measured_again(run, "recall@1").tolist() == [0.0, 1.0]
    assert measured_masked(run, "recall@1").tolist() == [0.5, 1.0]
    assert measured_masked(run, "ndcg@3").tolist() == pytest.approx([(1 + 1 / 2) / (1 + 1 / np.log2(3)), 1.0])
    with pytest.raises(ResultError, match="3 items left; choose k within"):
        measured_masked(run, "recall@4")


@given(st.integers(0, 10_000))
def test_equals_the_evaluation_of_lists_without_validation_items(seed: int) -> None:
    rng = np.random.default_rng(seed)
    split = random_split(rng)
    lists, users = random_lists(split, rng), np.arange(split.n_users)
    frame, _ = evaluate_lists(lists, users, split, "test", ks=(1,))
    out = [set(split.valid.item[split.valid.user == user].tolist()) for user in users]
    kept = [[item for item in row if item not in gone] for row, gone in zip(lists.tolist(), out, strict=True)]
    left = min(len(row) for row in kept)
    without = np.array([row[:left] for row in kept])
    for k in {1, min(5, left), left}:
        if k < 1:
            continue
        again = evaluate_lists(without, users, split, "test", ks=(k,))[0]
        found = measured_masked(result_of(frame, k=lists.shape[1]), f"ndcg@{k}")
        np.testing.assert_array_equal(found.to_numpy(), again[f"ndcg@{k}"].to_numpy())


def test_ranks_survive_the_file_and_older_runs_say_that_they_cannot_tell() -> None:
    rng = np.random.default_rng(3)
    split = random_split(rng)
    frame, _ = evaluate_lists(random_lists(split, rng), np.arange(split.n_users), split, "test")
    read = read_table(table_bytes(frame))
    assert {ranks.dtype for ranks in read["valid_ranks"]} == {np.dtype(np.int16)}
    assert [r.tolist() for r in read["valid_ranks"]] == [r.tolist() for r in frame["valid_ranks"]]
    with pytest.raises(KeyError):
        measured_masked(result_of(frame.drop(columns="valid_ranks")), "recall@20")
    assert "valid_ranks" not in evaluate_lists(random_lists(split, rng), np.arange(split.n_users), split, "valid")[0]
