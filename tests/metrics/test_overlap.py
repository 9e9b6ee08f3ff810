"""How many hits two systems share."""

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.errors import ResultError
from lmmrec_core.metrics.overlap import common_hits


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
