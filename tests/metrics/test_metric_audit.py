"""Relations that one ranking must keep, and what two rankings must share, on printed rows and on ours."""

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.errors import ResultError
from lmmrec_core.metrics.audit import common_hits, common_hits_needed, impossible, slope
from lmmrec_core.metrics.evaluate import evaluate_lists
from tests.metrics.splits import random_lists, random_split

NAMES = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


def test_printed_rows_that_no_ranking_gives() -> None:
    clip_pt_clothing = dict(zip(NAMES, (0.0163, 0.0253, 0.0090, 0.0101), strict=True))  # printed, MMGCN
    lattice_sports = dict(zip(NAMES, (0.0633, 0.0944, 0.0334, 0.0424), strict=True))
    assert slope(clip_pt_clothing) == pytest.approx(0.122, abs=5e-4)
    assert len(impossible(clip_pt_clothing, rounding=0.00005)) == 1
    assert impossible(lattice_sports, rounding=0.00005) == []
    assert slope({**lattice_sports, "recall@20": 0.0633}) is None


def test_our_own_rankings_are_possible() -> None:
    rng = np.random.default_rng(2)
    split = random_split(rng)
    frame, _ = evaluate_lists(random_lists(split, rng), np.arange(split.n_users), split, "test")
    means = {name: frame[name].mean() for name in NAMES}
    assert impossible(means) == []
    assert impossible({**means, "recall@20": means["recall@10"] - 0.01}) != []


def test_common_hits_needed_by_a_printed_star() -> None:
    """VBPR_CLIP on Baby, Recall@10 .0479 against .0487 over 19,445 users: 97 %."""
    assert common_hits_needed(0.0479, 0.0487, 19_445) == pytest.approx(0.97, abs=0.005)
    assert common_hits_needed(0.01, 0.5, 19_445) == 0.0
    with pytest.raises(ResultError, match="above 0"):
        common_hits_needed(0.0, 0.1, 10)


def test_common_hits_counts_user_and_item() -> None:
    def system(ranks: list[list[int]], items: list[list[int]]) -> pd.DataFrame:
        columns = {"hit_ranks": [np.array(r) for r in ranks], "hit_items": [np.array(i) for i in items]}
        return pd.DataFrame(columns, index=pd.Index([3, 4], name="user"))

    a = system([[1, 30], [2]], [[7, 8], [7]])
    b = system([[5], [4, 6]], [[9], [7, 8]])
    assert common_hits(a, b, k=20) == 1 / 2  # a: (3,7) (4,7); b: (3,9) (4,7) (4,8)
    assert common_hits(a, a, k=50) == 1.0
    assert common_hits(system([[], []], [[], []]), b) is None
    with pytest.raises(ResultError, match="different users"):
        common_hits(a, b.iloc[:1])
