"""Hyper-parameter grids as data: read ``grids/*.yaml``, check them against the models, count their points.

A grid lists, per model, the values that a search may choose. Published grids and ours have the same form, so that
"how much was each model searched" is a number computed from the files.
"""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field, field_validator, model_validator

from lmmrec_core.config import Settings, read_yaml
from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.names import GRIDS

_FOLDER = Path(__file__).resolve().parents[2] / "grids"

Choice = bool | int | float | str | None
Point = dict[str, Any]  # setting → the value tried


class ModelGrid(Settings):
    """What is searched for one model, and what stays.

    Searched names and names in ``fixed`` are settings of the model or of its training, as after ``--set``.
    ``no_effect`` names searched settings that the released code never uses: varying them repeats the same
    training. They do act where a setting has its value in ``acts_when``.
    """

    search: dict[str, tuple[Choice, ...]] = Field(min_length=1)
    fixed: dict[str, Any] = Field(default_factory=dict)
    no_effect: tuple[str, ...] = ()
    acts_when: dict[str, Any] = Field(default_factory=dict)

    @field_validator("search")
    @classmethod
    def _lists_of_distinct_values(cls, search: dict[str, tuple[Choice, ...]]) -> dict[str, tuple[Choice, ...]]:
        for name, choices in search.items():
            if not choices:
                raise ValueError(f"{name} lists no value; give at least one")
            if len(set(choices)) != len(choices):
                raise ValueError(f"{name} lists a value twice; a repeated value is not a further point")
            for choice in choices:
                if isinstance(choice, str) and _reads_as_number(choice):
                    raise ValueError(f"{name} lists {choice!r} as text (YAML reads 1e-3 so); write 0.001")
        return search

    @model_validator(mode="after")
    def _names_in_their_place(self) -> "ModelGrid":
        for name in self.no_effect:
            if name not in self.search:
                raise ValueError(f"no_effect names {name!r}, which is not searched")
        if both := sorted(set(self.search) & set(self.fixed)):
            raise ValueError(f"{both[0]!r} is both searched and fixed; keep one")
        return self

    def live(self, settings: Mapping[str, Any] | None = None) -> dict[str, tuple[Choice, ...]]:
        """The searched settings that change the training, for a model with these ``settings`` (None: as released)."""
        acts = any((settings or {}).get(name) == value for name, value in self.acts_when.items())
        return {name: choices for name, choices in self.search.items() if acts or name not in self.no_effect}

    @property
    def points(self) -> int:
        """Number of combinations, as a grid search counts them."""
        return math.prod(map(len, self.search.values()))

    def distinct(self, settings: Mapping[str, Any] | None = None) -> tuple[Point, ...]:
        """The different trainings among them, the last setting varying fastest."""
        return combinations(self.live(settings))


class Grid(Settings):
    """One file of grids. ``fixed`` holds training settings of all its models; a model's own go before.

    ``trials`` is the number of trainings each model gets, None for every distinct point. ``end_to_end`` are the
    grids a release has for the end-to-end variants of its models; they are counted, the search uses ``models``.
    ``seed`` and ``split_seed`` are those of a search over a whole track (``cells.py``).
    """

    name: str
    source: str
    trials: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    split_seed: int | None = Field(None, ge=0)
    fixed: dict[str, Any] = Field(default_factory=dict)
    models: dict[str, ModelGrid]
    end_to_end: dict[str, ModelGrid] = Field(default_factory=dict)

    def model(self, name: str) -> ModelGrid:
        """The grid of a model with the file's fixed settings filled in.

        Raises ConfigError with the nearest name for a model the grid does not have.
        """
        if name not in self.models:
            raise unknown("model", name, self.models, f"grid {self.name!r}")
        own = self.models[name]
        shared = {key: value for key, value in self.fixed.items() if key not in own.search}
        return own.model_copy(update={"fixed": {**shared, **own.fixed}})


def read_grid(name: str) -> Grid:
    """Read and check ``grids/<name>.yaml``. Raises ConfigError naming the file and the setting."""
    path = _FOLDER / f"{name}.yaml"
    if name not in GRIDS or not path.is_file():
        raise unknown("grid", name, GRIDS)
    values = read_yaml(path)
    for part in ("models", "end_to_end"):  # one by one, so that a mistake is reported with its model
        if part in values:
            own = {
                model: ModelGrid.build(grid, f"{path.name}, {part}, {model}") for model, grid in values[part].items()
            }
            values[part] = own
    grid = Grid.build(values, where=path.name)
    if grid.name != name:
        raise ConfigError(f"{path.name}: name is {grid.name!r}; a grid is named after its file, write {name!r}")
    return grid


def combinations(search: Mapping[str, tuple[Choice, ...]]) -> tuple[Point, ...]:
    """Every combination of the listed values, the last name varying fastest."""
    return tuple(dict(zip(search, values, strict=True)) for values in itertools.product(*search.values()))


def grid_sizes(*names: str) -> pd.DataFrame:
    """How much each model is searched: one row per grid, variant and model.

    Columns: ``grid``, ``end_to_end`` (whether it is the grid of the end-to-end variant), ``model``, ``points``,
    ``distinct``, ``trials`` (trainings the grid asks for), ``embedding_dim`` (None where the grid leaves it open).
    """
    rows = []
    for grid in map(read_grid, names or GRIDS):
        for end_to_end, members in ((False, grid.models), (True, grid.end_to_end)):
            for model, own in members.items():
                distinct = len(own.distinct())
                rows.append(
                    {
                        "grid": grid.name,
                        "end_to_end": end_to_end,
                        "model": model,
                        "points": own.points,
                        "distinct": distinct,
                        "trials": distinct if grid.trials is None else min(grid.trials, distinct),
                        "embedding_dim": own.fixed.get("embedding_dim", grid.fixed.get("embedding_dim")),
                    }
                )
    return pd.DataFrame(rows).astype({"embedding_dim": "Int64"})


def check_names(grid: ModelGrid, model: str, where: str) -> None:
    """Refuse a grid that names a setting its model and training do not have, or a value they do not take.

    Raises ConfigError with the nearest name, for a model that is not in the package too.
    """
    from lmmrec_core.recommenders import RECOMMENDERS
    from lmmrec_core.training.loop import TrainingSettings

    if model not in RECOMMENDERS:
        raise unknown("model", model, RECOMMENDERS, where)
    classes = (TrainingSettings, RECOMMENDERS[model].Settings)
    known = {name: owner for owner in classes for name in owner.model_fields}
    for name in grid.acts_when:
        if name not in known:
            raise unknown("setting", name, known, f"{where}, acts_when")
    for name, values in [*grid.search.items(), *((name, (value,)) for name, value in grid.fixed.items())]:
        if name not in known:
            raise unknown("setting", name, known, where)
        for value in values:
            known[name].build({name: value}, where)


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
