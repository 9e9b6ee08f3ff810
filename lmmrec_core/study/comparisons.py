"""The planned comparisons of each research question, and the family each belongs to.

A family is all planned pairs of one question, one data set and one metric (question 64); Holm-Bonferroni
runs within it. A planned pair that was not run counts as not significant, so a family keeps its size and a
star cannot appear because something was left out. The unit is the user, on metrics averaged over seeds;
users that stand for one person are averaged.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from lmmrec_core.flow import Result
from lmmrec_core.names import FLOOR_MODELS, PAPER_MODELS
from lmmrec_core.results.select import per_seed, pooled_per_user
from lmmrec_core.significance.families import Family, Planned, compare_family

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
Cell = dict[str, str]
COLUMNS = (
    "dataset", "model", "metric", "pair", "a", "b", "mean_a", "mean_b", "difference", "relative", "ci_low", "ci_high",
    "p", "p_holm", "effect", "n", "spread", "wins", "losses", "family",
)  # fmt: skip
_TESTED = (
    "mean_a", "mean_b", "difference", "relative", "ci_low", "ci_high", "p", "effect", "n", "spread", "wins", "losses",
)  # fmt: skip


def _cell(
    model: str, encoder: str = "none", paradigm: str = "none", modalities: str = "none", control: str = "none"
) -> Cell:
    return {"model": model, "encoder": encoder, "paradigm": paradigm, "modalities": modalities, "control": control}


def planned_pairs(question: str) -> tuple[tuple[str, str, Cell, Cell], ...]:
    """(pair, model, a, b) for one data set: is ``a`` better than ``b``?

    ``pair`` names the comparison the same way for every model, for instance "V&T - V".
    """
    pairs: list[tuple[str, str, Cell, Cell]] = []
    for model in PAPER_MODELS:
        base = _cell(model, "baseline", modalities="V&T")
        if question == "motivation":
            pairs += [(f"V&T - {m}", model, base, _cell(model, "baseline", modalities=m)) for m in ("V", "T")]
        if question == "rq1":
            pairs += [("baseline - LightGCN", model, base, _cell("lightgcn"))]
            pairs += [(f"{e} PT - baseline", model, _cell(model, e, "PT", "V&T"), base) for e in ("clip", "vlmo")]
        if question == "rq2":
            for encoder in ("clip", "vlmo"):
                pt, ft, ete = (_cell(model, encoder, paradigm, "V&T") for paradigm in ("PT", "FT", "ETE"))
                pairs += [
                    (f"{encoder} FT - PT", model, ft, pt),
                    (f"{encoder} ETE - FT", model, ete, ft),
                    (f"{encoder} ETE - baseline", model, ete, base),
                ]
        if question == "rq3":
            pairs += [
                (f"content - {control}", model, base, {**base, "control": control})
                for control in ("shuffled", "noise", "zero")
            ]
            pairs += [(f"baseline V&T - {m}", model, base, {**base, "modalities": m}) for m in ("V", "T")]
            ete = _cell(model, "clip", "ETE", "V&T")
            pairs += [(f"clip ETE V&T - {m}", model, ete, {**ete, "modalities": m}) for m in ("V", "T")]
    return tuple(pairs)


def comparisons(
    question: str, results: Sequence[Result], datasets: Iterable[str], metrics: Sequence[str] = METRICS
) -> pd.DataFrame:
    """The planned pairs whose two sides were measured, one row per data set, pair and metric.

    ``relative`` is None where the mean of b is 0; ``p_holm`` is adjusted within the whole planned family,
    which ``family`` states.
    """
    by_cell: dict[tuple[str, tuple[Any, ...]], list[Result]] = {}
    for result in results:
        by_cell.setdefault((result.case["dataset"], _key(result.case)), []).append(result)
    rows = []
    for dataset in datasets:
        for metric in metrics:
            rows += _family(question, dataset, metric, by_cell)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _key(cell: Any) -> tuple[Any, ...]:
    return tuple(cell[name] for name in ("model", "encoder", "paradigm", "modalities", "control"))


def _family(question: str, dataset: str, metric: str, by_cell: Any) -> list[dict[str, Any]]:
    pairs = planned_pairs(question)
    cells = {_label(cell): by_cell.get((dataset, _key(cell))) for pair in pairs for cell in pair[2:]}
    systems = {label: per_seed(results, metric) for label, results in cells.items() if results}
    if not systems:
        return []
    groups = pooled_per_user(next(results for results in cells.values() if results), metric)[1]
    family = Family(
        f"{question}, {dataset}, {metric}",
        f"{len(pairs)} planned pairs of {question} on {dataset}, {metric}",
        tuple(Planned(f"{model}: {pair}", _label(a), _label(b)) for pair, model, a, b in pairs),
    )
    rows = []
    for (pair, model, _, _), member in zip(
        pairs, compare_family(family, systems, groups, allow_missing=True), strict=True
    ):
        if member.comparison is not None:
            tested = {name: getattr(member.comparison, name) for name in _TESTED}
            place = {"dataset": dataset, "model": model, "metric": metric, "pair": pair}
            sides = {"a": member.planned.a, "b": member.planned.b}
            rows.append({**place, **sides, **tested, "p_holm": member.p_adjusted, "family": family.description})
    return rows


def _label(cell: Cell) -> str:
    parts = [cell["model"]]
    if cell["model"] not in FLOOR_MODELS:
        parts += [cell[name] for name in ("encoder", "paradigm", "modalities", "control") if cell[name] != "none"]
    return " ".join(parts)
