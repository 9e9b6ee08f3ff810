"""Our product of sparse rows against PyTorch Geometric's LGConv: two layers of LightGCN at Amazon Baby size.

    python benchmarks/propagation.py [--threads 1] [--repeats 15] [--json FILE]     # about a minute on one core

The graph of ``catalogues.BABY``: 19,445 users, 7,050 items, 118,551 training rows. Every way computes the mean of the
vectors before, between and after two propagations, 64 columns, and the gradient to the vectors of a fixed direction.
``ours``: ``layers.BipartiteGraph.average``, which keeps each matrix row by row beside its transpose. ``lgconv edges``:
``torch_geometric.nn.LGConv`` on ``training_graph(...).to_homogeneous()``, which normalises in every call, gathers and
scatters. ``lgconv edges, normalised once``: the same with the weights computed beforehand. ``lgconv sparse``: the same
on a CSR matrix of torch. The ways take turns; the median of the repeats counts. Writes propagation.json beside this
file.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from catalogues import BABY, made_up
from clocks import clock, now
from measuring import SEED
from torch import Tensor
from torch_geometric.nn import LGConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_torch_csr_tensor

from lmmrec_core.recommenders.graph import training_graph
from lmmrec_core.recommenders.layers import BipartiteGraph
from lmmrec_core.results.provenance import provenance
from lmmrec_core.roles import TrainingData
from lmmrec_core.seeds import torch_stream

DIM, LAYERS = 64, 2


def ways(data: TrainingData) -> dict[str, Callable[[Tensor], Tensor]]:
    """Name → stacked vectors [node, dim] to their layer average."""
    graph = BipartiteGraph.symmetric(data.user, data.item, data.n_users, data.n_items)
    edges = training_graph(data).to_homogeneous().edge_index
    size = data.n_users + data.n_items
    _, weight = gcn_norm(edges, None, size, add_self_loops=False)
    matrix = to_torch_csr_tensor(edges, weight, size=(size, size))
    each_time, once = LGConv(), LGConv(normalize=False)

    def ours(nodes: Tensor) -> Tensor:
        return torch.cat(graph.average(*nodes.split([data.n_users, data.n_items]), LAYERS))

    def averaged(step: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def average(nodes: Tensor) -> Tensor:
            layers = [nodes]
            for _ in range(LAYERS):
                layers.append(step(layers[-1]))
            return torch.stack(layers).mean(0)

        return average

    return {
        "ours": ours,
        "lgconv edges": averaged(lambda nodes: each_time(nodes, edges)),
        "lgconv edges, normalised once": averaged(lambda nodes: once(nodes, edges, weight)),
        "lgconv sparse": averaged(lambda nodes: once(nodes, matrix)),  # symmetric: its own transpose
    }


def timed(way: Callable[[Tensor], Tensor], nodes: Tensor, direction: Tensor) -> tuple[float, float, Tensor, Tensor]:
    """Seconds forward and backward, the averages and the gradient."""
    leaf = nodes.clone().requires_grad_()
    start = now("cpu")
    average = way(leaf)
    between = now("cpu")
    average.backward(direction)
    end = now("cpu")
    assert leaf.grad is not None
    return between - start, end - between, average.detach(), leaf.grad


def measure(data: TrainingData, repeats: int) -> dict[str, dict[str, float]]:
    """Per way the median seconds, how many times ours, and the largest difference from ours over the largest value."""
    stream = torch_stream(SEED, "benchmarks/nodes")
    nodes, direction = (torch.randn(data.n_users + data.n_items, DIM, generator=stream) for _ in range(2))
    known = ways(data)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in known}
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for _ in range(repeats + 1):
        for name, way in known.items():
            forward, backward, *values = timed(way, nodes, direction)
            seconds[name].append((forward, backward))
            found[name] = (values[0], values[1])
    report: dict[str, dict[str, float]] = {}
    for name, times in seconds.items():
        forward, backward = (median(part) for part in zip(*times[1:], strict=True))  # the first one warms up
        differ = max(
            float((mine - theirs).abs().max() / mine.abs().max())
            for mine, theirs in zip(found["ours"], found[name], strict=True)
        )
        report[name] = {"forward_seconds": forward, "backward_seconds": backward, "largest_difference": differ}
    own = sum(report["ours"][part] for part in ("forward_seconds", "backward_seconds"))
    for entry in report.values():
        entry["times_ours"] = (entry["forward_seconds"] + entry["backward_seconds"]) / own
    return report


def main(threads: int, repeats: int, target: Path) -> None:
    torch.set_num_threads(threads)
    report: dict[str, Any] = {
        "size": {
            "users": BABY.users,
            "items": BABY.items,
            "rows": BABY.train,
            "dim": DIM,
            "layers": LAYERS,
            "repeats": repeats,
        },
        "threads": threads,
        "clock": clock("cpu"),
        "ways": measure(made_up(BABY)[0], repeats),
        "provenance": provenance("cpu"),
    }
    for name, entry in report["ways"].items():
        print(f"{name:>30}", {part: float(f"{value:.3g}") for part, value in entry.items()}, flush=True)
    target.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written: {target.name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    main(given.threads, given.repeats, given.json)
