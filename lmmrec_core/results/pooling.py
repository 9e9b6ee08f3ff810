"""The results of one case → its values per user, by seed or averaged over seeds. Nothing is rounded here."""

from collections.abc import Iterable, Sequence

import pandas as pd

from lmmrec_core.errors import ResultError, unknown
from lmmrec_core.flow import Result
from lmmrec_core.results.store import CASE


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
    """Seed → user → value of one metric, for the seeds of one case whose runs count (:attr:`Result.trained`).

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
    first, by_seed = counted[0], {}
    for result in counted:
        if any(result.case.get(name) != first.case.get(name) for name in CASE if name != "seed"):
            raise ResultError(f"{_name(result)} and {_name(first)} are different cases; average seeds of one case only")
        seed = int(result.case["seed"])
        if seed in by_seed:
            raise ResultError(f"two results of {_name(result)}, one with key {_key(result)}; keep one in the selection")
        try:
            values = result.values(metric)
        except KeyError:
            names = [name for name in result.per_user.columns if "@" in name]
            raise ResultError(f"{_name(result)} ({_key(result)}) {unknown('metric', metric, names)}") from None
        if len(result.per_user) != len(first.per_user) or not result.per_user.index.isin(first.per_user.index).all():
            raise ResultError(f"{_name(result)} and {_name(first)} are over different users; use the same split")
        by_seed[seed] = values
    return dict(sorted(by_seed.items()))


def check_mix(results: Iterable[Result]) -> None:
    """Raise ResultError when results of one data set have different splits, or any have different schemas."""
    first: Result | None = None
    by_dataset: dict[tuple[str, str], Result] = {}
    for result in results:
        first = first or result
        if result.record.get("schema") != first.record.get("schema"):
            raise ResultError(
                f"{_key(first)} has schema {first.record.get('schema')}, {_key(result)} has "
                f"{result.record.get('schema')}; run the older one again"
            )
        other = by_dataset.setdefault((result.case["track"], result.case["dataset"]), result)
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
