"""Checkpoints: everything needed to go on bit for bit, written whole or not at all, and the loop that writes them."""

import pickle
import time
import warnings
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, TypeAlias

import torch
from tqdm import tqdm

from lmmrec_core.disk import whole_file
from lmmrec_core.errors import TrainingError
from lmmrec_core.process import StopRequest

_SCHEMA = 1

State: TypeAlias = dict[str, Any]  # tensors, numbers, text, and tuples, lists and dicts of these


def save(path: Path, identity: str, state: State) -> None:
    """Write ``state`` to ``path``, whole or not at all. Raises TrainingError if that cannot be written."""
    with whole_file(path, TrainingError) as partial, partial.open("wb") as file:
        torch.save({"schema": _SCHEMA, "identity": identity, "state": state}, file)


def load(path: Path, identity: str) -> State | None:
    """The state saved at ``path``, or None if there is nothing usable.

    A damaged file is reported by a warning and ignored, so that training starts over. Only tensors and plain
    values are read (``weights_only``). Raises TrainingError if the checkpoint belongs to another run.
    """
    if not path.is_file():
        return None
    try:
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
        warnings.warn(
            f"{path}: the checkpoint cannot be read ({type(error).__name__}); it is ignored and training starts over",
            stacklevel=2,
        )
        return None
    if saved != identity:
        raise TrainingError(
            f"{path}: the checkpoint belongs to run {saved!r}, not to {identity!r}; delete it or choose another path"
        )
    return state


class CheckpointedLoop(ABC):
    """Epochs until ``stopped`` says why there are no more, resumed and saved so that an interruption changes nothing.

    A loop defines ``epoch``, ``state`` and ``restore``, how many epochs are done, and its progress bar. With ``path``,
    the state is saved between epochs, at most every ``save_seconds``, and when the process is asked to stop (interrupt
    or terminate signal; a second signal stops at once); ``resume`` goes on from a state with the same ``identity``.
    A run that ends before its first save leaves no file. Deleting the file is the caller's, once the result is safe.
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

    def run_epochs(self) -> None:
        """Raises KeyboardInterrupt or SystemExit after the epoch in which the process was asked to stop."""
        last_save, written = time.monotonic(), self.epochs_done > 0
        with self.bar() as bar, StopRequest() as stop:
            while not self.stopped:
                self.epoch(self.epochs_done + 1, bar)
                due = time.monotonic() - last_save >= self.save_seconds
                if self.path is not None and (due or stop.asked or (written and self.stopped)):
                    save(self.path, self.identity, self.state())
                    last_save, written = time.monotonic(), True
                if stop.asked:
                    stop.obey()
