"""What lies beside weights that were made here: by which recipe and which code, so that they are used or made again."""

import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from lmmrec_core.disk import CURE, read_sealed, write_sealed
from lmmrec_core.encoders.saved import check_saved
from lmmrec_core.errors import FeatureError
from lmmrec_core.results.provenance import Code, allows_uncommitted, code_state, code_state_now, provenance
from lmmrec_core.study.weights.records import read_encoder_records, write_encoder_record
from lmmrec_core.study.workspace import Workspace


def is_made(path: Path) -> bool:
    """Whether weights are there that nobody need make again, by the rule that results have.

    Damaged ones are moved aside (``.damaged``) with a warning that names them, and are to be made again.
    """
    if not path.is_file():
        return False
    try:
        made = _checked_note(path, _state(path), _state(_note_of(path)))
    except FeatureError as error:
        aside = path.with_suffix(".damaged")
        warnings.warn(f"{error} (done: moved to {aside.name}, made again)", stacklevel=2)
        with suppress(FileNotFoundError):  # another process has noticed too
            path.replace(aside)
        return False
    suspect = code_state(made.get("provenance") or {}) == "uncommitted"
    return not suspect or allows_uncommitted() or code_state_now() != "committed"


def publish_weights(
    workspace: Workspace, path: Path, name: str, paradigm: str, dataset: str | None, seed: int | None
) -> None:
    """Write the record beside the results of this working copy, from the note kept with the weights."""
    if not _note_of(path).is_file():
        return
    record = _read_note(path)
    weights, made = record.pop("weights"), record.pop("provenance", None)
    if made is None:  # a note of an older version, which does not say which code made the weights
        made = {**provenance(), "commit": None, "dirty": None}
    made["time"] = provenance()["time"]  # of the record: the newest counts, so weights in use again are written again
    mine = (dataset, name, paradigm, seed)
    stored = [
        r
        for r in read_encoder_records(workspace.track, workspace.results)
        if (r["dataset"], r["encoder"], r["stage"], r.get("seed")) == mine
    ]
    redone = bool(stored) and code_state(stored[0]["provenance"]) == "uncommitted" != code_state(made)
    if not stored or stored[0]["weights"] != weights or redone:
        track_name = workspace.track.name
        write_encoder_record(workspace.results, track_name, dataset, name, paradigm, weights, record, seed, made)


def write_weights_note(path: Path, record: Mapping[str, Any], device: str, started: Code) -> None:
    """Keep with weights how they were made, and by which code; before the weights, so that none lack it."""
    write_sealed(_note_of(path), {"made": {**record, "provenance": provenance(device, started)}}, FeatureError)


@lru_cache(maxsize=64)  # every case asks
def _checked_note(path: Path, *states: tuple[int, int]) -> dict[str, Any]:
    """The note beside weights; ``states`` tell one content of the two files from another.

    Raises FeatureError unless both files are what was written, and the note is of these weights.
    """
    saved, note = check_saved(path), _read_note(path)
    if note and note["weights"] != saved.state_sha256:
        raise FeatureError(f"{path}: not the weights that {_note_of(path).name} tells of")
    return note


def _state(file: Path) -> tuple[int, int]:
    return (file.stat().st_mtime_ns, file.stat().st_size) if file.is_file() else (0, 0)


def _read_note(path: Path) -> dict[str, Any]:
    """The note kept with weights; empty if there is none. Raises FeatureError for a damaged one."""
    file = _note_of(path)
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FeatureError(f"{file}: damaged ({error}); {CURE}") from None
    if isinstance(content, dict) and "weights" in content:  # of an earlier version, without a digest
        return content
    return dict(read_sealed(file, FeatureError)["made"])


def _note_of(path: Path) -> Path:
    return path.with_suffix(".json")
