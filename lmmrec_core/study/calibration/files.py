"""What a calibration leaves: a file per part with one JSON line a world, kept in git, and who made which line.

A line carries a digest of itself and a short provenance (commit, whether the code differed from it, time); machine and
versions stand once for many lines, in ``environments.json``. A file is written anew with each world, whole or not at
all, so a kill at any moment loses only the worlds under way.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lmmrec_core.digests import canonical_json, digest
from lmmrec_core.disk import write_file
from lmmrec_core.errors import ResultError
from lmmrec_core.results.plain import plain_values
from lmmrec_core.results.provenance import Code, provenance

FOLDER = "calibration"
_ENVIRONMENTS = "environments.json"
Line = dict[str, Any]


def part_path(results: Path, part: str) -> Path:
    """The file of a part with worlds."""
    return results / FOLDER / f"{part}.jsonl"


def read_lines(path: Path) -> list[Line]:
    """The lines of a part in the order of the file; none if it does not exist.

    Raises ResultError naming a damaged line and the cure.
    """
    if not path.is_file():
        return []
    lines = []
    for number, content in enumerate(path.read_bytes().removesuffix(b"\n").split(b"\n"), start=1):
        try:
            line = json.loads(content)
        except (ValueError, RecursionError):
            line = None
        if not isinstance(line, dict) or line.get("digest") != _seal(line):
            raise ResultError(
                f"{path}, line {number}: damaged; remove the line and run `lmmrec calibrate` again, or restore it"
            )
        lines.append(line)
    return lines


def add_line(path: Path, line: Mapping[str, Any], started: Code) -> None:
    """Add a world's line, in the place of an older one of the same world. ``started``: the code when work began.

    Raises ResultError when the disk is full or not writable, or a value is not finite.
    """
    made = provenance(started=started)
    environment = keep_environment(path.parent, {name: made[name] for name in ("versions", "machine")})
    short = {name: made[name] for name in ("commit", "dirty", "time")}
    new = {**plain_values(line, "calibration"), "provenance": {**short, "environment": environment}}
    kept = [old for old in read_lines(path) if old["world"] != new["world"]]
    _write(path, [*kept, {**new, "digest": _seal(new)}])


def _write(path: Path, lines: Iterable[Line]) -> None:
    ordered = sorted(lines, key=lambda line: str(line["world"]))
    write_file(path, "".join(f"{canonical_json(line)}\n" for line in ordered))


def keep_environment(folder: Path, environment: Mapping[str, Any]) -> str:
    """Keep machine and versions in ``folder``, once; returns the short name by which lines refer to them."""
    path, key = folder / _ENVIRONMENTS, digest(environment, 8)
    known = read_environments(folder)
    if key not in known:
        write_file(path, json.dumps({**known, key: dict(environment)}, indent=1, ensure_ascii=False) + "\n")
    return key


def read_environments(folder: Path) -> dict[str, Any]:
    """Machines and versions by name, which is their digest. Raises ResultError for a damaged file."""
    path = folder / _ENVIRONMENTS
    if not path.is_file():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # neither UTF-8 nor JSON
        raise ResultError(f"{path}: damaged ({error}); restore it from version control") from None
    if not isinstance(known, dict) or any(digest(entry, 8) != name for name, entry in known.items()):
        raise ResultError(f"{path}: damaged (an entry does not have its name as digest); restore it")
    return known


def _seal(line: Mapping[str, Any]) -> str:
    return digest({name: value for name, value in line.items() if name != "digest"})
