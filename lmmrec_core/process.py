"""This process: a stop that waits for the end of an epoch, its memory, and how many threads it uses.

Threads that share one small operation wait for each other many thousand times a second. By default they spin while they
wait, and when another process takes one of the cores they spin for as long as that one has it. So commands let
them sleep (:func:`wait_asleep`), use one thread for little work, and for more only as many as there are free cores
(:func:`threads_for`).
"""

import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType, TracebackType

import psutil

from lmmrec_core.errors import TrainingError

#: Numbers touched in a step, below which a second thread costs more than it saves (benchmarks/threads.py). BPR at the
#: size of Amazon Baby has 1.7 million, and is as fast with one thread.
LITTLE_WORK = 4_000_000
_NOISE = 0.3  # of a core: what an idle machine does by itself
_ASLEEP = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}  # GNU's and LLVM's OpenMP
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NO_MEMORY = re.compile(
    r"can't allocate memory|out of memory|not enough memory|storage size calculation", re.I
)  # torch
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")  # variables that torchrun and accelerate set
_GROUP, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")  # of Linux: which limits this process is under


class StopRequest:
    """While active, notes the first interrupt or terminate signal, so that state can be saved; a second stops at once.

    Only the main thread receives signals; in another thread this does nothing.
    """

    def __init__(self) -> None:
        self.asked: int = 0  # number of the signal
        self._previous: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def obey(self) -> None:
        """Stop as the signal would have: KeyboardInterrupt, or SystemExit with code 128 + number."""
        if self.asked == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.asked)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            self.obey()
        self.asked = number
        print("stopping after this epoch; signal again to stop at once", file=sys.stderr)


def is_launched() -> bool:
    """Whether a launcher (``torchrun``, ``accelerate launch``) started this process as one of several."""
    return all(name in os.environ for name in _LAUNCHED) and os.environ["WORLD_SIZE"].strip() not in ("", "0", "1")


def terminate_as_interrupt() -> None:
    """From now on a terminate signal to this process is an interrupt, so that it cleans up after itself."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


@contextmanager
def plain_warnings(who: str) -> Iterator[None]:
    """Warnings of the block are printed as one readable line, without the line of code that gave them."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"{who}: warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def wait_asleep() -> None:
    """Let threads that wait for each other sleep; only before torch is imported. What the environment says stays."""
    for name, value in _ASLEEP.items():
        os.environ.setdefault(name, value)


def threads_for(work: int, at_most: int) -> int:
    """How many threads to compute with: 1 for little work or on a busy machine, never more than ``at_most``.

    ``work`` counts the numbers that one step touches, see ``LITTLE_WORK``. For little work the answer does not depend
    on the machine.
    """
    return 1 if at_most == 1 or work < LITTLE_WORK else min(at_most, free_cores())


def own_cores() -> int:
    """Cores that this process may use: a job of a cluster often may not use all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1


def free_cores(seconds: float = 0.2) -> int:
    """Cores that this process may use and that no other keeps busy, at least 1; watches them for ``seconds``."""
    cores, mine = psutil.cpu_count() or 1, own_cores()
    busy = cores * psutil.cpu_percent(interval=seconds) / 100
    return max(1, min(mine, int(cores - busy + _NOISE)))


def end_when_asked() -> None:
    """From now on an interrupt or terminate signal ends this process by SystemExit, so that it tidies up, quietly.

    The signal by which a cluster announces the end of a job, to all its processes, is left to the one that started it.
    """
    for number in _SIGNALS:
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    if hasattr(signal, "SIGUSR2"):
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def end_with_parent(grace: float) -> None:
    """From now on this process, a worker, ends when the one that started it has gone: nobody waits for its work.

    It is asked first, as by a terminate signal, and has ``grace`` seconds to save what it does.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel, grace), daemon=True).start()


def _end_after(sentinel: int, grace: float) -> None:
    wait([sentinel])
    if grace:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace)
    os._exit(1)


def host_waits(device: object) -> bool:
    """Whether asking for a number makes the host wait for all work that ``device`` was given: on a GPU."""
    return str(device).startswith("cuda")


@contextmanager
def worker_task() -> Iterator[None]:
    """A task in a worker process: told to end in the midst of it, the process ends when the task has tidied up.

    Else its executor would take the end of the task for a result, and give it the next one. Its warnings are told as
    those of the command.
    """
    try:
        with plain_warnings("lmmrec"):
            yield
    except (KeyboardInterrupt, SystemExit):
        if multiprocessing.parent_process() is None:
            raise
        os._exit(128 + signal.SIGTERM)


@contextmanager
def enough_memory(what: str, cure: str = "lower embedding_dim or batch_size") -> Iterator[None]:
    """Work of ``what`` that may need more memory than there is: raises TrainingError with the cure if it does."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
            raise
        told = (str(error).splitlines() or ["no more to be had"])[0]
        raise TrainingError(
            f"{what}: memory does not suffice ({told}); {cure}, run fewer at a time (JOBS), or use a larger machine"
        ) from None


def free_memory() -> int:
    """Bytes of main memory that can still be taken, by this machine and by the limits that this process is under.

    A container, or a job of a cluster, often may take less than the machine has: its control groups say so.
    """
    free = int(psutil.virtual_memory().available)
    return max(0, min([free, *(limit - used for limit, used in _group_limits())]))


def _group_limits() -> Iterator[tuple[int, int]]:
    """(limit, used) in bytes of each control group around this process that has a limit; Linux, both versions."""
    try:
        lines = _GROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", "", ""][:3]
        if controllers not in ("", "memory"):
            continue
        root = _GROUPS / controllers
        old = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        names = old if controllers else ("memory.max", "memory.current")
        here = root / path.strip("/")
        for folder in (here, *here.parents):
            limit, used = (_whole_number(folder / name) for name in names)
            if limit is not None and used is not None:
                yield limit, used - (_reclaimable(folder) or 0)
            if folder == root:
                break


def _whole_number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isascii() and text.isdigit() else None


def _reclaimable(folder: Path) -> int | None:
    """Bytes of files that are only kept for speed: they make room when memory is asked for."""
    try:
        lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith(("inactive_file ", "total_inactive_file "))]
    return max(map(int, sizes), default=None)


@contextmanager
def without_script() -> Iterator[None]:
    """Processes that are spawned in the block do not begin by running this process's script again.

    They would: a script that calls us without ``if __name__ == "__main__"`` starts its work anew in each of them, and
    one that is read from standard input cannot be found. What they are given must not be defined in the script.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def reset_peak_memory() -> None:
    """Start a new measurement. Only Linux can; elsewhere the peak stays that of the whole process."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return


def peak_memory() -> int:
    """Highest resident set since the last reset, in bytes; on a system that keeps no peak, the present one."""
    if _STATUS.is_file():
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))  # Windows keeps the peak of the working set
