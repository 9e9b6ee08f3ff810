"""Made values of users and seeds, for the tests of this folder."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def by_seed(matrix: np.ndarray | Sequence[Sequence[float]], first: int = 1) -> dict[int, pd.Series]:
    """[user, seed] → seed → user → value."""
    values = np.asarray(matrix, dtype=float)
    users = pd.RangeIndex(len(values), name="user")
    return {first + j: pd.Series(column, index=users) for j, column in enumerate(values.T)}


def drawn(users: int, seeds: int, rng: np.random.Generator, level: float = 1.0, seed_sd: float = 0.1) -> np.ndarray:
    """Values [user, seed] with effects of users, of seeds, and of both."""
    effects = rng.normal(0, 0.5, (users, 1)) + rng.normal(0, seed_sd, (1, seeds)) + rng.normal(0, 0.3, (users, seeds))
    return np.asarray(level + effects)
