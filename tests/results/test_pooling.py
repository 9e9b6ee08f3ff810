"""Seeds averaged per user, nothing mixed that must not be."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import Result
from lmmrec_core.results.pooling import check_mix, per_seed, pooled_per_user
from tests.results.samples import per_user, result


def users(values: list[float], index: list[int] | None = None, **more: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"recall@20": values, **more}, index=pd.Index(index or range(len(values)), name="user"))


def test_seeds_are_averaged_user_by_user_whatever_their_order() -> None:
    a, b = users([0.0, 1.0, 0.5], [4, 7, 9]), users([0.5, 0.0, 1.0], [9, 4, 7])
    pooled, groups = pooled_per_user(
        [result(a, seed=2), result(b.assign(**{"recall@20": [0.0, 1.0, 0.5]}), seed=1)], "recall@20"
    )
    assert pooled.to_dict() == {4: 0.5, 7: 0.75, 9: 0.25}
    assert pooled.name == "recall@20" and groups is None
    assert list(per_seed([result(seed=2), result(seed=1)], "recall@20")) == [1, 2]


def test_runs_whose_encoder_was_not_trained_are_left_out() -> None:
    def run(seed: int, value: float, trained: bool) -> Result:
        made = result(users([value, value]), seed=seed, paradigm="ETE")
        return replace(made, record={**made.record, "training": {"features": {"trained": trained}}})

    runs = [run(1, 0.9, False), run(2, 0.2, True), run(3, 0.4, True)]
    assert [found.trained for found in runs] == [False, True, True] and result().trained
    assert list(per_seed(runs, "recall@20")) == [2, 3]
    assert pooled_per_user(runs, "recall@20")[0].tolist() == pytest.approx([0.3, 0.3])
    with pytest.raises(ResultError, match=r"vbpr baseline ETE .* second update of its encoder"):
        per_seed(runs[:1], "recall@20")


def test_persons_come_along() -> None:
    shared = users([0.0, 1.0, 0.5], [4, 7, 9], group=[1, 1, 2])
    _, groups = pooled_per_user([result(shared)], "recall@20")
    assert groups is not None and groups.to_dict() == {4: 1, 7: 1, 9: 2}


def test_what_must_not_be_mixed_is_refused_naming_both() -> None:
    here, there = result(split="a" * 16), result(split="b" * 16, seed=2)
    for mix in (lambda: check_mix([here, there]), lambda: pooled_per_user([here, there], "recall@20")):
        with pytest.raises(ResultError, match=r"a{16}.*b{16}.*same split"):
            mix()
    with pytest.raises(ResultError, match=r"has schema 1, .* has 2"):
        check_mix([result(), result(schema=2, seed=2)])
    check_mix([here, result(split="b" * 16, dataset="other")])  # another data set has another split: fine


def test_results_of_one_seed_twice_or_of_two_cases_are_not_averaged() -> None:
    with pytest.raises(ResultError, match="two results"):
        per_seed([result(), result()], "recall@20")
    with pytest.raises(ResultError, match="different cases"):
        per_seed([result(), result(model="bpr", seed=2)], "recall@20")
    with pytest.raises(ResultError, match="different users"):
        per_seed([result(), result(per_user(4), seed=2)], "recall@20")
    with pytest.raises(ResultError, match="did you mean 'recall@20'"):
        pooled_per_user([result()], "recal@20")
    with pytest.raises(ResultError, match="no result"):
        pooled_per_user([], "recall@20")


def test_averaging_leaves_the_results_as_they_were() -> None:
    one = result()
    before = one.per_user.copy(deep=True)
    pooled, _ = pooled_per_user([one], "recall@20")
    pooled.iloc[:] = np.nan
    pd.testing.assert_frame_equal(one.per_user, before)
