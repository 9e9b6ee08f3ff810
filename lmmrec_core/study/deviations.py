"""Where a track's settings of a model differ from those of the released code, and why.

The released values are those of the published grids (``grids/mmrec.yaml``; MMGCL, which is not in that toolbox, from
``grids/release.yaml``): fixed ones, and lists that were searched. What a grid does not name has the default of the
model's class in reference mode. How long a training lasts is the same for all models, so its rows name several models.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from lmmrec_core.config import Settings
from lmmrec_core.errors import ConfigError
from lmmrec_core.names import SEEDLESS_MODELS
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.report.labels import model_name
from lmmrec_core.study.cases import ordered_models
from lmmrec_core.study.declared.settings import resolve
from lmmrec_core.study.search.grids import ModelGrid, read_grid
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.pace import PACE_UNITS

_TRAINING = ("learning_rate", "batch_size", "weight_decay", "lr_decay", "lr_decay_epochs")
_PACE = {  # settings of how long a training lasts, in either unit, with what stands behind a value
    "epochs": "epochs", "steps": "steps", "evaluate_every": "epochs", "evaluate_steps": "steps",
    "patience": "validations", "patience_steps": "steps", "stop_rounding": "decimals",
}  # fmt: skip
_RELEASED_DISTANCE = 1  # the released loops validate after every epoch; no grid names it
_FOLLOWS_TRAINING = ("batch_size",)  # LATTICE repeats it among its own settings
_EFFECTIVE = {  # switches that are None follow the mode; the property that says what then holds
    "stale_eval": "stale", "rank_by": "squashed", "regulariser": "squared", "trained_ids": "trains_ids",
    "clip_negatives": "clipped", "trainable_features": "trains_features",
}  # fmt: skip
RELEASED = {"normalise_features": False, "trainable_features": True}  # whatever the classes here have as default
NO_EFFECT = {  # the channels always have unit rows and no regulariser, see ``recommenders/channels.py``
    "mmgcl": ("normalise_features", "regulariser", "reg_weight"),
    "slmrec": ("normalise_features", "regulariser", "reg_weight"),
}
_WORDS = {
    "rank_by": {True: "sigmoid", False: "score"},
    "regulariser": {True: "squared", False: "norm"},
}
WHY = {
    "stale_eval": "the released code ranks with vectors from before the epoch's last step, not with the model it keeps",
    "rank_by": "in single precision the sigmoid ties the best items of a user",
    "normalise_features": "with raw rows the length of an encoder's vectors decides, not what they say",
    "trainable_features": "free copies of the features would be another model than the one that trains the encoder",
    "embedding_dim": "narrower, so that the synthetic data takes minutes",
    "visual_width": "narrower, so that the synthetic data takes minutes",
    "textual_width": "narrower, so that the synthetic data takes minutes",
    "batch_size": "fewer rows a step, so that small data has enough steps in an epoch",
    "learning_rate": "chosen for the size of the data",
    "reg_weight": "the track's own choice, marked in its file",
    "ssl_temp": "chosen on validation",
    "ssl_alpha": "chosen on validation",
    "dropout": "chosen on validation",
    "weight_decay": "chosen on validation",
    "clip_negatives": "else an item whose similarities sum to less than zero ends the training in NaN",
    "lr_decay": "the track keeps the learning rate constant",
    "mode": "the method as its publication describes it",
    "steps": "counted in steps, the same on every track: an epoch is a handful on small data, hundreds on large",
    "evaluate_steps": "about an epoch of Amazon Baby, which has 58 steps, on data of any size",
    "patience_steps": "as many steps as the toolbox waits for on Amazon Baby, on data of any size",
    "stop_rounding": "rounded to four decimals, a gain below 0.0001 counts as none and training stops earlier",
}
WHY_IN = {  # (track, model, setting) → a reason that holds there alone
    ("films", "freedom", "reg_weight"): (
        "best of three on validation under an earlier protocol, with raw rows and a patience in epochs"
    ),
}
SEARCHED_WHY = "searched for each data set, encoder and paradigm with an equal budget"
ALL_MODELS = "all"
DEVIATION_COLUMNS = ("model", "setting", "released", "here", "why")


def deviations(workspace: Workspace) -> pd.DataFrame:
    """One row per setting of a track's model that is not a released one; columns :data:`DEVIATION_COLUMNS`.

    Rows of the pace come first. Those that are the same for several models are one row that names them, or ``"all"``.
    Models without a published grid (closed forms, those of other packages) have no rows. Raises ConfigError for
    settings that the model does not have.
    """
    rows, paces = [], dict[tuple[str, str, str, str], list[str]]()
    compared = 0
    for model in ordered_models(workspace.track.models):
        grid = _grid_of(model)
        if grid is not None and model not in SEEDLESS_MODELS:
            compared += 1
            rows += [(model_name(model), *row) for row in _of_model(workspace, model, grid)]
            for row in _of_pace(workspace, model, grid):
                paces.setdefault(row, []).append(model_name(model))
    common = [
        (ALL_MODELS if len(models) == compared else ", ".join(models), *row)
        for row, models in sorted(paces.items(), key=lambda entry: list(_PACE).index(entry[0][0]))
    ]
    return pd.DataFrame([*common, *rows], columns=list(DEVIATION_COLUMNS))


def _grid_of(model: str) -> ModelGrid | None:
    """The published grid of a model, with what its file fixes for all models."""
    for name in ("mmrec", "release"):
        grid = read_grid(name)
        if model in grid.models:
            return grid.model(model)
    return None


def _of_pace(workspace: Workspace, model: str, grid: ModelGrid) -> Iterator[tuple[str, str, str, str]]:
    """The pace of a model's training where it is not the released one."""
    _, training = resolve(workspace, model)
    of_toolbox = {"evaluate_every": _RELEASED_DISTANCE, **read_grid("mmrec").fixed}  # holds where a track says nothing
    released = {**of_toolbox, **grid.fixed}
    for usual, in_steps in PACE_UNITS.items():
        if (steps := getattr(training, in_steps)) is not None:
            name, here = in_steps, steps
        else:
            given = getattr(training, usual)
            name, here = usual, of_toolbox[usual] if given is None else given
        if name == in_steps or here != released[usual]:
            yield name, _amount(released[usual], _PACE[usual]), _amount(here, _PACE[name]), _why(workspace, model, name)
    if training.stop_rounding != released["stop_rounding"]:
        here = "unrounded" if training.stop_rounding is None else _amount(training.stop_rounding, "decimals")
        yield (
            "stop_rounding",
            _amount(released["stop_rounding"], "decimals"),
            here,
            _why(workspace, model, "stop_rounding"),
        )


def _amount(number: int, unit: str) -> str:
    return f"{number:,} {unit if number != 1 else unit.removesuffix('s')}"


def _of_model(workspace: Workspace, model: str, grid: ModelGrid) -> Iterator[tuple[str, str, str, str]]:
    settings, training = resolve(workspace, model)
    cls = RECOMMENDERS[model].Settings
    try:
        default: Settings = cls()
    except ValueError as error:
        raise ConfigError(f"model {model!r}: its settings have no defaults to compare with ({error})") from None
    own = [name for name in cls.model_fields if name not in (*_FOLLOWS_TRAINING, *NO_EFFECT.get(model, ()))]
    found = _searched_values(workspace, model)
    values = [(name, _value(settings, name), RELEASED.get(name, _value(default, name))) for name in own]
    values += [(name, getattr(training, name), type(training).model_fields[name].default) for name in _TRAINING]
    for name, here, usual in values:
        if name in grid.no_effect or (name == "lr_decay_epochs" and training.lr_decay == 1.0):
            continue
        released = grid.search.get(name, (grid.fixed.get(name, usual),))
        if name in found:
            if set(found[name]) - set(released):
                shown = " or ".join(_word(name, value) for value in released)
                yield name, shown, " or ".join(_word(name, value) for value in found[name]), SEARCHED_WHY
            continue
        if here not in released:
            shown = " or ".join(_word(name, value) for value in released)
            yield name, shown, _word(name, here), _why(workspace, model, name)


def _why(workspace: Workspace, model: str, name: str) -> str:
    return WHY_IN.get((workspace.track.name, model, name)) or WHY.get(name, "set by the track")


def _searched_values(workspace: Workspace, model: str) -> dict[str, list[Any]]:
    """Setting → its values in the cells of a model, in order, where a search chose it for any of them."""
    cells = [cell for cell in workspace.track.searched if cell.model == model]
    return {
        name: sorted({cell.settings[name] for cell in cells if name in cell.settings})
        for name in dict.fromkeys(name for cell in cells for name in cell.settings)
    }


def _value(settings: Settings, name: str) -> Any:
    return getattr(settings, _EFFECTIVE.get(name, name))


def _word(name: str, value: Any) -> str:
    value = _WORDS.get(name, {}).get(value, value)
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
