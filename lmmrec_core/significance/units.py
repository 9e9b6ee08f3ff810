"""Per-user values of two systems over seeds → aligned matrices, with the person behind each user.

A *replicate* is one run of a system: a model seed, or a pair (split seed, model seed). Seeds are nested in splits, and
a system's seeds are not paired with another's. Runs of the same number do share the order of the data, and two arms of
one model (other than MMGCN) their first id vectors; the crossed test does not use it, which costs power.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import FloatArray, IntArray

Replicate = int | tuple[int, int]  # model seed, or (split seed, model seed)
BySplitAndSeed = Mapping[tuple[int, int], pd.Series]
ByReplicate = Mapping[int, pd.Series] | BySplitAndSeed  # → user → value of one metric


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of one system on one split: ``values`` [user, seed] and the mean over users of each run, ``means``."""

    users: pd.Index
    values: FloatArray
    means: FloatArray


@dataclass(frozen=True, eq=False)
class Crossed:
    """Two systems on the same users: for each split, ``a`` and ``b`` [user, seed], and the person of each user.

    Persons are numbered from 0 over all splits. ``mean_a`` and ``mean_b`` are means over users, then over runs.
    """

    a: tuple[FloatArray, ...]
    b: tuple[FloatArray, ...]
    person: tuple[IntArray, ...]
    persons: int
    mean_a: float
    mean_b: float

    @property
    def difference(self) -> FloatArray:
        """a − b [user], averaged over seeds; users of several splits follow each other."""
        return np.concatenate([a.mean(axis=1) - b.mean(axis=1) for a, b in zip(self.a, self.b, strict=True)])

    @property
    def scale(self) -> float:
        """The largest value: what is below 1e-13 of it is rounding."""
        return max(np.finfo(float).tiny, *(float(np.abs(values).max()) for values in (*self.a, *self.b)))


def runs_of(system: str, by_replicate: ByReplicate) -> dict[int, Runs]:
    """Split seed → the runs of one system; a plain seed counts as split 0.

    Raises ResultError, naming ``system``, without runs, when a user has two values or one that is not finite, when the
    runs of a split are over different users, or when the splits have different numbers of seeds.
    """
    if not by_replicate:
        raise ResultError(f"system {system}: no run to compare; run at least one seed")
    columns: dict[int, dict[int, pd.Series]] = {}
    numbered = {_number(replicate): values for replicate, values in by_replicate.items()}
    for (split, seed), values in sorted(numbered.items()):
        if values.index.has_duplicates:
            user = values.index[values.index.duplicated()][0]
            raise ResultError(f"system {system}: user {user} has two values; keep one")
        if not np.isfinite(values.to_numpy(dtype=np.float64)).all():
            raise ResultError(f"system {system}: a value is not a finite number; evaluate again")
        columns.setdefault(split, {})[seed] = values.astype(np.float64)
    sizes = {split: len(seeds) for split, seeds in columns.items()}
    if len(set(sizes.values())) > 1:
        raise ResultError(
            f"system {system}: seeds per split are {sizes}; run the same number on each, or one split weighs more"
        )
    found = {}
    for split, seeds in columns.items():
        users = next(iter(seeds.values())).index
        for seed, values in seeds.items():
            if len(values) != len(users) or not values.index.isin(users).all():
                raise ResultError(
                    f"system {system}: seed {seed} has other users than the rest; compare runs of the same split only"
                )
        matrix = np.column_stack([values.reindex(users).to_numpy() for values in seeds.values()])
        found[split] = Runs(users, matrix, np.array([values.mean() for values in seeds.values()]))
    return found


def on_common_splits(a: ByReplicate, b: ByReplicate) -> tuple[BySplitAndSeed, BySplitAndSeed]:
    """The runs of two systems on the splits that both have; of each system, the seeds that it has on all of them.

    Otherwise one split would weigh more than another. Raises ResultError without a common split, or a common seed.
    """
    systems = [{_number(replicate): values for replicate, values in system.items()} for system in (a, b)]
    splits = [{split for split, _ in system} for system in systems]
    kept = []
    for system in systems:
        on_each = [{seed for split, seed in system if split == one} for one in splits[0] & splits[1]]
        seeds = set.intersection(*on_each) if on_each else set()
        if not seeds:
            raise ResultError(
                f"splits {sorted(splits[0])} and {sorted(splits[1])}: nothing to compare; run both systems on one "
                "split, each with the same seeds on all of its splits"
            )
        kept.append({(split, seed): system[split, seed] for split in splits[0] & splits[1] for seed in seeds})
    return kept[0], kept[1]


def _number(replicate: int | tuple[int, int]) -> tuple[int, int]:
    return replicate if isinstance(replicate, tuple) else (0, replicate)


def crossed(a: Mapping[int, Runs], b: Mapping[int, Runs], groups: pd.Series | None = None) -> Crossed:
    """Match two systems by split and user; ``groups`` (user → person) where users share one.

    Raises ResultError when splits or users differ, a user lacks a person, or fewer than two persons remain.
    """
    if a.keys() != b.keys():
        raise ResultError(f"a has splits {sorted(a)}, b has {sorted(b)}; run both on the same splits")
    first, second, labels = [], [], []
    for split, runs in a.items():
        other = b[split]
        odd = runs.users.symmetric_difference(other.users)
        if len(odd):
            raise ResultError(
                f"{len(odd)} users have a value in only one of the two systems (first: {odd[0]}); "
                "compare results of the same split"
            )
        first.append(runs.values)
        same = runs.users.equals(other.users)
        second.append(other.values if same else other.values[other.users.get_indexer(runs.users)])
        persons = pd.Series(runs.users, runs.users) if groups is None else groups.reindex(runs.users)
        if persons.isna().any():
            raise ResultError(f"user {persons.index[persons.isna()][0]} has no group; give a group for every user")
        labels.append(persons.to_numpy())
    codes, distinct = pd.factorize(np.concatenate(labels))
    if len(distinct) < 2:
        units = "users" if groups is None else "persons"
        raise ResultError(f"a test needs at least 2 {units}, got {len(distinct)}; use a larger test part")
    cuts = np.cumsum([len(part) for part in labels])[:-1]
    means = [float(np.mean(np.concatenate([runs.means for runs in side.values()]))) for side in (a, b)]
    person = tuple(np.split(codes.astype(np.int64), cuts))
    return Crossed(tuple(first), tuple(second), person, len(distinct), means[0], means[1])
