"""JSON files beside the runs: there whole or not at all, and refused when they were changed by hand."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmmrec_core.config import digest
from lmmrec_core.errors import ResultError

CURE = "delete it and run `lmmrec reproduce` again"


def write_sealed(path: Path, record: Mapping[str, Any]) -> None:
    """Write ``record`` with a digest of itself: beside its place, flushed, renamed.

    ``record`` holds plain JSON values (:func:`~lmmrec_core.results.plain.plain`). Raises ResultError for a disk that
    is full or not writable; nothing half written stays.
    """
    text = json.dumps({**record, "digest": _seal(record)}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    partial = path.with_name(f".partial-{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise ResultError(f"{path}: could not be written ({error.strerror}); free space or permissions") from None
    finally:
        partial.unlink(missing_ok=True)


def read_sealed(path: Path) -> dict[str, Any]:
    """What :func:`write_sealed` wrote, its digest included. Raises ResultError naming a damaged file and the cure."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: neither UTF-8 nor JSON
        raise ResultError(f"{path}: damaged ({error}); {CURE}") from None
    if not isinstance(record, dict) or record.get("digest") != _seal(record):
        raise ResultError(f"{path}: damaged (its content does not match its digest); {CURE}")
    return record


def _seal(record: Mapping[str, Any]) -> str:
    return digest({name: value for name, value in record.items() if name != "digest"})
