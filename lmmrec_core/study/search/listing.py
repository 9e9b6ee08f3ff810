"""What was searched, as tables: one row per cell; and what a search would cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lmmrec_core.results.store import ResultStore
from lmmrec_core.study.search.cells import Cell, cells_of, cells_taken, fields_of
from lmmrec_core.study.search.grids import Grid
from lmmrec_core.study.search.record import CellTrials, read_trials, stored_records
from lmmrec_core.study.track import TrackSettings

SEARCH_COLUMNS = (
    "dataset", "model", "encoder", "paradigm", "trials", "wider", "failed", "best", "lowest", "median", "settings",
    "edge", "minutes", "state",
)  # fmt: skip
_MEASURED = ("best", "lowest", "median")


def search_rows(track: TrackSettings, grid: Grid, results: Path) -> pd.DataFrame:
    """One row per cell of a track that is searched, or that takes its settings from one; columns SEARCH_COLUMNS.

    ``trials`` of the budget and ``wider`` ones beyond an edge; ``best``, ``lowest`` and ``median`` validation Recall@20
    (NaN without trials); ``settings`` of the best; ``edge``: those that lie at the end of their range; ``state``:
    "searched", "part", "uncommitted", "not searched", or "as PT: " with the reason.
    """
    rows = [_row(read_trials(results, cell)) for cell in cells_of(track, grid)]
    for place, why in cells_taken(track, grid).items():
        rows.append(
            {**fields_of(place), "trials": 0, "wider": 0, "failed": 0, "minutes": 0.0, "state": f"as PT: {why}"}
        )
    frame = pd.DataFrame(rows, columns=list(SEARCH_COLUMNS))
    return frame.astype(dict.fromkeys(_MEASURED, float)).fillna({"settings": "", "edge": ""})


def _row(found: CellTrials) -> dict[str, Any]:
    best, spread = found.best, found.spread
    state = "uncommitted" if found.uncommitted else "searched" if found.complete else "part"
    return {
        **fields_of(found.cell.place), "trials": len(found.base), "wider": len(found.counted) - len(found.base),
        "failed": sum(trial["error"] is not None for trial in found.counted),
        "best": best["valid"] if best else None, "lowest": spread[0] if spread else None,
        "median": spread[1] if spread else None,
        "settings": ", ".join(f"{name} {_word(value)}" for name, value in best["settings"].items()) if best else "",
        "edge": ", ".join(found.edge), "minutes": found.seconds / 60,
        "state": state if found.trials else "not searched",
    }  # fmt: skip


def _word(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def estimate(cells: Sequence[Cell], results: Path) -> pd.DataFrame:
    """What is left to train: one row per cell, with ``trainings`` left of its budget and the ``minutes`` they take.

    A training takes what the stored trials of the cell took on average, else the trials (older settings included) and
    runs of its data set, model and paradigm, else those of its model anywhere in the track; NaN if there are none.
    Points beyond an edge are not foreseen: at most one for each setting.
    """
    known = _seconds_of_runs(cells, results)
    rows = []
    for cell in cells:
        found = read_trials(results, cell)
        case = cell.case
        keys = ((case.dataset, case.model, case.paradigm), (case.dataset, case.model), (case.model,))
        each = (
            found.seconds / len(found.counted) if found.counted else next((known[k] for k in keys if k in known), None)
        )
        left = len(found.missing)
        rows.append((cell.name, left, float("nan") if each is None else each * left / 60))
    return pd.DataFrame(rows, columns=["cell", "trainings", "minutes"])


def _seconds_of_runs(cells: Sequence[Cell], results: Path) -> dict[tuple[str, ...], float]:
    times: dict[tuple[str, ...], list[float]] = {}

    def note(case: Mapping[str, Any], seconds: float) -> None:
        dataset, model, paradigm = (str(case[name]) for name in ("dataset", "model", "paradigm"))
        for key in ((dataset, model, paradigm), (dataset, model), (model,)):
            times.setdefault(key, []).append(seconds)

    for track in dict.fromkeys(cell.case.track for cell in cells):
        for record in ResultStore(results).find_records(track=track, on_damage="warn"):
            note(record.case, float(record.data["cost"]["seconds"]))
        for stored in stored_records(results, track):
            for trial in stored["trials"]:
                note(stored["case"], float(trial["seconds"]))
    return {key: sum(values) / len(values) for key, values in times.items()}
