"""The A/A test: one system, trained twice, must be found different from itself at the test's level and no more."""

from collections.abc import Mapping
from itertools import combinations

import pandas as pd

from lmmrec_core.significance.comparison import compare
from lmmrec_core.significance.seed_noise import noise_of, seed_noise

Cells = Mapping[str, Mapping[int, pd.Series]]  # name of a cell of one model → seed → user → value


def against_itself(cells: Cells, groups: pd.Series | None = None) -> pd.DataFrame:
    """Every pair of seeds of every cell of one model on one data set, compared as if they were two systems.

    Columns: cell, seed_a, seed_b, p, ci_low, ci_high, difference. The spread over seeds is learnt from the *other*
    cells: with its own among them, a cell would widen the very interval that its seeds are held against, and the rate
    would come out too small. A cell with fewer than three others of several seeds is left out: it is not testable.
    """
    noises = {name: noise_of(by_seed, groups) for name, by_seed in cells.items()}
    rows = []
    for name, by_seed in cells.items():
        others = seed_noise(noise for other, noise in noises.items() if other != name)
        if others is None:
            continue
        for one, other in combinations(sorted(by_seed), 2):
            found = compare({one: by_seed[one]}, {other: by_seed[other]}, groups, (others, others))
            rows.append((name, one, other, found.p, found.ci_low, found.ci_high, found.difference))
    return pd.DataFrame(rows, columns=["cell", "seed_a", "seed_b", "p", "ci_low", "ci_high", "difference"])
