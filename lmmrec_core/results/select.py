"""Results → the frames that comparisons and tables are made of. Nothing is rounded here."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from lmmrec_core.errors import ResultError, unknown
from lmmrec_core.flow import Result
from lmmrec_core.results.store import CASE


def frame(results: Sequence[Result]) -> pd.DataFrame:
    """One row per case and seed: the fields of the case, the key, and the mean of every metric ("recall@20", ...).

    Metrics a run does not have are NaN in its row. Raises ResultError for results that must not be mixed
    (:func:`check_mix`) and for two results of the same case and seed.
    """
    check_mix(results)
    seen: dict[tuple[Any, ...], Result] = {}
    rows = []
    for result in results:
        other = seen.setdefault(tuple(result.case[name] for name in CASE), result)
        if other is not result:
            raise ResultError(
                f"two results of {_name(result)}: keys {_key(other)} and {_key(result)}, made with different settings; "
                "keep one of them in the selection"
            )
        rows.append({**{name: result.case[name] for name in CASE}, "key": _key(result), **means(result)})
    return pd.DataFrame(rows, columns=None if rows else [*CASE, "key"])


def means(result: Result) -> dict[str, float]:
    """Mean over users of each per-user metric, then the metrics of the whole run."""
    names = [name for name in result.per_user.columns if "@" in name]
    return {**{name: float(result.per_user[name].mean()) for name in names}, **result.overall}


def select(results: Iterable[Result], **fields: Any) -> list[Result]:
    """The results whose case has these values (or one of a list's). Raises ConfigError for an unknown field."""
    for name in fields:
        if name not in CASE:
            raise unknown("field", name, CASE, "results")
    allowed = {name: v if isinstance(v, list | tuple | set | frozenset) else (v,) for name, v in fields.items()}
    return [result for result in results if all(result.case[name] in values for name, values in allowed.items())]


def pooled_per_user(results: Sequence[Result], metric: str) -> tuple[pd.Series, pd.Series | None]:
    """One metric of one case over its seeds: user → mean over seeds, and user → person where users share one.

    Raises ResultError when the results are not the seeds of one case, a seed occurs twice, their splits or
    users differ, or one lacks the metric.
    """
    by_seed = per_seed(results, metric)
    pooled = pd.DataFrame(by_seed).mean(axis=1, skipna=False).rename(metric)
    first = results[0].per_user
    return pooled, first["group"].reindex(pooled.index) if "group" in first.columns else None


def per_seed(results: Sequence[Result], metric: str) -> dict[int, pd.Series]:
    """Seed → user → value of one metric, for the seeds of one case. Raises ResultError as :func:`pooled_per_user`."""
    if not results:
        raise ResultError("no result to average; run the case, or look at the selection")
    check_mix(results)
    first, by_seed = results[0], {}
    for result in results:
        if any(result.case[name] != first.case[name] for name in CASE if name != "seed"):
            raise ResultError(f"{_name(result)} and {_name(first)} are different cases; average seeds of one case only")
        seed = int(result.case["seed"])
        if seed in by_seed:
            raise ResultError(f"two results of {_name(result)}, one with key {_key(result)}; keep one in the selection")
        if metric not in result.per_user.columns:
            names = [name for name in result.per_user.columns if "@" in name]
            raise ResultError(f"{_name(result)} ({_key(result)}) {unknown('metric', metric, names)}")
        if len(result.per_user) != len(first.per_user) or not result.per_user.index.isin(first.per_user.index).all():
            raise ResultError(f"{_name(result)} and {_name(first)} are over different users; use the same split")
        by_seed[seed] = result.per_user[metric]
    return dict(sorted(by_seed.items()))


def paired_per_user(
    a: Sequence[Result], b: Sequence[Result], metric: str
) -> tuple[pd.Series, pd.Series, pd.Series | None, tuple[int, ...]]:
    """Two cases over the seeds that both have: values of a, values of b, user → person or None, those seeds.

    Raises ResultError without a common seed, when the two sides have different splits, or as :func:`pooled_per_user`.
    """
    check_mix([*a, *b])
    seeds = tuple(sorted({int(r.case["seed"]) for r in a} & {int(r.case["seed"]) for r in b}))
    if not seeds:
        sides = " and ".join(_name(side[0]) if side else "nothing" for side in (a, b))
        raise ResultError(f"{sides} have no seed in common; run both with the same seeds")
    values_a, groups = pooled_per_user([r for r in a if r.case["seed"] in seeds], metric)
    values_b, _ = pooled_per_user([r for r in b if r.case["seed"] in seeds], metric)
    return values_a, values_b, groups, seeds


def check_mix(results: Iterable[Result]) -> None:
    """Raise ResultError when results of one data set have different splits, or any have different schemas."""
    first: Result | None = None
    by_dataset: dict[tuple[Any, Any], Result] = {}
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


def _split(result: Result) -> Any:
    return (result.record.get("data") or {}).get("split")


def _key(result: Result) -> str:
    return str(result.record.get("key", "unsaved"))


def _name(result: Result) -> str:
    return " ".join(str(result.case[name]) for name in CASE if result.case[name] != "none")
