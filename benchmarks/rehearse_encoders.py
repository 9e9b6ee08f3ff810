"""Parts of the rehearsal about encoders: an exact end-to-end update, an epoch, a step of fine-tuning, precision."""

from collections.abc import Callable
from functools import cache
from statistics import median
from typing import Any, Literal

import torch
from catalogues import built
from clocks import now
from end_to_end import (
    Options,
    autocast,
    grows_by_construction,
    settings,
    timed_passes,
    timed_update,
    vbpr_of,
    whole_batch,
)
from end_to_end import made_up as evenly
from measuring import ENCODERS, SEED, MadeUpItems, PeakMemory
from official_step import CATALOGUES, UPDATES_PER_EPOCH
from rehearse import Rehearsal
from torch import Tensor

from lmmrec_core.encoders.fine_tuning.gradients import Passes, itc_backward, itm_backward, mlm_backward
from lmmrec_core.encoders.fine_tuning.pairs import PairBatch
from lmmrec_core.encoders.fine_tuning.preparation import prepared, training_mode
from lmmrec_core.encoders.fine_tuning.roles import FusingEncoder
from lmmrec_core.encoders.fine_tuning.schedule import Stepper, trainable
from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings
from lmmrec_core.encoders.precision import compare_precisions
from lmmrec_core.flow import Modality
from lmmrec_core.roles import TrainingData
from lmmrec_core.seeds import torch_stream
from lmmrec_core.training.joint.e2 import Window
from lmmrec_core.training.joint.settings import EndToEndSettings
from lmmrec_core.training.loop import train
from lmmrec_core.training.optimiser import Optimiser

REPEATS = 2  # timed, after one that is not
STEPS = 8  # of an epoch of end-to-end training, each with an exact update


@cache
def made_up_items(name: str, n: int, device: str) -> MadeUpItems:
    """One encoder at a time stays in memory for all parts that use it."""
    return MadeUpItems(ENCODERS[name](), n, device)


def items_of(rehearsal: Rehearsal, name: str) -> MadeUpItems:
    return made_up_items(name, max(rehearsal.scale.items), rehearsal.device)


def options_of(rehearsal: Rehearsal, name: str, chunk: int, precision: str) -> Options:
    return Options(rehearsal.device, name, chunk, precision, batch=2048, updates=1, repeats=REPEATS, threads=None)


def update(rehearsal: Rehearsal) -> None:
    for precision in ("bf16", "fp32"):
        for chunk in rehearsal.scale.chunks:
            for name in rehearsal.scale.encoders:
                options = options_of(rehearsal, name, chunk, precision)
                rehearsal.take("update", f"{name}, {precision}, chunk {chunk}", updated, rehearsal, options)


def updated(rehearsal: Rehearsal, options: Options) -> dict[str, Any]:
    """Seconds and peak of an exact update through a window of two catalogues."""
    items = items_of(rehearsal, options.encoder)
    few, many = (one_update(items, options, n) for n in rehearsal.scale.items)
    return {
        "forward_seconds_per_item": many["fill_seconds"] / many["items"],
        "update_seconds_per_item": many["update_seconds"] / many["items"],
        "times_passes_alone": many["update_seconds"] / many["passes_alone_seconds"],
        "peak_bytes": many["peak_bytes"],
        "rest_bytes": many["rest_bytes"],
        "rest_grows": many["rest_bytes"] / few["rest_bytes"],  # with so many times the items:
        "items_grow": many["items"] / few["items"],
        "measured": [few, many],
        "extrapolated": {
            catalogue: {
                "items": n,
                "update_seconds": n * many["update_seconds"] / many["items"],
                "epoch_minutes": UPDATES_PER_EPOCH * n * many["update_seconds"] / many["items"] / 60,
            }
            for catalogue, n in CATALOGUES.items()
        },
    }


def one_update(items: MadeUpItems, options: Options, n: int) -> dict[str, Any]:
    """The best of some updates of VBPR's window over ``n`` items; the peak above weights, pictures and data."""
    device, split = options.device, evenly(n)
    items.module.zero_grad(set_to_none=True)
    data, model = vbpr_of(items, split, device)
    batch, grows = whole_batch(data, len(data.user), device), grows_by_construction(model)
    memory = PeakMemory(device)
    window, optimiser = Window(items, settings(options)), Optimiser(model, 1e-3, 0.0)
    window.start(model, SEED)
    # the features are current before the first update, so that it has no pass to fill them
    each = [timed_update(device, window, model, optimiser, batch, epoch + 1) for epoch in range(REPEATS + 1)][1:]
    peak = memory.above()
    best = min(each, key=lambda seconds: sum(seconds.values()))
    alone = min(sum(timed_passes(options, items, n).values()) for _ in range(REPEATS))
    items.module.zero_grad(set_to_none=True)
    return {
        "items": n,
        "fill_seconds": best["fill"],
        "update_seconds": sum(best.values()),
        "passes_alone_seconds": alone,
        "peak_bytes": peak,
        "grows_by_construction_bytes": sum(grows.values()),
        "rest_bytes": peak - sum(grows.values()),  # encoder's gradients and moments, and the activations of a chunk
    }


def ete(rehearsal: Rehearsal) -> None:
    for model in ("vbpr", "lattice"):
        for name in rehearsal.scale.encoders:
            options = options_of(rehearsal, name, max(rehearsal.scale.chunks), "bf16")
            rehearsal.take("ete", f"{model}, {name}", trained, rehearsal, model, options)


def trained(rehearsal: Rehearsal, name: str, options: Options) -> dict[str, Any]:
    """Two epochs of the training loop, evaluation included; the second one counts."""
    items, n = items_of(rehearsal, options.encoder), min(rehearsal.scale.ete_items, max(rehearsal.scale.items))
    split = evenly(n)
    items.module.zero_grad(set_to_none=True)
    with torch.no_grad(), autocast(options):
        parts = [items.rows(part) for part in torch.arange(n).split(options.chunk)]
    features: dict[Modality, Tensor] = {m: torch.cat([part[m].float().cpu() for part in parts]) for m in parts[0]}
    user, item = (torch.from_numpy(column.copy()) for column in (split.train.user, split.train.item))
    fixed = {} if name == "vbpr" else {"trainable_features": False}
    batch_size = -(-len(user) // STEPS)
    model, training = built(
        name,
        TrainingData(n, n, user, item, features),
        device=options.device,
        epochs=2,
        evaluate_every=1,
        batch_size=batch_size,
        **fixed,
    )
    memory = PeakMemory(options.device)
    window = Window(
        items,
        EndToEndSettings.build({"updates_per_epoch": STEPS, "chunk": options.chunk, "precision": options.precision}),
    )
    done = train(
        model, data=TrainingData(n, n, user, item, features), split=split, settings=training, seed=SEED,
        validate=lambda scorer: float(scorer(torch.arange(1)).sum().isfinite()), features=window, progress=False,
    )  # fmt: skip
    items.module.zero_grad(set_to_none=True)
    updates = int(str(done.notes["updates"])) // 2
    return {
        "epoch_seconds": done.history[1].seconds,
        "updates_per_epoch": updates,
        "seconds_per_item_and_update": done.history[1].seconds / (n * updates),
        "peak_bytes": memory.above(),
        "items": n,
        "chunk": options.chunk,
        "precision": options.precision,
        "losses": [epoch.loss for epoch in done.history],
    }


def fine_tuning(rehearsal: Rehearsal) -> None:
    clip, vlmo = rehearsal.scale.encoders
    for name, objectives in ((clip, ("itc",)), (vlmo, ("itc", "itm", "mlm"))):
        for precision in ("bf16", "fp32"):
            label = f"{name}, {'+'.join(objectives)}, {precision}"
            rehearsal.take("fine_tuning", label, tuned, rehearsal, name, objectives, precision)


def tuned(
    rehearsal: Rehearsal, name: str, objectives: tuple[str, ...], precision: Literal["fp32", "bf16"]
) -> dict[str, Any]:
    """Steps of the fine-tuning loop: every objective's gradient by chunks, clipping, AdamW."""
    scale, device, items = rehearsal.scale, rehearsal.device, items_of(rehearsal, name)
    encoder, rows = items.encoder, torch.arange(rehearsal.scale.pairs)
    chosen = FineTuneSettings.build(
        {"objectives": objectives, "batch_size": scale.pairs, "micro_batch": scale.micro, "precision": precision,
         "device": device}
    )  # fmt: skip
    pixels = items.pictures[rows].float().div_(127.5).sub_(1)
    batch = PairBatch(pixels, {key: value[rows] for key, value in items.tokens.items()}, rows, rows)
    passes, stream = Passes(device, precision, scale.micro), torch_stream(SEED, "benchmarks/tune")
    with prepared(encoder, chosen):
        training_mode(encoder.module, True)
        stepper = Stepper(encoder, trainable(encoder, chosen), chosen, steps=100)
        memory, seconds = PeakMemory(device), []
        for _ in range(REPEATS + 1):
            start = now(device)
            losses = gradients(encoder, batch, objectives, stream, passes, stepper)
            seconds.append(now(device) - start)
        peak = memory.above()
    return {
        "step_seconds": median(seconds[1:]),
        "pairs_per_second": scale.pairs / median(seconds[1:]),
        "peak_bytes": peak,  # above the weights: gradients, moments, activations of a chunk
        "pairs": scale.pairs,
        "at_once": scale.micro,
        "losses": losses,
    }


def gradients(
    encoder: FusingEncoder,
    batch: PairBatch,
    objectives: tuple[str, ...],
    stream: torch.Generator,
    passes: Passes,
    stepper: Stepper,
) -> dict[str, float]:
    """One step; the losses without their weights."""
    stepper.zero()
    losses = {}
    losses["itc"], logits = itc_backward(encoder, batch, passes)
    further: dict[str, Callable[[], float]] = {
        "itm": lambda: itm_backward(encoder, batch, logits, 1.0, stream, passes),
        "mlm": lambda: mlm_backward(encoder, batch, 0.25, stream, passes),
    }
    losses |= {name: share() for name, share in further.items() if name in objectives}
    stepper.step()
    return losses


def precision(rehearsal: Rehearsal) -> None:
    for name in rehearsal.scale.encoders:
        rehearsal.take("precision", name, both_precisions, name, rehearsal)


def both_precisions(name: str, rehearsal: Rehearsal) -> dict[str, Any]:
    exact, lower = (rows_of(name, rehearsal.scale.sample, rehearsal.device, kind) for kind in ("fp32", "bf16"))
    found: dict[str, Any] = {}
    for m in exact:
        found[f"{m}_largest_relative_row_difference"] = largest_row_difference(exact[m], lower[m])
        found[f"{m}_smallest_cosine"] = compare_precisions(exact[m].numpy(), lower[m].numpy())["cosine_min"]
    return found


@torch.no_grad()
def rows_of(name: str, n: int, device: str, precision: str) -> dict[Modality, Tensor]:
    """Feature rows of ``n`` made-up items by a new encoder of the same random weights, on the CPU."""
    items = MadeUpItems(ENCODERS[name](), n, device)
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16"):
        return {m: rows.float().cpu() for m, rows in items.rows(torch.arange(n)).items()}


def largest_row_difference(exact: Tensor, other: Tensor) -> float:
    """The largest of ``|row - row of the other| / |row|``."""
    return float(((exact - other).norm(dim=1) / exact.norm(dim=1)).max())
