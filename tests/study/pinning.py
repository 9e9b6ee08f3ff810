"""What must stay the same when code is moved: the keys of all cases, and one short training per model.

``pinned.json`` holds both. After a change that is meant to alter them, write it again and say why in the commit:
``python -m tests.study.pinning ../shared/data > tests/study/pinned.json``.
"""

import hashlib
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lmmrec_core.data.fingerprint import catalogue_fingerprint
from lmmrec_core.data.splitting import make_split
from lmmrec_core.encoders.light.encoders import LightCNN, LightText
from lmmrec_core.encoders.light.networks import PictureNetwork, WordNetwork
from lmmrec_core.flow import Catalogue, Features
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.study.cases import Case, all_cases
from lmmrec_core.study.datasets import Dataset
from lmmrec_core.study.declared.settings import resolve
from lmmrec_core.study.run import Plan, fit, plan, training_data
from lmmrec_core.study.search.validation import recall_20
from lmmrec_core.study.weights import making
from lmmrec_core.study.workspace import Workspace

SEEDS = (1, 2)
WORDS = ("cup", "jug", "tea")


def light_weights_of_zeros(workspace: Workspace) -> None:
    """Untrained light encoders in the cache: trained ones may differ in the last bit between machines."""
    visual, textual = (part.path for part in making._trained_parts(workspace, "baseline"))
    picture, words = PictureNetwork(), WordNetwork(len(WORDS) + 2)
    for network in (picture, words):
        for weight in network.state_dict().values():
            weight.zero_()
    LightCNN(picture, {}).save(visual)
    LightText(words, {"vocabulary": list(WORDS)}).save(textual)


def made_up(name: str, n_users: int = 60, n_items: int = 40) -> Catalogue:
    """A catalogue with ready pictures, as those of the paper's data sets come; everything from one generator."""
    rng = np.random.default_rng(sum(name.encode()))
    user = np.repeat(np.arange(n_users), 8)
    item = np.concatenate([rng.permutation(n_items)[:8] for _ in range(n_users)])
    return Catalogue(
        name, tuple(f"u{u}" for u in range(n_users)), tuple(f"i{i}" for i in range(n_items)), user, item,
        tuple(f"text {i}" for i in range(n_items)), (None,) * n_items,
        ready_features={"visual": rng.standard_normal((n_items, 12)).astype(np.float32)},
    )  # fmt: skip


def made_up_dataset(name: str) -> Dataset:
    catalogue = made_up(name)
    return Dataset(name, catalogue, make_split(catalogue, "mmrec", 2026), catalogue_fingerprint(catalogue))


def keys(track_name: str, home: Path, data: Path | None) -> dict[str, str]:
    """``dataset/model`` → number of cases and a digest of all their keys."""
    workspace = Workspace.open(track_name, data, home / track_name, progress=False)
    if track_name == "controls":
        light_weights_of_zeros(workspace)
    if track_name == "paper":
        (home / "data" / "vlmo").mkdir(parents=True)
        (home / "data" / "vlmo" / "vlmo_base_plus_patch16_224.pt").write_bytes(b"weights")
        workspace = replace(workspace, data=home / "data")
        for name in workspace.track.datasets:
            workspace.hold(made_up_dataset(name))
    lines: dict[str, list[str]] = {}
    for case in all_cases(workspace.track, SEEDS):
        lines.setdefault(f"{case.dataset}/{case.model}", []).append(f"{case.slug} {plan(case, workspace).key}")
    return {
        group: f"{len(cases)} {hashlib.sha256(chr(10).join(sorted(cases)).encode()).hexdigest()[:16]}"
        for group, cases in lines.items()
    }


def trainings() -> dict[str, list[float]]:
    """Model → losses of three epochs, then Recall@20 on the validation part."""
    torch.set_num_threads(1)
    workspace, dataset = Workspace.open("user"), made_up_dataset("trained")
    rng = np.random.default_rng(3)
    matrices = {m: rng.standard_normal((40, width)).astype(np.float32) for m, width in (("visual", 9), ("textual", 7))}
    features = Features(matrices, {m: np.ones(40, dtype=bool) for m in matrices}, {}, "pinned")
    found = {}
    for name in RECOMMENDERS:
        short = {"epochs": 3, "batch_size": 128} if hasattr(RECOMMENDERS[name], "loss") else {}
        model, training = resolve(workspace, name, short)
        reads = RECOMMENDERS[name].uses_features
        content = {"encoder": "baseline", "modalities": "V&T"} if reads else {}
        case = Case.build({"track": "user", "dataset": "trained", "model": name, **content}, "pinned")
        todo = Plan(case, model, training, "", "0" * 16)
        data = training_data(dataset.split, features if reads else None)
        with tempfile.TemporaryDirectory() as folder:
            fitted, trained = fit(todo, dataset.split, data, Path(folder) / "checkpoint.pt", progress=False)
        losses = [epoch.loss for epoch in trained.history] if trained else []
        found[name] = [*losses, recall_20(fitted.scorer(), dataset.split, "valid")]
    return found


def pins(home: Path, data: Path | None) -> dict[str, dict[str, object]]:
    """All that is pinned; the keys of Films only where ``data`` is given."""
    tracks = ("controls", "paper", "films") if data else ("controls", "paper")
    return {**{name: keys(name, home, data) for name in tracks}, "trainings": trainings()}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(pins(Path(folder), Path(sys.argv[1])), indent=1))
