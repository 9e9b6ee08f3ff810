"""A track of the paper's size, on made-up content: an epoch of every model, a step of every paradigm.

    make rehearsal TRACK=paper                                              # the same; MINUTES=60 ends it after that
    python benchmarks/rehearse_track.py --track paper --device cuda
    python benchmarks/rehearse_track.py --smoke                             # toy size, on the CPU

Catalogues of the exact size of the track's data sets (``catalogues.SIZES``), random features and pictures, encoders of
the official architectures with random weights. *encode*: the features of some items (PT). *tune*: a step of
fine-tuning (FT). *update*: an exact end-to-end update over some items (ETE), with the precision and chunk of the track
on a GPU, and few items in fp32 on a CPU. *epoch*: one epoch and one evaluation of every model at every size, each in a
process of its own, with the track's settings; one that would take longer than ``--longest`` is broken off and worked
out from its batches. Each result is written to rehearsal_<track>.json at once. Called again, what is on file stays and
the rest goes on; what failed is tried again.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from catalogues import SIZES
from clocks import now
from growth import How, measured_apart
from measuring import PeakMemory
from rehearsal import machine
from rehearse import FULL, SMOKE, Rehearsal, Scale
from rehearse_encoders import items_of, options_of, tuned, updated
from tqdm import tqdm

from lmmrec_core.errors import ConfigError, LmmrecError
from lmmrec_core.seeds import true_fp32
from lmmrec_core.study.declared.track_file import read_track

ON_CPU = replace(FULL, items=(4, 8), chunks=(4,), pairs=8, micro=4)
OBJECTIVES = {"clip": ("itc",), "vlmo": ("itc", "itm", "mlm")}
HERE = Path(__file__).resolve().parent
Step = tuple[str, str, Any]  # part, name, what measures it


def steps(rehearsal: Rehearsal, track: str, sizes: list[str], models: list[str], longest: float) -> list[Step]:
    """All that is rehearsed, cheap and telling first."""
    on_gpu, found = rehearsal.device.startswith("cuda"), list[Step]()
    precision = "bf16" if on_gpu else "fp32"
    for kind, name in zip(OBJECTIVES, rehearsal.scale.encoders, strict=True):
        options = options_of(rehearsal, name, rehearsal.scale.chunks[0], precision)
        objectives = OBJECTIVES[kind]
        found += [
            ("encode", f"{name}, PT, {precision}", lambda n=name: encoded(rehearsal, n, precision)),
            ("tune", f"{name}, FT, {precision}", lambda n=name, o=objectives: tuned(rehearsal, n, o, precision)),
            ("update", f"{name}, ETE, {precision}", lambda o=options: updated(rehearsal, o)),
        ]
    how = How(torch.get_num_threads(), longest, rehearsal.device, track)
    for size in sizes:
        for model in models:
            found.append(("epoch", f"{size}, {model}", lambda m=model, s=size: measured_apart(m, s, how)))
    return found


@torch.no_grad()
def encoded(rehearsal: Rehearsal, name: str, precision: str) -> dict[str, Any]:
    """Features of some items, a chunk at a time."""
    items, device = items_of(rehearsal, name), rehearsal.device
    chunk, seconds = rehearsal.scale.chunks[0], []
    memory = PeakMemory(device)
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16"):
        for part in torch.arange(max(rehearsal.scale.items)).split(chunk):
            start = now(device)
            items.rows(part)
            seconds.append((now(device) - start) / len(part))
    return {"seconds_per_item": min(seconds), "peak_bytes": memory.above(), "chunk": chunk}


def main(given: argparse.Namespace) -> None:
    settings = read_track(given.track)
    unknown = [name for name in settings.datasets if name not in SIZES]
    if unknown and not given.smoke:
        raise ConfigError(
            f"track {settings.name!r}: no size is known for data set {unknown[0]}; rehearse TRACK=paper, whose data "
            f"sets are {', '.join(SIZES)}"
        )
    scale: Scale = SMOKE if given.smoke else FULL if given.device.startswith("cuda") else ON_CPU
    target = given.json or HERE / f"rehearsal_{settings.name}.json"
    kept: dict[str, Any] = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else {}
    rehearsal = Rehearsal(target, given.minutes or 10**6, scale, given.device, kept)
    before, now_here = kept.get("machine", {}), machine(given.device, None)
    if before and before["machine"] != now_here["machine"]:
        raise ConfigError(f"{target}: was measured on another machine; move it aside, or name another with --json")
    rehearsal.record |= {"machine": before or now_here, "track": settings.name, "scale": asdict(scale)}
    sizes = ["toy"] if given.smoke else list(settings.datasets)
    rehearsal.record["sizes"] = {name: asdict(SIZES[name]) for name in sizes}
    todo = [
        (part, name, run)
        for part, name, run in steps(
            rehearsal, given.track, sizes, given.models or list(settings.models), given.longest
        )
        if "failed" in rehearsal.record["parts"].get(part, {}).get(name, {"failed": "not yet"})
    ]
    with tqdm(total=len(todo), desc="rehearsal", unit="part") as bar:
        for part, name, run in todo:
            bar.set_postfix_str(f"{part}: {name}")
            rehearsal.take(part, name, run)
            bar.update()
    entries = [(p, n, e) for p, all_ in rehearsal.record["parts"].items() for n, e in all_.items()]
    failed = [f"{part}, {name}" for part, name, entry in entries if "failed" in entry]
    print(f"{target.name}: {len(entries) - len(failed)} of {len(entries)}; failed or not run: {failed or 'none'}")
    print(f"{time.monotonic() - rehearsal.start:.0f} s")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A track of the paper's size, rehearsed on made-up content.")
    parser.add_argument("--track", default="paper")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=_minutes, default=0.0, help="nothing is started after so many (default: all)")
    parser.add_argument("--longest", type=float, default=600.0, help="seconds after which an epoch is broken off")
    parser.add_argument("--models", nargs="+", help="only these")
    parser.add_argument("--smoke", action="store_true", help="toy size")
    parser.add_argument("--json", type=Path, help="default: rehearsal_<track>.json beside this file")
    return parser.parse_args()


def _minutes(text: str) -> float:
    return float(text or 0)


if __name__ == "__main__":
    try:
        with true_fp32():
            main(arguments())
    except LmmrecError as error:
        raise SystemExit(str(error)) from None
