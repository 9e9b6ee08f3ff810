"""Settings that a search found, beside a track: ``tracks/searched/<track>.yaml``, written by a command and read here.

Settings belong to a cell: one data set, model, encoder and paradigm, with both modalities. The cell's controls, and the
cell with one modality, have the same: they are compared with it. That favours the content and both modalities. A warm
start has those of ETE.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from lmmrec_core.config import Settings, read_yaml
from lmmrec_core.errors import ConfigError
from lmmrec_core.names import WARM

CELL = ("dataset", "model", "encoder", "paradigm")
SEARCHED = Path(__file__).resolve().parents[2] / "tracks" / "searched"


class SearchedCell(Settings):
    """The settings of one cell."""

    dataset: str
    model: str
    encoder: str = "none"
    paradigm: str = "none"
    settings: dict[str, Any] = Field(default_factory=dict, description="settings of the model or of its training")
    edge: tuple[str, ...] = Field((), description="settings whose best value is the last of its range")
    taken_from: str = Field("", description="the paradigm that was searched in the place of this one")
    awaited: bool = Field(False, description="not searched yet, unlike those it is compared with; it is not run before")

    @property
    def place(self) -> tuple[str, ...]:
        return cell_of({name: getattr(self, name) for name in CELL})

    @model_validator(mode="after")
    def _awaited_or_found(self) -> Self:
        if self.awaited and self.settings:
            raise ValueError("awaited says that nothing was found yet, so its settings have no effect; leave one out")
        return self


class SearchedFile(Settings):
    """One file of searched settings."""

    track: str
    grid: str
    trials: str = Field(description="digest of the stored trials that the settings come from")
    cells: tuple[SearchedCell, ...]


def cell_of(case: Mapping[str, Any]) -> tuple[str, ...]:
    """Data set, model, encoder and paradigm of a case, as searched: a warm start belongs to ETE."""
    values = {**case, "paradigm": "ETE" if case["paradigm"] == WARM else case["paradigm"]}
    return tuple(str(values[name]) for name in CELL)


def searched_settings(cells: Sequence[SearchedCell], case: Mapping[str, Any]) -> dict[str, Any]:
    """What was found for the cell of a case; empty if nothing was."""
    place = cell_of(case)
    return next((dict(cell.settings) for cell in cells if cell.place == place), {})


def awaits_search(cells: Sequence[SearchedCell], case: Mapping[str, Any]) -> bool:
    """Whether the cell of a case is not searched yet while those it is compared with are."""
    place = cell_of(case)
    return any(cell.awaited and cell.place == place for cell in cells)


def read_searched(track: str, folder: Path | None = None) -> tuple[SearchedCell, ...]:
    """The searched settings of a track, none if no search was applied. Raises ConfigError for a file that is wrong."""
    path = (folder or SEARCHED) / f"{track}.yaml"
    if not path.is_file():
        return ()
    values = read_yaml(path)
    if isinstance(values.get("cells"), list):
        values["cells"] = tuple(SearchedCell.build(cell, f"{path.name}, cells") for cell in values["cells"])
    found = SearchedFile.build(values, path.name)
    if found.track != track:
        raise ConfigError(f"{path.name}: is of track {found.track!r}; run `lmmrec search --apply --track {track}`")
    return found.cells


def without_declared(cells: Sequence[SearchedCell], own: Mapping[str, Any]) -> tuple[SearchedCell, ...]:
    """The cells that a track file of your own inherits, when it says ``own``: what a file says itself goes before.

    A data set, model or encoder that it declares anew was not searched so. Settings under ``training``, and
    ``normalise_features``, replace searched ones of that name.
    """
    anew = {
        "dataset": own.get("datasets") or {}, "model": own.get("models") or {}, "encoder": own.get("encoders") or {},
    }  # fmt: skip
    said = {*(own.get("training") or {}), *({"normalise_features"} & set(own))}
    kept = []
    for cell in cells:
        if any(getattr(cell, name) in names for name, names in anew.items()):
            continue
        settings = {name: value for name, value in cell.settings.items() if name not in said}
        kept.append(cell.model_copy(update={"settings": settings}))
    return tuple(kept)
