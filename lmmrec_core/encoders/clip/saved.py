"""Files of weights that we trained: safetensors whose header says what they are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from lmmrec_core.disk import write_file
from lmmrec_core.errors import FeatureError

KEYS = frozenset({"encoder", "version", "settings", "stage", "note", "source"})


def write_saved(module: nn.Module, path: Path, note: Mapping[str, Any]) -> None:
    """The state of ``module`` with ``note`` (of :data:`KEYS`, JSON-able) in the header.

    Raises FeatureError while low-rank factors are not merged: no plain module could load such a state.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    if any(".parametrizations." in key for key in state):
        raise FeatureError(f"encoder {note['encoder']!r} has low-rank factors; call lora.merge before saving")
    write_file(path, save(state, {"lmmrec": json.dumps(dict(note), sort_keys=True, ensure_ascii=False)}), FeatureError)


def read_note(path: Path) -> dict[str, Any] | None:
    """What :func:`write_saved` wrote about a file; None for any other file. Raises FeatureError for a damaged one."""
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            note = json.loads((file.metadata() or {}).get("lmmrec", "null"))
        if note is None or set(note) >= KEYS:
            return note
    except (SafetensorError, ValueError, TypeError) as error:
        raise FeatureError(f"{path}: not a file of tensors ({error}); save the weights as safetensors") from None
    raise FeatureError(f"{path}: its note is incomplete; train and save again")
