"""Is true end-to-end training constant in memory, and how near is an update to the encoder passes it needs?

    python benchmarks/end_to_end.py [--encoder clip-tiny-64] [--sizes 256 1024] [--chunk 32]   # minutes on one core
    python benchmarks/end_to_end.py --device cuda --precision bf16 --encoder clip-b16 --sizes 1024 4096 --chunk 64

Memory: VBPR and its encoder trained by ``loop.train`` (reading e2, one encoder update an epoch) on made-up catalogues
of two sizes, interactions in proportion: the peak above what data, pictures and weights hold, less what grows by
construction (features, their gradients, the recommender's tables). Beside it one backward pass through all items at
once, which this avoids. Time: one encoder update (fill the features, encode again with gradient, step) against forward,
forward and backward over the same chunks and nothing else; the floor of the ratio is 1. Every measurement has a process
of its own. Writes end_to_end.json beside this file.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from clocks import clock, now
from measuring import ENCODERS, SEED, MadeUpItems, PeakMemory, device_name, free_memory, in_own_process, size_of

from lmmrec_core.flow import Interactions, Split
from lmmrec_core.recommenders.vbpr import VBPR
from lmmrec_core.results.provenance import provenance
from lmmrec_core.roles import Batch, TrainingData
from lmmrec_core.seeds import numpy_stream, torch_stream
from lmmrec_core.training.joint.chunks import Chunk
from lmmrec_core.training.joint.e2 import Window
from lmmrec_core.training.joint.hooks import TrainingStep
from lmmrec_core.training.joint.settings import EndToEndSettings
from lmmrec_core.training.loop import TrainingSettings, train
from lmmrec_core.training.optimiser import Optimiser

PER_USER = 8  # training rows of every user and of every item; there are as many users as items
SMALLEST = 2 * PER_USER
SHARE_OF_FREE = 0.6  # of the free memory that the whole graph may be expected to take


@dataclass(frozen=True)
class Options:
    """What all measurements share."""

    device: str
    encoder: str
    chunk: int
    precision: str
    batch: int
    updates: int
    repeats: int
    threads: int | None


def made_up(n: int) -> Split:
    """User u has the items u + o modulo n for eight training offsets o, one for validation and one for test."""
    offsets = numpy_stream(SEED, "benchmarks/offsets").permutation(n)[: PER_USER + 2]

    def rows(chosen: Any) -> Interactions:
        keys = np.sort((np.arange(n)[:, None] * n + (np.arange(n)[:, None] + chosen) % n).ravel())
        return Interactions(keys // n, keys % n)

    parts = rows(offsets[:PER_USER]), rows(offsets[PER_USER:-1]), rows(offsets[-1:])
    return Split(n, n, *parts, "made up", SEED, "end-to-end")


def ready(options: Options, n: int) -> tuple[MadeUpItems, Split, TrainingData, VBPR]:
    """An encoder on ``n`` items and a recommender of their features, which the training itself fills."""
    if options.threads:
        torch.set_num_threads(options.threads)
    items, split = MadeUpItems(ENCODERS[options.encoder](), n, options.device), made_up(n)
    data, model = vbpr_of(items, split, options.device)
    with autocast(options):  # libraries are loaded and their buffers made before anything is measured
        warm = items.rows(torch.arange(1))
    torch.autograd.backward([row.sum() for row in warm.values()])
    items.module.zero_grad(set_to_none=True)
    return items, split, data, model


def vbpr_of(items: MadeUpItems, split: Split, device: str) -> tuple[TrainingData, VBPR]:
    """A recommender of the items' features, all zeros until a window fills them."""
    n = split.n_items
    user, item = (torch.from_numpy(column.copy()) for column in (split.train.user, split.train.item))
    features = {m: torch.zeros(n, width, device=device) for m, width in items.widths().items()}
    data = TrainingData(n, n, user, item, features)
    return data, VBPR(data, VBPR.Settings(), torch_stream(SEED, "benchmarks/init")).to(device)


def autocast(options: Options) -> torch.autocast:
    kind = torch.device(options.device).type
    return torch.autocast(kind, torch.bfloat16, enabled=options.precision == "bf16")


def settings(options: Options) -> EndToEndSettings:
    return EndToEndSettings.build(
        {"reading": "e2", "updates_per_epoch": 1, "chunk": options.chunk, "precision": options.precision}
    )


def whole_batch(data: TrainingData, rows: int, device: str) -> Batch:
    """The first ``rows`` training rows in random order; negatives are drawn over all items."""
    stream = torch_stream(SEED, "benchmarks/batch")
    order = torch.randperm(len(data.user), generator=stream)[:rows]
    negative = torch.randint(data.n_items, (len(order),), generator=stream)
    return Batch(data.user[order].to(device), data.item[order].to(device), negative.to(device), True)


def measure_window(options: Options, n: int) -> dict[str, Any]:
    """Peak memory of the training loop with a window an epoch."""
    items, split, data, model = ready(options, n)
    grows = grows_by_construction(model)
    training = TrainingSettings(
        epochs=options.updates, evaluate_every=options.updates, batch_size=options.batch, device=options.device
    )
    memory = PeakMemory(options.device)
    window = Window(items, settings(options))
    done = train(
        model, data, split, training, seed=SEED, validate=lambda scorer: 0.0, features=window, progress=False
    )  # fmt: skip
    peak = memory.above()
    checked = 2 * min(options.chunk, n)  # before the start: is the encoder deterministic?
    encoded = done.notes["items_encoded"]
    return {
        "items": n,
        "peak_bytes": peak,
        "grows_by_construction_bytes": grows,
        "rest_bytes": peak - sum(grows.values()),
        "of_it_encoder_gradients_and_moments_bytes": 3 * size_of(window.trained.values()),
        "pictures_bytes": size_of([items.pictures]),  # uint8, held before and after
        "updates": done.notes["updates"],
        "items_encoded": encoded,
        # the pass that starts the training serves the first update; the last one refreshes F before evaluation
        "passes_per_update": (encoded - checked - n) / (n * done.notes["updates"]),
    }


def grows_by_construction(model: VBPR) -> dict[str, int]:
    """Bytes that training features needs for every item, whichever way they are trained."""
    matrix, tables = size_of(model.features.values()), size_of(model.parameters())
    return {"F, and its copy at the start": 2 * matrix, "G": matrix, "recommender: gradients and moments": 3 * tables}


def measure_whole_graph(options: Options, n: int) -> dict[str, Any]:
    """Peak memory of one loss with all items in its graph; no optimiser, so without moments: to its advantage."""
    items, _, data, model = ready(options, n)
    batch = whole_batch(data, options.batch, options.device)
    memory = PeakMemory(options.device)
    with autocast(options):
        rows = items.rows(torch.arange(n))
    model.features.update({m: row.float() for m, row in rows.items()})
    model.loss(batch, torch_stream(SEED, "benchmarks/model")).backward()
    peak = memory.above()
    return {"items": n, "peak_bytes": peak, "bytes_per_item": peak / n, "extrapolated": False}


def measure_time(options: Options, n: int) -> dict[str, Any]:
    """Seconds of an encoder update and of its passes alone, in turn; the median of the paired ratios."""
    items, _, data, model = ready(options, n)
    batch = whole_batch(data, len(data.user), options.device)
    window, optimiser = Window(items, settings(options)), Optimiser(model, 1e-3, 0.0)
    window.start(model, SEED)
    updates, alone = [], []
    for epoch in range(options.repeats + 1):
        updates.append(timed_update(options.device, window, model, optimiser, batch, epoch + 1))
        alone.append(timed_passes(options, items, n))
    updates, alone = updates[1:], alone[1:]  # the features were current before the first update
    totals = [(sum(update.values()), sum(passes.values())) for update, passes in zip(updates, alone, strict=True)]
    return {
        "items": n,
        "update": updates,
        "passes_alone": alone,
        "seconds_per_item": median(update for update, _ in totals) / n,
        "ratios": [update / passes for update, passes in totals],
        "ratio": median(update / passes for update, passes in totals),
        "clock": clock(options.device),
        "threads": torch.get_num_threads(),
        "device": device_name(options.device),
    }


def timed_update(
    device: str, window: Window, model: VBPR, optimiser: Optimiser, batch: Batch, epoch: int
) -> dict[str, float]:
    """The encoder's share of one epoch that is one batch: what the window does before and after it."""
    step = TrainingStep(batch, 0, 1, torch_stream(SEED, "benchmarks/model"))
    model.train()
    window.begin_epoch(epoch, 1)
    start = now(device)
    window.before_batch(step)
    filled = now(device)
    optimiser.step(model.loss(batch, step.generator))
    stepped = now(device)
    window.after_step(step)
    return {"fill": filled - start, "gradient_and_step": now(device) - stepped}


def timed_passes(options: Options, items: MadeUpItems, n: int) -> dict[str, float]:
    """Forward without gradient over all chunks, then per chunk forward and backward; no clipping, no step."""
    device, chunks = options.device, [Chunk(part) for part in torch.arange(n).split(options.chunk)]
    weights = {m: torch.ones(options.chunk, width, device=device) for m, width in items.widths().items()}
    start = now(device)
    with torch.no_grad(), autocast(options):
        for chunk in chunks:
            items.rows(chunk.items)
    filled = now(device)
    for chunk in chunks:
        with autocast(options):
            rows = {m: row.float() for m, row in items.rows(chunk.items).items()}
        torch.autograd.backward(list(rows.values()), [weights[m][: len(row)] for m, row in rows.items()])
    done = now(device)
    items.module.zero_grad(set_to_none=True)
    return {"forward": filled - start, "forward_and_backward": done - filled}


def memory_part(options: Options, sizes: list[int]) -> dict[str, Any]:
    """Both ways at all sizes, smallest first; a whole graph that would not fit is extrapolated, and says so."""
    found: dict[str, list[dict[str, Any]]] = {"window": [], "whole_graph": []}
    for n in sizes:
        entry = in_own_process(options.device, measure_window, options, n)
        found["window"].append(entry)
        print(
            f"{n:>7} items, windows:     peak {mib(entry['peak_bytes'])}, rest {mib(entry['rest_bytes'])}", flush=True
        )
        expected = found["whole_graph"][0]["bytes_per_item"] * n if found["whole_graph"] else 0.0
        if expected > SHARE_OF_FREE * in_own_process(options.device, free_memory, options.device):
            whole = {"items": n, "peak_bytes": expected, "bytes_per_item": expected / n, "extrapolated": True}
        else:
            whole = in_own_process(options.device, measure_whole_graph, options, n)
        found["whole_graph"].append(whole)
        how = ", extrapolated: it would not fit" if whole["extrapolated"] else ""
        print(f"{n:>7} items, whole graph: peak {mib(whole['peak_bytes'])}{how}", flush=True)
    growth = {
        "items": sizes[-1] / sizes[0],
        "window_rest": found["window"][-1]["rest_bytes"] / found["window"][0]["rest_bytes"],
        "whole_graph": found["whole_graph"][-1]["peak_bytes"] / found["whole_graph"][0]["peak_bytes"],
    }
    print("from the smallest to the largest:", {name: round(value, 3) for name, value in growth.items()}, flush=True)
    return {**found, "growth": growth}


def mib(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB"


def main(options: Options, sizes: list[int], target: Path) -> None:
    memory = memory_part(options, sizes)
    timing = in_own_process(options.device, measure_time, options, sizes[0])
    print(f"{sizes[0]:>7} items: one update takes {timing['ratio']:.3f} times its passes alone", flush=True)
    report = {
        "settings": {**asdict(options), "sizes": sizes, "recommender": "vbpr", "interactions_per_user": PER_USER},
        "memory": memory,
        "time": timing,
        "provenance": provenance(timing["device"]),
    }
    target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written: {target.name}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Peak memory and time of end-to-end training.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--encoder", default="clip-tiny-64", choices=sorted(ENCODERS))
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024], help="items; times are of the smallest")
    parser.add_argument("--chunk", type=int, default=32)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--batch", type=int, default=1024, help="training rows a step")
    parser.add_argument("--updates", type=int, default=2, help="encoder updates, of which the peak is taken")
    parser.add_argument("--repeats", type=int, default=3, help="timed updates, after one that is not")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's")
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    if min(given.sizes) < SMALLEST or min(given.chunk, given.batch, given.updates, given.repeats) < 1:
        parser.error(f"sizes are at least {SMALLEST}, chunk, batch, updates and repeats at least 1")
    return given


if __name__ == "__main__":
    given = vars(arguments())
    target, sizes = given.pop("json"), sorted(set(given.pop("sizes")))
    main(Options(**given), sizes, target)
