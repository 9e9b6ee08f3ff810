"""The cells of a track whose settings are searched, each with the same number of trainings.

A cell is a data set, model, encoder and paradigm, with both modalities. Its trials have a seed and a split that no
reported run uses: the training and validation rows of the data set's own split, divided anew. The test rows of that
split are in no part of it (those of further splits may be), and no initial values are those of a run. A split that
comes with the data or follows time cannot be drawn again; there the trials see its training and validation parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lmmrec_core.data.splitting import REDRAWN
from lmmrec_core.digests import digest
from lmmrec_core.errors import ConfigError
from lmmrec_core.names import WARM
from lmmrec_core.study.cases import Case, all_cases, declared_digest, reason_not_run
from lmmrec_core.study.declared.searched import CELL, cell_of
from lmmrec_core.study.preview.selection import choose
from lmmrec_core.study.search.grids import Choice, Grid, Point, check_names
from lmmrec_core.study.search.points import balanced_points
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.workspace import Workspace


@dataclass(frozen=True)
class Cell:
    """A cell with its space and its points. ``case`` has the seed of the search."""

    case: Case
    space: Mapping[str, tuple[Choice, ...]]
    fixed: Mapping[str, Any]
    points: tuple[Point, ...]
    identity: str  # of what its trials depend on besides the points: track file, seed, fixed settings

    @property
    def place(self) -> tuple[str, ...]:
        return cell_of(self.case.model_dump())

    @property
    def name(self) -> str:
        """For instance ``complementary/vbpr-clip-PT``."""
        dataset, *rest = self.place
        return f"{dataset}/{'-'.join(part for part in rest if part != 'none')}"


def search_track(track: TrackSettings, grid: Grid) -> TrackSettings:
    """The track as the trials see it: splits drawn anew, nothing searched yet.

    Raises ConfigError for a grid without a number of trials or a split seed, and for a seed that a reported run uses.
    """
    if grid.trials is None or grid.split_seed is None:
        raise ConfigError(f"grid {grid.name!r} has no equal budget; a search over a track needs trials and split_seed")
    if grid.seed in track.seeds:
        raise ConfigError(
            f"grid {grid.name!r}: seed {grid.seed} is one of track {track.name!r}; give the search another"
        )
    datasets, further = {}, {seed for rule in track.further_splits for seed in rule.splits}
    for name, settings in track.datasets.items():
        split = settings.split
        if split.rule in REDRAWN:
            if grid.split_seed in (split.seed, *further):
                raise ConfigError(
                    f"grid {grid.name!r}: split_seed {grid.split_seed} is that of data set {name!r} in track "
                    f"{track.name!r}; give the search another"
                )
            split = split.model_copy(update={"seed": grid.split_seed, "spare": split.seed})
        datasets[name] = settings.model_copy(update={"split": split})
    return track.model_copy(update={"datasets": datasets, "searched": ()})


def search_workspace(workspace: Workspace, grid: Grid) -> Workspace:
    """The workspace of the trials. What is recorded of encoders on the way is not put beside the results."""
    records = workspace.cache / "search" / "records"
    return replace(workspace, track=search_track(workspace.track, grid), results=records)


def cells_of(track: TrackSettings, grid: Grid) -> tuple[Cell, ...]:
    """Every cell of a track that is searched, in the order of the tables.

    Models without settings to search are not in the grid; cells that the track leaves out, and those it says are not
    searched, are not here. Raises ConfigError as :func:`search_track`, and for a grid that a model does not take.
    """
    trial_track = search_track(track, grid)
    return tuple(_cell(case, trial_track, grid) for case in _cases(track, grid) if _why_taken(case, track) is None)


def cells_taken(track: TrackSettings, grid: Grid) -> dict[tuple[str, ...], str]:
    """Cells that are not searched → why; they have the settings of the same model and encoder under PT."""
    whys = {cell_of(case.model_dump()): _why_taken(case, track) for case in _cases(track, grid)}
    return {place: why for place, why in whys.items() if why is not None}


def select(cells: Sequence[Cell], **wanted: Sequence[str]) -> tuple[Cell, ...]:
    """The cells with one of the named values in each field; an empty list takes all.

    Raises ConfigError as :func:`~lmmrec_core.study.preview.selection.choose`.
    """
    chosen = set(choose([cell.case for cell in cells], wanted, "the searched cells")) if cells else ()
    return tuple(cell for cell in cells if cell.case in chosen)


def _cases(track: TrackSettings, grid: Grid) -> list[Case]:
    """A case for each cell that runs, with the seed of the search."""
    found = {}
    for case in all_cases(track, track.seeds[:1]):
        whole = case.control == "none" and case.modalities in ("none", "V&T") and case.paradigm != WARM
        if whole and not case.split and case.model in grid.models and reason_not_run(case, track) is None:
            found[cell_of(case.model_dump())] = case.model_copy(update={"seed": grid.seed})
    return list(found.values())


def _why_taken(case: Case, track: TrackSettings) -> str | None:
    return next((rule.why for rule in track.not_searched if rule.fits(case.model_dump())), None)


def _cell(case: Case, track: TrackSettings, grid: Grid) -> Cell:
    own = grid.model(case.model)
    check_names(own, case.model, f"grid {grid.name!r}, model {case.model!r}")
    space = own.live(track.models.get(case.model))
    assert grid.trials is not None
    points = balanced_points(space, grid.trials, grid.seed)
    identity = digest({"declared": declared_digest(track, case.model_dump()), "seed": grid.seed, "fixed": own.fixed})
    return Cell(case, space, own.fixed, tuple(points), identity)


def fields_of(place: tuple[str, ...]) -> dict[str, str]:
    """The fields of a cell by name."""
    return dict(zip(CELL, place, strict=True))
