"""All files below a track's results, and whether each is still what was written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lmmrec_core.errors import LmmrecError, ResultError
from lmmrec_core.results.archive import RECORDS, USERS, Archive
from lmmrec_core.results.store import RECORD, ResultStore, checked_bytes

# raises LmmrecError for a damaged file; False for one of no known kind, which nothing says anything of
Check = Callable[[Path], bool]


def stored_files(folder: Path, around: tuple[Path, ...] = ()) -> list[Path]:
    """The files of a folder and all folders in it, links followed as readers of results do; hidden ones are none.

    Raises ResultError for a link to nothing, and for one to a folder that it lies in.
    """
    found: list[Path] = []
    around = (*around, folder.resolve())
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):  # also what a killed process left half written
            continue
        if entry.is_dir():
            if entry.resolve() in around:
                raise ResultError(f"{entry}: a link to a folder that it lies in; remove the link")
            found += stored_files(entry, around)
        elif entry.is_file():
            found.append(entry)
        else:
            raise ResultError(f"{entry}: neither a file nor a folder (a link to nothing?); remove it, or what it lacks")
    return found


def check_files(store: ResultStore, track: str, files: list[Path], check: Check) -> list[Path]:
    """Hold each of a track's ``files`` against the digest that was noted when it was written.

    Those of runs and archives are known here, ``check`` knows the others. Returns those of no known kind. Raises
    ResultError that names every damaged one, with its cure.
    """
    faults: list[str] = []
    known: set[Path] = set()
    for path in store.folders(track, "*"):
        with _noted(faults):
            known |= _of_run(store, path)
    for file in files:
        if file.name.endswith((RECORDS, USERS)) and file.parent == store.root / track:
            known.add(file)
            with _noted(faults):
                _check_archive(store, file)
    unknown = []
    for file in files:
        with _noted(faults):
            if file not in known and not check(file):
                unknown.append(file)
    if faults:
        raise ResultError("these files are damaged:\n" + "\n".join(dict.fromkeys(faults)))
    return unknown


@contextmanager
def _noted(faults: list[str]) -> Iterator[None]:
    try:
        yield
    except LmmrecError as error:
        faults.append(str(error))


def _of_run(store: ResultStore, path: Path) -> set[Path]:
    """The files that the record of a run folder names, all checked; ranked lists may be absent."""
    record = store.record(path)
    store.load_record(record)
    there = [name for name in record.data["files"] if (path / name).exists()]
    for name in there:
        checked_bytes(record, name)
    return {path / RECORD, *(path / name for name in there)}


def _check_archive(store: ResultStore, file: Path) -> None:
    """The two files of packed runs, with the rows of every run, also of runs that have a folder."""
    track = file.parent.name
    name = file.name.removesuffix(USERS).removesuffix(RECORDS)
    archive = Archive(store.root, track, name)
    if not archive.records_file.is_file():
        raise ResultError(
            f"{file}: holds rows of packed runs, but {archive.records_file.name} is not there; restore that, or delete "
            f"{file.name} and pack the run folders again (`lmmrec results pack`)"
        )
    for run in archive.runs().values():
        if (archive.folder / run.folder).is_dir():
            run.kept_rows()
        else:
            store.load(archive.folder / run.folder)  # metrics that are measured again are those of the record
