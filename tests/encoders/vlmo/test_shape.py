"""VLMo's keys, shapes, counts and initial weights, and the settings that are refused."""

import pytest
import torch

from lmmrec_core.encoders.vlmo.initial import build_network, initialise
from lmmrec_core.encoders.vlmo.model import VLMoNetwork
from lmmrec_core.encoders.vlmo.settings import VLMoSettings
from lmmrec_core.errors import ConfigError
from tests.encoders.vlmo.small_networks import generator, tiny


@pytest.fixture(scope="module")
def base_plus():
    with torch.device("meta"):
        return VLMoNetwork(VLMoSettings.base_plus())


def published_table():
    """Keys and shapes of the published Base Plus file (microsoft/unilm, vlmo), written out."""
    d, h, words = 544, 2176, 30522
    table = {
        "transformer.cls_token": (1, 1, d),
        "transformer.pos_embed": (1, 197, d),
        "transformer.patch_embed.proj.weight": (d, 3, 16, 16),
        "transformer.patch_embed.proj.bias": (d,),
        "text_embeddings.word_embeddings.weight": (words, d),
        "text_embeddings.position_embeddings.weight": (40, d),
        "text_embeddings.token_type_embeddings.weight": (2, d),
        "token_type_embeddings.weight": (2, d),
        "itm_score.fc.weight": (2, d),
        "itm_score.fc.bias": (2,),
        "mlm_score.decoder.weight": (words, d),
        "mlm_score.bias": (words,),
        "logit_scale": (),
        "logit_vl_scale": (),
    }

    def linear(name, out, inside):
        table[f"{name}.weight"], table[f"{name}.bias"] = (out, inside), (out,)

    def norm(name):
        table[f"{name}.weight"], table[f"{name}.bias"] = (d,), (d,)

    for name in ("itc_text_proj", "itc_image_proj", "itc_vl_text_proj", "itc_vl_image_proj"):
        table[f"{name}.fc.weight"] = (d, d)
    for name in ("pooler.dense", "mlm_score.transform.dense"):
        linear(name, d, d)
    for name in ("transformer.norm", "text_embeddings.LayerNorm", "mlm_score.transform.LayerNorm"):
        norm(name)
    for i in range(24):
        block = f"transformer.blocks.{i}"
        norm(f"{block}.norm1")
        table[f"{block}.attn.qkv.weight"] = (3 * d, d)
        table[f"{block}.attn.q_bias"] = table[f"{block}.attn.v_bias"] = (d,)
        linear(f"{block}.attn.proj", d, d)
        for kind in ("text", "imag", "vl") if i >= 21 else ("text", "imag"):
            norm(f"{block}.norm2_{kind}")
            linear(f"{block}.mlp_{kind}.fc1", h, d)
            linear(f"{block}.mlp_{kind}.fc2", d, h)
    return table


def test_keys_and_shapes_are_the_published_ones(base_plus):
    seen = {key: tuple(value.shape) for key, value in base_plus.state_dict().items()}
    assert len(seen) == 502
    assert seen == published_table()


def size(module):
    return sum(value.numel() for value in module.parameters())


def test_counts_are_exact(base_plus):
    body, blocks = base_plus.transformer, base_plus.transformer.blocks
    assert (size(body.patch_embed), body.cls_token.numel(), body.pos_embed.numel()) == (418_336, 544, 107_168)
    assert size(blocks[0].attn) == 1_185_376
    assert (size(blocks[0].mlp_text), size(blocks[0].norm1)) == (2_370_208, 1_088)
    assert (size(blocks[20]), size(blocks[21])) == (5_929_056, 8_300_352)
    assert (size(blocks), size(body.norm), size(body)) == (149_411_232, 1_088, 149_938_368)
    assert size(base_plus.text_embeddings) == 16_627_904
    assert (size(base_plus.token_type_embeddings), size(base_plus.pooler)) == (1_088, 296_480)
    backbone = (body, base_plus.text_embeddings, base_plus.token_type_embeddings, base_plus.pooler)
    assert sum(map(size, backbone)) == 166_863_840
    maps = [m for name, m in base_plus.named_children() if name.startswith("itc_")]
    assert (sum(map(size, maps)), size(base_plus.itm_score), size(base_plus.mlm_score)) == (
        1_183_744,
        1_090,
        16_932_058,
    )
    assert size(base_plus) == 184_980_734


def test_only_the_last_three_blocks_have_the_third_expert(base_plus):
    keys = base_plus.state_dict()
    with_vl = {int(key.split(".")[2]) for key in keys if "mlp_vl" in key or "norm2_vl" in key}
    assert with_vl == {21, 22, 23}
    assert not [key for key in keys if "gamma" in key or "relative" in key]
    attention = base_plus.transformer.blocks[0].attn
    assert 544 // attention.heads == 34
    assert attention.scale == pytest.approx(34**-0.5)


def test_norms_have_the_published_epsilons(base_plus):
    found = {}
    for name, part in base_plus.named_modules():
        if isinstance(part, torch.nn.LayerNorm):
            found.setdefault(part.eps, []).append(name)
    assert sorted(found[1e-12]) == ["mlm_score.transform.LayerNorm", "text_embeddings.LayerNorm"]
    assert len(found[1e-6]) == 24 * 3 + 3 + 1


def test_drop_path_grows_linearly():
    rates = VLMoSettings.base_plus().drop_rates
    assert rates == pytest.approx(torch.linspace(0, 0.1, 24, dtype=torch.float64).tolist())
    with torch.device("meta"):
        blocks = VLMoNetwork(VLMoSettings.base_plus()).transformer.blocks
    assert [block.drop_rate for block in blocks] == list(rates)


def test_small_has_forty_five_million_weights():
    with torch.device("meta"):
        network = VLMoNetwork(VLMoSettings.small(stem="conv", image_size=96))
    assert round(size(network) / 1e6, 1) == 44.8
    assert isinstance(network.transformer.norm, torch.nn.Identity)


def test_initial_weights_are_complete_seeded_and_of_the_stated_spread():
    settings = tiny(width=96, heads=3, vocabulary=400, linear_std=0.03)
    before = torch.random.get_rng_state()
    network = build_network(settings, generator(1))
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.no_grad():
        for value in network.parameters():
            value.fill_(float("nan"))
    initialise(network, generator(1), settings.linear_std)
    assert all(value.isfinite().all() for value in network.parameters())
    again, other = build_network(settings, generator(1)), build_network(settings, generator(2))
    for (name, value), same in zip(network.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(value, same), name
    body = network.transformer
    assert not torch.equal(body.blocks[0].attn.qkv.weight, other.transformer.blocks[0].attn.qkv.weight)
    words = network.text_embeddings.word_embeddings.weight[1:]
    for value, std in (
        (body.blocks[0].attn.qkv.weight, 0.03),
        (network.mlm_score.decoder.weight, 0.03),
        (body.pos_embed, 0.02),
        (words, 0.02),
    ):
        assert value.detach().std().item() == pytest.approx(std, rel=0.1)
    assert VLMoSettings.base_plus().linear_std == 0.02
    assert not network.text_embeddings.word_embeddings.weight[0].any()
    assert not body.blocks[0].attn.q_bias.any() and not network.mlm_score.bias.any()
    assert network.logit_scale.exp().item() == pytest.approx(1 / 0.07)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"positions": "relative"}, "Base and Large"),
        ({"layer_scale": 0.1}, "Base and Large"),
        ({"heads": 7}, "not a multiple of heads 7"),
        ({"first_vl": 5}, "must be below depth 5"),
        ({"image_size": 36}, "not a multiple of 8"),
        ({"stem": "grid", "image_size": 48}, "not a multiple of 32"),
        ({"norm": "both"}, "norm"),
        ({"wdith": 3}, "did you mean 'width'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, complaint):
    with pytest.raises(ConfigError, match=complaint):
        tiny(**changes)
