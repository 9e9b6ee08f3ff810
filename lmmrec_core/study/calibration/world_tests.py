"""What the book's tests say on the stored worlds: each planned pair that a world ran, tested from its moments.

The test is that of every table (:mod:`lmmrec_core.significance.crossed`). On a data set of the study a model's spread
over seeds is learnt from about ten cells or more; a world has two or four. So worlds that differ by their seed alone
learn it together, in blocks of as many as have ten cells: the same model on data of the same size, under the same
settings. That ties the tests of a block a little; which worlds share a block does not depend on what has been run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from lmmrec_core.errors import ResultError
from lmmrec_core.questions import ALPHA, MARGIN, QUESTIONS, Pair, Variant
from lmmrec_core.significance.crossed import Noises
from lmmrec_core.significance.equivalence import equivalence_p
from lmmrec_core.significance.families import holm
from lmmrec_core.significance.moments import Moments, MomentsTest, RunRows
from lmmrec_core.significance.power import minimum_detectable_effect
from lmmrec_core.significance.seed_noise import SeedNoise, seed_noise
from lmmrec_core.study.calibration.files import Line
from lmmrec_core.study.calibration.worlds import DrawnWorld
from lmmrec_core.study.comparisons import planned_pairs

Known = Sequence[tuple[DrawnWorld, Line]]  # worlds with their stored lines
_COLUMNS = (
    "part", "kind", "content", "world", "block", "model", "metric", "pair", "question", "mean_a", "mean_b",
    "difference", "relative", "relative_low", "relative_high", "se", "df", "p", "ci_low", "ci_high", "p_users", "p_own",
    "p_holm", "equivalence_p", "mde", "n", "seeds",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Measured:
    """One model and metric on one world."""

    world: DrawnWorld
    moments: Moments
    rows: Mapping[Variant, RunRows]  # a variant's runs
    seeds: tuple[int, ...]  # of all runs


def worlds_tested(known: Known, metric: str = "ndcg@20") -> pd.DataFrame:
    """Every planned pair with both sides in its world, for each model: one row a test.

    Columns as in :func:`~lmmrec_core.study.comparisons.comparisons`, and part, kind, ``content`` (the planted effect),
    ``world`` (its seed), ``block``, and p by two other rules: ``p_users`` takes seeds as fixed, ``p_own`` knows only
    the pair's own seeds. ``p_holm``: within the family of the pair's question, with all that a world did not run as 1;
    NaN for a pair of no question.
    """
    rows = [row for block in _blocks(known) for row in _tests_of_block(block, metric)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def divisions_of(known: Known, metric: str = "ndcg@20") -> pd.DataFrame:
    """Of worlds with six runs a model: all ten divisions into three against three, each tested as the book would.

    Columns: world, block, model, ``matched`` (whether each side has every seed once, as the book's), ``planned``
    (whether it is the book's: content against shuffled), p.
    """
    rows = []
    for block in _blocks(known):
        for model, measured in _by_model(block, metric).items():
            noise = _noise(measured)
            for one in measured:
                rows += [{**_place(one, model, block), **row} for row in _divided(one, noise)]
    return pd.DataFrame(rows, columns=["world", "block", "model", "matched", "planned", "p"])


def seeds_against_seeds(known: Known, metric: str = "ndcg@20") -> pd.DataFrame:
    """Every pair of seeds of every cell (a variant of a model on a world), compared as if they were two systems.

    As :func:`~lmmrec_core.significance.against_itself.against_itself`: the spread over seeds is that of the block's
    *other* cells, and a cell with fewer than three of them is left out. Columns: world, block, model, ``cell`` (the
    variant), seed_a, seed_b, difference, p, ``p_users`` (with seeds taken as fixed).
    """
    rows = []
    for block in _blocks(known):
        for model, measured in _by_model(block, metric).items():
            cells = [(one, variant, runs) for one in measured for variant, runs in one.rows.items()]
            noises = [one.moments.cell_noise(runs) for one, _, runs in cells]
            for number, (one, variant, runs) in enumerate(cells):
                others = seed_noise([*noises[:number], *noises[number + 1 :]])
                if others is None:
                    continue
                for a, b in combinations(runs, 2):
                    test = one.moments.between([a], [b], (others, others))
                    found = {"difference": test.crossed.difference, "p": test.crossed.p, "p_users": test.users_only.p}
                    pair = {"cell": variant.label, "seed_a": one.seeds[a], "seed_b": one.seeds[b]}
                    rows.append({**_place(one, model, block), **pair, **found})
    columns = ["world", "block", "model", "cell", "seed_a", "seed_b", "difference", "p", "p_users"]
    return pd.DataFrame(rows, columns=columns)


def _divided(one: _Measured, noise: SeedNoise | None) -> list[dict[str, Any]]:
    runs = [row for rows in one.rows.values() for row in rows]
    if len(runs) != 6 or len(one.rows) != 2:
        raise ResultError(f"world {one.world.name}: {len(runs)} runs a model; divisions need two times three")
    planned, found = tuple(next(iter(one.rows.values()))), []
    for side in combinations(runs, 3):
        if runs[0] not in side:  # the other half of a division that was met already
            continue
        rest = [run for run in runs if run not in side]
        test = one.moments.between(side, rest, (noise, noise))
        matched = len({run % 3 for run in side}) == 3  # runs are ordered by variant, then seed
        found.append({"matched": matched, "planned": side == planned, "p": test.crossed.p})
    return found


def _blocks(known: Known) -> list[Known]:
    """Worlds by group and block of neighbouring seeds; a block that is not whole yet has fewer."""
    blocks: dict[tuple[Any, int], list[tuple[DrawnWorld, Line]]] = {}
    for world, line in known:
        group = world.group
        blocks.setdefault((group, (world.seed - group.first) // group.block), []).append((world, line))
    return list(blocks.values())


def _by_model(block: Known, metric: str) -> dict[str, list[_Measured]]:
    found: dict[str, list[_Measured]] = {}
    for world, line in block:
        for model, stored in line["models"].items():
            found.setdefault(model, []).append(_measured(world, stored, metric))
    return found


def _measured(world: DrawnWorld, stored: Mapping[str, Any], metric: str) -> _Measured:
    kept = stored["metrics"][metric]
    size = len(kept["means"])
    products = np.zeros((size, size))
    for row, values in enumerate(kept["products"]):
        products[row, : row + 1] = products[: row + 1, row] = values
    moments = Moments(np.asarray(kept["means"]), products, stored["users"], stored["persons"])
    rows: dict[Variant, list[int]] = {}
    for place, run in enumerate(stored["runs"]):
        like = next(v for v in world.group.variants if (v.modalities, v.control) == (run["modalities"], run["control"]))
        rows.setdefault(like, []).append(place)
    return _Measured(world, moments, rows, tuple(int(run["seed"]) for run in stored["runs"]))


def _noise(measured: Iterable[_Measured]) -> SeedNoise | None:
    return seed_noise(one.moments.cell_noise(rows) for one in measured for rows in one.rows.values())


def _tests_of_block(block: Known, metric: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for model, measured in _by_model(block, metric).items():
        noise = _noise(measured)
        for one in measured:
            for question, pair in _pairs(one.world):
                sides = one.rows.get(pair.a, ()), one.rows.get(pair.b, ())
                if all(sides):
                    place = {**_place(one, model, block), "metric": metric, "question": question, "pair": pair}
                    found.append({**place, **_tested(one.moments, *sides, (noise, noise))})
    for world in {row["world"] for row in found}:
        for question in QUESTIONS:
            family = [row for row in found if (row["world"], row["question"]) == (world, question)]
            size = len(planned_pairs(question))
            adjusted = holm([*(row["p"] for row in family), *[1.0] * (size - len(family))])
            for row, value in zip(family, adjusted, strict=False):
                row["p_holm"] = float(value)
    return found


def _pairs(world: DrawnWorld) -> list[tuple[str, Pair]]:
    """(question, pair) of all planned pairs between the variants of a world, and its further pairs of no question."""
    known = set(world.group.variants)
    further = [("", pair) for pair in world.group.further]
    return further + [
        (name, pair)
        for name, question in QUESTIONS.items()
        for pair in question.planned
        if not pair.rival and {pair.a, pair.b} <= known
    ]


def _place(one: _Measured, model: str, block: Known) -> dict[str, Any]:
    group = one.world.group
    named = {"part": group.part, "kind": group.kind, "content": group.content}
    return {**named, "world": one.world.seed, "block": block[0][0].seed, "model": model}


def _tested(moments: Moments, a: RunRows, b: RunRows, noise: Noises) -> dict[str, Any]:
    test: MomentsTest = moments.between(a, b, noise)
    found, own = test.crossed, moments.between(a, b).crossed
    low, high = found.interval()
    relative = test.relative() or (-np.inf, np.inf)
    reference = abs(test.mean_b)
    return {
        "mean_a": test.mean_a, "mean_b": test.mean_b, "difference": found.difference,
        "relative": found.difference / reference if reference else np.nan,
        "relative_low": relative[0], "relative_high": relative[1], "se": found.se, "df": found.df, "p": found.p,
        "ci_low": low, "ci_high": high, "p_users": test.users_only.p, "p_own": own.p,
        "equivalence_p": equivalence_p(found.difference, found.se, found.df, MARGIN * reference) if reference else 1.0,
        "mde": minimum_detectable_effect(found.se, found.df, reference, ALPHA), "n": moments.users,
        "seeds": min(len(a), len(b)),
    }  # fmt: skip
