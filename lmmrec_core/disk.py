"""Files and folders that are there whole or not at all, and JSON that notices when it was changed.

Everything is written beside its place under a name of its own that starts with :data:`PARTIAL` and says which process
writes it, flushed to disk and renamed, so neither a kill nor a full disk leaves half a file, and two writers never
share one. What a killed process left behind is removed by the next that writes there, or looks
(:func:`remove_abandoned`); if it ran on another machine, a day later. A folder that was about to be replaced takes its
place again then.
"""

import errno
import json
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from filelock import AcquireReturnProxy, FileLock, Timeout

from lmmrec_core.digests import digest
from lmmrec_core.errors import ConfigError, DataError, LmmrecError, ResultError

PARTIAL = ".partial-"
_ASIDE = ".old"  # ends the name of a folder that holds what is being replaced
CURE = "delete it and run the same command again"
_ABANDONED = 24 * 3600  # seconds after which what a process of another machine left is removed
_OWNER = re.compile(rf"{re.escape(PARTIAL)}(?P<process>\d+)@(?P<place>[0-9a-f]{{6}})-")
_LONGEST = 40  # characters of a name that are repeated in that of its partial: names of 255 bytes are allowed
_LONGEST_SHOWN = 100  # characters of a path that is too long to be one
_PROCESSES = Path("/proc/self/ns/pid")  # containers of one machine count their processes apart


@contextmanager
def held_alone(lock: Path, busy: str) -> Iterator[None]:
    """No second process is in such a block with the same ``lock``, a file that is made if absent.

    Raises ConfigError with the words ``busy`` at once if another process is, ResultError if it cannot be written.
    """
    try:
        held = _acquired(lock, 0)
    except Timeout:
        raise ConfigError(busy) from None
    with held:
        yield


@contextmanager
def held_in_turn(lock: Path) -> Iterator[None]:
    """As :func:`held_alone`, but waits for the other process, which may be on another machine, until it is done.

    Raises ResultError if the file cannot be written.
    """
    with _acquired(lock, -1):
        yield


def _acquired(lock: Path, seconds: float) -> AcquireReturnProxy:
    """The lock, held until its block ends; waits for ``seconds``, -1 for ever. Raises Timeout or ResultError."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(lock).acquire(timeout=seconds)
    except Timeout:
        raise  # an OSError too
    except OSError as error:
        raise ResultError(f"{lock}: cannot be written ({error.strerror}); allow writing there") from None


@contextmanager
def whole_file(path: Path, error: type[LmmrecError] = ResultError, needed: int = 0) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes the place of ``path`` when the block ends well, else it vanishes.

    Raises ``error`` naming ``path``, and the bytes ``needed`` where they are known, when the disk is full or does not
    allow writing.
    """
    partial: Path | None = None
    with _plain_errors(path, error, needed):
        try:
            _make_room(path)
            handle, name = tempfile.mkstemp(prefix=_partial_name(path), suffix=path.suffix, dir=path.parent)
            os.close(handle)
            partial = Path(name)
            partial.chmod(0o644)  # mkstemp makes it private; what is kept is meant to be read
            yield partial
            _flush(partial)
            partial.replace(path)
            _flush(path.parent)
        finally:
            if partial is not None:
                partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(
    path: Path, error: type[LmmrecError] = ResultError, needed: int = 0, replace: bool = False
) -> Iterator[Path]:
    """A folder beside ``path`` to fill; it takes the name ``path`` when the block ends well, else it vanishes.

    Where ``path`` has come into being meanwhile, made by another process, theirs stays and ours is removed; with
    ``replace`` what is there goes when ours is whole. Raises as :func:`whole_file`.
    """
    partial: Path | None = None
    old: Path | None = None
    with _plain_errors(path, error, needed):
        try:
            _make_room(path)
            partial = Path(tempfile.mkdtemp(prefix=_partial_name(path), dir=path.parent))
            partial.chmod(0o755)
            yield partial
            for file in (*partial.rglob("*"), partial):
                _flush(file)
            if replace and path.is_dir():  # moved aside whole: removing it takes longer, and a kill may come
                old = partial.with_name(f"{partial.name}{_ASIDE}")
                old.mkdir()
                path.rename(old / path.name)
            try:
                partial.rename(path)
            except OSError:
                if not (path.is_dir() and any(path.iterdir())):
                    raise
            _flush(path.parent)
        finally:
            if old is not None:
                _put_back(old)
            if partial is not None:
                shutil.rmtree(partial, ignore_errors=True)


def _put_back(aside: Path) -> None:
    """Give what was moved aside its place again, or remove it if that has been taken. What can do neither stays."""
    with suppress(OSError):
        for entry in [*aside.iterdir()]:
            if os.path.lexists(place := aside.parent / entry.name):
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.rename(place)
        aside.rmdir()


def copy_others(source: Path, target: Path, but: Collection[str]) -> None:
    """Copy the files, folders and links of a folder into another, apart from those named ``but``; links stay links."""
    for entry in source.iterdir():
        if entry.name in but:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, target / entry.name, symlinks=True)
        elif entry.is_file() or entry.is_symlink():
            shutil.copy2(entry, target / entry.name, follow_symlinks=False)


def write_file(path: Path, content: bytes | str, error: type[LmmrecError] = ResultError) -> None:
    """Write ``content`` (text as UTF-8) to ``path``, whole or not at all. Raises as :func:`whole_file`."""
    content = content.encode() if isinstance(content, str) else content
    with whole_file(path, error, len(content)) as partial:
        partial.write_bytes(content)


def read_regular(path: Path, most: int = -1) -> bytes:
    """The bytes of a file, of which no more than ``most`` are read.

    Raises OSError, for a pipe or a device too: neither is opened, since one never begins and the other never ends.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a pipe or device, not a file", str(path))
    with path.open("rb") as file:
        return file.read(most)


@contextmanager
def readable(path: Path, error: type[LmmrecError] = DataError) -> Iterator[None]:
    """Raises ``error`` naming what a block may not read or look into, below ``path`` or around it, and the cure."""
    try:
        yield
    except PermissionError as problem:
        place = problem.filename or path
        raise error(f"{place}: cannot be read ({problem.strerror or problem}); allow reading it") from None


def require_listed(root: Path, *patterns: str) -> None:
    """Raises PermissionError for a folder, ``root`` or one that a pattern finds, where ``Path.glob`` finds nothing."""
    for folder in (root, *(found for pattern in patterns for found in root.glob(pattern))):
        if folder.is_dir():
            os.scandir(folder).close()


def require_new(path: Path, error: type[LmmrecError] = ConfigError, kind: str = "folder") -> None:
    """Raises ``error`` if what is to be made, a folder or file, is there already, or cannot be; an empty folder may be.

    So a long computation does not find out at its end.
    """
    cure = f"give the name of a new {kind}, nothing is overwritten"
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
        if not os.access(above, os.W_OK):
            raise error(f"{path}: {above} may not be written to; allow it, or {cure}") from None
        return
    except OSError as problem:  # longer than a name can be, or below a file
        shown = str(path) if len(str(path)) <= _LONGEST_SHOWN else f"{str(path)[:_LONGEST_SHOWN]}…"
        raise error(f"{shown}: {problem.strerror}; {cure}") from None
    if kind == "folder" and stat.S_ISDIR(mode):
        if any(path.iterdir()):
            raise error(f"{path}: exists already, and is not empty; {cure}")
        return
    what = "a folder" if stat.S_ISDIR(mode) else "a link" if stat.S_ISLNK(mode) else "a file"
    raise error(f"{path}: exists already, as {what}; {cure}")


def put_in_place(grown: Path, path: Path, error: type[LmmrecError] = ResultError) -> None:
    """Give a file that grew beside ``path``, over several commands perhaps, its name; it is on disk then.

    Raises as :func:`whole_file`.
    """
    with _plain_errors(path, error, 0):
        _flush(grown)
        grown.replace(path)
        _flush(path.parent)


def write_sealed(path: Path, record: Mapping[str, Any], error: type[LmmrecError] = ResultError) -> None:
    """Write ``record``, plain JSON values, with a digest of itself. Raises as :func:`whole_file`."""
    sealed = {**record, "digest": _seal(record)}
    write_file(path, json.dumps(sealed, indent=1, ensure_ascii=False, allow_nan=False) + "\n", error)


def read_sealed(path: Path, error: type[LmmrecError] = ResultError) -> dict[str, Any]:
    """What :func:`write_sealed` wrote, its digest included. Raises ``error`` naming a damaged file and the cure."""
    try:
        record = json.loads(read_regular(path).decode())
    except (OSError, ValueError, RecursionError) as problem:  # ValueError: neither UTF-8 nor JSON
        raise error(f"{path}: damaged ({problem}); {CURE}") from None
    if not isinstance(record, dict) or record.get("digest") != _seal(record):
        raise error(f"{path}: damaged (its content does not match its digest); {CURE}")
    return record


def check_schema(record: Mapping[str, Any], known: int, path: Path, error: type[LmmrecError] = ResultError) -> None:
    """Raises ``error`` for a file in another format than ``known``; one without a number is in the first."""
    if (schema := record.get("schema", 1)) != known:
        told = f"written with schema {schema}, this version reads {known}"
        raise error(f"{path}: {told}; use the version that wrote it, or {CURE}")


def _seal(record: Mapping[str, Any]) -> str:
    return digest({name: value for name, value in record.items() if name != "digest"})


@contextmanager
def _plain_errors(path: Path, error: type[LmmrecError], needed: int) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        space = f"{needed:,} bytes" if needed else "space"
        raise error(
            f"{path}: could not be written ({problem.strerror or problem}); free {space} or allow writing there, "
            "then run the same command again"
        ) from None


def _partial_name(path: Path) -> str:
    return f"{PARTIAL}{os.getpid()}@{_place()}-{path.name[:_LONGEST]}-"


@cache
def _place() -> str:
    """Tells machines, and containers of one, from each other."""
    processes = _PROCESSES.stat().st_ino if _PROCESSES.exists() else 0
    return digest([socket.gethostname(), processes], 6)


def _make_room(path: Path) -> None:
    """The parent folder, without what killed processes left there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path.parent)


def remove_abandoned(folder: Path, depth: int = 0) -> None:
    """Remove what killed processes left half written in ``folder``, and in the folders at most ``depth`` below it.

    What cannot be removed stays: whoever needs the room will be told.
    """
    for level in range(depth + 1):
        for entry in folder.glob("*/" * level + f"{PARTIAL}*"):
            try:
                if not _is_abandoned(entry):
                    continue
            except FileNotFoundError:  # its owner has just renamed or removed it
                continue
            if entry.name.endswith(_ASIDE):  # of a process that was killed before the new folder had its place
                _put_back(entry)
            elif entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                with suppress(OSError):
                    entry.unlink(missing_ok=True)


def _is_abandoned(entry: Path) -> bool:
    owner = _OWNER.match(entry.name)
    if owner and owner["place"] == _place() and not psutil.pid_exists(int(owner["process"])):
        return True
    return time.time() - entry.stat().st_mtime >= _ABANDONED


def _flush(path: Path) -> None:
    """Make a file's content, or the names in a folder, outlast a loss of power."""
    if path.is_dir() and os.name != "posix":  # only there can a folder be opened
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows flushes what can be written
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
