"""What the parts of the rehearsal share: sizes, the record that is written at once, the clock that ends it."""

import gc
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from catalogues import BABY, Size

OUT_OF_TIME = "not run: out of time"


@dataclass(frozen=True)
class Scale:
    """The sizes of everything that is rehearsed."""

    catalogue: Size  # of the timed recommenders
    small: Size  # on which CPU and device are compared, and training is interrupted
    epochs: int  # of a timed training, the first not counted
    encoders: tuple[str, str]  # a CLIP and a VLMo
    tiny: str  # the encoder of the interrupted end-to-end training
    items: tuple[int, int]  # of an exact update: two catalogues, whose peak memory should be the same
    chunks: tuple[int, ...]  # items encoded at once
    ete_items: int
    pairs: int  # of a step of fine-tuning
    micro: int  # of them at once
    sample: int  # items encoded on both devices and in both precisions


SMALL = Size(600, 240, 3_000, 600, 400, 64, 24)
FULL = Scale(BABY, SMALL, 4, ("clip-b16", "vlmo-base-plus"), "clip-tiny-32", (256, 1024), (64, 256), 512, 256, 64, 64)
SMOKE = Scale(
    SMALL, Size(60, 40, 300, 60, 40, 12, 6), 2, ("clip-tiny-32", "vlmo-tiny"), "clip-tiny-32", (16, 32), (4, 8), 24, 6,
    3, 6,
)  # fmt: skip


class Rehearsal:
    """The record, and the clock that ends it."""

    def __init__(
        self,
        target: Path,
        minutes: float,
        scale: Scale,
        device: str,
        kept: dict[str, Any],
        longest: float = float("inf"),
    ) -> None:
        """``longest``: seconds that one measurement may take."""
        self.target, self.scale, self.device, self.longest = target, scale, device, longest
        self.start, self.end = time.monotonic(), time.monotonic() + 60 * minutes
        self.record: dict[str, Any] = kept
        self.record["parts"] = kept.get("parts", {})

    def take(self, part: str, name: str, measure: Callable[..., Any], *given: Any) -> None:
        """Measure one thing and write what comes out: values, ``{"failed": why}`` or ``{"failed": OUT_OF_TIME}``."""
        entries, began = self.record["parts"].setdefault(part, {}), time.monotonic()
        if began >= self.end:
            entries[name] = {"failed": OUT_OF_TIME}
        else:
            try:
                left = self.end - began
                reason = OUT_OF_TIME if left <= self.longest else f"stopped after {self.longest:g} s"
                with _at_most(min(left, self.longest), reason):
                    entries[name] = {**measure(*given), "took_seconds": round(time.monotonic() - began, 2)}
            except (Exception, SystemExit) as error:
                lines = str(error).strip().splitlines()
                entries[name] = {"failed": f"{type(error).__name__}: {' | '.join(lines[:3])}"}
                del error
                gc.collect()  # what the failure held
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        self.write()
        print(f"{time.monotonic() - self.start:6.1f} s  {part}, {name}: {_short(entries[name])}", flush=True)

    def write(self) -> None:
        self.target.write_text(json.dumps(self.record, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _at_most(seconds: float, reason: str) -> Iterator[None]:
    """Raises TimeoutError in the block after so many seconds, where the system has the signal for it."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(reason)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _short(entry: dict[str, Any]) -> str:
    """The numbers of an entry on one line."""
    parts = []
    for name, value in entry.items():
        if isinstance(value, dict | list):
            continue
        if isinstance(value, int) and name.endswith("_bytes"):
            parts.append(f"{name.removesuffix('_bytes')} {value / 2**20:,.0f} MiB")
        else:
            parts.append(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(parts)
