import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from lmmrec_core.encoders.clip.build import architecture, build_module
from lmmrec_core.encoders.clip.small import ClipSmall
from lmmrec_core.encoders.lora import LowRank, add_lora, lora_targets
from lmmrec_core.errors import ConfigError, FeatureError
from tests.encoders.clip.small_clips import content, small_official


def outputs(encoder, pixels, tokens):
    with torch.no_grad():
        return encoder.image_vectors(pixels), encoder.text_vectors(tokens)


def stir(module, seed=0):
    """Give every second factor values, as training would."""
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.named_parameters():
            if name.endswith(".lora_B"):
                value.copy_(torch.randn(value.shape, generator=stream) * 0.05)


def test_counts_of_vit_b_16_exactly():
    module = build_module(architecture("ViT-B-16-quickgelu"), device="meta")
    names = add_lora(module, rank=8, alpha=16)
    sizes = {name: value.numel() for name, value in module.named_parameters() if name in names}
    assert sum(size for name, size in sizes.items() if name.startswith("visual.")) == 1_179_648
    assert sum(size for name, size in sizes.items() if not name.startswith("visual.")) == 786_432
    assert len(names) == 2 * 4 * 24  # two factors; attention in and out, both MLP maps; 24 blocks
    scales = {part.scale for part in module.modules() if isinstance(part, LowRank)}
    assert scales == {2.0}


def test_zero_factors_change_nothing_and_others_do():
    encoder = small_official()
    pixels, tokens = content(encoder)
    before = outputs(encoder, pixels, tokens)
    add_lora(encoder.module, rank=4, alpha=8, seed=3)
    for one, other in zip(before, outputs(encoder, pixels, tokens), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    stir(encoder.module)
    adapted = outputs(encoder, pixels, tokens)
    assert (adapted[0] - before[0]).abs().max() > 0.01 and (adapted[1] - before[1]).abs().max() > 0.01


def test_the_adapted_weight_is_w_plus_scaled_b_a():
    encoder = small_official()
    attention = encoder.module.visual.transformer.resblocks[0].attn
    weight = attention.in_proj_weight.detach().clone()
    add_lora(encoder.module, rank=2, alpha=6)
    stir(encoder.module)
    factors = attention.parametrizations["in_proj_weight"][0]
    expected = weight + 3.0 * factors.lora_B.detach() @ factors.lora_A.detach()
    assert factors.lora_A.shape == (2, 48) and factors.lora_B.shape == (144, 2)
    assert torch.allclose(attention.in_proj_weight, expected, atol=1e-7)


def test_training_the_factors_moves_nothing_else():
    encoder = small_official()
    names = add_lora(encoder.module, rank=2)
    assert encoder.part("lora") == names
    for name, value in encoder.module.named_parameters():
        value.requires_grad_(name in names)
    before = {name: value.detach().clone() for name, value in encoder.module.named_parameters()}
    optimiser = torch.optim.Adam([value for name, value in encoder.module.named_parameters() if name in names], lr=0.01)
    for step in range(2):
        [(image, text, scale)] = encoder.contrast(*content(encoder))
        logits = scale * functional.normalize(image) @ functional.normalize(text).T
        optimiser.zero_grad()
        functional.cross_entropy(logits, torch.arange(4)).backward()
        moved = [n for n, v in encoder.module.named_parameters() if v.grad is not None and v.grad.any()]
        expected = {name for name in names if step > 0 or name.endswith(".lora_B")}  # A waits for B to leave zero
        assert set(moved) == expected
        optimiser.step()
    for name, value in encoder.module.named_parameters():
        assert torch.equal(value, before[name]) == (name not in names), name
    with pytest.raises(FeatureError, match="low-rank factors, which no plain module could load"):
        encoder.save(None)


def test_equals_peft_on_plain_linear_maps():
    """The library as an independent account of the formula; its fused attention is not used (see the module)."""
    peft = pytest.importorskip("peft", reason="an independent library, not needed otherwise")

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(6, 10), nn.GELU(), nn.Linear(10, 6))])

        def forward(self, rows):
            return self.blocks[0](rows)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours = Block()
    theirs = copy.deepcopy(ours)
    add_lora(ours, rank=3, alpha=12)
    stir(ours)
    config = peft.LoraConfig(r=3, lora_alpha=12, target_modules=["blocks.0.0", "blocks.0.2"])
    with torch.random.fork_rng():
        peft.inject_adapter_in_model(config, theirs)
    with torch.no_grad():
        for layer in (0, 2):
            factors = ours.blocks[0][layer].parametrizations.weight[0]
            bound = factors.lora_A.shape[1] ** -0.5  # where peft draws A
            drawn = theirs.blocks[0][layer].lora_A["default"].weight
            assert drawn.abs().max() <= bound and factors.lora_A.abs().max() <= bound
            assert not theirs.blocks[0][layer].lora_B["default"].weight.any()
            drawn.copy_(factors.lora_A)
            theirs.blocks[0][layer].lora_B["default"].weight.copy_(factors.lora_B)
    rows = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(ours(rows), theirs(rows), atol=1e-6)


def test_weights_that_are_read_without_the_layer_are_adapted():
    """VLMo reads ``qkv.weight`` itself, with a bias of its own."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(4, 12, bias=False)
            self.proj = nn.Linear(4, 4)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.ModuleDict({"attn": Attention()})])
            self.head = nn.Linear(4, 4)

        def forward(self, rows):
            return functional.linear(rows, self.blocks[0]["attn"].qkv.weight, torch.ones(12))

    network = Network()
    assert set(lora_targets(network)) == {"blocks.0.attn.qkv.weight", "blocks.0.attn.proj.weight"}  # no head
    rows = torch.eye(4)
    before = network(rows)
    add_lora(network, rank=2, alpha=2)
    assert torch.equal(network(rows), before)
    stir(network)
    factors = network.blocks[0]["attn"].qkv.parametrizations.weight[0]
    assert torch.allclose(network(rows) - before, (factors.lora_B @ factors.lora_A).T, atol=1e-6)


def test_hugging_face_towers_and_frozen_convolutions():
    encoder = ClipSmall()
    names = add_lora(encoder.module, rank=2)
    assert len(names) == 2 * 6 * 6  # six maps in each of six layers
    assert all(name.startswith("text.transformer.encoder.layer.") for name in names)
    encoder.module.train()
    encoder.module.eval()
    assert not any(part.training for part in encoder.module.modules())


def test_the_seed_decides_the_first_factors():
    def first(seed):
        encoder = small_official()
        add_lora(encoder.module, rank=2, seed=seed)
        return [value for name, value in encoder.module.named_parameters() if name.endswith(".lora_A")]

    one, again, other = first(1), first(1), first(2)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[0], one[4])


def test_what_cannot_be_adapted():
    with pytest.raises(ConfigError, match="no linear map in a transformer block"):
        add_lora(nn.Sequential(nn.Linear(3, 3)))
    encoder = small_official()
    with pytest.raises(ConfigError, match="rank 0"):
        add_lora(encoder.module, rank=0)
    add_lora(encoder.module)
    with pytest.raises(ConfigError, match="factors already"):
        add_lora(encoder.module)
