import json
import shutil

import open_clip
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from lmmrec_core.encoders.clip.build import architecture, build_module
from lmmrec_core.encoders.extract import extract
from lmmrec_core.encoders.own.encoder import Own, OwnSettings
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.roles import Encoder
from tests.encoders.clip.small_clips import QUICK
from tests.encoders.toys import catalogue_of, draw

TEXTS = ["a red train", "blocks", "a doll with a hat and a coat and two shoes"]


def own(**settings):
    return Own(OwnSettings.build(settings, "encoder 'own'"))


@pytest.fixture(scope="module")
def sentence_folder(tmp_path_factory):
    """A tiny BERT with mean pooling, saved by the library itself."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("sentence")
    words = sorted({word for text in TEXTS for word in text.split()})
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=5 + len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=32,
        )  # fmt: skip
        bert = BertModel(config)
    bert.save_pretrained(folder / "bert")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"), max_seq_length=24)
    SentenceTransformer(modules=[transformer, Pooling(16), Normalize()], device="cpu").save(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="module")
def picture_file(tmp_path_factory):
    """A whole timm network with its classifier, as published files have it."""
    path = tmp_path_factory.mktemp("timm") / "resnet10t.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(timm.create_model("resnet10t", pretrained=False).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory):
    """Weights of a small model that open_clip knows by name, as a user may have added one."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "own-test-vit.json").write_text(json.dumps(QUICK))
    open_clip.add_model_config(folder)
    save_file(dict(build_module(QUICK, seed=1).state_dict()), folder / "clip.safetensors")
    return folder / "clip.safetensors"


def test_a_sentence_folder_equals_the_library(sentence_folder, no_network):
    from sentence_transformers import SentenceTransformer

    encoder = own(library="sentence-transformers", model=str(sentence_folder))
    assert encoder.modalities == ("textual",) and encoder.dim("textual") == 16 and isinstance(encoder, Encoder)
    library = SentenceTransformer(str(sentence_folder), device="cpu")
    expected = library.encode(TEXTS, convert_to_tensor=True, show_progress_bar=False)
    with torch.no_grad():
        vectors = encoder.text_vectors(encoder.preprocess_texts(TEXTS))
    assert torch.allclose(vectors, expected, atol=1e-6) and (vectors - vectors[0]).abs().max() > 1e-3
    assert not any(part.training for part in encoder.module.modules())


def test_gradient_reaches_a_sentence_model(sentence_folder):
    encoder = own(library="sentence-transformers", model=str(sentence_folder))
    encoder.text_vectors(encoder.preprocess_texts(TEXTS))[:, 0].sum().backward()
    assert encoder.module[0].auto_model.embeddings.word_embeddings.weight.grad.abs().sum() > 0


def test_a_sentence_spec_follows_content_not_place(sentence_folder, tmp_path):
    first = own(library="sentence-transformers", model=str(sentence_folder)).spec()
    shutil.copytree(sentence_folder, tmp_path / "copy")
    assert own(library="sentence-transformers", model=str(tmp_path / "copy")).spec() == first
    assert str(sentence_folder) not in str(first) and "copy" not in str(first)
    short = own(library="sentence-transformers", model=str(sentence_folder), max_length=5)
    assert short.spec() != first
    assert short.preprocess_texts(TEXTS)["input_ids"].shape == (3, 5)
    weights = tmp_path / "copy" / "model.safetensors"
    state = load_file(weights)
    state["embeddings.word_embeddings.weight"][5] += 1
    save_file(state, weights, metadata={"format": "pt"})
    assert own(library="sentence-transformers", model=str(tmp_path / "copy")).spec() != first
    with pytest.raises(FeatureError, match="max_length 999 is more than the model's"):
        own(library="sentence-transformers", model=str(sentence_folder), max_length=999)


def test_a_half_saved_sentence_model_is_refused(sentence_folder, tmp_path):
    """The library itself fills missing weights with random numbers and goes on."""
    shutil.copytree(sentence_folder, tmp_path / "half")
    weights = tmp_path / "half" / "model.safetensors"
    state = load_file(weights)
    del state["encoder.layer.1.output.dense.weight"]
    save_file(state, weights, metadata={"format": "pt"})
    with pytest.raises(FeatureError, match=r"no weights for 'encoder\.layer\.1\.output\.dense\.weight'"):
        own(library="sentence-transformers", model=str(tmp_path / "half"))


def test_a_default_prompt_is_put_before_each_text(sentence_folder, tmp_path):
    shutil.copytree(sentence_folder, tmp_path / "prompted")
    path = tmp_path / "prompted" / "config_sentence_transformers.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "prompts": {"item": "a red "}, "default_prompt_name": "item"}))
    prompted = own(library="sentence-transformers", model=str(tmp_path / "prompted"))
    plain = own(library="sentence-transformers", model=str(sentence_folder))
    assert torch.equal(
        prompted.preprocess_texts(["train"])["input_ids"], plain.preprocess_texts(["a red train"])["input_ids"]
    )
    assert prompted.spec()["text"]["prompt"] == "a red "


def test_a_timm_network_from_a_file(picture_file, no_network):
    encoder = own(library="timm", model="resnet10t", weights=picture_file, image_size=64)
    whole = timm.create_model("resnet10t", pretrained=False).eval()
    whole.load_state_dict(load_file(picture_file))
    pixels = encoder.preprocess_images([draw(1), draw(2)])
    assert pixels.shape == (2, 3, 64, 64) and encoder.modalities == ("visual",) and encoder.dim("visual") == 512
    with torch.no_grad():
        expected = whole.forward_features(pixels).mean(dim=(2, 3))
        assert torch.allclose(encoder.image_vectors(pixels), expected, atol=1e-5)
    assert expected.abs().max() > 0.01
    pixels.requires_grad_()
    encoder.image_vectors(pixels).sum().backward()
    assert pixels.grad is not None and pixels.grad.abs().sum() > 0


def test_a_timm_spec_and_its_refusals(picture_file, tmp_path):
    first = own(library="timm", model="resnet10t", weights=picture_file).spec()
    assert first["image"]["size"] == 176 and first["image"]["fit"] == "crop"  # timm's figures for this network
    shutil.copy(picture_file, tmp_path / "moved.safetensors")
    assert own(library="timm", model="resnet10t", weights=tmp_path / "moved.safetensors").spec() == first
    assert own(library="timm", model="resnet10t", weights=picture_file, fit="pad").spec() != first
    state = load_file(picture_file)
    save_file(
        {key: value for key, value in state.items() if key != "layer1.0.conv1.weight"}, tmp_path / "half.safetensors"
    )
    with pytest.raises(FeatureError, match=r"no weights for 'layer1\.0\.conv1\.weight'"):
        own(library="timm", model="resnet10t", weights=tmp_path / "half.safetensors")
    with pytest.raises(FeatureError, match="another architecture"):
        own(library="timm", model="resnet18", weights=picture_file)
    with pytest.raises(ConfigError, match="unknown timm model 'resnet10'; did you mean"):
        own(library="timm", model="resnet10", weights=picture_file)


def test_an_open_clip_model_from_a_file(clip_file, no_network):
    encoder = own(library="open_clip", model="own-test-vit", weights=clip_file)
    source = build_module(QUICK, seed=1)
    pixels, tokens = encoder.preprocess_images([draw(1)]), encoder.preprocess_texts(TEXTS[:1])
    assert encoder.modalities == ("visual", "textual") and pixels.shape == (1, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(encoder.image_vectors(pixels), source.encode_image(pixels), atol=1e-6)
        assert encoder.text_vectors(tokens).shape == (1, encoder.dim("textual")) == (1, 24)
    assert encoder.spec()["weights"]["name"] == "own"


def test_open_clip_prepares_pictures_as_the_tag_says():
    from lmmrec_core.encoders.clip.encoder import CLIP
    from lmmrec_core.encoders.own.encoder import OpenClipModel

    stated = object.__new__(OpenClipModel)  # the rule alone: no such weights are here
    stated.settings = OpenClipModel.Settings(model="ViT-B-16-SigLIP", pretrained="webli", norm="model")
    stated.source, stated.module = {"tag": "webli"}, build_module(architecture("ViT-B-32"), device="meta")
    rule = CLIP._image_rule(stated)
    assert rule.fit == "squash" and rule.mean == rule.std == (0.5, 0.5, 0.5)


def test_own_encoders_extract_beside_each_other(sentence_folder, picture_file, tmp_path):
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.png")
        draw(number).save(paths[-1])
    encoders = {
        "visual": own(library="timm", model="resnet10t", weights=picture_file, image_size=32),
        "textual": own(library="sentence-transformers", model=str(sentence_folder)),
    }
    features = extract(encoders, catalogue_of(TEXTS, paths), progress=False)
    assert features.matrices["visual"].shape == (3, 512) and features.matrices["textual"].shape == (3, 16)


def test_the_other_modality_is_refused(sentence_folder, picture_file):
    text = own(library="sentence-transformers", model=str(sentence_folder))
    picture = own(library="timm", model="resnet10t", weights=picture_file)
    with pytest.raises(FeatureError, match="name another encoder for visual"):
        text.preprocess_images([draw(1)])
    with pytest.raises(FeatureError, match="name another encoder for textual"):
        picture.text_vectors({})
    with pytest.raises(FeatureError, match="name another encoder for textual"):
        picture.dim("textual")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"library": "sentence-transformers", "model": "no/such-model"}, "fetch it on a connected machine, save it"),
        ({"library": "sentence-transformers", "model": "./nowhere"}, "no such folder"),
        ({"library": "timm", "model": "resnet10t", "pretrained": "c3_in1k"}, "give its path as weights"),
        ({"library": "open_clip", "model": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"}, "give its path as weights"),
    ],
)
def test_offline_the_cure_is_named(settings, message, no_network, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FeatureError, match=message):
        own(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"library": "timm", "model": "resnet10t"}, "no weights; give weights"),
        ({"library": "timm", "model": "resnet10t", "weights": "a", "pretrained": "b"}, "give one"),
        (
            {"library": "timm", "model": "resnet10t", "weights": "a", "max_length": 9},
            "max_length means nothing to timm",
        ),
        (
            {"library": "sentence-transformers", "model": "a", "fit": "pad"},
            "fit means nothing to sentence-transformers",
        ),
        ({"library": "torchvision", "model": "a"}, "library = 'torchvision'"),
        ({"library": "timm", "modell": "a"}, "did you mean 'model'"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ConfigError, match=message):
        own(**settings)


def test_own_needs_settings():
    with pytest.raises(FeatureError, match="give library, model and weights"):
        Own()
