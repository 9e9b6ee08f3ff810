"""Gradient caching with a tiny CLIP and a tiny VLMo on real content, under the paper's recommenders."""

import numpy as np
import pytest
import torch

from lmmrec_core.encoders.clip.official import ClipB16
from lmmrec_core.encoders.clip.settings import CLIPSettings
from lmmrec_core.encoders.clip.tiny import ClipTiny
from lmmrec_core.encoders.extract import extract
from lmmrec_core.encoders.features import item_rows
from lmmrec_core.encoders.features.item_rows import CatalogueRows, item_content
from lmmrec_core.encoders.lora import add_lora, merge_lora
from lmmrec_core.encoders.vlmo.encoder import Built
from lmmrec_core.encoders.vlmo.initial import build_network
from lmmrec_core.encoders.vlmo.presets import VLMoBasePlus, VLMoTiny
from lmmrec_core.encoders.vlmo.settings import VLMoSettings
from lmmrec_core.encoders.vlmo.tokens import WholeWords
from lmmrec_core.errors import FeatureError
from lmmrec_core.roles import TrainingData
from lmmrec_core.training.joint.chunks import ChunkedEncoder
from tests.encoders.toys import catalogue_of, draw
from tests.encoders.vlmo.small_networks import with_vector
from tests.recommenders.toys import random_data
from tests.training.joint.toy_encoders import Captured, Moving, batches_of, build, error, flat, whole_graph, windowed

ITEMS, ABSENT_PICTURE, ABSENT_TEXT = 24, 3, 5
FIVE = ("vbpr", "mmgcn", "mmgcl", "slmrec", "lattice")
WORDS = [
    "red",
    "round",
    "small",
    "box",
    "of",
    "wood",
    "with",
    "a",
    "lid",
    "for",
    "tea",
    "and",
    "sugar",
    "or",
    "salt",
    "blue",
    "tall",
    "glass",
]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    folder, texts, images = tmp_path_factory.mktemp("items"), [], []
    for i in range(ITEMS):
        draw(i, (40, 40)).save(folder / f"{i}.png")
        images.append(None if i == ABSENT_PICTURE else folder / f"{i}.png")
        # no two texts are alike: neighbours at the same distance are chosen by the last bit
        words = np.random.default_rng(i).choice(WORDS, 6, replace=False)
        texts.append("" if i == ABSENT_TEXT else " ".join(words))
    return catalogue_of(texts, images)


def encoder_of(name, stochastic=False):
    if name == "clip":
        return ClipTiny(ClipTiny.Settings(model="clip-tiny-32", seed=3))
    drops = {"drop_path": 0.3, "text_dropout": 0.2} if stochastic else {}
    return VLMoTiny(VLMoTiny.Settings(seed=3, hashed=64, width=32, depth=3, first_vl=2, **drops))


def rows_of(name, catalogue, stochastic=False):
    encoder = encoder_of(name, stochastic)
    features = extract({m: encoder for m in encoder.modalities}, catalogue, progress=False)
    return CatalogueRows(encoder, item_content(encoder, catalogue, features, progress=False), features), features


def data_of(features):
    data = random_data(3, 20, ITEMS, 120)
    matrices = {m: torch.from_numpy(rows.copy()) for m, rows in features.matrices.items()}
    return TrainingData(20, ITEMS, data.user, data.item, matrices)


@pytest.mark.parametrize("name", ["clip", "vlmo"])
def test_rows_are_the_extracted_features(name, catalogue):
    rows, features = rows_of(name, catalogue)
    for chunk in (torch.arange(ITEMS), torch.tensor([5, 3, 9])):
        for modality, found in rows.rows(chunk).items():
            expected = torch.from_numpy(features.matrices[modality])[chunk]
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["clip", "vlmo"])
def test_absent_content_keeps_its_row_and_gives_no_gradient(name, catalogue):
    rows, features = rows_of(name, catalogue)
    for modality, item in (("visual", ABSENT_PICTURE), ("textual", ABSENT_TEXT)):
        found = rows.rows(torch.tensor([item, 7]))[modality]
        assert torch.equal(found[0].detach(), torch.from_numpy(features.matrices[modality])[item])
        for place, reached in ((0, False), (1, True)):
            rows.module.zero_grad(set_to_none=True)
            found[place].sum().backward(retain_graph=True)
            gradient = flat(rows.module.parameters())
            assert bool(torch.isfinite(gradient).all()) and bool(gradient.norm() > 0) == reached


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("model", FIVE)
@pytest.mark.parametrize("name", ["clip", "vlmo"])
def test_equals_the_whole_graph(name, model, n, catalogue):
    found, expected = [], []
    for collected in (found, expected):
        rows, features = rows_of(name, catalogue)
        data = data_of(features)
        recommender = build(model, data)
        batches = batches_of(data, n, negatives=recommender.needs_negatives)
        if collected is found:
            collected += windowed(recommender, rows, batches, updates_per_epoch=1, chunk=7).gradients
        else:
            collected.append(whole_graph(recommender, rows, batches))
    assert expected[0].norm() > 0 and bool(torch.isfinite(found[0]).all())
    assert error(found[0], expected[0]) < 1e-5


@pytest.mark.parametrize("repeated", [True, False])
@pytest.mark.parametrize("model", FIVE)
def test_dropout_and_drop_path_of_vlmo_are_replayed(model, repeated, catalogue, monkeypatch):
    """The rows that the losses saw, kept with their graph, against rows encoded again; other draws give others."""
    rows, features = rows_of("vlmo", catalogue, stochastic=True)
    data, kept = data_of(features), []
    recommender = build(model, data)
    batches = batches_of(data, 2, negatives=recommender.needs_negatives)

    def fill(self, chunk, matrices):
        with torch.enable_grad():
            made = self._rows(chunk)
        if chunk.seed is not None:
            kept.append((chunk, made))
        with torch.no_grad():
            for modality, values in made.items():
                matrices[modality].index_copy_(0, chunk.items, values.detach())

    monkeypatch.setattr(ChunkedEncoder, "fill", fill)

    class Keeping(Captured):
        def _update(self, gradients, step):
            self.filled = list(self.filled) if repeated else [type(c)(c.items, c.seed + 1) for c in self.filled]
            super()._update(gradients, step)

    window = windowed(recommender, rows, batches, kind=Keeping, updates_per_epoch=1, chunk=7, stochastic=True)
    rows.module.zero_grad(set_to_none=True)
    for chunk, made in kept:
        for modality, gradient in window.feature_gradients[0].items():
            if made[modality].requires_grad:
                torch.autograd.backward(made[modality], gradient[chunk.items])
    found = error(window.gradients[0], flat(window.trained.values()))
    assert found < 1e-5 if repeated else found > 0.05


@pytest.mark.parametrize(("name", "part", "vector"), [
    ("clip", "heads", "joint"), ("vlmo", "heads", "itc"), ("vlmo", "top-1", "cls"), ("vlmo", "top-1", "itc"),
    ("vlmo", "top-1", "mean"), ("vlmo", "top-1", "cls_raw"), ("vlmo", "top-2", "cls"), ("vlmo", "top-3", "itc_vl"),
    ("vlmo", "heads", "itc_vl"), ("clip", "top-1", "joint"), ("clip", "top-2", "joint"),
])  # fmt: skip
def test_what_is_below_a_part_and_the_part_make_the_whole_way(name, part, vector, catalogue):
    rows, _ = rows_of(name, catalogue)
    if name == "vlmo":
        encoder = with_vector(rows.encoder, vector)
        features = extract({m: encoder for m in encoder.modalities}, catalogue, progress=False)
        rows = CatalogueRows(encoder, item_content(encoder, catalogue, features, progress=False), features)
    items = torch.tensor([0, ABSENT_PICTURE, ABSENT_TEXT, 11])
    whole, states = rows.rows(items), rows.boundary(items, part)
    for modality, found in rows.rows_from(states, part).items():
        torch.testing.assert_close(found, whole[modality], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "part"), [("clip", "heads"), ("clip", "top-1"), ("vlmo", "top-1"), ("vlmo", "top-2")])
def test_gradients_through_kept_states_are_those_of_the_whole_way(name, part, catalogue):
    rows, features = rows_of(name, catalogue)
    data = data_of(features)
    gradients = []
    for boundary in ("encode", "keep"):
        rows, _ = rows_of(name, catalogue)
        batches = batches_of(data, 2)
        values = {"reading": "e3", "part": part, "boundary": boundary, "updates_per_epoch": 1, "chunk": 7}
        gradients.append(windowed(build("vbpr", data), rows, batches, **values).gradients[0])
    assert gradients[0].norm() > 0 and error(gradients[1], gradients[0]) < 1e-5


def test_states_that_do_not_fit_are_refused(catalogue, monkeypatch):
    rows, _ = rows_of("vlmo", catalogue)
    monkeypatch.setattr(item_rows, "free_memory", lambda: 1000)
    told = r"visual states below part 'top-1' take 0.0 GiB for 24 items, .* set end_to_end.boundary: encode"
    with pytest.raises(FeatureError, match=told):
        rows.boundary(torch.tensor([0]), "top-1")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip-b16", "vlmo-base-plus"])
def test_the_last_two_blocks_of_an_official_encoder_can_be_kept_apart(name):
    encoder = official(name)
    pixels, tokens = encoder.preprocess_images([draw(1)]), encoder.preprocess_texts(["a glass owl and a red box"])
    with torch.no_grad():
        for modality, inputs, whole in (
            ("visual", pixels, encoder.image_vectors(pixels)), ("textual", tokens, encoder.text_vectors(tokens)),
        ):  # fmt: skip
            states = encoder.below(modality, inputs, "top-2")
            torch.testing.assert_close(encoder.above(modality, states, "top-2"), whole)


def official(name):
    """Random weights of the official size."""
    if name == "clip-b16":
        return ClipB16(CLIPSettings(seed=1))
    shape = VLMoSettings.base_plus()
    network = build_network(shape, torch.Generator().manual_seed(1))
    return VLMoBasePlus(built=Built(shape, network, WholeWords(size=shape.vocabulary), {"source": "random"}))


@pytest.mark.parametrize("name", ["clip", "vlmo"])
def test_low_rank_factors_are_trained_and_nothing_else(name, catalogue):
    rows, features = rows_of(name, catalogue)
    before = {key: value.clone() for key, value in rows.module.state_dict().items()}
    factors = add_lora(rows.module, rank=2)
    assert rows.part("lora") == factors
    data = data_of(features)
    window = windowed(
        build("vbpr", data), rows, batches_of(data, 2), kind=Moving, reading="e3", part="lora", updates_per_epoch=1,
        chunk=7, encoder_learning_rate=0.01,
    )  # fmt: skip
    assert window.gradients[0].norm() > 0 and set(window.trained) == factors
    originals = {key.replace(".parametrizations", "").replace(".original", ""): value
                 for key, value in rows.module.state_dict().items() if "lora_" not in key}  # fmt: skip
    assert originals.keys() == before.keys() and all(torch.equal(before[key], v) for key, v in originals.items())
    merge_lora(rows.module)
    assert rows.module.state_dict().keys() == before.keys()
    assert any(not torch.equal(before[key], value) for key, value in rows.module.state_dict().items())
