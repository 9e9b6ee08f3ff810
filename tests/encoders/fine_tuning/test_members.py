"""The loop on the package's own encoders of both kinds, in their smallest sizes."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lmmrec_core.encoders import ENCODERS
from lmmrec_core.encoders.fine_tuning.gradients import Passes, itc_backward
from lmmrec_core.encoders.fine_tuning.loop import fine_tune
from lmmrec_core.encoders.fine_tuning.pairs import TrainingPairs, collect_pairs
from lmmrec_core.encoders.fine_tuning.roles import FusingEncoder
from lmmrec_core.encoders.fine_tuning.schedule import decays, parameter_groups, trainable
from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings
from lmmrec_core.roles import TrainableEncoder
from tests.encoders.toys import catalogue_of

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "grey": (128, 128, 128)}
PLACES = {"left": (0, 0, 16, 32), "right": (16, 0, 32, 32), "top": (0, 0, 32, 16), "bottom": (0, 16, 32, 32)}
SHADES = {"black": 0, "dim": 90, "white": 255}
ALL = ("itc", "itm", "mlm")


def build(name: str) -> Any:
    if name == "clip-tiny":
        encoder = ENCODERS[name]
        from lmmrec_core.encoders.clip.settings import CLIPSettings

        return encoder(CLIPSettings(model="clip-tiny-32"))
    return ENCODERS[name]()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for shade, ground in SHADES.items():
        for colour, value in COLOURS.items():
            for place, box in PLACES.items():
                picture = Image.new("RGB", (32, 32), (ground, ground, ground))
                picture.paste(value, box)
                picture.save(folder / f"{shade} {colour} {place}.png")
    return folder


def pairs_of(encoder: Any, folder: Path) -> TrainingPairs:
    pictures = sorted(folder.iterdir())
    source = catalogue_of([f"A {path.stem} picture" for path in pictures], pictures)
    return collect_pairs(source, encoder, share=0.2, progress=False)


def settings_of(**changes: Any) -> FineTuneSettings:
    return FineTuneSettings(
        **{"epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "patience": 9, "keep_start": False, **changes}
    )


def gradient(encoder: Any, chunk: int | None, batch: Any) -> torch.Tensor:
    encoder.module.zero_grad()
    itc_backward(encoder, batch, Passes(chunk=chunk))
    return torch.cat([p.grad.flatten() for p in encoder.module.parameters() if p.grad is not None])


@pytest.mark.parametrize("name", ["clip-tiny", "vlmo-tiny"])
class TestEveryTunableEncoder:
    def test_it_plays_the_role(self, name: str) -> None:
        assert isinstance(build(name), TrainableEncoder)

    def test_its_contrast_falls_and_the_same_seed_gives_the_same_weights(self, name: str, folder: Path) -> None:
        digests = []
        for _ in range(2):
            encoder = build(name)
            tuning = fine_tune(encoder, pairs_of(encoder, folder), settings_of(epochs=6), progress=False)
            assert tuning.history[-1].losses["itc"] < 0.9 * tuning.history[0].losses["itc"]
            assert tuning.best_epoch > 0
            digests.append(tuning.weights)
        assert digests[0] == digests[1]

    def test_chunks_give_the_same_gradient(self, name: str, folder: Path) -> None:
        encoder = build(name)
        batch = pairs_of(encoder, folder).batch(np.arange(12))
        whole, chunked = gradient(encoder, None, batch), gradient(encoder, 5, batch)
        assert (whole - chunked).norm() / whole.norm() < 1e-5

    def test_groups_partition_its_parameters_and_exempt_what_is_named(self, name: str) -> None:
        encoder, settings = build(name), FineTuneSettings(part_learning_rates={"heads": 1e-3})
        groups = parameter_groups(encoder, trainable(encoder, settings), settings)
        listed = [name for group in groups for name in group["names"]]
        own = dict(encoder.module.named_parameters())
        assert sorted(listed) == sorted(own)
        exempt = {name for group in groups if not group["weight_decay"] for name in group["names"]}
        assert {name for name, parameter in own.items() if parameter.ndim < 2} <= exempt
        assert {name for name in own if "pos" in name or "type" in name or "cls" in name or "scale" in name} <= exempt
        assert all(decays(name, own[name]) for name in own.keys() - exempt)

    @pytest.mark.parametrize("part", ["heads", "top-1"])
    def test_what_is_outside_a_part_stays(self, name: str, part: str, folder: Path) -> None:
        encoder = build(name)
        before = {key: value.clone() for key, value in encoder.module.state_dict().items()}
        fine_tune(encoder, pairs_of(encoder, folder), settings_of(part=part, epochs=3), progress=False)
        changed = {key for key, value in encoder.module.state_dict().items() if not torch.equal(value, before[key])}
        assert changed and changed <= encoder.part(part)

    def test_its_scales_are_clamped(self, name: str, folder: Path) -> None:
        encoder = build(name)
        scales = [p for key, p in encoder.module.named_parameters() if key.startswith("logit") and "scale" in key]
        with torch.no_grad():
            for scale in scales:
                scale.fill_(6.0)
        fine_tune(
            encoder, pairs_of(encoder, folder), settings_of(learning_rate=1e-6, warm_up=0, epochs=1), progress=False
        )
        assert all(scale.item() <= math.log(100) + 1e-6 for scale in scales)


def test_vlmo_learns_all_three_objectives(folder: Path) -> None:
    encoder = build("vlmo-tiny")
    assert isinstance(encoder, FusingEncoder)
    tuning = fine_tune(
        encoder, pairs_of(encoder, folder), settings_of(objectives=ALL, epochs=5, micro_batch=8), progress=False
    )
    first, last = tuning.history[0].losses, tuning.history[-1].losses
    assert last["itc"] < first["itc"] and last["mlm"] < 0.9 * first["mlm"]
    assert 0.4 < last["itm"] < 0.8  # a third match: saying so costs 0.637
