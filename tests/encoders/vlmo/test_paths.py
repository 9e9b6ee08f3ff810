"""The three paths against forms written out row by row; padding, experts, drop path, autocast."""

import pytest
import torch

from lmmrec_core.encoders.vlmo import blocks
from lmmrec_core.encoders.vlmo.blocks import SHORT, Attention, drop_path, fused_attention, plain_attention
from lmmrec_core.encoders.vlmo.settings import VLMoSettings
from tests.encoders.vlmo.small_networks import (
    generator,
    inputs,
    loud,
    naive_attention,
    naive_block,
    naive_final,
    naive_image,
    naive_text,
    tiny,
)

CLOSE = {"rtol": 0, "atol": 1e-10}  # float64 on both sides


@pytest.fixture(scope="module", params=["pre", "post"])
def case(request):
    settings = tiny(norm=request.param)
    return settings, loud(settings), inputs(settings)


def own_path(network, rows, kind, real=None):
    return network.final_norm(network.upper(network.lower(rows, kind, real), kind, real))


def joint_path(network, rows, kind, real=None):
    return network.final_norm(network.upper(network.lower(rows, kind, real), "vl", real))


@torch.no_grad()
def test_attention_equals_the_written_out_form():
    attention = Attention(12, 3).double()
    for value in attention.parameters():
        value.copy_(torch.randn(value.shape, generator=generator(1), dtype=value.dtype))
    x = torch.randn(2, 5, 12, generator=generator(2), dtype=torch.float64)
    real = torch.tensor([[True] * 5, [True, True, False, True, False]])
    state = {f"a.{key}": value for key, value in attention.state_dict().items()}
    torch.testing.assert_close(attention(x, real), naive_attention(x, state, "a", 3, real), **CLOSE)
    everything = torch.ones_like(real)
    torch.testing.assert_close(attention(x, None), naive_attention(x, state, "a", 3, everything), **CLOSE)


def drawn(rows, dim, kind, heads=3):
    """Query, key and value [item, head, row, dim] that ask for gradients, and a mask."""
    parts = torch.randn(3, 2, heads, rows, dim, generator=generator(4), dtype=torch.float64).to(kind)
    real = torch.arange(rows) < torch.tensor([[rows], [rows - rows // 3]])
    return [part.clone().requires_grad_() for part in parts], real


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("kind", "close"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_fused_attention_and_its_gradients_are_those_of_the_plain_form(kind, close, masked, multiple):
    """Relative to the largest value; 197 rows of 34 numbers are those of a picture in VLMo Base Plus."""
    found = []
    for form, more in ((plain_attention, ()), (fused_attention, (multiple,))):
        parts, real = drawn(197, 34, kind)
        out = form(*parts, real if masked else None, 34**-0.5, *more)
        out.square().sum().backward()
        found.append([out.detach(), *(part.grad for part in parts)])
    for plain, fused in zip(*found, strict=True):
        assert plain.shape == fused.shape
        assert float((plain - fused).abs().max() / plain.abs().max()) < close


@pytest.mark.parametrize("rows", [SHORT, SHORT + 1])
def test_only_long_sequences_are_fused_on_the_cpu(rows, monkeypatch):
    """The small encoders, whose stored runs were made by the plain form, have 81 rows at most."""
    used = []
    for form in (plain_attention, fused_attention):
        monkeypatch.setattr(blocks, form.__name__, lambda *given, form=form: used.append(form) or form(*given))
    attention = Attention(8, 2)
    attention(torch.randn(1, rows, 8, generator=generator(1)), None)
    assert used == [fused_attention if rows > SHORT else plain_attention]
    for settings in (VLMoSettings.small(), VLMoSettings.tiny()):
        assert settings.grid**2 + 1 + settings.max_text_length <= SHORT


@torch.no_grad()
def test_single_modality_paths_equal_the_written_out_form(case):
    settings, network, (pixels, ids, real) = case
    state = network.state_dict()
    text, image = naive_text(ids, state), naive_image(pixels, state, settings.patch)
    everything = torch.ones(image.shape[:2], dtype=torch.bool)
    for index in range(settings.depth):
        text = naive_block(text, state, index, settings, ["text"] * text.shape[1], real)
        image = naive_block(image, state, index, settings, ["imag"] * image.shape[1], everything)
    seen = own_path(network, network.embed_text(ids), "text", real)
    torch.testing.assert_close(seen, naive_final(text, state, settings), **CLOSE)
    seen = own_path(network, network.embed_image(pixels), "imag")
    torch.testing.assert_close(seen, naive_final(image, state, settings), **CLOSE)


@torch.no_grad()
def test_fused_path_equals_the_written_out_form(case):
    settings, network, (pixels, ids, real) = case
    state = network.state_dict()
    x = torch.cat([naive_text(ids, state), naive_image(pixels, state, settings.patch)], dim=1)
    images = x.shape[1] - ids.shape[1]
    seen = torch.cat([real, torch.ones(len(ids), images, dtype=torch.bool)], dim=1)
    for index in range(settings.depth):
        split = ["text"] * ids.shape[1] + ["imag"] * images
        x = naive_block(x, state, index, settings, split if index < 3 else ["vl"] * x.shape[1], seen)
    expected = naive_final(x, state, settings)
    sequence = network.fused(pixels, ids, real)
    assert sequence.shape == (3, 9 + 17, settings.width)
    torch.testing.assert_close(sequence, expected, **CLOSE)
    pooled = torch.tanh(expected[:, 0] @ state["pooler.dense.weight"].T + state["pooler.dense.bias"])
    torch.testing.assert_close(network.pooler(sequence), pooled, **CLOSE)


@torch.no_grad()
def test_continuation_starts_below_the_first_joint_block_and_is_normed_for_both(case):
    settings, network, (pixels, ids, real) = case
    state = network.state_dict()
    everything = torch.ones(len(pixels), settings.grid**2 + 1, dtype=torch.bool)
    for kind, x, mask, embedded in (
        ("text", naive_text(ids, state), real, network.embed_text(ids)),
        ("imag", naive_image(pixels, state, settings.patch), everything, network.embed_image(pixels)),
    ):
        for index in range(settings.depth):
            x = naive_block(x, state, index, settings, [kind if index < 3 else "vl"] * x.shape[1], mask)
        seen = joint_path(network, embedded, kind, mask)
        torch.testing.assert_close(seen, naive_final(x, state, settings), **CLOSE)
        if settings.norm == "pre":  # the paper group's port leaves the image side without its norm
            assert (seen - x).abs().max() > 0.1


@torch.no_grad()
def test_padding_changes_no_text(case):
    settings, network, _ = case
    ids = torch.randint(5, settings.vocabulary, (2, 5), generator=generator(3))
    padded = torch.zeros(2, 12, dtype=ids.dtype)
    padded[:, :5] = ids
    short = own_path(network, network.embed_text(ids), "text", ids > 0)
    long = own_path(network, network.embed_text(padded), "text", padded > 0)
    torch.testing.assert_close(long[:, :5], short, **CLOSE)


@torch.no_grad()
def test_fused_pass_ignores_padding_and_splits_at_the_length_given(case):
    _, network, (pixels, ids, real) = case
    before = network.fused(pixels, ids, real)
    other = network.fused(pixels, ids.masked_fill(~real, 7), real)
    seen = torch.cat([real, real.new_ones(3, 17)], dim=1)
    torch.testing.assert_close(other[seen], before[seen], **CLOSE)
    assert not torch.allclose(other[~seen], before[~seen])
    longer = torch.cat([ids, torch.zeros(3, 3, dtype=ids.dtype)], dim=1)
    more = network.fused(pixels, longer, torch.cat([real, real.new_zeros(3, 3)], dim=1))
    torch.testing.assert_close(more[:, 12:], before[:, 9:], **CLOSE)
    torch.testing.assert_close(more[:, :9][real], before[:, :9][real], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize(
    ("weight", "moved"),
    [
        ("blocks.1.mlp_text.fc1.weight", {"text", "text joint", "fused"}),
        ("blocks.1.norm2_imag.bias", {"image", "image joint", "fused"}),
        ("blocks.4.mlp_vl.fc2.bias", {"text joint", "image joint", "fused"}),
        ("blocks.4.norm2_vl.weight", {"text joint", "image joint", "fused"}),
        ("blocks.4.mlp_text.fc2.bias", {"text"}),
        ("blocks.0.attn.q_bias", {"text", "image", "text joint", "image joint", "fused"}),
    ],
)
def test_each_weight_moves_its_own_paths_only(weight, moved):
    settings = tiny()
    network = loud(settings)
    pixels, ids, real = inputs(settings)

    def outputs():
        return {
            "text": own_path(network, network.embed_text(ids), "text", real)[:, 0],
            "image": own_path(network, network.embed_image(pixels), "imag")[:, 0],
            "text joint": joint_path(network, network.embed_text(ids), "text", real)[:, 0],
            "image joint": joint_path(network, network.embed_image(pixels), "imag")[:, 0],
            "fused": network.fused(pixels, ids, real)[:, 0],
        }

    before = outputs()
    value = network.get_parameter(f"transformer.{weight}")
    value.add_(torch.randn(value.shape, generator=generator(8), dtype=value.dtype))
    after = outputs()
    assert {name for name in before if not torch.equal(before[name], after[name])} == moved


def test_drop_path_is_off_in_evaluation_and_unbiased_in_training():
    x = torch.randn(2000, 3, 4, generator=generator(4), dtype=torch.float64)
    assert torch.equal(drop_path(x, 0.3, training=False), x)
    assert torch.equal(drop_path(x, 0.0, training=True), x)
    ones = torch.ones(2000, 3, 4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        drawn = drop_path(ones, 0.3, training=True)
    per_row = drawn.flatten(1)
    assert torch.equal(per_row, per_row[:, :1].expand(-1, 12))  # a whole row or nothing
    values = per_row[:, 0].double()
    assert sorted(values.unique().tolist()) == pytest.approx([0, 1 / 0.7])
    assert abs(float(values.mean()) - 1) < 3 * (0.3 / 0.7) ** 0.5 / 2000**0.5


@torch.no_grad()
def test_training_draws_average_to_evaluation():  # one residual branch in place
    settings = tiny(drop_path=0.4, depth=2, first_vl=1)
    block = loud(settings).transformer.blocks[1]
    x = torch.randn(1, 4, settings.width, generator=generator(6), dtype=torch.float64)
    for name in ("fc2.weight", "fc2.bias"):
        block.mlp_text.get_parameter(name).zero_()  # leaves attention as the only branch
    still = block.eval()(x, "text", None)
    assert torch.equal(still, block(x, "text", None))
    block.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12)
        drawn = block(x.expand(2000, -1, -1), "text", None)
    branch = still - x
    spread = branch.abs() * (0.4 / 0.6) ** 0.5 / 2000**0.5
    assert ((drawn.mean(0, keepdim=True) - still).abs() <= 3 * spread + 1e-12).all()
    dropped = (drawn == x).flatten(1).all(dim=1)
    torch.testing.assert_close(drawn[~dropped], (x + branch / 0.6).expand(int((~dropped).sum()), -1, -1))
    assert 0.3 < float(dropped.double().mean()) < 0.5


@pytest.mark.parametrize("training", [False, True])
def test_recomputed_activations_give_the_same_gradient(training):
    settings = tiny(drop_path=0.3, text_dropout=0.3)
    network = loud(settings).train(training)
    pixels, ids, real = inputs(settings)
    found = []
    for recompute in (False, True):
        network.checkpoint_blocks = recompute
        network.zero_grad()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            loss = network.fused(pixels, ids, real).square().mean()
            loss = loss + joint_path(network, network.embed_image(pixels), "imag").square().mean()
            loss.backward()
        found.append({n: v.grad.clone() for n, v in network.named_parameters() if v.grad is not None})
    assert found[0].keys() == found[1].keys() and len(found[0]) > 60
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-9, atol=1e-12)


@torch.no_grad()
def test_bf16_autocast_stays_close_and_keeps_the_scores_in_fp32():
    settings = tiny()
    network = loud(settings).float()
    pixels, ids, real = inputs(settings)
    exact = network.fused(pixels.float(), ids, real)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = network.fused(pixels.float(), ids, real).float()
    alike = torch.nn.functional.cosine_similarity(exact, rough, dim=-1)
    assert 0.999 < float(alike.min()) < 1 - 1e-7

    attention = Attention(8, 1)
    for value in attention.parameters():
        value.zero_()
    eye = torch.eye(8)
    attention.qkv.weight.copy_(torch.cat([eye * 100 * 8**0.5, eye, eye]))
    attention.proj.weight.copy_(eye)
    # Scores 100.25 and 100 are one number in bf16; their softmax is 0.56 and 0.44 in fp32.
    x = torch.zeros(1, 2, 8)
    x[0, :, 0], x[0, 1, 1] = 1.0, 0.05
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = attention(x, None).float()[0, 1, 1] / 0.05
    assert float(mixed) == pytest.approx(torch.softmax(torch.tensor([100.25, 100.0]), 0)[0].item(), abs=0.02)
