"""The trials of a search on disk: which points come in which order, and what came out.

A folder for each question asked, with one small sealed file a trial. A trial is stored when it ends, so an interrupted
search goes on where it was and trains no point twice. The order of the points follows from the grid and the seed alone:
a search with a larger budget begins with the same points.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lmmrec_core.digests import digest
from lmmrec_core.disk import held_alone, read_sealed, write_sealed
from lmmrec_core.errors import ResultError
from lmmrec_core.results.plain import plain_values
from lmmrec_core.seeds import numpy_stream
from lmmrec_core.study.search.grids import Point


@dataclass(frozen=True)
class Trial:
    """One point that was tried: ``valid`` is None, and ``error`` says why, if its training failed."""

    settings: Point
    valid: float | None
    error: str | None
    notes: Mapping[str, Any]  # what the caller wants to keep; plain JSON values


def points_to_try(points: Sequence[Point], budget: int, seed: int) -> list[Point]:
    """The first ``budget`` points: all of them in order if the budget allows, else drawn without repetition.

    Points at random cover the few settings that matter better than a coarser grid of equal size (Bergstra and Bengio,
    Random Search for Hyper-Parameter Optimization, JMLR 2012), and have no settings of their own that could favour a
    model.
    """
    if budget >= len(points):
        return list(points)
    order = numpy_stream(seed, "search/points").permutation(len(points))
    return [points[int(number)] for number in order[:budget]]


class TrialFolder:
    """The stored trials of one search."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, point: Point) -> Trial | None:
        """The trial of a point, None if it was not tried yet. Raises ResultError for a damaged file."""
        path = self._path(point)
        if not path.is_file():
            return None
        stored = read_sealed(path)
        return Trial(**{name: stored[name] for name in ("settings", "valid", "error", "notes")})

    def put(self, trial: Trial) -> None:
        """Store a trial. Raises ResultError if the disk is full or not writable."""
        write_sealed(self._path(trial.settings), plain_values(asdict(trial), "trial"))

    def _path(self, point: Point) -> Path:
        return self.folder / f"{digest(point)}.json"


@contextmanager
def open_trials(folder: Path) -> Iterator[TrialFolder]:
    """The trials stored in ``folder``, which is made if absent; no second process may open it meanwhile.

    Raises ConfigError if another process has it open, ResultError for a folder that cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultError(f"{folder}: cannot be written ({error.strerror}); allow writing there") from None
    with held_alone(
        folder.with_suffix(".lock"), "the same search is running in another process; wait for it, or stop it"
    ):
        yield TrialFolder(folder)
