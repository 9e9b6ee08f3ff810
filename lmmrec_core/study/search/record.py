"""The trials of a cell in the repository: one small sealed file, written after every trial, and what it says.

``results/<track>/search/cell-<data set>-<model>[-<encoder>[-<paradigm>]].json``
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from lmmrec_core.config import Settings
from lmmrec_core.disk import read_sealed, write_sealed
from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.results.plain import plain_values
from lmmrec_core.results.provenance import allows_uncommitted, code_state
from lmmrec_core.study.search.cells import Cell
from lmmrec_core.study.search.grids import Choice, Grid, Point
from lmmrec_core.study.search.points import Space, edges
from lmmrec_core.study.search.summary import SEARCH_FOLDER

_SCHEMA = 1
OBJECTIVE = "recall@20 on the validation part, at the best epoch"


@dataclass(frozen=True)
class CellTrials:
    """A cell and its stored trials, of which those of its points and of the widened space count."""

    cell: Cell
    data: Mapping[str, Any] = field(default_factory=dict)  # split and catalogue, the same for all trials
    trials: tuple[dict[str, Any], ...] = ()
    digest: str = ""

    def trial(self, point: Point) -> dict[str, Any] | None:
        """The trial of a point, None if there is none."""
        return next((trial for trial in self.trials if trial["settings"] == point), None)

    @property
    def missing(self) -> list[Point]:
        """Points to train now: those of the budget, then one beyond each edge that the winner lies on."""
        base = [point for point in self.cell.points if self.trial(point) is None]
        return base or [point for point in self._wider if self.trial(point) is None]

    @property
    def complete(self) -> bool:
        return not self.missing

    @property
    def base(self) -> list[dict[str, Any]]:
        """The trials of the budget, in the order of the points."""
        return [trial for point in self.cell.points if (trial := self.trial(point)) is not None]

    @property
    def counted(self) -> list[dict[str, Any]]:
        """The trials that are compared: those of the budget and those beyond an edge."""
        return self.base + [trial for point in self._wider if (trial := self.trial(point)) is not None]

    @property
    def best(self) -> dict[str, Any] | None:
        """The trial with the highest validation score, the first of equal ones; None if none worked."""
        return _best(self.counted)

    @property
    def space(self) -> Space:
        """The searched values, with those beyond the edges that were tried."""
        wider: dict[str, tuple[Choice, ...]] = dict(self.cell.space)
        for trial in self.counted:
            for name, value in trial["settings"].items():
                if value not in wider[name]:
                    wider[name] = (*wider[name], value)
        return wider

    @property
    def edge(self) -> tuple[str, ...]:
        """Settings whose best value is still the last of its range."""
        best = self.best
        return tuple(edges(self.space, best["settings"], self._allowed)) if best else ()

    @property
    def uncommitted(self) -> bool:
        return any(code_state(trial["made"]) == "uncommitted" for trial in self.counted)

    @property
    def spread(self) -> tuple[float, float, float] | None:
        """Lowest, median and highest validation score of the trials of the budget; None if none worked."""
        scores = [trial["valid"] for trial in self.base if trial["valid"] is not None]
        return (min(scores), float(median(scores)), max(scores)) if scores else None

    @property
    def seconds(self) -> float:
        return float(sum(trial["seconds"] for trial in self.counted))

    @property
    def _wider(self) -> list[Point]:
        base = _best(self.base)
        if base is None or len(self.base) < len(self.cell.points):
            return []
        return list(edges(self.cell.space, base["settings"], self._allowed).values())

    def _allowed(self, point: Point) -> bool:
        from lmmrec_core.recommenders import RECOMMENDERS
        from lmmrec_core.training.loop import TrainingSettings

        classes: tuple[type[Settings], ...] = (TrainingSettings, RECOMMENDERS[self.cell.case.model].Settings)
        for name, value in point.items():
            owner = next(one for one in classes if name in one.model_fields)
            try:
                owner.build({name: value})
            except ConfigError:
                return False
        return True


def _best(trials: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return max((t for t in trials if t["valid"] is not None), key=lambda trial: float(trial["valid"]), default=None)


def record_path(results: Path, cell: Cell) -> Path:
    """Where the trials of a cell are kept."""
    parts = [part for part in cell.place if part != "none"]
    return results / cell.case.track / SEARCH_FOLDER / f"cell-{'-'.join(parts)}.json"


def stored_records(results: Path, track: str) -> list[dict[str, Any]]:
    """All files of trials of a track, those of older settings too. Raises ResultError for a damaged one."""
    return [read_sealed(path) for path in sorted((results / track / SEARCH_FOLDER).glob("cell-*.json"))]


def read_trials(results: Path, cell: Cell, committed: bool = False) -> CellTrials:
    """The stored trials of a cell that are of today's track file and grid; none if there is no file.

    ``committed``: the code is committed now, so trials of uncommitted code are to be made again (unless such results
    are allowed). Raises ResultError for a damaged file, with the cure.
    """
    path = record_path(results, cell)
    if not path.is_file():
        return CellTrials(cell)
    stored = read_sealed(path)
    if stored.get("schema") != _SCHEMA or stored.get("identity") != cell.identity:
        return CellTrials(cell)
    refused = committed and not allows_uncommitted()
    kept = [t for t in stored["trials"] if not (refused and code_state(t["made"]) == "uncommitted")]
    return CellTrials(cell, stored["data"], tuple(kept), stored["digest"])


def write_trials(results: Path, found: CellTrials, grid: Grid) -> None:
    """Store the trials of a cell, whole or not at all. Raises ResultError if they cannot be written."""
    cell = found.cell
    space = {name: list(values) for name, values in cell.space.items()}
    record = {
        "schema": _SCHEMA,
        "case": cell.case.model_dump(exclude={"control", "split", "seed"}),
        "seed": cell.case.seed, "objective": OBJECTIVE,
        "grid": {"name": grid.name, "trials": grid.trials, "search": space, "fixed": dict(cell.fixed)},
        "identity": cell.identity, "data": dict(found.data), "trials": list(found.trials),
    }  # fmt: skip
    write_sealed(record_path(results, cell), plain_values(record, "trials"))


def check_same_data(found: CellTrials, data: Mapping[str, Any]) -> CellTrials:
    """The trials if they are of this catalogue and split, none if they are of others."""
    if found.data and dict(found.data) != dict(data):
        return CellTrials(found.cell, data)
    return CellTrials(found.cell, data, found.trials, found.digest)


def require_worked(found: CellTrials) -> dict[str, Any]:
    """The best trial. Raises ResultError if none of the cell worked."""
    if (best := found.best) is None:
        first = found.trials[0] if found.trials else {"error": "no trial"}
        raise ResultError(f"search of {found.cell.name}: each trial failed; the first: {first['error']}")
    return best
