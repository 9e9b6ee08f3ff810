"""The planned comparisons of a research question, tested, with the family each belongs to.

A family is all planned pairs (:mod:`lmmrec_core.questions`) of one question, one data set and one metric, over the
paper's five models; Holm-Bonferroni runs within it. A planned pair that was not run counts as not significant: a family
keeps its size, and no star appears because something was left out. What is compared are the means that the tables show,
over users and over seeds; both are random, and users that stand for one person are one cluster
(:mod:`lmmrec_core.significance.crossed`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from lmmrec_core.flow import Result, common_splits, on_splits
from lmmrec_core.names import PAPER_METRICS, PAPER_MODELS
from lmmrec_core.questions import ALPHA, MARGIN, Pair, Variant, question_of
from lmmrec_core.results.pooling import distinct, per_run, per_seed, pooled_per_user
from lmmrec_core.significance.comparison import Comparison
from lmmrec_core.significance.equivalence import equivalence_p
from lmmrec_core.significance.families import Family, Planned, compare_family
from lmmrec_core.significance.power import minimum_detectable_effect
from lmmrec_core.significance.seed_noise import SeedNoise, noise_of, seed_noise
from lmmrec_core.significance.split_noise import means_by_split, split_noise
from lmmrec_core.significance.units import BySplitAndSeed

_TESTED = (
    "mean_a", "mean_b", "difference", "relative", "relative_low", "relative_high", "ci_low", "ci_high", "se", "df", "p",
    "effect", "n", "persons", "splits", "seeds", "spread", "wins", "losses", "ties", "share_gained", "testable",
)  # fmt: skip
_FURTHER = ("p_holm", "mde", "mde_holm", "equivalence_p", "family", "family_size")
_COLUMNS = ("dataset", "model", "metric", "pair", *_TESTED, *_FURTHER)
_Side = tuple[str, Variant]  # a recommender, and a variant of it


def planned_pairs(question: str) -> tuple[tuple[str, Pair], ...]:
    """(recommender, pair) of one family. Raises ConfigError for an unknown question."""
    return tuple((model, pair) for model in PAPER_MODELS for pair in question_of(question).planned)


def comparisons(
    question: str, results: Sequence[Result], datasets: Iterable[str], metrics: Sequence[str] = PAPER_METRICS
) -> pd.DataFrame:
    """The planned pairs of a question whose two sides were measured, one row per data set, pair and metric.

    dataset, model, metric, ``pair`` (a :class:`~lmmrec_core.questions.Pair`, which prints as its label)
        What was compared.
    mean_a, mean_b, difference, relative
        The tables' cells, their difference a − b and a / b − 1 (None where the mean of b is 0), over the splits that
        all sides of the question's pairs of the recommender have.
    se, df, p, ci_low, ci_high, relative_low, relative_high
        The crossed test of users and seeds, with its 95 % intervals.
    p_holm, family, family_size
        p adjusted within all that is planned, measured or not; what the family is, and its number of pairs.
    equivalence_p
        That the true difference is within ±``MARGIN`` of the mean of b; not adjusted.
    mde, mde_holm
        Relative change that would be found with probability 0.8, unadjusted and at Holm's first step.
    n, persons, splits, seeds, spread, effect, wins, losses, ties, share_gained
        Users (of one split) and the persons behind them, splits, runs on a split of the side that has fewer, deviation
        over seeds, d_z over users, how many users either side serves better, and the share of a's among them.
    testable
        False where a side has one seed and nothing tells how seeds vary: then p is 1 and the interval has no end.

    Raises ConfigError for an unknown question, ResultError for results that must not be compared.
    """
    by_side: dict[tuple[str, _Side], list[Result]] = {}
    for result in (result for result in results if result.trained):
        side = str(result.case["model"]), Variant.of(result.case)
        if not question_of(question).reads(side[1]):
            continue  # so that a pair has one p-value, whatever else was read along with the question's results
        by_side.setdefault((str(result.case["dataset"]), side), []).append(result)
    rows = []
    for dataset in datasets:
        measured = {side: found for (name, side), found in by_side.items() if name == dataset}
        for metric in metrics:
            rows += _family(question, dataset, metric, measured)
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _family(
    question: str, dataset: str, metric: str, measured: Mapping[_Side, Sequence[Result]]
) -> list[dict[str, Any]]:
    pairs = planned_pairs(question)
    sides = list(dict.fromkeys(side for model, pair in pairs for side in pair.sides(model) if side in measured))
    if not sides:
        return []
    family = Family(
        f"{question}, {dataset}, {metric}",
        f"{len(pairs)} planned pairs of {question} on {dataset}, {metric}",
        tuple(Planned(f"{model}: {pair}", *_sides(model, pair, measured)) for model, pair in pairs),
    )
    runs = {side: per_run(measured[side], metric) for side in sides}
    groups = pooled_per_user(measured[sides[0]], metric)[1]
    of_model = model_noise((model for model, _ in sides), measured, metric, groups)
    systems: dict[str, BySplitAndSeed] = {}
    noise: dict[str, SeedNoise | None] = {}
    for model in dict.fromkeys(model for model, _ in pairs):
        own, several = _on_its_splits(question, model, runs)
        cells = distinct({side: own[side] for side in own if side[0] == model}) if several else {}
        over_splits = split_noise(means_by_split(own[side]) for side in cells)
        for side, found in own.items():
            systems[_name(model, side)] = found
            noise[_name(model, side)] = over_splits if several else of_model[side[0]]
    rows = []
    tested = compare_family(family, systems, groups, noise, allow_missing=True)
    for (model, pair), member in zip(pairs, tested, strict=True):
        if member.comparison is not None:
            place = {"dataset": dataset, "model": model, "metric": metric, "pair": pair}
            values = {name: getattr(member.comparison, name) for name in _TESTED}
            whole = {"p_holm": member.p_adjusted, "family": family.description, "family_size": len(pairs)}
            rows.append({**place, **values, **_decided(member.comparison, len(pairs)), **whole})
    return rows


def model_noise(
    models: Iterable[str], measured: Mapping[_Side, Sequence[Result]], metric: str, groups: pd.Series | None
) -> dict[str, SeedNoise | None]:
    """Recommender → how it varies over seeds, learnt from all its measured cells (each a recommender and a variant).

    Cells that have the same runs, such as an arm that changes nothing, tell no more than one of them.
    """
    of_model: dict[str, SeedNoise | None] = {}
    for model in dict.fromkeys(models):
        own = [[r for r in found if not r.shared] for (name, _), found in measured.items() if name == model]
        cells = distinct({number: per_seed(found, metric) for number, found in enumerate(own) if found})
        of_model[model] = seed_noise(noise_of(cell, groups) for cell in cells.values())
    return of_model


def _on_its_splits(
    question: str, model: str, runs: Mapping[_Side, BySplitAndSeed]
) -> tuple[dict[_Side, BySplitAndSeed], bool]:
    """What the pairs of a recommender compare, and whether it is over several splits.

    As the tables (:func:`~lmmrec_core.report.layout.fill_measured`): on the splits that all of it has, else on the data
    set's own, and of each side the seeds that it has on all of these. A side without any is not measured yet.
    """
    own = {side: runs[side] for side in question_of(question).sides(model) if side in runs}
    splits = common_splits(own.values())
    kept = {side: on_splits(found, splits) for side, found in own.items()}
    return {side: found for side, found in kept.items() if found}, len(splits) > 1


def _sides(model: str, pair: Pair, measured: Mapping[_Side, Sequence[Result]]) -> tuple[str, str]:
    """Names of the sides of a pair. Where both are the same runs (an arm that changes nothing) nothing is compared."""
    sides = pair.sides(model)
    a, b = (_name(model, side) for side in sides)
    runs = [{str(result.record.get("key")) for result in measured.get(side, ())} for side in sides]
    shared = any(result.shared for side in sides for result in measured.get(side, ()))
    return (a, f"{b}, the same runs") if shared and runs[0] & runs[1] else (a, b)


def _decided(comparison: Comparison, tests: int) -> dict[str, float]:
    """What follows from difference, standard error and degrees of freedom."""
    difference, se, df, reference = comparison.difference, comparison.se, comparison.df, abs(comparison.mean_b)
    return {
        "mde": minimum_detectable_effect(se, df, reference, ALPHA),
        "mde_holm": minimum_detectable_effect(se, df, reference, ALPHA, tests),
        "equivalence_p": equivalence_p(difference, se, df, MARGIN * reference) if reference else 1.0,
    }


def _name(model: str, side: _Side) -> str:
    """A side as one that ``model`` is compared on: another's may be over other splits."""
    return f"{model}: {side[0]} {side[1].label}"
