"""Comparisons that training protocol or feature scale decided in the study's first runs, and what they say today.

What they said then is in ``redone.yaml``; what they say now is read from the stored runs, tested as every table is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from lmmrec_core.flow import Result
from lmmrec_core.questions import Variant
from lmmrec_core.report.html import Sentence, ShownTable, listing_or_words, signed_percent
from lmmrec_core.report.labels import model_name
from lmmrec_core.report.layout import by_case
from lmmrec_core.report.run_links import CellLinks, CellRuns, cell_runs, here
from lmmrec_core.results.pooling import per_seed, pooled_per_user
from lmmrec_core.significance.comparison import compare
from lmmrec_core.study.comparisons import model_noise
from lmmrec_core.study.study import Study

REDONE = Path(__file__).with_name("redone.yaml")
REDONE_TRACK = Path(__file__).with_name("redone_track.yaml")  # whose runs today's are
REDONE_NAME = "redone"  # what it is called, there and below results

_Side = tuple[str, Variant]  # a recommender, and a variant of it
_THEN, _NOW, _UNIT = "first runs", "today", "today, unit rows"
_KEPT = "results/movielens at e981397"
_ARM = "unit"  # of the track: rows of unit length


def cases_redone(metric: str = "ndcg@20", home: Path | None = None) -> pd.DataFrame:
    """:func:`redone` of the runs below ``home`` (default: ``home.default_home``)."""
    return redone(Study.open(str(REDONE_TRACK), home=home), metric)


def redone_runs(home: Path | None = None) -> CellRuns:
    """The keys of today's runs, which no receipt lists; the listings above link to its rows."""
    study = Study.open(str(REDONE_TRACK), home=home)
    return cell_runs(study.receipt(), labels=study.labels)


def redone_listing(cases: pd.DataFrame, decided_by: str) -> ShownTable | Sentence:
    """The comparisons of :func:`redone` that one cause decided, as a page shows them."""
    found = cases[cases["decided_by"] == decided_by].drop(columns="decided_by")
    found = found.assign(p=[p if isinstance(p, str) else f"{p:.1g}" for p in found["p"]]).reset_index(drop=True)
    return listing_or_words(found, f"redone-{decided_by}", "No such comparison.")


def redone(study: Study, metric: str = "ndcg@20") -> pd.DataFrame:
    """Each comparison then and now: where each seed was kept, its mean, the change and how sure it is.

    Now is today's training, with feature rows as the encoders make them, as then. Where their scale decided, a third
    row has feature rows of unit length.

    Columns: ``decided_by`` ("stopping" or "scale"), compared, runs, ``kept``, ``other kept`` (epoch then, optimiser
    step now, by seed), ``by seed``, ``other by seed`` (the metric), change, interval (of the change, 95 %), p, keys
    (where the runs are). A side that was not run leaves the row's cells "not run".
    """
    runs = by_case([result for result in study.results().counted if result.trained])
    rows = []
    for case in yaml.safe_load(REDONE.read_text(encoding="utf-8"))["cases"]:
        a, b = _side(case["a"], case["model"]), _side(case["b"], case["model"])
        names = study.labels.case(*a), study.labels.case(*b)
        title = study.titles[case["dataset"]]
        compared = f"{title}: {names[0]} against {names[1].removeprefix(f'{model_name(a[0])} ')}"
        named = {"decided_by": case["decided_by"], "compared": compared}
        cells = {
            (model, variant): list(found.values())
            for (name, model, variant), found in runs.items()
            if name == case["dataset"]
        }
        rows.append({**named, "runs": _THEN, **_then(case["then"], metric), "keys": _KEPT})
        place = case["dataset"]
        rows.append({**named, "runs": _NOW, **_now(a, b, cells, metric, place)})
        if case["decided_by"] == "scale":
            rows.append({**named, "runs": _UNIT, **_now(_of_unit_rows(a), _of_unit_rows(b), cells, metric, place)})
    return pd.DataFrame(rows)


def first_runs(part: str) -> dict[str, Any]:
    """What the first runs said beside the comparisons, by ``part`` of the file: ``itself`` or ``capacity``."""
    return dict(yaml.safe_load(REDONE.read_text(encoding="utf-8"))[part])


def _side(given: Mapping[str, str], model: str) -> _Side:
    fields = {name: value for name, value in given.items() if name != "model"}
    return given.get("model", model), Variant(**fields)


def _of_unit_rows(side: _Side) -> _Side:
    """The side with its rows scaled; ids have no rows, and zeros no length."""
    model, variant = side
    return (model, replace(variant, arm=_ARM)) if variant.whole and variant.encoder != "none" else side


def _then(stored: Mapping[str, Any], metric: str) -> dict[str, Any]:
    a, b, tested = stored["a"], stored["b"], stored["tests"][metric]
    return {
        **_seeds([run["best_epoch"] for run in a], [run["best_epoch"] for run in b], "epoch"),
        **_means([run[metric] for run in a], [run[metric] for run in b]),
        "change": signed_percent(tested["change"]), "interval": "", "p": tested["p"],
    }  # fmt: skip


def _now(a: _Side, b: _Side, cells: Mapping[_Side, Sequence[Result]], metric: str, dataset: str) -> dict[str, Any]:
    if a not in cells or b not in cells:
        parts = ("kept", "other kept", "by seed", "other by seed", "change", "interval", "p", "keys")
        return dict.fromkeys(parts, "not run")
    groups = pooled_per_user(cells[a], metric)[1]
    noise = model_noise({a[0], b[0]}, cells, metric, groups)
    sides = per_seed(cells[a], metric), per_seed(cells[b], metric)
    found = compare(*sides, groups, (noise[a[0]], noise[b[0]]))
    low, high = found.relative_low, found.relative_high
    return {
        **_seeds(_best_steps(cells[a]), _best_steps(cells[b]), "step"),
        **_means(*([float(values.mean()) for values in side.values()] for side in sides)),
        "change": "–" if found.relative is None else signed_percent(found.relative),
        "interval": "" if low is None or high is None else f"{signed_percent(low)} to {signed_percent(high)}",
        "p": found.p, "keys": CellLinks((here(dataset, *a), here(dataset, *b))),
    }  # fmt: skip


def _best_steps(runs: Sequence[Result]) -> list[int]:
    by_seed = {int(run.case["seed"]): int(run.record["training"]["best_step"]) for run in runs}
    return [by_seed[seed] for seed in sorted(by_seed)]


def _seeds(a: Sequence[int], b: Sequence[int], unit: str) -> dict[str, str]:
    return {"kept": f"{unit} {_listed(a)}", "other kept": f"{unit} {_listed(b)}"}


def _means(a: Sequence[float], b: Sequence[float]) -> dict[str, str]:
    return {"by seed": _listed([f"{one:.4f}" for one in a]), "other by seed": _listed([f"{one:.4f}" for one in b])}


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
