"""Checkpoints: everything needed to go on bit for bit, written whole or not at all."""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lmmrec_core.disk import whole_file
from lmmrec_core.errors import TrainingError

SCHEMA = 1


def save(path: Path, identity: str, state: Mapping[str, Any]) -> None:
    """Write ``state`` to ``path``, whole or not at all. Raises TrainingError where that cannot be written."""
    with whole_file(path, TrainingError) as partial, partial.open("wb") as file:
        torch.save({"schema": SCHEMA, "identity": identity, "state": dict(state)}, file)


def load(path: Path, identity: str) -> dict[str, Any] | None:
    """The state saved at ``path``, or None where there is nothing usable.

    A damaged file is reported by a warning and ignored, so that training starts over. Only tensors and plain
    values are read (``weights_only``). Raises TrainingError when the checkpoint belongs to another run.
    """
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        saved, state = content["identity"], content["state"]
        if content["schema"] != SCHEMA or not isinstance(state, dict):
            raise KeyError("schema")
    except (
        OSError,
        EOFError,
        RuntimeError,
        KeyError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        warnings.warn(
            f"{path}: the checkpoint cannot be read ({type(error).__name__}); it is ignored and training starts over",
            stacklevel=2,
        )
        return None
    if saved != identity:
        raise TrainingError(
            f"{path}: the checkpoint belongs to run {saved!r}, not to {identity!r}; delete it or choose another path"
        )
    return state
