"""Parts that are computed in one go: a CSV with one line a test, and in ``provenance.json`` who made it, from what."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from lmmrec_core import significance
from lmmrec_core.digests import bytes_sha256, files_digest
from lmmrec_core.disk import CURE, read_sealed, write_file, write_sealed
from lmmrec_core.errors import ResultError
from lmmrec_core.results.provenance import CodeState, allows_uncommitted, code_state, code_state_now, provenance
from lmmrec_core.study.calibration.files import FOLDER, keep_environment

_PROVENANCE = "provenance.json"


@dataclass(frozen=True, eq=False)
class Listing:
    """A stored CSV and where it comes from."""

    rows: pd.DataFrame
    made: Mapping[str, Any]  # commit, dirty, time, environment, made_from, sha256

    @property
    def uncommitted(self) -> bool:
        """Whether it was made by code that nobody else has."""
        return code_state(self.made) == "uncommitted"


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


def up_to_date(results: Path, name: str, made_from: str) -> Listing | None:
    """The stored listing if it is whole, of the same inputs, and nobody need make it again; else None."""
    try:
        before = read_listing(results, name)
    except ResultError:  # damaged: all of it can be computed again
        return None
    if before is None or before.made["made_from"] != made_from:
        return None
    late = before.uncommitted and not allows_uncommitted() and code_state_now() == "committed"
    return None if late else before


def code_of_tests() -> str:
    """Digest of the code that tests: another test makes listings of its outcomes anew."""
    folder = Path(significance.__file__).parent
    return files_digest(folder.glob("*.py"), folder)


def listings(results: Path, part: str) -> dict[str, Listing]:
    """The listings of a part by track: those named ``<part>-<track>``."""
    found = {}
    for path in sorted((results / FOLDER).glob(f"{part}-*.csv")):
        listing = read_listing(results, path.stem)
        if listing is not None:
            found[path.stem.removeprefix(f"{part}-")] = listing
    return found


def write_listing(results: Path, name: str, rows: pd.DataFrame, made_from: str, started: CodeState) -> None:
    """Store a listing in the place of an older one. ``made_from``: a digest of its inputs; ``started``: the code then.

    Raises ResultError when the disk is full or not writable.
    """
    content = rows.to_csv(index=False, lineterminator="\n").encode()
    made = provenance(started=started)
    environment = keep_environment(results / FOLDER, {part: made[part] for part in ("versions", "machine")})
    entry = {
        **{part: made[part] for part in ("commit", "dirty", "time")}, "environment": environment,
        "made_from": made_from, "sha256": bytes_sha256(content),
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
