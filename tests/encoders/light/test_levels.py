"""Towers that learn to name levels: better than before, heads untouched, deterministic, wrong labels refused."""

from dataclasses import replace

import pytest
import torch

from lmmrec_core.data.controls import write_outside_items
from lmmrec_core.data.folder import read_content
from lmmrec_core.encoders.clip.tiny import ClipTiny
from lmmrec_core.encoders.fine_tuning.pairs import collect_pairs
from lmmrec_core.encoders.light.levels import learn_levels
from lmmrec_core.encoders.light.networks import build_vocabulary
from lmmrec_core.encoders.light.training import read_outside
from lmmrec_core.encoders.vlmo.presets import VLMoTiny
from lmmrec_core.errors import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("outside") / "items"
    write_outside_items(target, 3, 240)
    return target


def made(name, folder):
    catalogue = read_content(folder)
    words = build_vocabulary(catalogue.texts)
    if name == "clip":
        config = {
            "embed_dim": 16,
            "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 1},
            "text_cfg": {"context_length": 64, "vocab_size": 512, "width": 32, "heads": 2, "layers": 1},
        }
        encoder = ClipTiny(ClipTiny.Settings(config=config, seed=0, vocabulary=words))
    else:
        encoder = VLMoTiny(
            VLMoTiny.Settings(words=words, vector="itc", depth=3, first_vl=2, patch=16, max_text_length=64)
        )
    return encoder, collect_pairs(catalogue, encoder, share=0.2, progress=False)


@pytest.mark.parametrize("name", ["clip", "vlmo"])
def test_towers_learn_and_heads_stay(name, folder):
    labels = read_outside(folder)
    accuracy, states = [], []
    for epochs in (1, 12, 12):
        encoder, pairs = made(name, folder)
        heads = {key: value.clone() for key, value in encoder.module.named_parameters() if key in encoder.part("heads")}
        note = learn_levels(encoder, pairs, labels, epochs, seed=1, progress=False)
        assert not encoder.module.training
        for key, value in heads.items():
            assert torch.equal(dict(encoder.module.named_parameters())[key], value), key
        assert set(note["accuracy"]) == {f"{m}_{f}" for m in labels.factors for f in labels.factors[m]}
        accuracy.append(sum(share for key, share in note["accuracy"].items() if key.startswith("textual")) / 4)
        states.append(encoder.module.state_dict())
    assert accuracy[1] > 0.5 > 0.2  # five levels: chance is 0.2
    assert accuracy[1] > accuracy[0]
    assert all(torch.equal(value, states[2][key]) for key, value in states[1].items())


def test_labels_of_other_items_are_refused(folder):
    encoder, pairs = made("clip", folder)
    labels = read_outside(folder)
    with pytest.raises(DataError, match="labels belong to other items"):
        learn_levels(encoder, pairs, replace(labels, item_ids=labels.item_ids[:-1]), 1, seed=1, progress=False)
