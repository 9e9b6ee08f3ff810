"""The results of one case → its values per user, by run or averaged over runs. Nothing is rounded here.

The runs of a case differ in their seed, and where it was run on several splits, in their split.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import pandas as pd

from lmmrec_core.errors import ResultError, unknown
from lmmrec_core.flow import Result
from lmmrec_core.results.store import CASE

_Cell = TypeVar("_Cell", bound=Hashable)
_Number = TypeVar("_Number", bound=Hashable)


def pooled_per_user(results: Sequence[Result], metric: str) -> tuple[pd.Series, pd.Series | None]:
    """One metric of one case over its seeds: user → mean over seeds, and user → person if users share one.

    Runs that do not count as trained are left out (:func:`per_seed`).

    Raises ResultError when the results are not the seeds of one case, a seed occurs twice, their splits or
    users differ, or one lacks the metric.
    """
    by_seed = per_seed(results, metric)
    pooled = pd.DataFrame(by_seed).mean(axis=1, skipna=False).rename(metric)
    first = results[0].per_user  # all runs of a case are over the same users
    return pooled, first["group"].reindex(pooled.index) if "group" in first.columns else None


def per_seed(results: Sequence[Result], metric: str) -> dict[int, pd.Series]:
    """As :func:`per_run`, of the runs on the data set's own split: seed → user → value."""
    return {seed: values for (split, seed), values in per_run(results, metric).items() if split == 0}


def per_run(results: Sequence[Result], metric: str) -> dict[tuple[int, int], pd.Series]:
    """(split, seed) → user → value of one metric, for the runs of one case that count (:attr:`Result.trained`).

    Raises ResultError as :func:`pooled_per_user`, and when no run counts.
    """
    if not results:
        raise ResultError("no result to average; run the case, or look at the selection")
    check_mix(results)
    counted = [result for result in results if result.trained]
    if not counted:
        raise ResultError(
            f"{_name(results[0])}: no run's kept state comes after the second update of its encoder, so none counts as "
            "trained; train longer, with more updates"
        )
    by_run: dict[tuple[int, int], pd.Series] = {}
    first_on: dict[int, Result] = {}  # split → a run, whose users all others there must have
    for result in counted:
        first = first_on.setdefault(result.number[0], result)
        if any(result.case.get(name) != counted[0].case.get(name) for name in CASE if name not in ("split", "seed")):
            raise ResultError(
                f"{_name(result)} and {_name(counted[0])} are different cases; average seeds of one case only"
            )
        if result.number in by_run:
            raise ResultError(f"two results of {_name(result)}, one with key {_key(result)}; keep one in the selection")
        try:
            values = result.values(metric)
        except KeyError:
            names = [name for name in result.per_user.columns if "@" in name]
            raise ResultError(f"{_name(result)} ({_key(result)}) {unknown('metric', metric, names)}") from None
        if len(result.per_user) != len(first.per_user) or not result.per_user.index.isin(first.per_user.index).all():
            raise ResultError(f"{_name(result)} and {_name(first)} are over different users; use the same split")
        by_run[result.number] = values
    return dict(sorted(by_run.items()))


def distinct(cells: Mapping[_Cell, Mapping[_Number, pd.Series]]) -> dict[_Cell, Mapping[_Number, pd.Series]]:
    """The cells (seed, or (split, seed), → user → value) less those whose runs equal, bit for bit, those
    of one before.

    Such cells were declared apart but did the same, for instance content of zeros from two encoders: as evidence of how
    runs vary they count once.
    """
    found: dict[tuple[tuple[_Number, bytes], ...], _Cell] = {}
    for name, by_seed in cells.items():
        found.setdefault(tuple((seed, values.to_numpy().tobytes()) for seed, values in by_seed.items()), name)
    return {name: cells[name] for name in found.values()}


def check_mix(results: Iterable[Result]) -> None:
    """Raise ResultError when results of one data set and split of its are not on one, or any have other schemas."""
    first: Result | None = None
    by_dataset: dict[tuple[str, str, int], Result] = {}
    for result in results:
        first = first or result
        if result.record.get("schema") != first.record.get("schema"):
            raise ResultError(
                f"{_key(first)} has schema {first.record.get('schema')}, {_key(result)} has "
                f"{result.record.get('schema')}; run the older one again"
            )
        place = result.case["track"], result.case["dataset"], result.number[0]
        other = by_dataset.setdefault(place, result)
        if _split(other) != _split(result):
            raise ResultError(
                f"{_name(other)} ({_key(other)}) is on split {_split(other)}, {_name(result)} ({_key(result)}) on "
                f"{_split(result)}; users and held-out items differ, so run them on the same split"
            )


def _split(result: Result) -> object:
    return (result.record.get("data") or {}).get("split")


def _key(result: Result) -> str:
    return str(result.record.get("key", "unsaved"))


def _name(result: Result) -> str:
    shown = [result.case.get(name, "none") for name in CASE]
    return " ".join(str(value) for value in shown if value != "none")
