"""Seconds per training epoch with one and two threads, on an idle machine and beside a busy process.

    python benchmarks/threads.py [MODEL ...]      # default: bpr lightgcn vbpr; about ten minutes on two idle cores

Sizes: a twentieth of Amazon Baby, as large as the controls, and Baby itself (``catalogues.BABY``), batches of 2,048.
Each measurement is a process of its own, alone or beside one that counts without end:

* ``spinning``: two threads, which wait for each other as OpenMP does by default;
* ``asleep``: two threads that sleep while they wait (``process.wait_asleep``), as in every command;
* ``one``: one thread;
* ``chosen``: as ``lmmrec run`` trains, by the size of the work and the load of the machine.

An epoch counts from the second on, and the fastest of three is kept. Writes threads.json beside this file: seconds and
threads for each size, model, number of busy processes and way. Refused if the machine is not idle.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

REPEATS = 3
MODELS = ("bpr", "lightgcn", "vbpr")
WAYS: dict[str, dict[str, str]] = {
    "spinning": {"OMP_WAIT_POLICY": "", "OMP_NUM_THREADS": "2"},
    "asleep": {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "2"},
    "one": {"OMP_WAIT_POLICY": "", "OMP_NUM_THREADS": "1"},
    "chosen": {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "2"},
}


def measure(name: str, size_name: str, way: str) -> dict[str, float]:
    """Seconds of an epoch in this process, and its threads."""
    import torch
    from catalogues import built, made_up
    from speed import epoch_seconds

    from lmmrec_core.recommenders import RECOMMENDERS
    from lmmrec_core.training.threads import suiting_threads

    data, _ = made_up(sizes()[size_name])
    data = data if RECOMMENDERS[name].uses_features else replace(data, features={})
    model, training = built(name, data, device="cpu")
    if way == "chosen":
        torch.set_num_threads(suiting_threads(model, data))
    seconds = [
        epoch_seconds(model, data, training.learning_rate, training.weight_decay)["epoch_seconds"]
        for _ in range(REPEATS)
    ]
    return {"seconds": min(seconds), "threads": torch.get_num_threads()}


def sizes() -> dict[str, Any]:
    """The catalogues by name."""
    from catalogues import BABY

    part = {name: value // 20 for name, value in asdict(BABY).items() if name not in ("visual", "textual")}
    return {"small": replace(BABY, **part, visual=64, textual=64), "baby": BABY}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many other processes that use a core each."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def main(names: list[str]) -> None:
    from lmmrec_core.process import free_cores
    from lmmrec_core.results.provenance import provenance

    if free_cores(2) < min(2, os.cpu_count() or 1):
        raise SystemExit("the machine is busy; run this when nothing else does")
    target, found = Path(__file__).with_suffix(".json"), []
    for size in ("small", "baby"):
        for name in names or MODELS:
            for load in (0, 1):
                for way, environment in WAYS.items():
                    asked = {key: value for key, value in {**os.environ, **environment}.items() if value}
                    command = [sys.executable, __file__, "--one", name, size, way]
                    with busy(load):
                        answer = subprocess.run(command, env=asked, check=True, capture_output=True, text=True).stdout
                    row = {"size": size, "model": name, "busy": load, "way": way, **json.loads(answer.splitlines()[-1])}
                    found.append(row)
                    print(*(f"{key}={value}" for key, value in row.items()), flush=True)
    report = {"rows": found, "repeats": REPEATS, "provenance": provenance("cpu")}
    target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(*sys.argv[2:5])))
    else:
        main(sys.argv[1:])
