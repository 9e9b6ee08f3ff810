"""The pages of the book that notebooks make: which there are, and whether each is whole and up to date.

A notebook of ``notebooks/`` that declares a parameter ``track`` is executed once per track into
``book/_generated/<track>/``, or only for the tracks that its metadata name (``lmmrec: {tracks: [controls]}``). One that
does not belongs to no track and is executed once, into ``book/_generated/shared/``; a parameter ``tracks`` says that
it shows the runs of them all. A digest of all that a page depends on is kept in its metadata, so nothing runs twice for
the same inputs. File times are not asked, because a fresh clone gives every file the same one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from lmmrec_core.book.runner import faults, parameters_of, read_notebook
from lmmrec_core.digests import digest, file_sha256, files_digest
from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.home import default_home
from lmmrec_core.names import TRACKS
from lmmrec_core.results.provenance import allows_uncommitted
from lmmrec_core.results.store import record_files
from lmmrec_core.study.calibration.redone import REDONE_NAME
from lmmrec_core.study.further.tracks import FURTHER

_SUFFIXES = (".py", ".yaml", ".csv", ".json")  # files of the package that can change a notebook's outputs
_DESCRIPTIONS = ("features", "encoders", "search")  # folders beside the runs whose files pages show

_OF_ALL_TRACKS = "tracks"  # the parameter of a notebook that shows the runs of several
_OF_NO_TRACK = "calibration"  # the folder of results that pages of no track show
_LEDGER = "07_public_code"  # shows what side tracks measured

SHARED = "shared"  # where pages of no track are
PLACES = (*TRACKS, SHARED)


@dataclass(frozen=True)
class Page:
    """One executed notebook of the book: ``target`` is ``source`` run for ``track``, or once if that is None."""

    source: Path
    track: str | None
    target: Path

    @property
    def place(self) -> str:
        """The folder of the page: its track, or ``shared``."""
        return self.track or SHARED

    @property
    def values(self) -> dict[str, str]:
        """The parameters the book declares; all others keep their defaults."""
        return {"track": self.track} if self.track else {}

    def __str__(self) -> str:
        return f"{self.place}/{self.source.stem}"


def pages(root: Path, places: Iterable[str] = PLACES) -> list[Page]:
    """All pages of ``places`` (tracks, ``shared``), in reading order.

    Raises ConfigError if there are no notebooks, or for one that cannot be read.
    """
    sources = sorted((root / "notebooks").glob("[0-9]*.ipynb"))
    if not sources:
        raise ConfigError(f"{root / 'notebooks'}: no notebooks; is this the repository?")
    read = {source: places_of(read_notebook(source), source.name) for source in sources}
    found = []
    for place in places:
        folder, track = root / "book" / "_generated" / place, None if place == SHARED else place
        found += [Page(source, track, folder / source.name) for source in sources if place in read[source]]
    return found


def places_of(notebook: NotebookNode, where: str) -> tuple[str, ...]:
    """The places in which a notebook has a page. Raises ConfigError for metadata that name no track."""
    if "track" not in parameters_of(notebook, where):
        return (SHARED,)
    named = notebook.metadata.get("lmmrec", {}).get("tracks", TRACKS)
    for track in named:
        if track not in TRACKS:
            raise unknown("track", track, TRACKS, f"{where}: metadata lmmrec.tracks")
    return tuple(named)


def package_digest(root: Path) -> str:
    """Digest of the code, tracks and printed tables, and of the pinned environment."""
    files = [path for path in (root / "lmmrec_core").rglob("*") if path.suffix in _SUFFIXES and path.is_file()]
    pins = root / "requirements.txt"
    return files_digest([*files, pins] if pins.is_file() else files, root)


def inputs_of(page: Page, root: Path, package: str) -> str:
    """Digest of all that an executed page depends on: notebook, parameters, package, stored results that it shows."""
    results = default_home() / "results"  # what the notebook reads
    if page.track:
        stored = (results / page.track).rglob("[!.]*.json")
        chosen = [path for path in stored if path.parent.name in _DESCRIPTIONS]
        chosen += record_files(results, page.track)
    else:
        chosen = [path for path in (results / _OF_NO_TRACK).glob("[!.]*") if path.is_file()]
        # listings of a track are shown only while its runs are those that they were made from; cases redone are runs
        listed = {track for track in TRACKS if any(path.name.endswith(f"-{track}.csv") for path in chosen)}
        if _OF_ALL_TRACKS in parameters_of(read_notebook(page.source), page.source.name):
            listed |= set(TRACKS)
        sides = set(FURTHER["effects"]) if page.source.stem == _LEDGER else set()
        chosen += [path for track in listed | sides | {REDONE_NAME} for path in record_files(results, track)]
        chosen += [path for track in sides for path in (results / track / "search").glob("[!.]*.json")]
    runs = files_digest(chosen, results)
    parts: dict[str, object] = {
        "source": file_sha256(page.source),
        "parameters": page.values,
        "package": package,
        "runs": runs,
    }
    if not page.track:  # one of them shows the records of the benchmarks
        parts["records"] = files_digest((root / "benchmarks").glob("*.json"), root)
    if allows_uncommitted():
        parts["uncommitted"] = True
    return digest(parts, 32)


def stored_inputs(target: Path) -> str | None:
    """The inputs digest that an executed notebook carries; None without one, or if the notebook is not whole."""
    if not target.is_file():
        return None
    try:
        notebook = read_notebook(target)
    except ConfigError:
        return None
    return None if faults(notebook) else notebook.metadata.get("lmmrec", {}).get("inputs")


def unfit(root: Path) -> list[str]:
    """What keeps the executed notebooks out of the book: missing, not whole, or run with other parameters."""
    problems = []
    for page in pages(root):
        if not page.target.is_file():
            problems.append(f"{page}: not executed yet; run `make book`")
            continue
        notebook = read_notebook(page.target)
        problems += [f"{page}: {fault}" for fault in faults(notebook)]
        recorded: Mapping[str, object] = notebook.metadata.get("papermill", {}).get("parameters", {})
        if dict(recorded) != page.values:
            problems.append(f"{page}: run with {dict(recorded)}, the book declares {page.values}; run `make book`")
    return problems
