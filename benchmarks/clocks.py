"""What the benchmarks read time from."""

import time

import torch


def now(device: str) -> float:
    """Seconds: with one CPU thread its processor time, which other programs do not lengthen; else the wall clock."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def clock(device: str) -> str:
    """Name of what :func:`now` reads, and the device's, for the record."""
    if device.startswith("cuda"):
        return "wall clock, device synchronised"
    return "processor time of one thread" if torch.get_num_threads() == 1 else "wall clock"
