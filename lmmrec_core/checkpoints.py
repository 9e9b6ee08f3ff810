"""Checkpoints: everything needed to go on bit for bit, written whole or not at all, and the loop that writes them.

A file is what ``torch.save`` writes and, after it, the SHA-256 of that: a changed bit is noticed.
"""

import glob
import hashlib
import pickle
import time
import warnings
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import torch
from tqdm import tqdm

from lmmrec_core.disk import readable, whole_file
from lmmrec_core.errors import TrainingError
from lmmrec_core.process import StopRequest

_SCHEMA = 2
_MARK = b"\nsha256 "  # before the digest; torch and zip readers pass by what follows the archive
_SEAL = len(_MARK) + 64
_BLOCK = 1 << 20

State: TypeAlias = dict[str, Any]  # tensors, numbers, text, and tuples, lists and dicts of these


def save(path: Path, identity: str, state: State) -> None:
    """Write ``state`` to ``path``, whole or not at all. Raises TrainingError if that cannot be written."""
    with whole_file(path, TrainingError) as partial, partial.open("wb") as file:
        sealing = _Sealing(file)
        try:
            torch.save({"schema": _SCHEMA, "identity": identity, "state": state}, cast(IO[bytes], sealing))
        except RuntimeError as error:  # torch's own, where a write fails
            raise sealing.failed or OSError(str(error)) from None
        file.write(_MARK + sealing.running.hexdigest().encode())


class _Sealing:
    """A file to write to, the digest of what was written, and why that failed: torch does not say."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.running = file, hashlib.sha256()
        self.failed: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            written = self.file.write(content)
        except OSError as error:
            self.failed = error
            raise
        self.running.update(content)
        return written

    def flush(self) -> None:
        self.file.flush()


def save_if_possible(path: Path, identity: str, state: State) -> bool:
    """:func:`save`, but a file that cannot be written is told by a warning: it must not cost the training."""
    try:
        save(path, identity, state)
    except TrainingError as error:
        warnings.warn(f"{error}. Training goes on without this checkpoint: an interruption would lose it", stacklevel=2)
        return False
    return True


def saved_files(path: Path) -> list[Path]:
    """The checkpoint of a training, if it is there, and those of its phases (``<name>.<phase>.pt``)."""
    return sorted(path.parent.glob(f"{glob.escape(path.stem)}.*pt"))


def remove(path: Path) -> None:
    """Delete the checkpoint of a training whose result is safe, and those of its phases (:func:`saved_files`)."""
    for file in saved_files(path):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            warnings.warn(f"{file}: not needed any more, but cannot be removed ({error.strerror})", stacklevel=2)


def load(path: Path, identity: str) -> State | None:
    """The state saved at ``path``, or None if there is nothing usable.

    A damaged file is reported by a warning and ignored, so that training starts over. Only tensors and plain
    values are read (``weights_only``). Raises TrainingError if the checkpoint belongs to another run, or may not be
    read.
    """
    with readable(path, TrainingError):
        if not path.is_file():
            return None
        with path.open("rb"):  # what may not be read is no damage: it must not be made again over it
            pass
    try:
        _check_seal(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        saved, state = content["identity"], content["state"]
        if content["schema"] != _SCHEMA or not isinstance(state, dict):
            raise KeyError("schema")
    except (
        OSError,
        EOFError,
        RuntimeError,
        KeyError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        why = str(error) if isinstance(error, _Damaged) else type(error).__name__
        warnings.warn(
            f"{path}: the checkpoint cannot be read ({why}); it is ignored and training starts over", stacklevel=2
        )
        return None
    if saved != identity:
        raise TrainingError(
            f"{path}: the checkpoint belongs to run {saved!r}, not to {identity!r}; delete it or choose another path"
        )
    return state


class _Damaged(ValueError):
    """A file that is not what :func:`save` wrote."""


def _check_seal(path: Path) -> None:
    """Raises _Damaged unless a file ends with the digest of the rest."""
    rest, running = path.stat().st_size - _SEAL, hashlib.sha256()
    with path.open("rb") as file:
        while rest > 0 and (block := file.read(min(rest, _BLOCK))):
            running.update(block)
            rest -= len(block)
        if file.read() != _MARK + running.hexdigest().encode():
            raise _Damaged("damaged, or of an earlier version: its content has another digest")


class CheckpointedLoop(ABC):
    """Epochs until ``stopped`` says why there are no more, resumed and saved so that an interruption changes nothing.

    A loop defines ``epoch``, ``state`` and ``restore``, how many epochs are done, and its progress bar. With ``path``,
    the state is saved between epochs, at most every ``save_seconds``, and when the process is asked to stop (interrupt
    or terminate signal; a second signal stops at once); ``resume`` goes on from a state with the same ``identity``.
    A run that ends before its first save leaves no file. Deleting the file (:func:`remove`) is the caller's, once the
    result is safe. A disk that is full or cannot be written is told once, and training goes on.
    """

    def __init__(self, path: Path | None, identity: str, save_seconds: float) -> None:
        self.path, self.identity, self.save_seconds = path, identity, save_seconds
        self.stopped = ""
        self.seconds = 0.0  # over all sittings

    @property
    @abstractmethod
    def epochs_done(self) -> int: ...

    @abstractmethod
    def bar(self) -> tqdm:
        """The progress bar, as far along as the loop is."""

    @abstractmethod
    def epoch(self, number: int, bar: tqdm) -> None:
        """One epoch, counted from 1; moves ``bar`` and sets ``stopped`` after the last one."""

    @abstractmethod
    def state(self) -> State:
        """Everything that changes."""

    @abstractmethod
    def restore(self, saved: State) -> None:
        """Go on from what ``state`` returned, read back onto the CPU."""

    def resume(self) -> None:
        """Take up the saved state, if there is one."""
        if self.path is not None and (saved := load(self.path, self.identity)):
            self.restore(saved)

    def agreed(self, asked: int) -> int:
        """The signal that the loop stops by; ``asked``: the one that this process was sent, or 0.

        Called after each epoch, and once more after the last save. A loop of several processes gives all of them the
        same answer, when all have come.
        """
        return asked

    def run_epochs(self) -> None:
        """Raises KeyboardInterrupt or SystemExit after the epoch in which the process was asked to stop."""
        last_save, written, told = time.monotonic(), self.epochs_done > 0, False
        with self.bar() as bar, StopRequest() as stop:
            while not self.stopped:
                self.epoch(self.epochs_done + 1, bar)
                asked = self.agreed(stop.asked)
                due = time.monotonic() - last_save >= self.save_seconds
                if self.path is not None and (due or asked or (written and self.stopped)):
                    with warnings.catch_warnings():
                        if told:  # once is enough; each time it is due, it is tried again
                            warnings.simplefilter("ignore")
                        saved = save_if_possible(self.path, self.identity, self.state())
                    last_save, written, told = time.monotonic(), written or saved, told or not saved
                if asked:
                    stop.asked = self.agreed(asked)
                    stop.obey()
