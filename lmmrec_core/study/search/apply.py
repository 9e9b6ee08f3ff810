"""Writes what a search found beside the track: ``tracks/searched/<track>.yaml``, from the stored trials alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from lmmrec_core.digests import digest
from lmmrec_core.disk import write_file
from lmmrec_core.errors import ConfigError
from lmmrec_core.names import TRACKS
from lmmrec_core.results.provenance import ALLOW, allows_uncommitted
from lmmrec_core.study.declared.searched import SEARCHED, SearchedCell
from lmmrec_core.study.search.cells import cells_of, cells_taken, fields_of
from lmmrec_core.study.search.grids import Grid
from lmmrec_core.study.search.record import CellTrials, read_trials, require_worked
from lmmrec_core.study.track import TrackSettings

_HEADER = """\
# Settings that a search found. Written by `lmmrec search --apply --track {track}` from the trials in
# results/{track}/search, whose digest is `trials`; not to be edited. Each cell has the point with the highest
# validation Recall@20, on a split and with a seed that no reported run uses. `edge`: the best value is the last of its
# range, which was widened once.
"""


@dataclass(frozen=True)
class Applied:
    """What would be, or was, written: the file's text, and the models whose cells are not all searched, with why."""

    text: str
    cells: tuple[SearchedCell, ...]
    left: Mapping[tuple[str, str], str]  # (data set, model) → why its settings stay those of the track


def searched_of(track: TrackSettings, grid: Grid, results: Path) -> Applied:
    """The searched settings of a track, from the stored trials.

    Arms that are compared are searched alike: a model has searched settings on a data set only when all its cells
    there have all their trials, of committed code (or of any, where that is allowed). Raises ResultError for a damaged
    file, or for a cell of which no trial worked.
    """
    found = [read_trials(results, cell) for cell in cells_of(track, grid)]
    left: dict[tuple[str, str], str] = {}
    for one in found:
        if why := _why_not(one):
            left.setdefault((one.cell.case.dataset, one.cell.case.model), why)
    used = [one for one in found if (one.cell.case.dataset, one.cell.case.model) not in left]
    cells = {one.cell.place: _searched(one) for one in used}
    for place in cells_taken(track, grid):
        fields = fields_of(place)
        source = cells.get((*place[:3], "PT"))
        if source is not None:
            more = {"paradigm": fields["paradigm"], "taken_from": "PT"}
            cells[place] = source.model_copy(update=more)
    return Applied(_render(track.name, grid.name, used, tuple(cells.values())), tuple(cells.values()), left)


def apply_search(track: TrackSettings, grid: Grid, results: Path, folder: Path | None = None) -> Applied:
    """Write ``searched_of`` beside the track, unless the file says the same already.

    Raises ConfigError for a track that is not one of ours (put ``cells`` under ``searched`` in its file) or when no
    model was searched in full.
    """
    if track.name not in TRACKS:
        raise ConfigError(f"track {track.name!r} is not one of {', '.join(TRACKS)}; searched settings go beside those")
    applied = searched_of(track, grid, results)
    if not applied.cells:
        why = next(iter(applied.left.values()), "the grid has none of its models")
        raise ConfigError(f"track {track.name!r}: no model was searched in full ({why}); run `lmmrec search --cells`")
    path = (folder or SEARCHED) / f"{track.name}.yaml"
    if not path.is_file() or path.read_text(encoding="utf-8") != applied.text:
        write_file(path, applied.text)
    return applied


def _why_not(found: CellTrials) -> str | None:
    if not found.complete:
        return f"{found.cell.name} has {len(found.base)} of {len(found.cell.points)} trials, or lacks wider ones"
    if found.uncommitted and not allows_uncommitted():
        return f"{found.cell.name} was searched by uncommitted code; commit it and search again, or set {ALLOW}=1"
    return None


def _searched(found: CellTrials) -> SearchedCell:
    settings = require_worked(found)["settings"]
    return SearchedCell(**fields_of(found.cell.place), settings=settings, edge=found.edge)


def trials_digest(found: Sequence[CellTrials]) -> str:
    """Digest of the stored trials of some cells: of the seals of their files."""
    return digest([[list(one.cell.place), one.digest] for one in found])


def _render(track: str, grid: str, found: Sequence[CellTrials], cells: Sequence[SearchedCell]) -> str:
    lines = [f"track: {track}", f"grid: {grid}", f"trials: {json.dumps(trials_digest(found))}", "cells:"]
    for cell in cells:
        values = cell.model_dump(mode="json", exclude_defaults=True)
        flow = yaml.safe_dump(values, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
        lines.append(f"  - {flow.strip()}")
    return _HEADER.format(track=track) + "\n".join(lines) + "\n"
