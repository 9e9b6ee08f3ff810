"""Digests: of plain values, of bytes, of files and of folders. Equal content gives equal digests on every machine."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lmmrec_core.errors import DataError, LmmrecError

SUMS = "SHA256SUMS"  # the file in a folder with the digests of the others; `sha256sum --check` reads it


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no blanks: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any, length: int = 16) -> str:
    """First ``length`` hex digits of the SHA-256 of :func:`canonical_json`."""
    return bytes_sha256(canonical_json(value).encode())[:length]


def bytes_sha256(content: bytes) -> str:
    """SHA-256 of some bytes, as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path, error: type[LmmrecError] = DataError) -> str:
    """SHA-256 of a file's bytes. Raises ``error`` naming the file when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror}); restore it, or give another path") from None


def sums_of(folder: Path) -> str:
    """SHA-256 and name of each file below ``folder`` but :data:`SUMS`, a line each, as ``sha256sum`` writes them."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return "".join(f"{file_sha256(files[name])}  {name}\n" for name in sorted(files) if name != SUMS)


def files_digest(paths: Iterable[Path], root: Path) -> str:
    """SHA-256 over names (relative to ``root``) and contents of files, in sorted order."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(f"{path.relative_to(root).as_posix()}\0".encode())
        total.update(bytes.fromhex(file_sha256(path)))
    return total.hexdigest()
