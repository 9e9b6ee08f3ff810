"""Part of the rehearsal: a training that was interrupted ends with the weights of one that was not, bit for bit."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from catalogues import built, made_up
from measuring import ENCODERS, MadeUpItems
from rehearse import Rehearsal
from torch import Tensor

from lmmrec_core.roles import Scorer, TrainingData
from lmmrec_core.training.joint.e2 import Window
from lmmrec_core.training.joint.hooks import FeatureTraining
from lmmrec_core.training.joint.settings import EndToEndSettings
from lmmrec_core.training.loop import train

EPOCHS, STOP_AFTER = 4, 3  # a window of two epochs is open at the stop, so that a gradient is saved too


def resume(rehearsal: Rehearsal) -> None:
    for name in ("vbpr", "lattice", "mmgcl", "freedom"):
        rehearsal.take("resume", name, interrupted, rehearsal, name, None)
    for name in ("vbpr", "lattice"):
        encoder = rehearsal.scale.tiny
        rehearsal.take("resume", f"{name}, end to end, {encoder}", interrupted, rehearsal, name, encoder)


def interrupted(rehearsal: Rehearsal, name: str, encoder: str | None) -> dict[str, Any]:
    """The same training whole, whole again, and interrupted and resumed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.pt"
        whole, again = (weights_of(rehearsal, name, encoder) for _ in range(2))
        stopped = weights_of(rehearsal, name, encoder, path, stop=True)
        saved = path.is_file()
        resumed = weights_of(rehearsal, name, encoder, path, evaluations=STOP_AFTER)
    return {
        "interrupted": stopped == {} and saved,
        "repeats_bit_for_bit": difference(whole, again) == 0,
        "resumes_bit_for_bit": difference(whole, resumed) == 0,
        "largest_difference_when_repeated": difference(whole, again),
        "largest_difference_when_resumed": difference(whole, resumed),
        "tensors": len(whole),
    }


def weights_of(
    rehearsal: Rehearsal,
    name: str,
    encoder: str | None,
    path: Path | None = None,
    stop: bool = False,
    evaluations: int = 0,
) -> dict[str, Tensor]:
    """All weights at the end; none if ``stop`` interrupts the epoch after the last that is saved.

    ``evaluations``: how many the checkpoint has behind it.
    """
    device = rehearsal.device
    data, split = made_up(rehearsal.scale.small)
    features: FeatureTraining = FeatureTraining()
    changes: dict[str, Any] = {}
    if encoder:
        items = MadeUpItems(ENCODERS[encoder](), data.n_items, device)
        with torch.no_grad():
            rows = {m: row.cpu() for m, row in items.rows(torch.arange(data.n_items)).items()}
        data = TrainingData(data.n_users, data.n_items, data.user, data.item, rows)
        features = Window(items, EndToEndSettings.build({"updates_per_epoch": 1, "epochs_per_update": 2, "chunk": 16}))
        changes = {} if name == "vbpr" else {"trainable_features": False}

    def validate(scorer: Scorer) -> float:
        nonlocal evaluations
        evaluations += 1
        if stop and evaluations > STOP_AFTER:
            raise KeyboardInterrupt
        return float(evaluations)  # the last epoch is the best, so that its weights are compared

    model, training = built(
        name, data, device=device, epochs=EPOCHS, evaluate_every=1, checkpoint_seconds=0, batch_size=100, **changes
    )
    try:
        train(
            model, data, split, training, seed=1, validate=validate, checkpoint=path, identity=name, progress=False,
            features=features,
        )  # fmt: skip
    except KeyboardInterrupt:
        return {}
    return {**model.state_dict(), **{key: value.detach().clone() for key, value in features.weights().items()}}


def difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """The largest absolute one of any weight; infinity if they are not the same tensors."""
    if first.keys() != second.keys():
        return float("inf")
    return max(float((first[key] - second[key]).abs().max()) for key in first)
