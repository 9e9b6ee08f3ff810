"""The loop on the toy, as its tests call it."""

from dataclasses import replace

import torch
from torch import Tensor

from lmmrec_core.encoders.fine_tuning.loop import fine_tune
from lmmrec_core.encoders.fine_tuning.record import FineTuning
from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings
from tests.encoders.fine_tuning.toys import FusingToy, ToyTowers, factor_pairs

PAIRS = factor_pairs()
ALL = ("itc", "itm", "mlm")


def settings_of(**changes) -> FineTuneSettings:
    return FineTuneSettings(**{"epochs": 3, "batch_size": 32, "learning_rate": 0.02, "patience": 9, **changes})


def run(encoder: ToyTowers | None = None, pairs=PAIRS, path=None, **changes) -> tuple[ToyTowers, FineTuning]:
    encoder = encoder or FusingToy()
    return encoder, fine_tune(encoder, pairs, settings_of(**changes), checkpoint=path, identity="run a", progress=False)


def state(encoder: ToyTowers) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in encoder.module.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def unmeasured(history) -> list:
    return [replace(epoch, seconds=0.0) for epoch in history]
