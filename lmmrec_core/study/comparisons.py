"""The planned comparisons of a research question, tested, with the family each belongs to.

A family is all planned pairs (:mod:`lmmrec_core.questions`) of one question, one data set and one metric, over the
paper's five models; Holm-Bonferroni runs within it. A planned pair that was not run counts as not significant: a family
keeps its size, and no star appears because something was left out. The unit is the user, on metrics averaged over
seeds; users that stand for one person are averaged.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from lmmrec_core.flow import Result
from lmmrec_core.names import PAPER_METRICS, PAPER_MODELS
from lmmrec_core.questions import Pair, Variant, question_of
from lmmrec_core.results.pooling import per_seed, pooled_per_user
from lmmrec_core.significance.families import Family, Planned, compare_family

_TESTED = (
    "mean_a", "mean_b", "difference", "relative", "ci_low", "ci_high", "p", "effect", "n", "spread", "wins", "losses",
)  # fmt: skip
_COLUMNS = ("dataset", "model", "metric", "pair", *_TESTED, "p_holm", "family")
_Side = tuple[str, Variant]  # a recommender, and a variant of it


def planned_pairs(question: str) -> tuple[tuple[str, Pair], ...]:
    """(recommender, pair) of one family. Raises ConfigError for an unknown question."""
    return tuple((model, pair) for model in PAPER_MODELS for pair in question_of(question).planned)


def comparisons(
    question: str, results: Sequence[Result], datasets: Iterable[str], metrics: Sequence[str] = PAPER_METRICS
) -> pd.DataFrame:
    """The planned pairs of a question whose two sides were measured, one row per data set, pair and metric.

    Columns: dataset, model, metric; ``pair`` (a :class:`~lmmrec_core.questions.Pair`, which prints as its label);
    mean_a, mean_b, difference (a − b), relative (None where the mean of b is 0), its interval, p, effect size, units,
    spread over seeds, wins and losses; ``p_holm``, adjusted within the whole planned family, and ``family``, which
    states its size. Raises ConfigError for an unknown question, ResultError for results that must not be compared.
    """
    by_side: dict[tuple[str, _Side], list[Result]] = {}
    for result in (result for result in results if result.trained):
        side = str(result.case["model"]), Variant.of(result.case)
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
        tuple(Planned(f"{model}: {pair}", *map(_name, pair.sides(model))) for model, pair in pairs),
    )
    systems = {_name(side): per_seed(measured[side], metric) for side in sides}
    groups = pooled_per_user(measured[sides[0]], metric)[1]
    rows = []
    for (model, pair), member in zip(pairs, compare_family(family, systems, groups, allow_missing=True), strict=True):
        if member.comparison is not None:
            place = {"dataset": dataset, "model": model, "metric": metric, "pair": pair}
            tested = {name: getattr(member.comparison, name) for name in _TESTED}
            rows.append({**place, **tested, "p_holm": member.p_adjusted, "family": family.description})
    return rows


def _name(side: _Side) -> str:
    model, variant = side
    return f"{model} {variant.label}"
