"""What memory is free and what a GPU took at most, and the refusal, with advice, of work that cannot fit."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from lmmrec_core.errors import ConfigError, TrainingError
from lmmrec_core.process import free_memory
from lmmrec_core.study.memory.demand import GIB, Demand

ANYWAY = "LMMREC_ANY_MEMORY"  # a variable that, set to 1, lets work start that is thought not to fit


@dataclass(frozen=True)
class Room:
    """Bytes that can be taken now: of main memory, and of the fullest GPU (None where none is used)."""

    host: int
    device: int | None = None
    gpus: int = 0

    def told(self) -> str:
        """For instance "12.0 GiB are free"."""
        of_gpu = "" if self.device is None else f", {self.device / GIB:.1f} GiB on the GPU"
        return f"{self.host / GIB:.1f} GiB are free{of_gpu}"


def room(device: str) -> Room:
    """What is free on this machine, and on its GPUs if ``device`` is one of them; one that is absent has no room."""
    if not device.startswith("cuda"):
        return Room(free_memory())
    import torch

    count = torch.cuda.device_count()
    chosen = range(count) if device == "cuda" else (torch.device(device).index,)
    free = [int(torch.cuda.mem_get_info(number)[0]) for number in chosen if number < count]
    return Room(free_memory(), min(free, default=None), len(free))


def reset_peak_device_memory(device: str) -> None:
    """Start a new measurement of what PyTorch takes on a GPU; nothing on the CPU."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def peak_device_memory(device: str) -> dict[str, int]:
    """``peak_device_memory_bytes``: the most that tensors took on a GPU since the last reset; empty on the CPU."""
    if not device.startswith("cuda"):
        return {}
    import torch

    return {"peak_device_memory_bytes": int(torch.cuda.max_memory_allocated(device))}


def refuse_unfit(demand: Demand, here: Room) -> None:
    """Raises TrainingError, with what to do, for work that cannot fit what is free; not where the user insists."""
    if os.environ.get(ANYWAY) == "1":
        return
    for place, needed, free in (
        ("memory", demand.host_bytes, here.host),
        ("memory on the GPU", demand.device_bytes, here.device),
    ):
        if free is not None and needed > free:
            cures = "; or ".join([*demand.cures, "run fewer at a time (JOBS)", "use a larger machine"])
            raise TrainingError(
                f"{demand.what}: it needs {demand.told()}, and {free / GIB:.1f} GiB of {place} are free here; {cures}. "
                f"{ANYWAY}=1 starts it anyway"
            )


def refuse_at_once(demands: Sequence[Demand], jobs: int, here: Room) -> None:
    """Raises ConfigError if the ``jobs`` largest of these, which may come together, do not fit what is free.

    GPUs are given to the processes in turn. Work that does not fit alone is left out: it is refused when it comes.
    """
    if os.environ.get(ANYWAY) == "1":
        return
    gpus = max(1, here.gpus)
    for place, sizes, free, of_each in (
        ("memory", [demand.host_bytes for demand in demands], here.host, 1),
        ("memory on one GPU", [demand.device_bytes for demand in demands], here.device, gpus),
    ):
        if free is None:
            continue
        largest = sorted((size for size in sizes if size <= free), reverse=True)[: -(-jobs // of_each)]
        if sum(largest) > free:
            most = next(n for n in range(len(largest), 0, -1) if sum(largest[:n]) <= free) * of_each
            raise ConfigError(
                f"JOBS={jobs}: the largest runs need about {sum(largest) / GIB:.1f} GiB of {place} at once, and "
                f"{free / GIB:.1f} GiB are free here; JOBS={most} fits. {ANYWAY}=1 starts them anyway"
            )
