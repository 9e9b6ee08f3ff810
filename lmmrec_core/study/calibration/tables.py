"""Rows of the calibration's listings: a system against itself, capacity; and the words for rates that all use."""

from collections.abc import Callable, Hashable, Mapping
from itertools import product
from typing import Any

import pandas as pd

from lmmrec_core.questions import ALPHA, PICTURES_ALONE, PICTURES_AND_NOISE, PICTURES_TWICE
from lmmrec_core.report.labels import dataset_name, metric_name, model_name
from lmmrec_core.report.planted import Expectation, answer
from lmmrec_core.significance.rates import Rate
from lmmrec_core.significance.simulation import STRICTER
from lmmrec_core.study.calibration import summary as figures
from lmmrec_core.study.calibration.reading import Stored
from lmmrec_core.study.calibration.redone import first_runs
from lmmrec_core.study.calibration.simulated import BOOK_TEST, OWN, SEEDS_FIXED
from lmmrec_core.study.calibration.world_tests import worlds_tested
from lmmrec_core.study.calibration.worlds import KEPT_METRICS

_Rows = list[dict[str, Any]]


def itself_by_dataset(stored: Stored) -> _Rows:
    """The A/A rates of stored runs by metric and data set, all data sets first."""
    rows: _Rows = []
    for metric in dict.fromkeys(name for one in stored.against_itself.values() for name in one.rows["metric"]):
        pairs = figures.pairs_of(stored, metric)
        for dataset, part in [("all", pairs), *pairs.groupby("dataset", sort=False)]:
            name = "all" if dataset == "all" else dataset_name(str(dataset))
            rows.append({"data set": name, "metric": metric_name(metric), **_rates(part)})
    return rows


def itself_by_model(stored: Stored, metric: str) -> _Rows:
    """The A/A rates of stored runs by model, with the cells that have too few others to learn from, and their pairs.

    All models together come first.
    """
    rows: _Rows = []
    pairs = figures.pairs_of(stored, metric)
    for model, part in [("all", pairs), *pairs.groupby("model", sort=False)] if len(pairs) else []:
        name = "all" if model == "all" else model_name(str(model))
        without = part[part["p"].isna()]
        words = f"{figures.cells_in(without)} ({len(without)} {'pair' if len(without) == 1 else 'pairs'})"
        rows.append({"model": name, **_rates(part), "cells not testable": words if len(without) else ""})
    return rows


def itself_on_worlds(stored: Stored) -> _Rows:
    """The A/A rates of the null worlds' runs by metric and model."""
    rows: _Rows = []
    for metric in KEPT_METRICS:
        pairs = figures.world_pairs(stored, metric)
        for model, part in [*pairs.groupby("model", sort=False), ("both", pairs)] if len(pairs) else []:
            name = "both" if model == "both" else model_name(str(model))
            tests = {"worlds": part["world"].nunique(), "pairs": len(part), **at_levels(figures.rejected, part)}
            rows.append({"model": name, "metric": metric_name(metric), **tests})
    return rows


CAPACITY = {
    "V&T against V": PICTURES_ALONE,
    "V twice against V": PICTURES_TWICE,
    "V&T against V and shuffled T": PICTURES_AND_NOISE,
}


def capacity_rows(stored: Stored, metric: str) -> _Rows:
    """What a second modality seems to add where content says nothing, by model and comparison.

    ``first runs``: what those said of MMGCN on one world, in words.
    """
    tests, rows, then = worlds_tested(stored.worlds["capacity"], metric), [], first_runs("capacity")
    for model, own in tests.groupby("model", sort=False):
        for name, pair in CAPACITY.items():
            part = own[own["pair"].isin([pair])]
            found = part[part["p"] < ALPHA]
            higher, change = int((found["difference"] > 0).sum()), part["relative"]
            first = then[name] if model == "mmgcn" else ""
            place = {"model": model_name(str(model)), "comparison": name, "first runs": first, "worlds": len(part)}
            changes = {"median change": change.median(), "lowest": change.min(), "highest": change.max()}
            rows.append({**place, **changes, "found better": higher, "found worse": len(found) - higher})
    return rows


_TESTS = {
    BOOK_TEST: "the book",
    OWN: "crossed, own seeds only",
    "crossed, pooled": "crossed, cells taken as alike",
    "two-way bootstrap": "two-way bootstrap",
    SEEDS_FIXED: "users only",
}
_OVER_SPLITS = {OWN: "crossed, the pair's own splits only"}


def candidate_rows(stored: Stored) -> _Rows:
    """Every candidate over the simulated worlds of one split and of several: false alarms, coverage, power.

    Worlds with one seed a side are left out: the cells' own seeds say nothing there.
    """
    if stored.coverage is None:
        return []
    simulated, rows = stored.coverage.rows, []
    simulated = simulated[simulated["seeds_b"] != 1]
    for splits, name in product(sorted(simulated["splits"].unique()), _TESTS):
        own = simulated[(simulated["candidate"] == name) & (simulated["splits"] == splits)]
        null, found = own[own["effect"] == 0], own[own["effect"] > 0]
        if null.empty or found.empty:
            continue
        spread = found["seed_cv"] + found["split_cv"]
        quiet = found[spread == spread.min()]
        title = _OVER_SPLITS.get(name, _TESTS[name]) if splits > 1 else _TESTS[name]
        rows.append(
            {
                "splits": int(splits), "test": title,
                "worlds": own["world"].nunique(), "simulated each": int(own["repetitions"].max()),
                "false alarms": in_percent(null["rejected"].mean()), "most": in_percent(null["rejected"].max()),
                **{f"at {100 * level:g} %": in_percent(null[f"rejected_{level:g}"].mean()) for level in STRICTER},
                "truth held": in_percent(own["covered"].mean()), "least": in_percent(own["covered"].min()),
                "found in quiet worlds": in_percent(quiet["rejected"].mean()),
            }
        )  # fmt: skip
    return rows


def answering_tests(stored: Stored, metric: str) -> pd.DataFrame:
    """The tests of all worlds that have planted answers: the planted worlds', and the null worlds'."""
    frames = [worlds_tested(stored.worlds[part], metric) for part in ("planted", "null")]
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1])


def planted_answers(tests: pd.DataFrame, expected: Expectation) -> dict[str, pd.DataFrame]:
    """Model → what each world of the expected kind answers: world, block, ``answer``.

    ``tests``: those of :func:`answering_tests`. "Less" holds worlds of two kinds against each other, by their order.
    """
    tests = tests[tests["pair"].isin([expected.pair])]
    found: dict[str, pd.DataFrame] = {}
    for model, own in tests.groupby("model", sort=False):
        by_kind = {kind: part.sort_values("world").to_dict("records") for kind, part in own.groupby("kind")}
        here = by_kind.get(expected.dataset, [])
        others = by_kind.get(expected.than, []) if expected.than else [None] * len(here)
        pairs = zip(here, others, strict=False)  # where one kind has fewer worlds, as many as both have
        answers = [
            {
                "world": one["world"], "block": one["block"],
                "answer": answer(expected.effect, _named(one), None if other is None else _named(other))[0],
            }
            for one, other in pairs
        ]  # fmt: skip
        if answers:
            found[str(model)] = pd.DataFrame(answers)
    return found


def _named(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}


def _rates(pairs: pd.DataFrame) -> dict[str, Any]:
    """What the book's test says, and the one that takes seeds as fixed, of the same pairs."""
    return {"pairs": int(pairs["p"].notna().sum()), **at_levels(figures.aa_rate, pairs, "not testable")}


def at_levels(
    rate: Callable[[pd.DataFrame, str, float], Rate | None], tests: pd.DataFrame, without: str = "not run"
) -> dict[str, str]:
    """The rate at 5 % with its interval, then at the stricter levels; last what the test over users alone says."""
    found = told(rate(tests, "p", ALPHA), without)
    strictest = figures.AA_LEVELS[-1]
    further = [(f"at {100 * level:g} %", "p", level) for level in figures.AA_LEVELS[1:]]
    further += [("users only", "p_users", ALPHA), (f"users only, at {100 * strictest:g} %", "p_users", strictest)]
    for title, p, level in further:
        one = rate(tests, p, level)
        found[title] = in_percent(one.rate) if one else ""
    return found


def told(rate: Rate | None, without: str = "not run") -> dict[str, str]:
    """A rate and its interval in two columns; ``without`` stands where there is none."""
    if rate is None:
        return {"rate": without, "95 % interval": ""}
    return {"rate": in_percent(rate.rate), "95 % interval": between(vars(rate))}


def in_percent(value: float) -> str:
    """0.123 → "12.3 %"; nothing for NaN."""
    return "" if pd.isna(value) else f"{100 * value:.1f} %"


def between(row: Mapping[Any, Any]) -> str:
    """An interval, from ``low`` and ``high`` of a row."""
    return f"{100 * row['low']:.1f}–{100 * row['high']:.1f} %"
