"""What a search leaves behind: a table of its trials, the choice, the leak, and a JSON summary beside the results.

``results/<track>/search/`` holds files only, so readers of results, which look for run folders, pass it by.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lmmrec_core.disk import read_sealed, write_sealed
from lmmrec_core.errors import ResultError
from lmmrec_core.results.plain import plain_values
from lmmrec_core.results.provenance import provenance
from lmmrec_core.study.cases import Case
from lmmrec_core.study.search.trials import Trial

_SCHEMA = 1
SEARCH_FOLDER = "search"


def score_of(trial: Trial, part: str) -> float:
    """Recall@20 of a trial that worked, on "valid" or, if it was measured, "test"."""
    return float(trial.notes["test"] if part == "test" or trial.valid is None else trial.valid)


def chosen(done: Sequence[Trial], select_on: str) -> Trial:
    """The trial with the highest score on a part, the first of equal ones; failed ones are never chosen."""
    worked = [trial for trial in done if trial.valid is not None]
    return max(worked, key=lambda trial: score_of(trial, select_on))


def leak_of(done: Sequence[Trial]) -> dict[str, Any]:
    """What choosing by the test score adds to the reported test score, over the same points.

    ``gap`` = test Recall@20 of the point chosen on test minus that of the point chosen on validation; it cannot be
    negative. ``relative`` is its share of the latter, None if that is zero.
    """
    honest, leaky = (chosen(done, part) for part in ("valid", "test"))
    scores = [score_of(trial, "test") for trial in (honest, leaky)]
    gap = scores[1] - scores[0]
    return {
        "metric": "recall@20",
        "chosen_on_validation": {"settings": honest.settings, "valid": honest.valid, "test": scores[0]},
        "chosen_on_test": {"settings": leaky.settings, "valid": leaky.valid, "test": scores[1]},
        "gap": gap,
        "relative": gap / scores[0] if scores[0] else None,
    }


def frame_of(done: Sequence[Trial]) -> pd.DataFrame:
    """One row per trial, in order: its settings, ``valid``, the notes, and ``error`` (None if it worked)."""
    index = pd.RangeIndex(1, len(done) + 1, name="trial")
    settings = pd.DataFrame([trial.settings for trial in done], index=index, dtype=object)  # None stays None
    scores = pd.DataFrame([{"valid": trial.valid, **trial.notes} for trial in done], index=index)
    errors = pd.Series([trial.error for trial in done], index=index, dtype=object, name="error")
    return pd.concat([settings, scores, errors], axis=1)


def summary_path(results: Path, case: Case, grid: str, measured_test: bool) -> Path:
    """``<dataset>-<model>-<encoder>-<modalities>.json``; another grid than ours and a measured leak are told apart."""
    parts = [case.dataset, case.slug.removesuffix(f"-s{case.seed}")]
    parts += [grid] if grid != "study" else []
    parts += ["leak"] if measured_test else []
    return results / case.track / SEARCH_FOLDER / f"{'-'.join(parts)}.json"


def write_summary(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Store a summary with its provenance, whole or not at all, and return it; one that says the same stays as it is.

    Raises ResultError when it cannot be written or holds a value that is not finite.
    """
    record: dict[str, Any] = {"schema": _SCHEMA, **plain_values(content, "search summary")}
    if path.is_file():
        try:
            before = read_summary(path)
        except ResultError:
            before = {}  # damaged: made again from the stored trials
        if {name: value for name, value in before.items() if name not in ("provenance", "digest")} == record:
            return before
    record["provenance"] = provenance(device=content["settings"]["training"]["device"])
    write_sealed(path, record)
    return read_summary(path)


def read_summary(path: Path) -> dict[str, Any]:
    """A stored summary. Raises ResultError naming the file and the cure."""
    record = read_sealed(path)
    if record.get("schema") != _SCHEMA:
        raise ResultError(f"{path}: no search summary of schema {_SCHEMA}; the same `lmmrec search` makes it again")
    return record
