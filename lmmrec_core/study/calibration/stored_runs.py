"""What the stored runs of a track say of the tests: seeds against seeds, and what each comparison could have found."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import pandas as pd

from lmmrec_core.digests import digest
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import Result
from lmmrec_core.names import PAPER_METRICS
from lmmrec_core.questions import ALPHA, MARGIN, QUESTIONS, Variant
from lmmrec_core.report.labels import Labels
from lmmrec_core.results.pooling import distinct, per_seed, pooled_per_user
from lmmrec_core.results.provenance import code_now
from lmmrec_core.significance.against_itself import Cells, against_itself
from lmmrec_core.significance.crossed import users_only
from lmmrec_core.significance.units import crossed, runs_of
from lmmrec_core.study.calibration.listings import MadeFrom, code_of_tests, up_to_date, write_listing
from lmmrec_core.study.cases import declared_digest, split_runnable
from lmmrec_core.study.comparisons import planned_pairs
from lmmrec_core.study.study import Study

AGAINST_ITSELF, DETECTABLE = "against-itself", "mde"  # parts, and the first words of their files
# beside the tests themselves: what makes tests of runs
_HERE = ("results/pooling.py", "study/calibration/stored_runs.py")
_CODE = {AGAINST_ITSELF: _HERE, DETECTABLE: (*_HERE, "study/comparisons.py")}
_PAIRS = [
    "dataset", "model", "cell", "metric", "seed_a", "seed_b", "difference", "ci_low", "ci_high", "p", "p_users",
]  # fmt: skip
_SHOWN = ["dataset", "question", "metric", "model", "pair", "mde", "mde_holm", "n", "persons", "seeds", "family_size"]


def calibrate_stored(part: str, study: Study) -> int | None:
    """Make the listing of a part from the runs of a track; the number of its tests.

    None without runs: nothing is written. What is stored stays if all it was made from is the same and its code was
    committed. Raises ConfigError for another part.
    """
    if part not in _CODE:
        raise ConfigError(f"part {part!r} is not made from stored runs; write {AGAINST_ITSELF} or {DETECTABLE}")
    if not study.sorted_records()[0]:
        return None
    name, made_from = f"{part}-{study.track.name}", made_from_runs(part, study)
    before = up_to_date(study.workspace.results, name, made_from)
    if before is not None:
        return _tests_in(before.rows)
    started = code_now()
    itself = part == AGAINST_ITSELF
    rows = against_itself_rows(study.results().counted, study.labels) if itself else detectable_rows(study)
    write_listing(study.workspace.results, name, rows, made_from, started)
    return _tests_in(rows)


def _tests_in(rows: pd.DataFrame) -> int:
    return int(rows["p"].notna().sum()) if "p" in rows else len(rows)


def made_from_runs(part: str, study: Study) -> MadeFrom:
    """What the listing of a part is made from now: ``code``, ``settings`` and ``runs``.

    ``settings``: all that the track declares for its grid, and what is planned. ``runs``: those that count, each by the
    seal of its record; left out where no run of today's settings is stored, for there is nothing to compare with.
    """
    cases, _ = split_runnable(study.cases(), study.track)
    settings: list[Any] = [PAPER_METRICS, [declared_digest(study.track, case.model_dump()) for case in cases]]
    if part == DETECTABLE:
        read = [sorted(case.questions()) for case in cases]
        settings.append([ALPHA, MARGIN, read, *map(_planned, QUESTIONS)])
    found = {"code": code_of_tests(*_CODE[part]), "settings": digest(settings)}
    counted, withheld = study.sorted_records()
    if counted or withheld:
        found["runs"] = digest(sorted(str(record.data["digest"]) for record in counted))
    return found


def _planned(question: str) -> list[Any]:
    """The planned pairs of a question as plain values."""
    pairs = planned_pairs(question)
    return [question, *([[name, asdict(variant)] for name, variant in pair.sides(model)] for model, pair in pairs)]


def against_itself_rows(
    results: Sequence[Result], labels: Labels, metrics: Sequence[str] = PAPER_METRICS
) -> pd.DataFrame:
    """Every pair of seeds of every cell of results on its data set's own split: one line a pair and metric.

    dataset, model, cell, metric, seed_a, seed_b, difference, ci_low, ci_high, ``p`` of the crossed test with the spread
    over seeds of the model's other cells, and ``p_users``, which takes seeds as fixed. Cells whose runs are the same
    count once. Where fewer than three others have several seeds, the pair is not testable: p and its interval are NaN.
    """
    by_cell: dict[tuple[str, str], dict[str, list[Result]]] = {}
    for result in (one for one in results if one.trained and not one.shared and not one.case.get("split")):
        place = str(result.case["dataset"]), str(result.case["model"])
        cell = labels.variant(Variant.of(result.case))
        by_cell.setdefault(place, {}).setdefault(cell, []).append(result)
    rows: list[dict[str, Any]] = []
    for (dataset, name), cells in by_cell.items():
        groups = pooled_per_user(next(iter(cells.values())), metrics[0])[1]
        for metric in metrics:
            values: Cells = distinct({cell: per_seed(found, metric) for cell, found in cells.items()})
            tested = against_itself(values, groups).set_index(["cell", "seed_a", "seed_b"]).to_dict("index")
            for (cell, one, other), p_users in _users_only(values, groups).items():
                row: dict[str, Any] = {"dataset": dataset, "model": name, "cell": cell, "metric": metric}
                row |= {"seed_a": one, "seed_b": other, "p_users": p_users}
                row["difference"] = float(values[cell][one].mean() - values[cell][other].mean())
                found = tested.get((cell, one, other), {})
                rows.append(row | {str(column): value for column, value in found.items()})
    return pd.DataFrame(rows, columns=_PAIRS)


def _users_only(cells: Cells, groups: pd.Series | None) -> dict[tuple[str, int, int], float]:
    found = {}
    for cell, by_seed in cells.items():
        runs = {seed: runs_of(cell, {seed: values}) for seed, values in by_seed.items()}
        for one, other in combinations(sorted(by_seed), 2):
            found[cell, one, other] = users_only(crossed(runs[one], runs[other], groups)).p
    return found


def detectable_rows(study: Study) -> pd.DataFrame:
    """The minimum detectable effect of every planned pair that was measured: one line a pair and metric."""
    frames = []
    for name, question in QUESTIONS.items():
        if question.planned:
            tests = study.comparisons(name)
            pairs = [" / ".join(pair.words(study.labels.encoders)) for pair in tests["pair"]]
            frames.append(tests.assign(question=name, pair=pairs)[_SHOWN])
    return pd.concat(frames) if frames else pd.DataFrame(columns=_SHOWN)
