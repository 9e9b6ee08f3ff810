"""Weights that we trained, as one safetensors file with a note of what they are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lmmrec_core.disk import write_file
from lmmrec_core.encoders.weights import state_digest
from lmmrec_core.errors import FeatureError

_FIELDS = ("settings", "tokeniser", "source", "absent", "stage", "training", "state_sha256")


def write_saved(path: Path, module: nn.Module, note: Mapping[str, Any]) -> None:
    """Write the state of ``module``, its digest and ``note`` (JSON-able) to ``path``; whole or not at all."""
    state = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    whole = {**note, "state_sha256": state_digest(module)}
    write_file(path, save(state, {"note": json.dumps(whole, sort_keys=True, ensure_ascii=False)}), FeatureError)


def read_saved(path: Path, name: str, version: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and note of a file that :func:`write_saved` wrote for encoder ``name``.

    Raises FeatureError for a file that is absent, damaged, of another encoder or another version.
    """
    if not path.is_file():
        raise FeatureError(f"{path}: no such weights; train and save encoder {name!r} first")
    try:
        with safe_open(path, framework="pt") as file:
            note = json.loads((file.metadata() or {})["note"])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        seen = (note["encoder"], note["version"])
        missing = [field for field in _FIELDS if field not in note]
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise FeatureError(f"{path}: not the weights of an encoder saved here ({error}); train it again") from None
    if seen != (name, version):
        raise FeatureError(
            f"{path}: weights of {seen[0]} version {seen[1]}, expected {name} version {version}; train it again"
        )
    if missing:
        raise FeatureError(f"{path}: its note lacks {', '.join(missing)}; train it again")
    return state, note
