"""Where a track's settings of a model differ from those of the released code, and why.

The released values are those of the published grids (``grids/mmrec.yaml``; MMGCL, which is not in that toolbox, from
``grids/release.yaml``): fixed ones, and lists that were searched. What a grid does not name has the default of the
model's class in reference mode. How long a training lasts is one protocol for all models and is not listed.
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
from lmmrec_core.study.run import resolve
from lmmrec_core.study.search.grids import ModelGrid, read_grid
from lmmrec_core.study.workspace import Workspace

_TRAINING = ("learning_rate", "batch_size", "weight_decay", "lr_decay", "lr_decay_epochs")
_FOLLOWS_TRAINING = ("batch_size",)  # LATTICE repeats it among its own settings
_EFFECTIVE = {  # switches that are None follow the mode; the property that says what then holds
    "stale_eval": "stale", "rank_by": "squashed", "regulariser": "squared", "trained_ids": "trains_ids",
    "clip_negatives": "clipped",
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
    "reg_weight": "chosen for the size of the data",
    "ssl_temp": "chosen on validation",
    "ssl_alpha": "chosen on validation",
    "dropout": "chosen on validation",
    "weight_decay": "chosen on validation",
    "lr_decay": "the track keeps the learning rate constant",
    "mode": "the method as its publication describes it",
}
SEARCHED_WHY = "searched for each data set, encoder and paradigm with an equal budget"
DEVIATION_COLUMNS = ("model", "setting", "released", "here", "why")


def deviations(workspace: Workspace) -> pd.DataFrame:
    """One row per setting of a track's model that is not a released one; columns :data:`DEVIATION_COLUMNS`.

    Models without a published grid (closed forms, those of other packages) have no rows. Raises ConfigError for
    settings that the model does not have.
    """
    rows = []
    for model in ordered_models(workspace.track.models):
        grid = _grid_of(model)
        if grid is not None and model not in SEEDLESS_MODELS:
            rows += [(model_name(model), *row) for row in _of_model(workspace, model, grid)]
    return pd.DataFrame(rows, columns=list(DEVIATION_COLUMNS))


def _grid_of(model: str) -> ModelGrid | None:
    for name in ("mmrec", "release"):
        if (found := read_grid(name).models.get(model)) is not None:
            return found
    return None


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
            yield name, shown, _word(name, here), WHY.get(name, "set by the track")


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
