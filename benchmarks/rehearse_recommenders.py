"""Parts of the rehearsal about recommenders: seconds, memory, equality of devices, how busy the device is."""

import time
from statistics import median
from typing import Any

import numpy as np
import torch
from catalogues import Size, built, made_up
from clocks import now
from measuring import PeakMemory
from rehearse import Rehearsal
from torch import Tensor

from lmmrec_core.metrics.evaluate import mean_recall
from lmmrec_core.process import peak_memory, reset_peak_memory
from lmmrec_core.roles import Batch, Scorer
from lmmrec_core.seeds import torch_stream
from lmmrec_core.training.joint.hooks import FeatureTraining
from lmmrec_core.training.loop import train
from lmmrec_core.training.optimiser import Optimiser
from lmmrec_core.training.recommend import top_k
from lmmrec_core.training.sampling import NegativeSampler

MODELS = ("vbpr", "mmgcn", "mmgcl", "slmrec", "lattice", "freedom", "bm3", "bpr", "lightgcn")
STEPS, USERS = 3, 64  # whose losses and scores are compared
BATCH = 2048
# draws made on the device differ from those on the CPU, so that the models are compared without them
UNDRAWN = {"mmgcl": {"dropout": 0.0}}


class Stopwatch(FeatureTraining):
    """Features stay as they are; notes when an epoch's batches begin and end."""

    def __init__(self, device: str) -> None:
        self.device, self.begun, self.ended = device, [], []

    def begin_epoch(self, number: int, n_batches: int) -> None:
        self.begun.append(now(self.device))

    def end_epoch(self, evaluated: bool) -> None:
        self.ended.append(now(self.device))


def recommenders(rehearsal: Rehearsal) -> None:
    for name in MODELS:
        rehearsal.take("recommenders", name, timed, name, rehearsal.scale.catalogue, rehearsal.device, rehearsal)


def cpu(rehearsal: Rehearsal) -> None:
    if rehearsal.device == "cpu":
        return  # see above
    for name in ("bpr", "vbpr", "lattice"):
        rehearsal.take("cpu", name, timed, name, rehearsal.scale.catalogue, "cpu", rehearsal)


def timed(name: str, size: Size, device: str, rehearsal: Rehearsal) -> dict[str, Any]:
    """Epochs and evaluations of the training loop itself; the first ones do not count."""
    data, split = made_up(size)
    reset_peak_memory()
    start = now(device)
    model, training = built(name, data, device=device, epochs=rehearsal.scale.epochs, evaluate_every=1)
    construction = now(device) - start
    cuda, watch = device.startswith("cuda"), Stopwatch(device)
    memory = PeakMemory(device) if cuda else None
    users, evaluated = np.unique(split.valid.user), []

    def validate(scorer: Scorer) -> float:
        score = mean_recall(top_k(scorer, users, split, k=20), users, split, "valid", 20)
        evaluated.append(now(device))
        return score

    started = now(device)
    done = train(model, data, split, training, seed=1, validate=validate, features=watch, progress=False)
    starts = [started, *evaluated[:-1]]
    epochs = [end - begin for begin, end in zip(starts, watch.ended, strict=True)]
    drawing = [begun - begin for begin, begun in zip(starts, watch.begun, strict=True)]
    evaluations = [end - begin for begin, end in zip(watch.ended, evaluated, strict=True)]
    return {
        "epoch_seconds": median(epochs[1:]),
        "of_it_until_the_first_batch": median(drawing[1:]),
        "evaluation_seconds": median(evaluations[1:]),
        "peak_device_bytes": memory.above() if memory else None,
        "peak_host_bytes": peak_memory(),
        "first_epoch_seconds": epochs[0],
        "construction_seconds": construction,  # on the CPU
        "batches": -(-len(data.user) // training.batch_size),
        "epochs": epochs,
        "evaluations": evaluations,
        "losses": [epoch.loss for epoch in done.history],
        "device": device.partition(":")[0],
    }


def equality(rehearsal: Rehearsal) -> None:
    for name in MODELS:
        rehearsal.take("equality", name, compared, name, rehearsal.scale.small, rehearsal.device)
    for name in rehearsal.scale.encoders:
        rehearsal.take("equality", name, compared_rows, name, rehearsal.scale.sample // 4 or 1, rehearsal.device)


def compared(name: str, size: Size, device: str) -> dict[str, Any]:
    """Losses of the first steps and scores afterwards, on the CPU and on the device, from the same initial values."""
    (losses, scores), (others, also) = (first_steps(name, size, place) for place in ("cpu", device))
    by_step = [abs(b - a) / abs(a) for a, b in zip(losses, others, strict=True)]
    return {
        "largest_relative_difference_of_losses": max(by_step),
        "largest_difference_of_scores_over_largest_score": float((also - scores).abs().max() / scores.abs().max()),
        "same_top_20": float((also.topk(20).indices == scores.topk(20).indices).float().mean()),
        "losses": {"cpu": losses, device: others},
        "changed": UNDRAWN.get(name, {}),
    }


def first_steps(name: str, size: Size, device: str) -> tuple[list[float], Tensor]:
    """Losses of some steps; then the scores [user, item], on the CPU."""
    data, _ = made_up(size)
    model, training = built(name, data, **UNDRAWN.get(name, {}))
    model.to(device).train()
    optimiser = Optimiser(model, training.learning_rate, training.weight_decay)
    # apart: a model takes more draws from its stream where it draws on the CPU
    stream, drawn = torch_stream(1, "batches"), torch_stream(1, "model")
    negatives = NegativeSampler(data.user, data.item, data.n_items) if model.needs_negatives else None
    model.begin_epoch(1, drawn)
    losses = []
    for step in range(STEPS):
        rows = torch.randint(len(data.user), (BATCH // 8,), generator=stream)
        user, item = data.user[rows], data.item[rows]
        negative = None if negatives is None else negatives.sample(user, stream).to(device)
        loss = model.loss(Batch(user.to(device), item.to(device), negative, step == 0), drawn)
        optimiser.step(loss)
        losses.append(loss.item())
    optimiser.settle()
    model.eval()
    return losses, model.scorer()(torch.arange(min(USERS, data.n_users))).cpu()


def compared_rows(name: str, n: int, device: str) -> dict[str, Any]:
    """Feature rows of an encoder in fp32 on both."""
    from rehearse_encoders import largest_row_difference, rows_of

    exact, other = (rows_of(name, n, place, "fp32") for place in ("cpu", device))
    return {f"{m}_largest_relative_row_difference": largest_row_difference(exact[m], other[m]) for m in exact}


def busy(rehearsal: Rehearsal) -> None:
    if not rehearsal.device.startswith("cuda"):
        return  # there is no device beside the CPU
    for name in ("vbpr", "lattice", "mmgcn", "freedom"):
        rehearsal.take("busy", name, device_share, name, rehearsal)


def device_share(name: str, rehearsal: Rehearsal) -> dict[str, Any]:
    """Time of kernels over time of the batches, under the profiler, which makes the batches slower."""
    data, _ = made_up(rehearsal.scale.catalogue)
    model, training = built(name, data)
    model.to(rehearsal.device).train()
    optimiser, stream = Optimiser(model, training.learning_rate, training.weight_decay), torch_stream(1, "batches")
    model.begin_epoch(1, stream)
    rows = torch.randint(len(data.user), (20, BATCH), generator=stream)
    user, item = data.user[rows].to(rehearsal.device), data.item[rows].to(rehearsal.device)
    negative = torch.randint(data.n_items, rows.shape, generator=stream).to(rehearsal.device)

    def batches() -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for place in range(len(rows)):
            loss = model.loss(Batch(user[place], item[place], negative[place], place == 0), stream)
            loss.item()
            optimiser.step(loss)
        optimiser.settle()
        torch.cuda.synchronize()
        return time.perf_counter() - start

    batches()
    plain = batches()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        batches()
    kernel = torch.autograd.DeviceType.CUDA
    events = [event for event in profile.key_averages() if event.device_type == kernel]
    kernels = sum(event.self_device_time_total for event in events) / 1e6
    return {
        "seconds_per_batch": plain / len(rows),
        "kernel_seconds_per_batch": kernels / len(rows),
        "device_share": kernels / plain,
        "kernels_per_batch": sum(event.count for event in events) / len(rows),
    }
