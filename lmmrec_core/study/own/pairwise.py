"""Two stored results, or two systems of several seeds each, on one split: what differs, and how sure that is."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import Result
from lmmrec_core.home import named_path
from lmmrec_core.names import SEEDLESS_MODELS
from lmmrec_core.results.store import ResultStore
from lmmrec_core.significance.comparison import Comparison, compare, compare_trained

_COLUMNS = (
    "mean_a", "mean_b", "difference", "ci_low", "ci_high", "p", "wins", "losses", "ties", "share_gained", "n",
    "persons", "seeds",
)  # fmt: skip


def find_results(store: ResultStore, asked: str) -> list[Result]:
    """The results that one side names: keys or run folders, several with commas, all of one system.

    Raises ConfigError for a key that is not there, and for runs that differ in more than their seed.
    """
    found = [_find(store, name) for name in asked.split(",") if name.strip()]
    if not found:
        raise ConfigError(f"{asked!r} names no result; give the key of a run, or its folder")
    for other in found[1:]:
        _check_one_system(found[0], other, asked)
    return found


def _find(store: ResultStore, name: str) -> Result:
    path = named_path(name.strip())
    if (path / "run.json").is_file():
        return replace(store.load(path), again=store.measure)
    records = store.find_records(key=name.strip())
    if not records:
        raise ConfigError(f"{name.strip()!r}: no such run below {store.root}; give a key that `lmmrec run` printed, or "
                          "the folder of a run")  # fmt: skip
    return replace(store.load_record(records[0]), again=store.measure)


def _check_one_system(first: Result, other: Result, asked: str) -> None:
    def system(result: Result) -> dict[str, Any]:
        case = {name: value for name, value in result.case.items() if name != "seed"}
        return {**case, "settings": result.record["settings"], "split": result.record["data"]["split"]}

    one, two = system(first), system(other)
    differing = [name for name in one if one[name] != two.get(name)]
    if differing:
        raise ConfigError(f"{asked}: runs of one side may differ in their seed alone, these do in {differing[0]}")
    if first.case["seed"] == other.case["seed"]:
        raise ConfigError(f"{asked}: two runs of seed {first.case['seed']}; give runs of different seeds")


def compare_results(a: Sequence[Result], b: Sequence[Result], metrics: Sequence[str]) -> pd.DataFrame:
    """One row per metric: means, difference a − b with its 95 % interval, p, users gained, lost and unchanged.

    ``test`` says what p is about: "users and seeds" where both sides have several seeds (a model in closed form has the
    same lists under each), else "users", of these two trained models. Raises ConfigError for results of different
    splits and for unknown metrics, ResultError for values that cannot be compared.
    """
    splits = {str(result.record["data"]["split"]) for result in (*a, *b)}
    if len(splits) > 1:
        told = " and ".join(f"{r.case['dataset']} ({r.record['data']['split'][:12]})" for r in (a[0], b[0]))
        raise ConfigError(
            f"the results are of different splits, {told}: other users or other held-out items; run both on the same "
            "items, with the same filters and the same split"
        )
    if shared := {str(result.record["key"]) for result in a} & {str(result.record["key"]) for result in b}:
        raise ConfigError(f"run {sorted(shared)[0]} is on both sides; compare two different ones")
    rows = []
    for metric in metrics:
        found, test = _compared(a, b, metric)
        rows.append({"metric": metric, "test": test, **{name: asdict(found)[name] for name in _COLUMNS}})
    return pd.DataFrame(rows)


def _compared(a: Sequence[Result], b: Sequence[Result], metric: str) -> tuple[Comparison, str]:
    try:
        sides = [{int(result.case["seed"]): result.values(metric) for result in side} for side in (a, b)]
    except KeyError:
        raise ConfigError(f"metric {metric!r} is not one of these results; write for instance recall@20") from None
    groups = a[0].per_user.get("group")
    for mine, (own, other) in enumerate(((a, b), (b, a))):
        if own[0].case["model"] in SEEDLESS_MODELS and len(other) > 1:
            values = next(iter(sides[mine].values()))
            sides[mine] = {int(result.case["seed"]): values for result in other}
    if min(map(len, sides)) > 1:
        return compare(sides[0], sides[1], groups), "users and seeds"
    one, two = (pd.concat(side.values(), axis=1).mean(axis=1) for side in sides)
    return compare_trained(one, two, groups), "users"
