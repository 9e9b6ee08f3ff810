"""Every recommender from the size of Amazon Baby to that of Electronics: seconds, and above all peak memory.

    python benchmarks/growth.py                                  # every size and model that is not on file
    python benchmarks/growth.py --sizes electronics --models lattice --seconds 900
    python benchmarks/growth.py --threads 2 --again

Made-up catalogues of published sizes (``catalogues.SIZES``) with random features, each model with the settings of
``lmmrec run``, in a process of its own, by the training loop itself: one epoch, then the evaluation of all users that
have a validation row. With one thread the clock is processor time, which other programs on the machine hardly lengthen;
only the construction of a model, a part of which is quadratic in the items, uses all threads and the clock on the wall.
After ``--seconds`` an epoch is broken off: the seconds of its batches are known by then, and the peak of memory too,
because every batch takes the same. So it is with an evaluation of ``--users``. What a model refuses is recorded as
such. With ``--draw-neighbours`` only the first blocks of an item graph are searched and the other neighbours are drawn,
which changes no size: a search compares all items with each other. Writes growth.json beside this file after each
measurement, and goes on there when it is called again.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from catalogues import SIZES, Size, built, made_up
from clocks import clock, now
from torch import Tensor

from lmmrec_core.disk import write_file
from lmmrec_core.errors import LmmrecError, ResultError
from lmmrec_core.flow import IntArray, Interactions
from lmmrec_core.metrics.evaluate import mean_recall
from lmmrec_core.process import peak_memory, reset_peak_memory
from lmmrec_core.recommenders import RECOMMENDERS, freedom, item_graph, lattice
from lmmrec_core.results.provenance import provenance
from lmmrec_core.roles import Scorer, TrainableRecommender
from lmmrec_core.seeds import torch_stream
from lmmrec_core.study.memory.room import peak_device_memory, reset_peak_device_memory
from lmmrec_core.training.joint.hooks import FeatureTraining, TrainingStep
from lmmrec_core.training.loop import train
from lmmrec_core.training.recommend import top_k

TARGET = Path(__file__).with_suffix(".json")
SECONDS = 600.0


@dataclass(frozen=True)
class How:
    """How one model is measured; the options of the command line, of which a process of its own is given the same."""

    threads: int = 1
    seconds: float = SECONDS  # after which an epoch is broken off
    device: str = "cpu"
    track: str = "user"  # whose settings the models have
    users: int | None = None  # the most that the evaluation ranks for; its seconds are worked out for all
    draw_neighbours: bool = False  # after the first blocks

    @classmethod
    def given(cls, options: argparse.Namespace) -> "How":
        return cls(**{one.name: getattr(options, one.name) for one in fields(cls)})

    def words(self) -> list[str]:
        """As on the command line."""
        words: list[str] = []
        for name, value in asdict(self).items():
            if value not in (None, False):
                words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        return words


class EnoughSeen(Exception):
    """The time for an epoch is over."""


class Watch(FeatureTraining):
    """Features stay as they are; notes when batches begin, and breaks the epoch off when its time is over."""

    def __init__(self, seconds: float, device: str = "cpu") -> None:
        self.device, self.end, self.begun, self.ended = device, now(device) + seconds, [], 0.0

    def before_batch(self, step: TrainingStep) -> None:
        self.begun.append(now(self.device))
        if self.begun[-1] > self.end and len(self.begun) > 2:
            raise EnoughSeen

    def end_epoch(self, evaluated: bool) -> None:
        self.ended = now(self.device)

    def seen(self, began: float, batches: int) -> dict[str, Any]:
        """Seconds of the epoch that began then, whole or not."""
        whole, ended = self.ended > 0, self.ended or self.begun[-1]
        done = len(self.begun) - (not whole)
        starts = [*self.begun[:done], ended]
        drawn, first = starts[0] - began, starts[1] - starts[0]
        batch = (ended - starts[1]) / (done - 1) if done > 1 else first
        return {
            "epoch_seconds": drawn + first + (batches - 1) * batch, "whole_epoch": whole, "batches": batches,
            "batches_done": done, "seconds_until_the_first_batch": drawn, "first_batch_seconds": first,
            "batch_seconds": batch,
        }  # fmt: skip


def measure(name: str, size: Size, how: How) -> dict[str, Any]:
    """One model in this process. ``epoch_seconds`` of an epoch that was broken off is worked out from its batches."""
    device = how.device
    warm_up()
    if how.draw_neighbours:
        lattice.nearest_columns = freedom.nearest_columns = first_blocks_then_drawn
    data, split = made_up(size)
    reset_peak_memory()
    reset_peak_device_memory(device)
    start = time.perf_counter()
    model, training = built(name, data, how.track, epochs=1, evaluate_every=1, threads=how.threads, device=device)
    found: dict[str, Any] = {"build_seconds": time.perf_counter() - start, "build_peak_bytes": peak_memory()}
    torch.set_num_threads(how.threads)
    everyone, evaluations = np.unique(split.valid.user), []
    users = everyone[: how.users]
    split = replace(split, valid=of_users(split.valid, users))

    def validate(scorer: Scorer) -> float:
        began = now(device)
        score = mean_recall(top_k(scorer, users, split, k=20), users, split, "valid", 20)
        evaluations.append((now(device) - began) * len(everyone) / len(users))
        return score

    if isinstance(model, TrainableRecommender):
        watch, began = Watch(how.seconds, device), now(device)
        try:
            train(model, data, split, training, seed=1, validate=validate, features=watch, progress=False)
        except EnoughSeen:
            model.eval()
        found |= watch.seen(began, -(-len(data.user) // training.batch_size))
    if not evaluations:
        validate(model.scorer())
    return {
        **found,
        "evaluation_seconds": evaluations[0],
        "users_ranked": len(users),
        "users_to_rank": len(everyone),
        "peak_bytes": peak_memory(),
        **peak_device_memory(device),
        "clock": clock(device),
        "neighbours": "drawn after the first blocks" if how.draw_neighbours else "searched",
    }


def first_blocks_then_drawn(rows: Tensor, k: int) -> Tensor:
    """As ``item_graph.nearest_columns``, but only for the rows of two blocks.

    Of the others half of the neighbours are drawn and half are the item itself, so that no row of cosines sums to less
    than nothing.
    """
    rows, block = rows.detach(), max(1, item_graph._BLOCK_ENTRIES // len(rows))
    found = torch.arange(len(rows))[:, None].repeat(1, k)
    found[:, : k // 2] = torch.randint(len(rows), (len(rows), k // 2), generator=torch_stream(1, "neighbours"))
    for place, part in enumerate(rows[: 2 * block].split(block)):
        found[place * block : place * block + len(part)] = (part @ rows.T).topk(k, dim=1).indices
    return found


def of_users(part: Interactions, users: IntArray) -> Interactions:
    """The rows of these users."""
    kept = np.isin(part.user, users)
    return Interactions(part.user[kept], part.item[kept])


def warm_up() -> None:
    """What a process does once, however large the data: a part of PyTorch is loaded with the first step."""
    data, split = made_up(SIZES["toy"])
    model, training = built("bpr", data, epochs=1, evaluate_every=1)
    train(model, data, split, training, seed=1, validate=lambda scorer: 0.0, progress=False)


def main(given: argparse.Namespace) -> None:
    kept = json.loads(given.json.read_text(encoding="utf-8")) if given.json.is_file() else {"sizes": {}, "models": {}}
    for size in given.sizes:
        kept["sizes"][size] = asdict(SIZES[size])
        for name in given.models:
            if name in kept["models"].setdefault(size, {}) and not given.again:
                continue
            found = measured_apart(name, size, How.given(given))
            kept["models"][size][name] = found | {"provenance": provenance(given.device)}
            write_file(given.json, json.dumps(kept, indent=1) + "\n", ResultError)
            print(f"{size:>12} {name:>12}", {key: _short(value) for key, value in found.items()}, flush=True)


def measured_apart(name: str, size: str, how: How) -> dict[str, Any]:
    """:func:`measure` in a process of its own; ``{"refused": why}`` for a model that does not take the size.

    Raises RuntimeError with the end of what the process said, if it failed.
    """
    command = [sys.executable, __file__, "--one", "--sizes", size, "--models", name, *how.words()]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise RuntimeError(f"the process ended with {done.returncode}: {told}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def one(name: str, given: argparse.Namespace) -> dict[str, Any]:
    try:
        return measure(name, SIZES[given.sizes[0]], How.given(given))
    except LmmrecError as error:
        return {"refused": str(error)}


def _short(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Seconds and memory of every recommender at growing sizes.")
    parser.add_argument(
        "--sizes", nargs="+", choices=list(SIZES), default=["baby", "sports", "clothing", "electronics"]
    )
    parser.add_argument("--models", nargs="+", choices=list(RECOMMENDERS), default=list(RECOMMENDERS))
    parser.add_argument("--threads", type=int, default=How.threads)
    parser.add_argument("--seconds", type=float, default=How.seconds, help="after which an epoch is broken off")
    parser.add_argument("--device", default=How.device)
    parser.add_argument("--track", default=How.track, help="whose settings the models have")
    parser.add_argument("--users", type=int, help="the most users that an evaluation ranks for (default: all)")
    parser.add_argument("--draw-neighbours", action="store_true", help="search item graphs in their first blocks only")
    parser.add_argument("--again", action="store_true", help="measure what is on file anew")
    parser.add_argument("--one", action="store_true", help="one model in this process; prints JSON")
    parser.add_argument("--json", type=Path, default=TARGET)
    return parser.parse_args(words)


if __name__ == "__main__":
    chosen = arguments()
    if chosen.one:
        print(json.dumps(one(chosen.models[0], chosen)))
    else:
        main(chosen)
