"""What one machine of ``stability.py`` does, in a process that was started with the machine's environment.

    python benchmarks/emulated.py HOME [--weights HOME] [--seeds 1 2 3] [--everywhere] [--only-data]

Draws the data set, computes the features of every encoder, with weights made here and with those below ``--weights``,
and trains the cells. Everything is kept below HOME, so the same command goes on where it stopped: ``seen.json`` says
what the machine is and what it drew, ``features/`` holds the matrices, and the runs are stored as any others.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmmrec_core.digests import bytes_sha256, digest, files_digest
from lmmrec_core.disk import whole_file, write_file
from lmmrec_core.encoders.features.transforms import shuffled_order
from lmmrec_core.names import BASELINE, SEEDLESS_MODELS
from lmmrec_core.results.provenance import provenance
from lmmrec_core.seeds import numpy_stream, torch_stream
from lmmrec_core.study.cases import Case, reads_content
from lmmrec_core.study.datasets import Dataset
from lmmrec_core.study.features import load_features
from lmmrec_core.study.run import plan, run_case
from lmmrec_core.study.track import TrackSettings, is_multimodal
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.sampling import NegativeSampler

TRACK, DATASET, SEED = "controls", "complementary", 1
SHUFFLED = ("vbpr", "lattice", "mmgcn")  # also with the content shuffled over the items
OTHER_ENCODERS = ("vbpr",)  # also with the features of the track's other encoders
MANY_SEEDS = ("mmgcn",)  # all seeds on every machine, with the content as it is


def cells(track: TrackSettings, seeds: list[int], everywhere: bool) -> list[Case]:
    """The runs of a machine: seed 1 of every cell, and the other ``seeds`` of all cells or of ``MANY_SEEDS`` alone."""
    found = []
    for model in track.models:
        variants: list[dict[str, str]] = [{}]
        if reads_content(model):
            whole = {"encoder": BASELINE, "modalities": "V&T"}
            variants = [whole] + ([{**whole, "control": "shuffled"}] if model in SHUFFLED else [])
            others = [name for name in track.encoders if name != BASELINE and model in OTHER_ENCODERS]
            variants += [{"encoder": name, "paradigm": "PT", "modalities": "V&T"} for name in others]
        for variant in variants:
            more = everywhere or (model in MANY_SEEDS and "control" not in variant)
            for seed in seeds if more and model not in SEEDLESS_MODELS else [SEED]:
                cell = {"track": track.name, "dataset": DATASET, "model": model, "seed": seed, **variant}
                found.append(Case.build(cell, "benchmark"))
    return found


def tensor_digest(values: Tensor | np.ndarray) -> str:
    """Of the bytes, in row order."""
    array = values.detach().numpy() if isinstance(values, Tensor) else values
    return bytes_sha256(np.ascontiguousarray(array).tobytes())[:16]


def operations() -> dict[str, str]:
    """Digests of what the libraries make of the same numbers: evidence that a machine differs from another."""
    random = numpy_stream(SEED, "stability/operations")
    long, wide = random.standard_normal((600, 333)), random.standard_normal((333, 64))
    pictures, kernels = random.standard_normal((8, 3, 64, 64)), random.standard_normal((16, 3, 3, 3))
    a, b, images, filters = (torch.from_numpy(each).float() for each in (long, wide, pictures, kernels))
    return {
        "NumPy draw": tensor_digest(long),
        "NumPy product": tensor_digest(long @ wide),
        "NumPy exponential": tensor_digest(np.exp(long)),
        "PyTorch product": tensor_digest(a @ b),
        "PyTorch convolution": tensor_digest(torch.nn.functional.conv2d(images, filters)),
        "PyTorch softmax": tensor_digest(a.softmax(1)),
        "PyTorch sum": tensor_digest(a.sum()),
    }


def drawn(dataset: Dataset, pictures: Path) -> dict[str, str]:
    """Digests of the data, and of what a run draws from its seed."""
    catalogue, split = dataset.catalogue, dataset.split
    user, item = (torch.from_numpy(part.copy()) for part in (split.train.user, split.train.item))
    sampler = NegativeSampler(user, item, split.n_items)
    order = torch.randperm(len(user), generator=torch_stream(SEED, "train/shuffle"))
    negatives = sampler.sample(user, torch_stream(SEED, "train/negatives"))
    moved = shuffled_order("shuffled", SEED, split.n_items, ["visual", "textual"])
    return {
        "catalogue": dataset.fingerprint,
        "pictures": files_digest(pictures.rglob("*.png"), pictures),
        "texts": digest(list(catalogue.texts)),
        "interactions": tensor_digest(np.stack([catalogue.user, catalogue.item])),
        "split": split.fingerprint,
        "order of training rows": tensor_digest(order),
        "negatives": tensor_digest(negatives),
        "shuffled content": tensor_digest(moved["visual"]),
        "uniform initial weights": tensor_digest(torch.rand(600, 64, generator=torch_stream(SEED, "init"))),
        "normal initial weights": tensor_digest(torch.randn(600, 64, generator=torch_stream(SEED, "init"))),
    }


def keep_features(workspace: Workspace, dataset: Dataset, target: Path) -> None:
    """The matrices of every encoder, as ``<encoder>.npz`` in ``target``."""
    for name, members in workspace.track.encoders.items():
        features = load_features(workspace, dataset, name, "PT" if is_multimodal(members) else "none")
        with whole_file(target / f"{name}.npz") as partial, partial.open("wb") as file:
            np.savez(file, **{str(modality): matrix for modality, matrix in features.matrices.items()})


def main(home: Path, weights: Path | None, seeds: list[int], everywhere: bool, only_data: bool) -> None:
    workspace = Workspace.open(TRACK, home=home, progress=False)
    dataset = workspace.dataset(DATASET)
    seen: dict[str, Any] = {
        "capability": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads(),
        "operations": operations(), "drawn": drawn(dataset, workspace.catalogues),
    }  # fmt: skip
    write_file(home / "seen.json", json.dumps({**seen, "provenance": provenance("cpu")}, indent=1) + "\n")
    if only_data:
        return
    keep_features(workspace, dataset, home / "features" / "own weights")
    if weights is not None:
        borrowed = Workspace.open(TRACK, home=home / "same weights", progress=False)
        shutil.copytree(Workspace.open(TRACK, home=weights).encoders, borrowed.encoders, dirs_exist_ok=True)
        keep_features(borrowed, borrowed.dataset(DATASET), home / "features" / "same weights")
    todo = cells(workspace.track, seeds, everywhere)
    for number, case in enumerate(todo, 1):
        result = run_case(plan(case, workspace), workspace)
        print(f"  {number}/{len(todo)} {case.slug}: NDCG@20 {result.mean('ndcg@20'):.4f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--weights", type=Path, help="home of a machine whose encoder weights are used as well")
    parser.add_argument("--seeds", type=int, nargs="+", default=[SEED])
    parser.add_argument("--everywhere", action="store_true", help="all seeds of every cell")
    parser.add_argument("--only-data", action="store_true", help="draw the data set, and no more")
    given = parser.parse_args()
    main(given.home, given.weights, given.seeds, given.everywhere, given.only_data)
