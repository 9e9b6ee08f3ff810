"""What each candidate test does where the truth is known: made users and seeds, as the tables' metrics behave.

A user's value is that of one held-out item: zero, unless it is among the first twenty. Persons own several users. A
seed moves a system's chance of a hit up or down, by a coefficient of variation that differs between cells; so does a
split, on which the users are the same and the held-out items others. Whatever is
claimed of a test (:mod:`lmmrec_core.significance.crossed`) is measured here, and the default was chosen by it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from lmmrec_core.flow import FloatArray
from lmmrec_core.seeds import numpy_stream
from lmmrec_core.significance.bootstrap import percentile_test, two_way_bootstrap
from lmmrec_core.significance.crossed import (
    DifferenceOfMeans,
    Noises,
    difference_estimate,
    means_variance,
    relative_interval,
    users_only,
)
from lmmrec_core.significance.seed_noise import CellNoise, SeedNoise, cell_noise, seed_noise
from lmmrec_core.significance.split_noise import split_noise
from lmmrec_core.significance.units import Crossed

STRICTER = 0.01, 0.001  # levels beside the 5 %
_DEPTH = 20
_GAIN = 1 / np.log2(np.arange(_DEPTH) + 2.0)  # NDCG of one held-out item at rank 1, 2, ...


@dataclass(frozen=True)
class World:
    """Settings of made data. ``effect`` is the true relative change of a against b."""

    persons: int = 400
    users_each: float = 3.0  # users of a person, on average (1 + a geometric number)
    level: float = 0.08  # chance of a hit, of b
    seeds: int = 3
    seeds_b: int | None = None  # None: as many as a
    seed_cv: float = 0.06  # typical coefficient of variation of that chance over seeds
    unlike: float = 0.5  # standard deviation over cells of the logarithm of that coefficient
    further: int = 6  # cells of the same model whose seeds (and splits) are known as well
    effect: float = 0.0
    splits: int = 1
    split_cv: float = 0.0  # coefficient of variation of the chance of a system over splits; needs several of them
    split_unlike: float = 0.0  # standard deviation over systems of the logarithm of that coefficient
    b_moves: float = 1.0  # how many times more than a splits move b
    rival: bool = False  # over splits: b is of another recommender, whose cells do not tell what splits do to a's


@dataclass(frozen=True)
class SeedNoises:
    """The noise of a model as it is learnt from its cells, and as if they varied alike; None where nothing tells."""

    moderated: SeedNoise | None
    alike: SeedNoise | None


@dataclass(frozen=True)
class Decided:
    """What one candidate says of one pair; ``relative`` is its interval of the relative change, if it has one."""

    p: float
    low: float
    high: float
    relative: tuple[float, float] | None = None


def made_pair(world: World, generator: np.random.Generator) -> tuple[Crossed, SeedNoises]:
    """One pair of systems, and what the cells of the model, theirs among them, say of its noise.

    A latent normal of each user, system and seed decides how deep the held-out item is ranked. A fifth of its variance
    is the person's, three tenths the user's on a split, a tenth the user's with this system, the rest the single run's.
    """
    each = generator.geometric(1 / world.users_each, world.persons)
    person = np.repeat(np.arange(world.persons), each)
    of_person = np.sqrt(0.2) * generator.standard_normal(world.persons)[person]
    effects = [world.effect, 0.0, *([0.0] * world.further if world.splits > 1 else [])]
    over_seeds = np.exp(world.unlike * generator.standard_normal(len(effects))) * world.seed_cv
    over_splits = np.exp(world.split_unlike * generator.standard_normal(len(effects))) * world.split_cv
    over_splits[1] *= world.b_moves
    seeds = [world.seeds_b or world.seeds if number == 1 else world.seeds for number in range(len(effects))]
    systems: list[list[FloatArray]] = [[] for _ in effects]
    for _ in range(world.splits):
        shared = of_person + np.sqrt(0.3) * generator.standard_normal(len(person))
        for number, (system, effect, spread) in enumerate(zip(systems, effects, over_seeds, strict=True)):
            latent = shared + np.sqrt(0.1) * generator.standard_normal(len(person))
            runs = latent[:, None] + np.sqrt(0.4) * generator.standard_normal((len(person), seeds[number]))
            moved = 1 + spread * generator.standard_normal(seeds[number])
            moved += over_splits[number] * generator.standard_normal()
            system.append(_ranked(runs, world.level * (1 + effect) * np.maximum(moved, 0.0)))
    a, b = systems[:2]
    means = [float(np.mean([values.mean() for values in side])) for side in (a, b)]
    pair = Crossed(tuple(a), tuple(b), (person,) * world.splits, world.persons, means[0], means[1])
    if world.splits > 1:
        telling = [system for number, system in enumerate(systems) if not (world.rival and number == 1)]
        noise = split_noise([[float(values.mean()) for values in system] for system in telling])
        return pair, SeedNoises(noise, None)
    noises = [cell_noise(values, person, world.persons) for values in (*a, *b)]
    residual = np.mean([noise.residual for noise in noises if noise is not None] or [0.0])
    cells = [*noises, *_further(world, float(residual), generator)]
    return pair, SeedNoises(seed_noise(cells), seed_noise(cells, alike=True))


def _ranked(latent: FloatArray, chance: FloatArray) -> FloatArray:
    """NDCG [user, seed] of the held-out item: a hit where the latent's quantile is below the ``chance`` [seed]."""
    place = special.ndtr(latent) / np.maximum(chance, 1e-12)
    ranks = np.minimum(place * _DEPTH, _DEPTH - 1).astype(np.int64)
    return np.where(place < 1, _GAIN[ranks], 0.0)


def _further(world: World, residual: float, generator: np.random.Generator) -> list[CellNoise | None]:
    """The other cells' squared coefficients of variation, as that many seeds would estimate them."""
    if world.seeds < 2:
        return []
    cv = np.exp(world.unlike * generator.standard_normal(world.further)) * world.seed_cv
    df = world.seeds - 1.0
    squared = (cv**2 + residual) * generator.chisquare(df, world.further) / df
    return [CellNoise(float(one), residual, df) for one in squared]


def _t_test(found: DifferenceOfMeans, relative: tuple[float, float] | None = None) -> Decided:
    return Decided(found.p, *found.interval(), relative)


def _crossed(pair: Crossed, noises: Noises) -> Decided:
    variance = means_variance(pair, noises)
    found = difference_estimate(pair, variance)
    return _t_test(found, relative_interval(pair, variance, found.df))


Candidate = Callable[[Crossed, SeedNoises, np.random.Generator], Decided]


def _own(pair: Crossed, noises: SeedNoises, generator: np.random.Generator) -> Decided:
    return _crossed(pair, (None, None))


def _moderated(pair: Crossed, noises: SeedNoises, generator: np.random.Generator) -> Decided:
    return _crossed(pair, (noises.moderated, noises.moderated))


def _pooled(pair: Crossed, noises: SeedNoises, generator: np.random.Generator) -> Decided:
    return _crossed(pair, (noises.alike, noises.alike))


def _bootstrap(pair: Crossed, noises: SeedNoises, generator: np.random.Generator) -> Decided:
    low, high, p = percentile_test(two_way_bootstrap(pair, generator))
    return Decided(p, low, high)


def _users_only(pair: Crossed, noises: SeedNoises, generator: np.random.Generator) -> Decided:
    return _t_test(users_only(pair))


#: Every candidate by name; "crossed, moderated" is what comparisons use.
CANDIDATES: Mapping[str, Candidate] = {
    "crossed, moderated": _moderated,
    "crossed, own seeds": _own,
    "crossed, pooled": _pooled,
    "two-way bootstrap": _bootstrap,
    "users only (seeds fixed)": _users_only,
}


def operating_characteristics(
    worlds: Iterable[World],
    repetitions: int = 1000,
    candidates: Iterable[str] = tuple(CANDIDATES),
    alpha: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """How often each candidate rejects, and how often its 95 % interval holds the truth.

    One row per world and candidate: the world's settings, ``candidate``, ``rejected`` (share of p below ``alpha``: the
    rate of false alarms without an effect, the power with one) and the same at 0.01 and 0.001 as ``rejected_0.01`` and
    ``rejected_0.001``, where Holm's first steps are, ``covered`` and ``covered_relative`` (of the difference
    and of the relative change; NaN for a candidate without the latter), ``width`` (median, relative to the true mean of
    b) and ``repetitions``. The standard error of a rate r is √(r (1 − r) / repetitions).
    """
    names = list(candidates)
    rows = []
    for number, world in enumerate(worlds):
        generator = numpy_stream(seed, f"simulation {number}")
        truth = world.level * float(_GAIN.mean())
        decided: dict[str, list[Decided]] = {name: [] for name in names}
        for _ in range(repetitions):
            pair, noises = made_pair(world, generator)
            for name in names:
                decided[name].append(CANDIDATES[name](pair, noises, generator))
        for name in names:
            rows.append({**vars(world), "candidate": name, **_rates(decided[name], world.effect, truth, alpha)})
    return pd.DataFrame(rows)


def _rates(decided: list[Decided], effect: float, truth: float, alpha: float) -> dict[str, float]:
    within = [one.low <= effect * truth <= one.high for one in decided]
    ratios = [one.relative for one in decided if one.relative is not None]
    return {
        "rejected": float(np.mean([one.p < alpha for one in decided])),
        **{f"rejected_{level:g}": float(np.mean([one.p < level for one in decided])) for level in STRICTER},
        "covered": float(np.mean(within)),
        "covered_relative": float(np.mean([low <= effect <= high for low, high in ratios])) if ratios else np.nan,
        "width": float(np.median([one.high - one.low for one in decided])) / truth,
        "repetitions": len(decided),
    }
