"""What does an exact encoder update cost with CLIP ViT-B/16 and VLMo Base Plus, and does the estimate hold?

    python benchmarks/official_step.py                                      # a few minutes on one core
    python benchmarks/official_step.py --device cuda --precision bf16 --chunks 64 256 --repeats 5

Random weights, made-up pictures of 224 pixels and texts that fill the context. Per chunk an exact update by gradient
caching: forward without gradient, forward with gradient, backward; then clipping and one AdamW step, which an update
has once. Times and memory are taken in processes of their own, after a first update: weights, their gradients and both
moments are there by then, so what the peak adds is activations. Beside the measurement stand estimates made beforehand:
FLOP by formula, bytes of activations by a rule of thumb, and one update and one epoch for the paper's three catalogues,
extrapolated from seconds per item. Writes official_step.json beside this file.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from clocks import clock, now
from measuring import ENCODERS, MadeUpItems, PeakMemory, device_name, in_own_process, return_freed_memory, size_of

from lmmrec_core.encoders.clip.encoder import CLIP
from lmmrec_core.results.provenance import provenance
from lmmrec_core.training.joint.chunks import decay_groups, trained_part

CATALOGUES = {"baby": 7_050, "sports": 18_357, "clothing": 23_033}
UPDATES_PER_EPOCH = 8  # the default of EndToEndSettings
FORWARDS = 4  # an exact update in forward passes: one without gradient, one with, a backward pass counts two
RATES = {"A6000, bf16": 60.0, "H200, bf16, whole ViT-B": 300.0, "H200, bf16, products alone": 700.0}  # TFLOP/s, assumed
RULE = 17  # values kept per token, channel and block with GELU and fused attention: 34 bytes in bf16
QUICK_GELU = 4  # more of them: its sigmoid, four times as wide as the block


@dataclass(frozen=True)
class Tower:
    """One transformer of an encoder and the maps around it."""

    tokens: int  # s, class and end tokens included
    width: int  # d
    depth: int  # L
    patches: int = 0
    patch_values: int = 0  # colours times pixels of a patch
    projected: int = 0  # width of the last map's output
    quick_gelu: bool = False
    unfused_heads: int = 0  # heads whose scores are kept for the backward pass, in fp32

    @property
    def gflop(self) -> float:
        """Forward, two per multiply-add: 2 L (12 d² s + 2 s² d), the patches, the projection."""
        s, d = self.tokens, self.width
        blocks = 2 * self.depth * (12 * d**2 * s + 2 * s**2 * d)
        return (blocks + 2 * self.patches * self.patch_values * d + 2 * d * self.projected) / 1e9

    def kept_bytes(self, precision: str, as_built: bool) -> int:
        """Activations of one item: the rule of thumb, or with what our towers keep beyond it."""
        value = 4 if precision == "fp32" else 2
        values = self.tokens * self.width * (RULE + QUICK_GELU * (as_built and self.quick_gelu))
        scores = self.unfused_heads * self.tokens**2 * as_built
        return self.depth * (values * value + scores * (4 if precision == "fp32" else 4 + 2))


def towers(encoder: Any) -> dict[str, Tower]:
    """Sizes of both paths from the encoder's own configuration."""
    if isinstance(encoder, CLIP):
        vision, text, out = encoder.config["vision_cfg"], encoder.config["text_cfg"], encoder.config["embed_dim"]
        patches = (vision["image_size"] // vision["patch_size"]) ** 2
        values = 3 * vision["patch_size"] ** 2
        quick = bool(encoder.config.get("quick_gelu"))
        return {
            "image": Tower(patches + 1, vision["width"], vision["layers"], patches, values, out, quick),
            "text": Tower(text.get("context_length", 77), text["width"], text["layers"], 0, 0, out, quick),
        }
    s = encoder.settings
    return {
        "image": Tower(s.grid**2 + 1, s.width, s.depth, s.grid**2, 3 * s.patch**2),
        "text": Tower(s.max_text_length, s.width, s.depth, unfused_heads=s.heads),  # on the CPU; few rows
    }


@dataclass(frozen=True)
class Options:
    """What all measurements share."""

    device: str
    precision: str
    repeats: int
    threads: int | None


def ready(name: str, chunk: int, options: Options) -> tuple[MadeUpItems, torch.optim.Optimizer]:
    """Items and an optimiser after one whole update with a single item: gradients, moments and buffers exist."""
    if options.threads:
        torch.set_num_threads(options.threads)
    items = MadeUpItems(ENCODERS[name](), chunk, options.device)
    optimiser = torch.optim.AdamW(decay_groups(trained_part(items, "all"), 0.0), lr=1e-5)
    passes_of(items, torch.arange(1), options)
    optimise(items, optimiser, options.device)
    return items, optimiser


def measure_memory(name: str, chunk: int, options: Options) -> dict[str, Any]:
    """Peak of the three passes over one chunk, above all that stays."""
    if not options.device.startswith("cuda"):
        return_freed_memory()  # before anything is built, so that no freed block is used again unseen
    items, _ = ready(name, chunk, options)
    memory = PeakMemory(options.device)
    passes_of(items, torch.arange(chunk), options)
    activations, paths = memory.above(), towers(items.encoder).values()
    reached = [p for p in items.module.parameters() if p.grad is not None]  # others, as VLMo's heads, have no moments
    return {
        "activation_bytes": activations,
        "activation_bytes_per_item": activations / chunk,
        "activation_bytes_per_item_by_the_rule": sum(t.kept_bytes(options.precision, as_built=False) for t in paths),
        "activation_bytes_per_item_as_built": sum(t.kept_bytes(options.precision, as_built=True) for t in paths),
        "parameters_with_gradient": sum(p.numel() for p in reached),
        "weights_gradients_moments_bytes": size_of(items.module.parameters()) + 3 * size_of(reached),
        "held_bytes": memory.held,  # before the chunk; on a CPU with the interpreter and its libraries
    }


def measure_time(name: str, chunk: int, options: Options) -> dict[str, Any]:
    """Seconds of the three passes over one chunk and of one optimiser step, the best of the repeats."""
    device = options.device
    items, optimiser = ready(name, chunk, options)
    passes = [passes_of(items, torch.arange(chunk), options) for _ in range(options.repeats)]
    seconds = {part: min(each[part] for each in passes) for part in passes[0]}
    alone, paths = sum(seconds.values()), towers(items.encoder)
    gflop = sum(tower.gflop for tower in paths.values())
    return {
        "chunk": chunk,
        "seconds": seconds
        | {"clip_and_adamw": min(optimise(items, optimiser, device) for _ in range(options.repeats))},
        "seconds_per_item": alone / chunk,
        "effective_tflops": FORWARDS * gflop * chunk / alone / 1e3,
        "parameters": sum(p.numel() for p in items.module.parameters()),
        "gflop_per_item": {"formula": "2 L (12 d² s + 2 s² d) + patches + projection"}
        | {path: tower.gflop for path, tower in paths.items()}
        | {"both": gflop, "exact_update": FORWARDS * gflop},
        "towers": {path: asdict(tower) for path, tower in paths.items()},
        "clock": clock(device),
        "threads": torch.get_num_threads(),
        "device": device_name(device),
    }


def passes_of(items: MadeUpItems, chosen: torch.Tensor, options: Options) -> dict[str, float]:
    """Seconds of the three passes over a chunk, as gradient caching makes them; gradients add up."""
    device = options.device
    autocast = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=options.precision == "bf16")
    start = now(device)
    with torch.no_grad(), autocast:
        items.rows(chosen)
    filled = now(device)
    with autocast:
        rows = [row.float() for row in items.rows(chosen).values()]
    forwarded = now(device)
    torch.autograd.backward(rows, [torch.full_like(row, 1e-3) for row in rows])
    done = now(device)
    return {"forward_without_gradient": filled - start, "forward": forwarded - filled, "backward": done - forwarded}


def optimise(items: MadeUpItems, optimiser: torch.optim.Optimizer, device: str) -> float:
    """Seconds of clipping and one step; the gradients stay, for the next."""
    start = now(device)
    torch.nn.utils.clip_grad_norm_(items.module.parameters(), 1.0)
    optimiser.step()
    return now(device) - start


def extrapolated(best: dict[str, Any]) -> dict[str, Any]:
    """One exact update and an epoch of eight, from seconds per item; and the estimate at the assumed rates.

    The pass that refreshes the features after an epoch is the first of the next, so an epoch is its updates.
    """
    found: dict[str, Any] = {"extrapolated": True, "updates_per_epoch": UPDATES_PER_EPOCH, "from_chunk": best["chunk"]}
    for catalogue, n in CATALOGUES.items():
        update = n * best["seconds_per_item"] + best["seconds"]["clip_and_adamw"]
        flop = n * best["gflop_per_item"]["exact_update"] * 1e9
        found[catalogue] = {
            "items": n,
            "update_seconds": update,
            "epoch_minutes": UPDATES_PER_EPOCH * update / 60,
            "update_flop": flop,
            "update_seconds_at_assumed_rates": {rate: flop / tera / 1e12 for rate, tera in RATES.items()},
        }
    return found


def main(given: argparse.Namespace) -> None:
    report: dict[str, Any] = {"precision": given.precision, "encoders": {}}
    options = Options(given.device, given.precision, given.repeats, given.threads)
    for name in given.encoders:
        chunks = []
        for chunk in given.chunks or ([64, 256] if given.device.startswith("cuda") else [4, 8]):
            entry = in_own_process(given.device, measure_time, name, chunk, options)
            entry |= in_own_process(given.device, measure_memory, name, chunk, options)
            chunks.append(entry)
            seconds = {part: round(value, 3) for part, value in entry["seconds"].items()}
            print(
                f"{name}, chunk {chunk}: {seconds} s, {entry['effective_tflops']:.4f} TFLOP/s, activations "
                f"{entry['activation_bytes_per_item'] / 1e6:.0f} MB an item (by the rule "
                f"{entry['activation_bytes_per_item_by_the_rule'] / 1e6:.0f}, as built "
                f"{entry['activation_bytes_per_item_as_built'] / 1e6:.0f})",
                flush=True,
            )
        best = extrapolated(min(chunks, key=lambda entry: entry["seconds_per_item"]))
        for catalogue in CATALOGUES:
            values = best[catalogue]
            print(
                f"  {catalogue}, extrapolated: one update {values['update_seconds']:,.1f} s, an epoch of "
                f"{UPDATES_PER_EPOCH} {values['epoch_minutes']:,.1f} minutes",
                flush=True,
            )
        report["encoders"][name] = {"chunks": chunks, "extrapolated": best}
        report["provenance"] = provenance(chunks[0]["device"])
        given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written: {given.json.name}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cost of an exact update of an official-size encoder.")
    parser.add_argument("--device", default="cpu")
    known = sorted(set(ENCODERS) - {"clip-small"})  # the formula is of transformers
    parser.add_argument("--encoders", nargs="+", default=["clip-b16", "vlmo-base-plus"], choices=known)
    parser.add_argument("--chunks", type=int, nargs="+", help="items at once; default: 4 8, with CUDA 64 256")
    parser.add_argument("--precision", default=None, choices=("fp32", "bf16"), help="default: fp32, with CUDA bf16")
    parser.add_argument("--repeats", type=int, default=1, help="the best counts")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's")
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    given.precision = given.precision or ("bf16" if given.device.startswith("cuda") else "fp32")
    if min([*(given.chunks or [1]), given.repeats]) < 1:
        parser.error("chunks and repeats are at least 1")
    return given


if __name__ == "__main__":
    main(arguments())
