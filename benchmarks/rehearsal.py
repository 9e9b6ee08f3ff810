"""The paper's full size on this machine, on made-up content: what runs, in how many seconds, in how much memory.

    python benchmarks/rehearsal.py --device cuda --minutes 7      # all parts, in order of importance
    python benchmarks/rehearsal.py --device cuda --only resume    # one again; the others stay as they are on file
    python benchmarks/rehearsal.py --smoke                        # all parts at toy size on the CPU, under a minute

Parts: ``recommenders`` (an epoch and an evaluation at the size of Amazon Baby), ``equality`` (losses, scores and
features on the CPU and on the device), ``update`` (an exact end-to-end update of CLIP ViT-B/16 and VLMo Base Plus,
random weights, 224 pixels), ``ete`` (an epoch of end-to-end training), ``fine_tuning`` (a step), ``resume`` (an
interrupted training against one that was not), ``precision`` (bf16 against fp32 features), ``busy`` (the share of an
epoch in which the device works), ``cpu`` (recommenders on this machine's processor). A failure is recorded and the rest
goes on; what there is no time for is recorded as such. Every result is written to rehearsal.json at once.
"""

import argparse
import json
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from rehearse import FULL, SMOKE, Rehearsal

from lmmrec_core.results.provenance import provenance
from lmmrec_core.seeds import true_fp32

PARTS = {
    "recommenders": "rehearse_recommenders",
    "equality": "rehearse_recommenders",
    "update": "rehearse_encoders",
    "ete": "rehearse_encoders",
    "fine_tuning": "rehearse_encoders",
    "resume": "rehearse_resume",
    "precision": "rehearse_encoders",
    "busy": "rehearse_recommenders",
    "cpu": "rehearse_recommenders",
}


def machine(device: str, commit: str | None) -> dict[str, Any]:
    """Provenance, and what the device is."""
    if not device.startswith("cuda"):
        return {**provenance(device), "threads": torch.get_num_threads()}
    found = torch.cuda.get_device_properties(device)
    record = provenance(f"cuda: {found.name}")
    if commit:  # of what was copied here; a repository around the copy may be at another one
        record |= {"commit": commit, "dirty": None}
    return record | {
        "threads": torch.get_num_threads(),
        "gpu": {
            "name": found.name,
            "memory_bytes": found.total_memory,
            "compute_capability": f"{found.major}.{found.minor}",
            "cuda": torch.version.cuda,
            "tf32": torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32,
        },
    }


def main(given: argparse.Namespace) -> None:
    scale = SMOKE if given.smoke else FULL
    kept: dict[str, Any] = {}
    if given.only and given.json.is_file():
        kept = json.loads(given.json.read_text(encoding="utf-8"))
        kept["earlier"] = [*kept.get("earlier", []), {"only": given.only, "before": kept["machine"]}]
    rehearsal = Rehearsal(given.json, given.minutes, scale, given.device, kept, given.longest)
    rehearsal.record["machine"] = machine(given.device, given.commit)
    rehearsal.record["sizes"] = asdict(scale)
    rehearsal.write()
    for part, module in PARTS.items():
        if given.only and part not in given.only:
            continue
        try:
            rehearse = getattr(import_module(module), part)
        except ImportError as error:
            rehearsal.record["parts"][part] = {"import": {"failed": f"{type(error).__name__}: {error}"}}
            rehearsal.write()
            continue
        rehearsal.record["parts"][part] = {}
        rehearse(rehearsal)
    rehearsal.record["took_seconds"] = round(time.monotonic() - rehearsal.start, 1)
    rehearsal.write()
    entries = [(part, name, e) for part, all_ in rehearsal.record["parts"].items() for name, e in all_.items()]
    failed = [f"{part}, {name}" for part, name, entry in entries if "failed" in entry]
    print(f"{len(entries) - len(failed)} of {len(entries)} done; failed or not run: {'; '.join(failed) or 'none'}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A rehearsal of the paper's full size on made-up content.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, default=60, help="no part is started or goes on after so many")
    parser.add_argument("--longest", type=float, default=float("inf"), help="seconds that one measurement may take")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), help="parts to run again; the others stay on file")
    parser.add_argument("--smoke", action="store_true", help="toy size")
    parser.add_argument("--commit", help="for the record, where the code is a copy")
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    return parser.parse_args()


if __name__ == "__main__":
    with true_fp32():
        main(arguments())
