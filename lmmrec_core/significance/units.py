"""Two per-user series → two aligned vectors over the units that are tested: users, or the persons behind them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import FloatArray


@dataclass(frozen=True, eq=False)
class PairedValues:
    """Values of ``a`` and ``b`` [unit] for the same units in the same order."""

    a: FloatArray
    b: FloatArray
    n_users: int

    @property
    def difference(self) -> FloatArray:
        return self.a - self.b

    @property
    def constant(self) -> bool:
        """Whether all units differ by the same amount, up to rounding: no spread to test against."""
        scale = max(np.abs(self.a).max(), np.abs(self.b).max(), np.finfo(float).tiny)
        return bool(np.ptp(self.difference) <= 1e-13 * scale)


def paired_values(a: pd.Series, b: pd.Series, groups: pd.Series | None = None) -> PairedValues:
    """Match the users of ``a`` and ``b`` by index; with ``groups`` (user → person), average per person first.

    Users that share a person are not independent: testing them as such makes p too small.

    Raises ResultError when the users differ, repeat or lack a person, a value is not finite, or fewer
    than two units remain.
    """
    for name, series in (("a", a), ("b", b)):
        if series.index.has_duplicates:
            user = series.index[series.index.duplicated()][0]
            raise ResultError(f"system {name}: user {user} has two values; keep one")
        if not np.isfinite(series.to_numpy(dtype=np.float64)).all():
            raise ResultError(f"system {name}: a value is not a finite number; evaluate again")
    odd = a.index.symmetric_difference(b.index)
    if len(odd):
        raise ResultError(
            f"{len(odd)} users have a value in only one of the two systems (first: {odd[0]}); "
            "compare results of the same split"
        )
    frame = pd.DataFrame({"a": a.astype(np.float64), "b": b.reindex(a.index).astype(np.float64)})
    n_users = len(frame)
    if groups is not None:
        persons = groups.reindex(frame.index)
        if persons.isna().any():
            raise ResultError(f"user {persons.index[persons.isna()][0]} has no group; give a group for every user")
        frame = frame.groupby(persons.to_numpy()).mean()
    if len(frame) < 2:
        units = "users" if groups is None else "persons"
        raise ResultError(f"a paired test needs at least 2 {units}, got {len(frame)}; use a larger test part")
    return PairedValues(frame["a"].to_numpy(), frame["b"].to_numpy(), n_users)


def over_seeds(per_seed: Mapping[int, pd.Series]) -> pd.Series:
    """Seed → per-user values → one value per user, averaged over seeds.

    The users stay the units: averaging removes seed noise, it does not multiply the observations.
    Raises ResultError without seeds or when the users differ between seeds.
    """
    if not per_seed:
        raise ResultError("no seed to average over; run at least one")
    first = next(iter(per_seed.values()))
    for seed, series in per_seed.items():
        if series.index.has_duplicates or len(series) != len(first) or not series.index.isin(first.index).all():
            raise ResultError(f"seed {seed} has other users than the rest; average results of the same split only")
    return pd.DataFrame(dict(per_seed)).mean(axis=1, skipna=False)
