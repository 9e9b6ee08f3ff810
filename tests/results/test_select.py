"""Frames for tables and comparisons: seeds averaged per user, nothing mixed that must not be."""

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.results.select import frame, paired_per_user, per_seed, pooled_per_user, select
from tests.results.samples import per_user, result


def users(values: list[float], index: list[int] | None = None, **more: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"recall@20": values, **more}, index=pd.Index(index or range(len(values)), name="user"))


def test_one_row_per_case_and_seed_unrounded() -> None:
    table = frame([result(users([1 / 3, 1.0])), result(users([0.0, 1 / 7]), seed=2), result(model="lattice")])
    assert table["model"].tolist() == ["vbpr", "vbpr", "lattice"]
    assert table["recall@20"].tolist()[:2] == [(1 / 3 + 1.0) / 2, (1 / 7) / 2]
    assert table["coverage@20"].tolist() == [0.1] * 3
    assert table["ndcg@20"].isna().tolist() == [True, True, False]
    assert "n_relevant" not in table and "hit_ranks" not in table
    assert frame([]).empty and "model" in frame([]).columns


def test_seeds_are_averaged_user_by_user_whatever_their_order() -> None:
    a, b = users([0.0, 1.0, 0.5], [4, 7, 9]), users([0.5, 0.0, 1.0], [9, 4, 7])
    pooled, groups = pooled_per_user(
        [result(a, seed=2), result(b.assign(**{"recall@20": [0.0, 1.0, 0.5]}), seed=1)], "recall@20"
    )
    assert pooled.to_dict() == {4: 0.5, 7: 0.75, 9: 0.25}
    assert pooled.name == "recall@20" and groups is None
    assert list(per_seed([result(seed=2), result(seed=1)], "recall@20")) == [1, 2]


def test_persons_come_along() -> None:
    shared = users([0.0, 1.0, 0.5], [4, 7, 9], group=[1, 1, 2])
    _, groups = pooled_per_user([result(shared)], "recall@20")
    assert groups is not None and groups.to_dict() == {4: 1, 7: 1, 9: 2}


def test_a_comparison_uses_the_common_seeds_only() -> None:
    a = [result(users([float(s), 0.0]), seed=s) for s in (1, 2, 3)]
    b = [result(users([0.0, float(s)]), seed=s, model="lattice") for s in (2, 3, 4)]
    values_a, values_b, groups, seeds = paired_per_user(a, b, "recall@20")
    assert seeds == (2, 3) and groups is None
    assert values_a.tolist() == [2.5, 0.0] and values_b.tolist() == [0.0, 2.5]
    with pytest.raises(ResultError, match="no seed in common"):
        paired_per_user(a[:1], b, "recall@20")


def test_selecting_by_case() -> None:
    some = [result(seed=s, model=m) for s in (1, 2) for m in ("vbpr", "bpr")]
    assert [r.case["seed"] for r in select(some, model="bpr")] == [1, 2]
    assert len(select(some, model=["bpr", "vbpr"], seed=2)) == 2
    with pytest.raises(ConfigError, match="did you mean 'model'"):
        select(some, modell="bpr")


def test_what_must_not_be_mixed_is_refused_naming_both() -> None:
    here, there = result(split="a" * 16), result(split="b" * 16, seed=2)
    for mix in (lambda: frame([here, there]), lambda: pooled_per_user([here, there], "recall@20"),
                lambda: paired_per_user([here], [result(split="b" * 16, model="bpr")], "recall@20")):  # fmt: skip
        with pytest.raises(ResultError, match=r"a{16}.*b{16}.*same split"):
            mix()
    with pytest.raises(ResultError, match=r"has schema 1, .* has 2"):
        frame([result(), result(schema=2, seed=2)])
    frame([here, result(split="b" * 16, dataset="other")])  # another data set has another split: fine


def test_results_of_one_seed_twice_or_of_two_cases_are_not_averaged() -> None:
    with pytest.raises(ResultError, match="two results of controls null vbpr"):
        frame([result(), result()])
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
