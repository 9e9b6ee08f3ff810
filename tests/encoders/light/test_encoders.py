import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lmmrec_core.data.controls import ControlSize, write_controls, write_outside_items
from lmmrec_core.data.folder import FolderSettings, read_folder
from lmmrec_core.encoders.extract import extract
from lmmrec_core.encoders.light.encoders import LightCNN, LightText
from lmmrec_core.encoders.light.networks import build_vocabulary, number_words, split_words
from lmmrec_core.errors import DataError, FeatureError
from lmmrec_core.roles import Encoder


def train_light(folder, seed):
    return tuple(encoder.trained_on(folder, seed, progress=False) for encoder in (LightCNN, LightText))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("light") / "outside"
    write_outside_items(folder, 7, 500)
    return train_light(folder, 7)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "outside"
    write_outside_items(folder, 7, 50)
    return folder


@pytest.fixture(scope="module")
def features(tmp_path_factory, trained):
    """Per kind: features of a catalogue and the latents that its picture and text show."""
    root, found = tmp_path_factory.mktemp("catalogues"), {}
    for kind in ("complementary", "redundant"):
        write_controls(kind, root / kind, 3, ControlSize(users=340, items=250))
        catalogue = read_folder(root / kind, FolderSettings())
        made = extract({"visual": trained[0], "textual": trained[1]}, catalogue, progress=False)
        truth = np.load(root / kind / "planted.npz", allow_pickle=False)
        order = [truth["item_ids"].tolist().index(item) for item in catalogue.item_ids]
        found[kind] = (made.matrices, {name: truth[name][order] for name in ("visual", "textual")})
    return found


def held_out_r2(matrix, latent):
    """R² per factor of a ridge fitted on even items, on odd items."""
    design = np.c_[matrix.astype(float), np.ones(len(matrix))]
    even, odd = design[::2], design[1::2]
    weights = np.linalg.solve(even.T @ even + 10 * np.eye(design.shape[1]), even.T @ latent[::2])
    residual = ((latent[1::2] - odd @ weights) ** 2).sum(axis=0)
    return 1 - residual / ((latent[1::2] - latent[1::2].mean(axis=0)) ** 2).sum(axis=0)


@pytest.mark.parametrize("modality", ["visual", "textual"])
def test_features_reveal_the_latent_of_their_own_modality_alone(modality, features):
    matrices, truth = features["complementary"]
    other = "textual" if modality == "visual" else "visual"
    own, unseen = held_out_r2(matrices[modality], truth[modality]), held_out_r2(matrices[modality], truth[other])
    # with so few outside items one visual factor may stay weak (0.2 to 0.8 by seed), the mean does not
    assert own.mean() > 0.6
    assert unseen.max() < 0.1 < own.min()


def test_both_modalities_reveal_a_shared_latent(features):
    matrices, truth = features["redundant"]
    assert held_out_r2(matrices["visual"], truth["textual"]).mean() > 0.6
    assert held_out_r2(matrices["textual"], truth["visual"]).mean() > 0.6


def test_near_levels_get_near_text_vectors(features):
    matrices, truth = features["complementary"]
    vectors = matrices["textual"] / np.linalg.norm(matrices["textual"], axis=1, keepdims=True)
    pairs = np.triu_indices(len(vectors), 1)
    distance = np.linalg.norm(truth["textual"][:, None] - truth["textual"][None], axis=2)[pairs]
    assert np.corrcoef((vectors @ vectors.T)[pairs], distance)[0, 1] < -0.6


def test_training_is_a_function_of_folder_and_seed(small):
    state = torch.random.get_rng_state()
    first = train_light(small, 1)
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's random numbers move
    torch.manual_seed(99)
    again, other = train_light(small, 1), train_light(small, 2)
    for one, same, different in zip(first, again, other, strict=True):
        assert one.spec() == same.spec()
        assert one.spec()["weights"]["state_sha256"] != different.spec()["weights"]["state_sha256"]


def test_thread_count_is_put_back(small):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        train_light(small, 1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_they_are_encoders_of_one_modality(trained):
    image, text = trained
    assert isinstance(image, Encoder) and isinstance(text, Encoder)
    assert (image.dim("visual"), text.dim("textual")) == (64, 64)
    for refused in (
        lambda: image.dim("textual"),
        lambda: text.dim("visual"),
        lambda: image.preprocess_texts(["a"]),
        lambda: image.text_vectors({}),
        lambda: text.preprocess_images([]),
        lambda: text.image_vectors(torch.zeros(1, 3, 64, 64)),
    ):
        with pytest.raises(FeatureError, match="use it for"):
            refused()
    json.dumps([image.spec(), text.spec()])


def test_a_picture_s_vector_does_not_depend_on_its_batch(trained):
    image = trained[0]
    stream = np.random.default_rng(0)
    pictures = [Image.fromarray(stream.integers(0, 255, (80, 50, 3), dtype=np.uint8)) for _ in range(5)]
    with torch.no_grad():
        together = image.image_vectors(image.preprocess_images(pictures))
        alone = torch.cat([image.image_vectors(image.preprocess_images([picture])) for picture in pictures])
    assert torch.allclose(together, alone, atol=1e-4)


def test_a_text_s_vector_does_not_depend_on_padding_and_is_finite_without_known_words(trained):
    text = trained[1]
    texts = ["Serene antique vase", "Its spirit is jolly. " * 10, "", "zzz qqq"]
    with torch.no_grad():
        together = text.text_vectors(text.preprocess_texts(texts))
        alone = torch.cat([text.text_vectors(text.preprocess_texts([one])) for one in texts])
    assert torch.allclose(together, alone, atol=1e-4)
    assert torch.isfinite(together).all()


def test_gradients_reach_every_weight(trained):
    image, text = trained
    image.module.zero_grad()
    text.module.zero_grad()
    image.image_vectors(torch.randn(4, 3, 64, 64)).pow(3).sum().backward()
    text.text_vectors(text.preprocess_texts(["serene jug", "merry pot"])).pow(3).sum().backward()
    for module in (image.module, text.module):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
        module.zero_grad()


def test_words_are_split_numbered_cut_and_padded():
    assert split_words("Avant-garde, 12 café's!") == ["avant-garde", "café", "s"]
    assert build_vocabulary(["b a", "A c"]) == ("a", "b", "c")
    numbers = {"a": 2, "b": 3}
    assert number_words(["a b a b", "x"], numbers, 3).tolist() == [[2, 3, 2], [1, 0, 0]]
    assert number_words(["", ""], numbers, 3).tolist() == [[0], [0]]
    assert number_words([], numbers, 3).shape == (0, 1)


def test_saved_encoders_come_back_the_same(trained, tmp_path):
    for encoder in trained:
        encoder.save(tmp_path / encoder.name)
        again = type(encoder).load(tmp_path / encoder.name)
        assert again.spec() == encoder.spec()
        assert not again.module.training
    words = ["Jolly bygone urn. Home, Study, Hefty, Lavish"]
    with torch.no_grad():
        before, after = (e.text_vectors(e.preprocess_texts(words)) for e in (trained[1], again))
    assert torch.equal(before, after)


def test_weights_that_do_not_fit_are_refused(trained, tmp_path):
    with pytest.raises(FeatureError, match="no such weights"):
        LightCNN.load(tmp_path / "absent")
    (tmp_path / "noise").write_bytes(b"not a tensor file")
    with pytest.raises(FeatureError, match="not weights that encoder 'light-cnn' saved"):
        LightCNN.load(tmp_path / "noise")
    save_file({"a": torch.zeros(1)}, tmp_path / "bare")
    with pytest.raises(FeatureError, match="not weights that encoder 'light-text' saved"):
        LightText.load(tmp_path / "bare")
    trained[0].save(tmp_path / "cnn")
    with pytest.raises(FeatureError, match="weights of light-cnn"):
        LightText.load(tmp_path / "cnn")
    for member in (LightCNN, LightText):
        with pytest.raises(FeatureError, match="trained_on"):
            member()


@pytest.mark.parametrize(
    ("file", "old", "new", "word"),
    [
        ("labels.csv", "visual_", "seen_", "no column visual_"),
        ("labels.csv", "X0002,", "X9999,", "not those of items.csv"),
        ("items.csv", "brand", "maker", "no column 'brand'"),
    ],
)
def test_damaged_outside_folders_are_refused(file, old, new, word, tmp_path):
    write_outside_items(tmp_path / "o", 1, 5)
    path = tmp_path / "o" / file
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=word):
        train_light(tmp_path / "o", 1)


def test_a_label_that_is_no_level_is_named_with_its_line(tmp_path):
    write_outside_items(tmp_path / "o", 1, 5)
    path = tmp_path / "o" / "labels.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[3] = "X0003,red,0,0,0,0,0,0,0"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match="line 4: visual_hue = 'red'"):
        train_light(tmp_path / "o", 1)
    with pytest.raises(DataError, match="write the outside items first"):
        train_light(tmp_path / "absent", 1)
