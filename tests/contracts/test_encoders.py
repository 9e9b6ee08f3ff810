"""What every encoder promises; runs on each member of ENCODERS that can be built here, those of other packages too."""

import json
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from lmmrec_core.data.controls import Controls, ControlSettings
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.encoders.light.encoders import LightCNN, LightText
from lmmrec_core.encoders.light.networks import PictureNetwork, WordNetwork, build_vocabulary
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import MODALITIES
from lmmrec_core.roles import CutEncoder, Encoder, TrainableEncoder
from tests.contracts.guests import LMMREC, install, run
from tests.encoders.toys import draw

TEXTS = ["A red cup.", "Tall green jug; holds tea, milk and a little more than that, as the maker says", "", "jug"]
PICTURES = [draw(1), draw(2, (90, 40)), draw(3, (33, 33))]


def untrained(build: Callable[[], Encoder]) -> Encoder:
    """An encoder of random weights, the same ones every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = build()
    encoder.module.eval()
    return encoder


def light_text() -> Encoder:
    words = build_vocabulary(TEXTS)
    return LightText(WordNetwork(len(words) + 2), {"vocabulary": list(words)})


NOT_BUILT = {
    "clip-b16": "its weights are fetched",
    "clip-b32": "its weights are fetched",
    "clip-l14": "its weights are fetched",
    "vlmo-base-plus": "its weights have to be brought",
    "own": "it is another library's model; tests/encoders/own",
}
BUILDERS: dict[str, Callable[[], Encoder]] = {
    "light-cnn": lambda: untrained(lambda: LightCNN(PictureNetwork(), {})),
    "light-text": lambda: untrained(light_text),
    "vlmo-small": lambda: ENCODERS["vlmo-small"](ENCODERS["vlmo-small"].Settings(stem="conv")),
}
SLOW = ("clip-small", "vlmo-small")
MEMBERS = [name for name in ENCODERS if name not in NOT_BUILT]
each = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in MEMBERS]
)


@cache
def built(name: str, time: int = 1) -> Encoder:
    """A member with its default settings; ``time`` 2 is built anew."""
    return BUILDERS.get(name, ENCODERS[name])()


def trainable(name: str) -> TrainableEncoder:
    encoder = built(name)
    if not isinstance(encoder, TrainableEncoder):
        pytest.skip(f"{name} is used as it is: it cannot be trained on pairs")
    return encoder


@torch.no_grad()
def vectors(encoder: Encoder, modality: str, chunk: int = 10) -> Tensor:
    """Vectors of all pictures or texts, read ``chunk`` at a time."""
    if modality == "visual":
        chunks = [PICTURES[at : at + chunk] for at in range(0, len(PICTURES), chunk)]
        return torch.cat([encoder.image_vectors(encoder.preprocess_images(some)) for some in chunks])
    chunks = [TEXTS[at : at + chunk] for at in range(0, len(TEXTS), chunk)]
    return torch.cat([encoder.text_vectors(encoder.preprocess_texts(some)) for some in chunks])


def pairs(encoder: Encoder) -> tuple[Tensor, dict[str, Tensor]]:
    return encoder.preprocess_images(PICTURES), dict(encoder.preprocess_texts(TEXTS[:2] + TEXTS[3:]))


def test_every_member_is_built_or_says_why_not():
    assert set(NOT_BUILT) < set(ENCODERS.own) and set(BUILDERS) <= set(MEMBERS)


@each
def test_plays_its_role(name):
    encoder = built(name)
    assert isinstance(encoder, Encoder) and encoder.name == name
    assert encoder.modalities and list(encoder.modalities) == [m for m in MODALITIES if m in encoder.modalities]
    if isinstance(encoder, TrainableEncoder):
        assert encoder.modalities == MODALITIES


@each
def test_its_spec_is_json_equal_for_equal_encoders_and_follows_the_weights(name):
    spec = built(name).spec()
    assert json.loads(json.dumps(spec)) == spec
    again = built(name, 2)
    assert again.spec() == spec
    weight = next(iter(again.module.parameters()))
    with torch.no_grad():
        weight.add_(1e-3)
        assert again.spec() != spec
        weight.sub_(1e-3)


@each
def test_vectors_are_finite_float32_of_the_stated_length_and_depend_on_the_content(name):
    encoder = built(name)
    for modality in encoder.modalities:
        found = vectors(encoder, modality)
        n = len(PICTURES if modality == "visual" else TEXTS)
        assert type(encoder.dim(modality)) is int
        assert found.shape == (n, encoder.dim(modality)) and found.dtype == torch.float32
        assert found.isfinite().all(), "the text without a word among them"
        assert not torch.allclose(found[0], found[1])


@each
def test_neither_a_second_time_nor_the_chunk_nor_padding_changes_a_vector(name):
    encoder = built(name)
    assert not any(part.training for part in encoder.module.modules())
    for modality in encoder.modalities:
        found = vectors(encoder, modality)
        assert torch.equal(vectors(encoder, modality), found)
        alone = vectors(encoder, modality, chunk=1)  # and without the padding that a longer text asks for
        torch.testing.assert_close(alone, found, rtol=1e-4, atol=1e-5)


@each
def test_a_modality_that_it_lacks_is_refused(name):
    encoder = built(name)
    pixels, tokens = torch.zeros(1, 3, 8, 8), {"words": torch.ones(1, 2, dtype=torch.int64)}
    calls = {
        "visual": (lambda: encoder.preprocess_images(PICTURES), lambda: encoder.image_vectors(pixels)),
        "textual": (lambda: encoder.preprocess_texts(TEXTS), lambda: encoder.text_vectors(tokens)),
    }
    for modality in set(MODALITIES) - set(encoder.modalities):
        for call in (lambda modality=modality: encoder.dim(modality), *calls[modality]):
            with pytest.raises(FeatureError, match=f"encoder '{name}'.*use it for {encoder.modalities[0]}"):
                call()


@each
def test_gradients_flow_into_the_weights(name):
    encoder = built(name)
    encoder.module.zero_grad()
    for modality in encoder.modalities:
        if modality == "visual":
            found = encoder.image_vectors(encoder.preprocess_images(PICTURES))
        else:
            found = encoder.text_vectors(encoder.preprocess_texts(TEXTS))
        (found @ torch.linspace(1, 2, encoder.dim(modality))).sum().backward()
    moved = [weight for weight in encoder.module.parameters() if weight.grad is not None and weight.grad.any()]
    assert moved and all(weight.grad.isfinite().all() for weight in moved)
    encoder.module.zero_grad()


@each
def test_parts_nest_and_unknown_ones_are_refused(name):
    encoder = trainable(name)
    names = {parameter for parameter, _ in encoder.module.named_parameters()}
    heads, last, whole = (encoder.part(part) for part in ("heads", "top-1", "all"))
    assert heads and heads < last < whole <= names
    for wrong in ("head", "top-0", "top-99"):
        with pytest.raises(ConfigError):
            encoder.part(wrong)


@each
def test_the_contrastive_terms_move_the_heads_and_the_towers(name):
    encoder = trainable(name)
    encoder.module.zero_grad()
    pixels, tokens = pairs(encoder)
    terms = encoder.contrast(pixels, tokens)
    assert terms
    for image, text, scale in terms:
        assert image.shape == text.shape == (len(PICTURES), image.shape[1]) and scale.numel() == 1 and scale > 0
        (scale * (image @ text.T)).diagonal().sum().backward(retain_graph=True)
    weights = dict(encoder.module.named_parameters())
    for part in (encoder.part("heads"), encoder.part("all") - encoder.part("heads")):
        assert any(weights[which].grad is not None and weights[which].grad.any() for which in part)
    encoder.module.zero_grad()


@each
@torch.no_grad()
def test_a_path_cut_below_a_part_gives_the_same_vectors(name):
    encoder = trainable(name)
    if not isinstance(encoder, CutEncoder):
        pytest.skip(f"{name} cannot be cut")
    pixels, tokens = pairs(encoder)
    cuts = set()
    for part in ("heads", "top-1", "top-2"):
        for modality, inputs in (("visual", pixels), ("textual", tokens)):
            whole = encoder.image_vectors(pixels) if modality == "visual" else encoder.text_vectors(tokens)
            try:
                kept = encoder.below(modality, inputs, part)
            except ConfigError:  # no cut is known there
                continue
            torch.testing.assert_close(encoder.above(modality, kept, part), whole, rtol=1e-4, atol=1e-5)
            cuts.add(part)
    assert cuts


# not the name of the chapter on encoders: its reader has a package that brings that one
GUEST = '''
"""A stranger's encoder: how bright a picture is, row by row."""

import numpy as np
import torch

from lmmrec_core.config import Settings
from lmmrec_core.encoders.one_modality import OneModality


class BrightnessSettings(Settings):
    rows: int = 4


class Brightness(OneModality):
    name = "light-by-rows"
    modalities = ("visual",)
    Settings = BrightnessSettings

    def __init__(self, settings=None):
        self.settings = settings or BrightnessSettings()
        self.width = self.settings.rows
        self.module = torch.nn.Linear(self.width, self.width)
        torch.nn.init.eye_(self.module.weight)
        torch.nn.init.zeros_(self.module.bias)
        self.module.eval()

    def spec(self):
        return {"weights": self._weights_spec("none"), "architecture": self._architecture_spec(1, rows=self.width)}

    def preprocess_images(self, images):
        small = [np.asarray(image.convert("RGB").resize((8, self.width))) for image in images]
        return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 255

    def image_vectors(self, pixels):
        return self.module(pixels.mean(dim=(1, 3)))
'''


@pytest.fixture
def site(tmp_path):
    return install(tmp_path / "site", "by_rows", GUEST, {"lmmrec.encoders": {"light-by-rows": "Brightness"}})


def test_a_strangers_encoder_is_held_to_the_contract(site):
    done = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "light-by-rows", "-rA")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 6  # the rest is for encoders that can be trained on pairs


def test_a_strangers_encoder_is_used_by_a_run(site, tmp_path):
    folder, entry = tmp_path / "shop", tmp_path / "mine.yaml"
    Controls.draw(ControlSettings(kind="complementary", seed=1, users=80, items=40), folder)
    entry.write_text("visual: {encoder: light-by-rows, settings: {rows: 6}}\n")
    arguments = ("run", "--data", str(folder), "--model", "vbpr", "--encoder", str(entry), "--modalities", "V")
    done = run(site, *LMMREC, *arguments, "--set", "epochs=1", "--json", "--quiet", LMMREC_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["features"]["card"]["modalities"]["visual"]["dim"] == 6
