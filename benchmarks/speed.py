"""Seconds per training epoch and per full evaluation, and peak memory, of every recommender at Amazon Baby size.

    python benchmarks/speed.py [MODEL ...]      # default: all; about ten minutes on two idle cores

19,445 users, 7,050 items, 118,551 training rows drawn with the skew of a real catalogue and random features
(``catalogues.BABY``), batches of 2,048, two threads. Each model is timed in a process of its own: batches are
counted from the second on (the first builds what the epoch keeps), an evaluation ranks all users and computes the
metrics. Writes speed.json beside this file.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from catalogues import BABY, built, made_up

from lmmrec_core.metrics.evaluate import evaluate_lists
from lmmrec_core.process import peak_memory, reset_peak_memory
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.results.provenance import provenance
from lmmrec_core.roles import Batch, TrainableRecommender, TrainingData
from lmmrec_core.seeds import torch_stream
from lmmrec_core.training.optimiser import Optimiser
from lmmrec_core.training.recommend import top_k
from lmmrec_core.training.sampling import NegativeSampler

THREADS, REPEATS, BATCH = 2, 3, 2048


def measure(name: str) -> dict[str, float]:
    """Timings of one model in this process."""
    torch.set_num_threads(THREADS)
    data, split = made_up(BABY)
    reset_peak_memory()
    start = time.perf_counter()
    model, training = built(name, data, device="cpu")
    report = {"build_seconds": time.perf_counter() - start}
    if isinstance(model, TrainableRecommender):
        report |= epoch_seconds(model, data, training.learning_rate, training.weight_decay)
    users = np.unique(split.test.user)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        evaluate_lists(top_k(model.scorer(), users, split), users, split, "test")
        times.append(time.perf_counter() - start)
    return report | {"evaluation_seconds": min(times), "peak_memory_mib": peak_memory() / 2**20}


def epoch_seconds(model: TrainableRecommender, data: TrainingData, rate: float, decay: float) -> dict[str, float]:
    """Two epochs as the training loop runs them; the second one counts, and its first batch on its own."""
    optimiser, stream = Optimiser(model, rate, decay), torch_stream(1, "batches")
    sampler = NegativeSampler(data.user, data.item, data.n_items) if model.needs_negatives else None
    for epoch in (1, 2):
        begin = time.perf_counter()
        order = torch.randperm(len(data.user), generator=stream)
        user, item = data.user[order], data.item[order]
        negative = sampler.sample(user, stream) if sampler else None
        model.begin_epoch(epoch, stream)
        first = 0.0
        for start in range(0, len(user), BATCH):
            part = slice(start, start + BATCH)
            chosen = None if negative is None else negative[part]
            loss = model.loss(Batch(user[part], item[part], chosen, first_of_epoch=start == 0), stream)
            loss.item()
            optimiser.step(loss)
            first = first or time.perf_counter() - begin
        optimiser.settle()
    return {"epoch_seconds": time.perf_counter() - begin, "of_it_until_the_first_step": first}


def main(names: list[str]) -> None:
    target = Path(__file__).with_suffix(".json")
    stored = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else {"models": {}}
    for name in names or list(RECOMMENDERS):
        command = [sys.executable, __file__, "--one", name]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        stored["models"][name] = json.loads(answer.splitlines()[-1])
        print(f"{name:>12}", {key: round(value, 3) for key, value in stored["models"][name].items()}, flush=True)
        stored["size"] = asdict(BABY) | {"threads": THREADS}
        stored["provenance"] = provenance("cpu")
        target.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        main(sys.argv[1:])
