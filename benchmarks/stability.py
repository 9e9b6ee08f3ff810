"""What another machine changes: data, features and runs of the controls under other instruction sets and threads.

    python benchmarks/stability.py [--jobs 2] [--json FILE]     # about 20 minutes of one core

One machine stands in for several. Environment variables tell PyTorch, oneDNN, MKL, OpenBLAS and NumPy which
instructions to use, and how many threads; ``operations`` in the record shows which libraries follow, by what they make
of the same numbers. Each machine is a fresh process with a home of its own (``emulated.py``), so it draws, trains its
encoders and its recommenders by itself. The first one is the machine as it is; all are held against it, itself again
included. The command goes on where it stopped, as long as the code that computes is the same. Writes stability.json
beside this file.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from emulated import DATASET, MANY_SEEDS, TRACK

from lmmrec_core.digests import files_digest
from lmmrec_core.home import default_home
from lmmrec_core.results.provenance import code_state, provenance
from lmmrec_core.results.store import Record, ResultStore
from lmmrec_core.study.cases import Case

ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL",
}  # fmt: skip
NO_AVX = {
    "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "MKL_CBWR": "COMPATIBLE", "OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL",
}  # fmt: skip
FIRST, AGAIN = "as it is", "as it is, again"
MACHINES: dict[str, dict[str, str]] = {
    FIRST: ALONE,
    AGAIN: ALONE,
    "AVX2": ALONE | AVX2,
    # a thread that waits sleeps: other work on the machine then costs less
    "AVX2, two threads": {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"} | AVX2,
    "no AVX": ALONE | NO_AVX,
}
SEEDS = (1, 2, 3)
ALIKE = ("AVX2", "AVX2, two threads")  # differ in threads alone
K = 20
METRICS = ("ndcg@20", "recall@20")


def code_digest() -> str:
    """Of everything that decides on a machine's results."""
    here = Path(__file__).resolve()
    package = [path for path in (here.parents[1] / "lmmrec_core").rglob("*") if path.suffix in (".py", ".yaml")]
    return files_digest([*package, here.with_name("emulated.py")], here.parents[1])[:10]


def home_of(root: Path, machine: str) -> Path:
    return root / machine.replace(", ", "-").replace(" ", "-")


def start(machine: str, root: Path, *more: str) -> None:
    """Run a machine in a process of its own. Raises SystemExit if it fails."""
    print(machine, flush=True)
    unset = {name for environment in MACHINES.values() for name in environment}
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    here = Path(__file__).resolve()
    command = [sys.executable, str(here.with_name("emulated.py")), str(home_of(root, machine)), *more]
    paths = [str(here.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**inherited, **MACHINES[machine], "PYTHONPATH": os.pathsep.join(paths)}
    if subprocess.run(command, env=environment, check=False).returncode:
        raise SystemExit(f"machine {machine!r} stopped; run the same command again")


def run_all(root: Path, jobs: int) -> None:
    """The first machine, which lends the others its weights, then the others, ``jobs`` at a time."""
    seeds = ["--seeds", *map(str, SEEDS)]
    start(FIRST, root, *seeds, "--everywhere")
    lent = ["--weights", str(home_of(root, FIRST))]
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [
            pool.submit(start, machine, root, *lent, *([] if machine == AGAIN else seeds))
            for machine in MACHINES
            if machine != FIRST
        ]
        for each in waiting:
            each.result()


def held_against(ours: np.ndarray, first: np.ndarray) -> dict[str, Any]:
    """Rows of one modality [item, dim] on two machines."""
    a, b = ours.astype(float), first.astype(float)
    cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return {
        "equal": bool(np.array_equal(ours, first)),
        "largest_difference": float(np.abs(a - b).max()),
        "largest_value": float(np.abs(b).max()),
        "smallest_cosine": float(cosine.min()),
    }


def features_against(home: Path, first: Path) -> dict[str, Any]:
    """Weights → encoder → modality → comparison with the features of the first machine."""
    found: dict[str, Any] = {}
    for file in sorted((home / "features").rglob("*.npz")):
        with np.load(file) as ours, np.load(first / "features" / "own weights" / file.name) as theirs:
            compared = {modality: held_against(ours[modality], theirs[modality]) for modality in ours.files}
        found.setdefault(file.parent.name, {})[file.stem] = compared
    return found


def cell_of(record: Record) -> str:
    """The slug of a run without its seed."""
    return Case.build(record.case, "stored run").slug.rpartition("-s")[0]


def runs_of(home: Path) -> dict[str, dict[int, Record]]:
    """Cell → seed → run."""
    found: dict[str, dict[int, Record]] = {}
    for record in ResultStore(home / "results").find_records(track=TRACK, dataset=DATASET):
        found.setdefault(cell_of(record), {})[record.case["seed"]] = record
    return found


def same_lists(ours: Record, first: Record) -> float:
    """The share of test users whose first ``K`` items are the same, in the same order."""
    one, other = (ResultStore(record.path.parents[2]).top_items(record) for record in (ours, first))
    if one is None or other is None or not np.array_equal(one[0], other[0]):
        raise SystemExit(f"{ours.path.name}: no lists of the same users; remove {ours.path.parents[2]}")
    return float((one[1][:, :K] == other[1][:, :K]).all(1).mean())


def run_against(ours: Record, first: Record) -> dict[str, Any]:
    """One run: when it was best, its metrics on test, and how they compare with those of the first machine."""
    trained = ours.data["training"] or {}
    test, reference = ours.data["metrics"]["test"], first.data["metrics"]["test"]
    return {
        "best_step": trained.get("best_step"), "stopped": trained.get("stopped"), **{m: test[m] for m in METRICS},
        "change": test["ndcg@20"] / reference["ndcg@20"] - 1, "same_lists": same_lists(ours, first),
        "same_key": ours.key == first.key,
    }  # fmt: skip


def relative_deviation(values: list[float]) -> float:
    """The standard deviation, as a part of the mean; 0 for a single value."""
    return stdev(values) / mean(values) if len(values) > 1 else 0.0


def summary(runs: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """A cell's NDCG@20 across machines beside its NDCG@20 across seeds, both relative.

    ``runs``: machine → seed → run. The standard deviation over machines is over their instruction sets (neither the
    first's repetition nor the second of :data:`ALIKE` is another), the mean over the seeds that all of them have; that
    over seeds is the first machine's.
    """
    others = {machine: of for machine, of in runs.items() if machine not in (FIRST, AGAIN)}
    distinct = [of for machine, of in runs.items() if machine not in (AGAIN, ALIKE[1])]
    shared = sorted(set.intersection(*map(set, distinct)))
    spread = [relative_deviation([of[seed]["ndcg@20"] for of in distinct]) for seed in shared]
    one, two = (runs[machine] for machine in ALIKE)
    return {
        "largest_change": max(abs(run["change"]) for of in others.values() for run in of.values()),
        "deviation_over_machines": mean(spread),
        "deviation_over_seeds": relative_deviation([run["ndcg@20"] for run in runs[FIRST].values()]),
        "changed_by_threads": max(abs(two[seed]["ndcg@20"] / one[seed]["ndcg@20"] - 1) for seed in one),
        "fewest_same_lists": min(run["same_lists"] for of in others.values() for run in of.values()),
    }


def gains(cells: dict[str, Any]) -> dict[str, Any]:
    """Model → machine → seed → relative gain of the content over the same content shuffled, in NDCG@20."""
    found: dict[str, Any] = {}
    for name, cell in cells.items():
        shuffled = cells.get(f"{name}-shuffled")
        if shuffled:
            found[cell["model"]] = {
                machine: {seed: cell["runs"][machine][seed]["ndcg@20"] / run["ndcg@20"] - 1 for seed, run in of.items()}
                for machine, of in shuffled["runs"].items()
            }
    return found


def report(root: Path) -> dict[str, Any]:
    """Everything that the machines left, held against the first."""
    homes = {machine: home_of(root, machine) for machine in MACHINES}
    seen = {machine: json.loads((home / "seen.json").read_text(encoding="utf-8")) for machine, home in homes.items()}
    runs = {machine: runs_of(home) for machine, home in homes.items()}
    machines = {}
    for machine, found in seen.items():
        if code_state(found["provenance"]) == "uncommitted":
            print(f"{machine}: of uncommitted code")
        machines[machine] = {
            "environment": MACHINES[machine], "capability": found["capability"], "threads": found["threads"],
            **{
                part: {name: {"digest": value, "equal": value == seen[FIRST][part][name]}
                       for name, value in found[part].items()}
                for part in ("operations", "drawn")
            },
            "features": features_against(homes[machine], homes[FIRST]),
        }  # fmt: skip
    cells: dict[str, Any] = {}
    for name, first in sorted(runs[FIRST].items()):
        compared = {
            machine: {str(seed): run_against(run, first[seed]) for seed, run in sorted(of[name].items())}
            for machine, of in runs.items()
        }
        cells[name] = {"model": next(iter(first.values())).case["model"], "runs": compared, **summary(compared)}
    settings = {"track": TRACK, "dataset": DATASET, "seeds": SEEDS, "many_seeds": MANY_SEEDS, "first": FIRST}
    return {"settings": settings, "machines": machines, "cells": cells, "gains": gains(cells)}


def main(root: Path, jobs: int, target: Path) -> None:
    made, root = provenance("cpu"), root / code_digest()  # what other code computed is not gone on with
    run_all(root, jobs)
    found = report(root) | {"provenance": made}
    target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for name, cell in found["cells"].items():
        shares = (cell[part] for part in ("largest_change", "deviation_over_machines", "deviation_over_seeds"))
        print(f"{name:>30}", *(f"{share:8.2%}" for share in shares), f"{cell['fewest_same_lists']:7.1%}")
    print(f"written: {target.name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1, help="machines at a time")
    parser.add_argument("--home", type=Path, default=default_home() / ".cache" / "stability")
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    main(given.home, given.jobs, given.json)
