"""Parts that are computed in one go: a CSV with one line a test, and in ``provenance.json`` who made it, from what.

A listing is *outdated* when it would be made from something else now: other code, settings or runs. Each of these has a
digest of its own, so that what can be compared is compared also where the rest is not at hand.
"""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from lmmrec_core import significance
from lmmrec_core.digests import bytes_sha256, digest
from lmmrec_core.disk import CURE, read_sealed, write_file, write_sealed
from lmmrec_core.errors import ResultError
from lmmrec_core.results.provenance import Code, allows_uncommitted, code_state, code_state_now, provenance
from lmmrec_core.study.calibration.files import FOLDER, keep_environment

_PROVENANCE = "provenance.json"
_PACKAGE = Path(significance.__file__).parents[1]
MadeFrom = Mapping[str, str]  # what a listing is made from, by name → its digest


@dataclass(frozen=True, eq=False)
class Listing:
    """A stored CSV and where it comes from."""

    rows: pd.DataFrame
    made: Mapping[str, Any]  # commit, dirty, time, environment, made_from (MadeFrom), sha256

    @property
    def uncommitted(self) -> bool:
        """Whether it was made by code that nobody else has."""
        return code_state(self.made) == "uncommitted"

    def differs_in(self, made_from: MadeFrom) -> tuple[str, ...]:
        """The names of what it would not be made from now, among those that ``made_from`` knows."""
        before = self.made["made_from"]
        before = before if isinstance(before, dict) else {}  # the first listings had one digest of all together
        return tuple(name for name, now in made_from.items() if before.get(name) != now)


def read_listing(results: Path, name: str) -> Listing | None:
    """The listing ``name``, None if it was never made. Raises ResultError for a damaged one, with the cure."""
    path = _path(results, name)
    if not path.is_file():
        return None
    content, made = path.read_bytes(), _made(results).get(name)
    if made is None or made["sha256"] != bytes_sha256(content):
        raise ResultError(f"{path}: damaged (its content does not match {_PROVENANCE}); {CURE}")
    frame = pd.read_csv(StringIO(content.decode()), keep_default_na=False, na_values=[""])
    return Listing(frame, made)


def up_to_date(results: Path, name: str, made_from: MadeFrom) -> Listing | None:
    """The stored listing if it is whole, of the same inputs, and nobody need make it again; else None."""
    try:
        before = read_listing(results, name)
    except ResultError:  # damaged: all of it can be computed again
        return None
    if before is None or before.differs_in(made_from):
        return None
    late = before.uncommitted and not allows_uncommitted() and code_state_now() == "committed"
    return None if late else before


def code_of_tests(*further: str) -> str:
    """Digest of the code that tests (all of ``significance``) and of ``further`` files, named as in the package."""
    return digest({path: _deeds(_PACKAGE / path) for path in sorted([*_tests(), *further])})


def _tests() -> Iterable[str]:
    return (path.relative_to(_PACKAGE).as_posix() for path in (_PACKAGE / "significance").glob("*.py"))


@cache
def _deeds(path: Path) -> str:
    """Digest of what a module does: the same after comments, layout or docstrings have changed."""
    return digest(_plain(ast.parse(path.read_text(encoding="utf-8"))))


def _plain(node: Any) -> Any:
    """A syntax tree as lists, without what is empty: which empty fields there are differs between Pythons."""
    if isinstance(node, list):
        return [_plain(one) for one in node if not _is_prose(one)]
    if isinstance(node, ast.AST):
        fields = ((name, _plain(value)) for name, value in ast.iter_fields(node) if value not in (None, []))
        return [type(node).__name__, dict(fields)]
    return repr(node)


def _is_prose(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def listings(results: Path, part: str) -> dict[str, Listing]:
    """The listings of a part by track: those named ``<part>-<track>``."""
    found = {}
    for path in sorted((results / FOLDER).glob(f"{part}-*.csv")):
        listing = read_listing(results, path.stem)
        if listing is not None:
            found[path.stem.removeprefix(f"{part}-")] = listing
    return found


def write_listing(results: Path, name: str, rows: pd.DataFrame, made_from: MadeFrom, started: Code) -> None:
    """Store a listing in the place of an older one. ``started``: the state of the code when work began.

    Raises ResultError when the disk is full or not writable.
    """
    content = rows.to_csv(index=False, lineterminator="\n").encode()
    made = provenance(started=started)
    environment = keep_environment(results / FOLDER, {part: made[part] for part in ("versions", "machine")})
    entry = {
        **{part: made[part] for part in ("commit", "dirty", "time")}, "environment": environment,
        "made_from": dict(made_from), "sha256": bytes_sha256(content),
    }  # fmt: skip
    # the CSV last: a kill between the two leaves one that does not match, which is made again
    write_sealed(results / FOLDER / _PROVENANCE, {**_made(results), name: entry})
    write_file(_path(results, name), content)


def _path(results: Path, name: str) -> Path:
    return results / FOLDER / f"{name}.csv"


def _made(results: Path) -> dict[str, Any]:
    path = results / FOLDER / _PROVENANCE
    if not path.is_file():
        return {}
    return {name: entry for name, entry in read_sealed(path).items() if name != "digest"}
