"""Relations that Recall and NDCG of one ranking must keep, at any two cutoffs, whatever the data.

A hit at rank r adds 1/n to the Recall of a user with n held-out items, and 1 / (log2(r + 1) · IDCG) to the NDCG, with
IDCG at most n. Hence, for each user and so for the mean over users, with cutoffs a < b:

* Recall does not fall from a to b, and NDCG@b is at least Recall@b / log2(b + 1), for every n.
* NDCG grows by at least Recall's growth / log2(b + 1), if no user has more than a held-out items. (Beyond that the IDCG
  grows too and NDCG may fall.)
* With one held-out item per user NDCG is at most Recall, and grows by at most Recall's growth / log2(a + 2).

Recall is hits / n, and the IDCG that of all held-out items within the cutoff; other definitions need not keep these.
Printed numbers are rounded, so every relation is broken only when no numbers that round to the printed ones keep it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import log2

from lmmrec_core.errors import unknown
from lmmrec_core.names import HELD_OUT

GROWING = ("recall", "hit", "mrr")  # never fall with the cutoff; NDCG neither while users have few held-out items
_EPSILON = 1e-12


@dataclass(frozen=True)
class PrintedValue:
    """A printed number and half a unit of its last digit: the true value is within ``half`` of ``value``."""

    value: float
    half: float

    @classmethod
    def parse(cls, text: str) -> "PrintedValue":
        """``"0.0310"`` → 0.031 ± 0.00005. Raises ValueError for what is no number."""
        digits = text.partition(".")[2]
        return cls(float(text), 0.5 * 10.0 ** -len(digits))


def slope_limits(low: int, high: int) -> tuple[float, float]:
    """Least and greatest growth of NDCG per growth of Recall between two cutoffs: hits at rank ``high``, ``low + 1``.

    (0.2277, 0.2789) for 10 and 20. The greatest is one of users with one held-out item only.
    """
    return 1 / log2(high + 1), 1 / log2(low + 2)


def broken_relations(row: Mapping[tuple[str, int], PrintedValue], held_out: str = "few") -> list[str]:
    """What the numbers of one system on one data set break, in words; empty if one ranking can give them.

    ``row`` maps (metric, cutoff) to the printed number. ``held_out`` says how many held-out items a user may have:
    "one"; "few", at most as many as the smaller of two cutoffs; "any". Raises ConfigError for another word.
    """
    if held_out not in HELD_OUT:
        raise unknown("number of held-out items", held_out, HELD_OUT)
    return [*_falls(row, held_out), *_levels(row, held_out), *_growths(row, held_out)]


def _falls(row: Mapping[tuple[str, int], PrintedValue], held_out: str) -> Iterator[str]:
    for metric in (*GROWING, *(["ndcg"] if held_out != "any" else [])):
        cutoffs = sorted(k for name, k in row if name == metric)
        for low, high in pairwise(cutoffs):
            a, b = row[metric, low], row[metric, high]
            # numbers of equal precision keep their order when they are rounded
            slack = 0.0 if a.half == b.half else a.half + b.half
            if b.value < a.value - slack - _EPSILON:
                yield f"{_title(metric, high)} {b.value:g} is below {_title(metric, low)} {a.value:g}"


def _levels(row: Mapping[tuple[str, int], PrintedValue], held_out: str) -> Iterator[str]:
    for k in sorted(k for name, k in row if name == "ndcg" and ("recall", k) in row):
        recall, ndcg = row["recall", k], row["ndcg", k]
        if ndcg.value + ndcg.half < (recall.value - recall.half) / log2(k + 1) - _EPSILON:
            yield (
                f"{_title('ndcg', k)} {ndcg.value:g} is below {_title('recall', k)} {recall.value:g} / log2({k + 1}): "
                f"less than if every hit were at rank {k}"
            )
        if held_out == "one" and ndcg.value - ndcg.half > recall.value + recall.half + _EPSILON:
            yield (
                f"{_title('ndcg', k)} {ndcg.value:g} is above {_title('recall', k)} {recall.value:g}: "
                "more than if every hit were at rank 1"
            )


def _growths(row: Mapping[tuple[str, int], PrintedValue], held_out: str) -> Iterator[str]:
    cutoffs = sorted(k for name, k in row if name == "ndcg" and ("recall", k) in row)
    for low, high in pairwise(cutoffs):
        (recall, recall_slack), (ndcg, ndcg_slack) = (
            (row[name, high].value - row[name, low].value, row[name, high].half + row[name, low].half)
            for name in ("recall", "ndcg")
        )
        floor, ceiling = slope_limits(low, high)
        growth = f"from {low} to {high} NDCG grows by {ndcg:.6g}, Recall by {recall:.6g}"
        if held_out != "any" and ndcg + ndcg_slack < floor * (recall - recall_slack) - _EPSILON:
            yield f"{growth}: less than if every new hit were at rank {high} (×{floor:.4f})"
        if held_out == "one" and ndcg - ndcg_slack > ceiling * (recall + recall_slack) + _EPSILON:
            yield f"{growth}: more than if every new hit were at rank {low + 1} (×{ceiling:.4f})"


def _title(metric: str, k: int) -> str:
    return f"{ {'ndcg': 'NDCG', 'mrr': 'MRR'}.get(metric, metric.capitalize()) }@{k}"
