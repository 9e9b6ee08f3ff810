"""Weights that we trained: one safetensors file whose header says what they are and how they came to be."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from lmmrec_core.digests import digest
from lmmrec_core.disk import write_file
from lmmrec_core.encoders.weights import load_strictly, state_digest, tensors_digest
from lmmrec_core.errors import FeatureError

_HEADER = "lmmrec"  # the entry of a file's header that holds the note
_CURE = "train the encoder and save it again (if the file is in the cache: delete it and run the same command again)"


@dataclass(frozen=True)
class SavedNote:
    """What a file of weights says about itself, in plain JSON values."""

    encoder: str  # its name
    version: int  # of the encoder's code: other code gives other vectors from the same weights
    stage: str  # "pt", "ft" or "ete"
    training: Mapping[str, Any]  # how the weights were trained here
    settings: Mapping[str, Any] = field(default_factory=dict)  # what fixes the network and the meaning of its inputs
    source: Mapping[str, Any] = field(default_factory=dict)  # where the weights were before that
    more: Mapping[str, Any] = field(default_factory=dict)  # what only this kind of encoder needs
    state_sha256: str = ""  # digest of the weights; :func:`write_saved` sets it
    seal: str = ""  # digest of all other fields, set there too; files of earlier versions have none

    def check(self, path: Path, encoder: str, version: int) -> None:
        """Raises FeatureError unless ``path``, the file of this note, holds weights of this encoder and version."""
        if (self.encoder, self.version) != (encoder, version):
            raise FeatureError(
                f"{path}: weights of {self.encoder} version {self.version}, expected {encoder} version {version}; "
                f"name {self.encoder} as the encoder, or {_CURE}"
            )


def write_saved(path: Path, module: nn.Module, note: SavedNote) -> None:
    """Write the state of ``module`` and ``note`` to ``path``, whole or not at all.

    Raises FeatureError when the file cannot be written, and for a module with low-rank factors: no plain module
    could load such a state.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    if any(".parametrizations." in key for key in state):
        raise FeatureError(
            f"encoder {note.encoder!r} has low-rank factors, which no plain module could load; save it without them"
        )
    whole = {**asdict(note), "state_sha256": state_digest(module)}
    whole["seal"] = _seal(whole)
    write_file(path, save(state, {_HEADER: json.dumps(whole, sort_keys=True, ensure_ascii=False)}), FeatureError)


def read_note(path: Path) -> SavedNote | None:
    """The note in a file that :func:`write_saved` wrote; None for any other file of weights, or no file at all.

    Raises FeatureError for a damaged file, and for a note of an earlier version of this package.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            written = (file.metadata() or {}).get(_HEADER)
    except SafetensorError as error:
        if path.suffix != ".safetensors":  # weights from elsewhere come in other formats too
            return None
        raise FeatureError(f"{path}: not a file of tensors ({error}); save the weights as safetensors") from None
    if written is None:
        return None
    try:
        note: SavedNote | None = SavedNote(**json.loads(written))
    except (ValueError, TypeError, RecursionError):
        note = None
    if note is None or not note.state_sha256:
        raise FeatureError(f"{path}: its note is incomplete or of an earlier version of lmmrec_core; {_CURE}")
    if note.seal and note.seal != _seal(asdict(note)):
        raise FeatureError(f"{path}: damaged (its note does not match its digest); {_CURE}")
    return note


def _seal(note: Mapping[str, Any]) -> str:
    return digest({name: value for name, value in note.items() if name != "seal"}, 64)


def read_saved(path: Path, encoder: str, version: int) -> SavedNote:
    """The note of the weights that ``encoder`` saved in ``path``.

    Raises FeatureError for a file that is absent, damaged, not written here, or of another encoder or version.
    """
    note = read_note(path)
    if note is None:
        if not path.exists():
            raise FeatureError(f"{path}: no such weights; train and save encoder {encoder!r} first")
        raise FeatureError(
            f"{path}: not weights that encoder {encoder!r} saved; {_CURE}, "
            "or name weights from elsewhere in the encoder's settings"
        )
    note.check(path, encoder, version)
    return note


def check_saved(path: Path) -> SavedNote:
    """The note of a file that :func:`write_saved` wrote, if the file is still what was written.

    Raises FeatureError for any other file.
    """
    if (note := read_note(path)) is None:
        raise FeatureError(f"{path}: damaged (it has no note); {_CURE}")
    try:
        found = tensors_digest(load_file(path))
    except (SafetensorError, OSError) as error:
        raise FeatureError(f"{path}: damaged ({error}); {_CURE}") from None
    if found != note.state_sha256:
        raise FeatureError(f"{path}: damaged (the weights are not the ones saved); {_CURE}")
    return note


def restore(module: nn.Module, path: Path, note: SavedNote) -> None:
    """Load the weights of ``path``, the file of ``note``, into ``module``; leaves it in evaluation mode.

    Raises FeatureError for weights that do not fit ``module`` to the last key, or are not the ones saved.
    """
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise FeatureError(f"{path}: damaged ({error}); {_CURE}") from None
    load_strictly(module, weights, path)
    if state_digest(module) != note.state_sha256:
        raise FeatureError(f"{path}: damaged (the weights are not the ones saved); {_CURE}")
    module.eval()
