"""What the printed stars say of each other, of direction, and of the overlap that they would need.

A star of Table 3 marks a difference from the baseline, one of Table 4 a difference from the best of PT, FT and ETE.
"""

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from lmmrec_core.audit.cells import UNIT, mean_change
from lmmrec_core.errors import DataError
from lmmrec_core.names import MODEL_TITLES, PARADIGMS


def odd_stars(cells: pd.DataFrame) -> pd.DataFrame:
    """Every star that another value of its group contradicts, from the frame of ``cells.paper_cells``.

    Columns: cell (``"MMGCL vlmo sports ndcg@20"``), starred and plain (paradigms), kind: "best" (the single best is
    starred, ``plain`` is empty), "equal" (of two equal values one is starred), "higher" (the higher is starred, the
    lower is not).
    """
    rows = []
    for cell in cells.to_dict("records"):
        name = _name(cell)
        values = {paradigm: int(cell[paradigm]) for paradigm in PARADIGMS}
        starred = {paradigm for paradigm in PARADIGMS if cell[f"star_{paradigm}"]}
        best = [paradigm for paradigm in PARADIGMS if values[paradigm] == max(values.values())]
        if len(best) == 1 and best[0] in starred:
            rows.append((name, best[0], "", "best"))
        for a, b in permutations(PARADIGMS, 2):
            if a in starred and b not in starred and values[a] >= values[b]:
                rows.append((name, a, b, "equal" if values[a] == values[b] else "higher"))
    return pd.DataFrame(rows, columns=["cell", "starred", "plain", "kind"])


def starred_falls(cells: pd.DataFrame) -> pd.DataFrame:
    """Runs of Table 3 that fell from the baseline: one row per (model, encoder, dataset) with a cell that fell.

    Columns: model, encoder, dataset, ``fell``, ``starred`` (of these), ``change`` (mean of all four cells).
    """
    rows = []
    for (model, encoder, dataset), run in cells.groupby(["model", "encoder", "dataset"], sort=False):
        fell = run["PT"] < run["none"]
        if fell.any():
            starred = int((fell & run["star"]).sum())
            rows.append((model, encoder, dataset, int(fell.sum()), starred, mean_change(run, "PT", "none")))
    return pd.DataFrame(rows, columns=["model", "encoder", "dataset", "fell", "starred", "change"])


def common_hits_needed(rate_a: float, rate_b: float, n_users: int, rounding: float = 0.0) -> float:
    """Least share of the smaller hit set that two systems must share for p < 0.05 in a paired test over users.

    For hit rates with one held-out item per user: a difference D over N users is significant only if the systems
    disagree on at most N·D²/3.84 + D² of the users: the variance of their differences (−1, 0 or 1) is the share that
    disagree less D², and 3.84 is 1.96². ``rounding`` is half a unit of the last printed digit, in the star's favour.
    0 when no overlap is needed. Raises DataError for a rate that is not above 0.
    """
    if min(rate_a, rate_b) <= 0:
        raise DataError(f"hit rates {rate_a} and {rate_b} must be above 0; a system without hits shares none")
    difference = abs(rate_a - rate_b) + 2 * rounding
    disagree = n_users * difference**2 / 3.84 + difference**2
    return float(np.clip((rate_a + rate_b - disagree) / 2 / min(rate_a, rate_b), 0.0, 1.0))


def overlap_needed(cells: pd.DataFrame, users: Mapping[str, int]) -> pd.DataFrame:
    """For every starred Recall of Table 3, the hits that it must share with its baseline, most demanding first.

    ``users`` per data set. Columns: cell, baseline, value, needed (a share, see :func:`common_hits_needed`). If the
    test paired repeated runs instead of users, nothing follows.
    """
    starred = cells[cells["star"] & cells["metric"].str.startswith("recall")]
    rows = [
        (_name(cell), base, value, common_hits_needed(base, value, users[str(cell["dataset"])], UNIT / 2))
        for cell in starred.to_dict("records")
        for base, value in [(cell["none"] * UNIT, cell["PT"] * UNIT)]
    ]
    frame = pd.DataFrame(rows, columns=["cell", "baseline", "value", "needed"])
    return frame.sort_values("needed", ascending=False, kind="stable", ignore_index=True)


def _name(cell: Mapping[Any, Any]) -> str:
    return f"{MODEL_TITLES[str(cell['model'])]} {cell['encoder']} {cell['dataset']} {cell['metric']}"
