"""Planned comparisons as a stated family, and Holm–Bonferroni within it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import FloatArray
from lmmrec_core.significance.comparison import Comparison, compare_pair
from lmmrec_core.significance.seed_noise import SeedNoise
from lmmrec_core.significance.units import ByReplicate, BySplitAndSeed, Runs, crossed, on_common_splits, runs_of


@dataclass(frozen=True)
class Planned:
    """One comparison fixed beforehand: is ``a`` different from ``b``, the reference?"""

    name: str
    a: str
    b: str


@dataclass(frozen=True)
class Family:
    """Comparisons that are corrected together, with the sentence a caption prints."""

    name: str
    description: str  # for instance "PT against baseline, five models and two encoders, Sports, Recall@20"
    planned: tuple[Planned, ...]

    def __post_init__(self) -> None:
        names = [member.name for member in self.planned]
        if not names:
            raise ResultError(f"family {self.name!r} plans no comparison; state at least one")
        if twice := {name for name in names if names.count(name) > 1}:
            raise ResultError(f"family {self.name!r} plans {sorted(twice)} twice; each comparison counts once")


@dataclass(frozen=True)
class Tested:
    """A planned comparison with its outcome; ``comparison`` is None if a side was not run, and p is 1 then."""

    planned: Planned
    comparison: Comparison | None
    p_adjusted: float


def holm(p_values: Sequence[float]) -> FloatArray:
    """Holm–Bonferroni adjusted p-values [comparison], in the given order; an empty array for an empty family.

    Raises ResultError for a value outside 0..1 or NaN.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.size == 0:
        return p
    if not ((p >= 0) & (p <= 1)).all():
        raise ResultError(f"p-values {p[~((p >= 0) & (p <= 1))].tolist()} are not within 0..1; test again")
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    # statsmodels' multipletests does the same, but collects garbage at each call: half of the time of a page's tests
    adjusted[order] = np.minimum(np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]), 1.0)
    return adjusted


def compare_family(
    family: Family,
    systems: Mapping[str, ByReplicate],
    groups: pd.Series | None = None,
    noise: Mapping[str, SeedNoise | None] | None = None,
    allow_missing: bool = False,
) -> tuple[Tested, ...]:
    """Test every planned comparison and adjust within the family, in the order planned.

    ``systems``: name → seed, or (split, seed) → per-user values; two are compared on the splits that both have.
    ``noise``: name → how its model varies over seeds, if known. The family
    keeps its planned size: with ``allow_missing`` a comparison whose side was not run counts as p = 1, so the others
    are corrected as if all had been tested.

    Raises ResultError for a missing side (unless allowed) and as :func:`~lmmrec_core.significance.comparison.compare`.
    """
    noise = noise or {}
    read: dict[tuple[str, frozenset[tuple[int, int]]], dict[int, Runs]] = {}

    def runs(name: str, values: BySplitAndSeed) -> dict[int, Runs]:
        place = name, frozenset(values)
        if place not in read:
            read[place] = runs_of(name, values)
        return read[place]

    compared: list[Comparison | None] = []
    for member in family.planned:
        absent = [side for side in (member.a, member.b) if side not in systems]
        if absent and not allow_missing:
            raise ResultError(
                f"family {family.name!r}, {member.name!r}: no results of {', '.join(absent)}; run them, or pass "
                "allow_missing=True to count the comparison as not significant"
            )
        if absent:
            compared.append(None)
            continue
        a, b = on_common_splits(systems[member.a], systems[member.b])
        pair = crossed(runs(member.a, a), runs(member.b, b), groups)
        compared.append(compare_pair(pair, (noise.get(member.a), noise.get(member.b))))
    adjusted = holm([1.0 if one is None else one.p for one in compared])
    return tuple(Tested(*outcome) for outcome in zip(family.planned, compared, map(float, adjusted), strict=True))
