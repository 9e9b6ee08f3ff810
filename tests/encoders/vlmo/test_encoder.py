"""VLMo in its roles: vectors, contrast, fused pass, parts, files."""

import json
import os

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional

from lmmrec_core.encoders.extract import extract
from lmmrec_core.encoders.fine_tuning.roles import FusingEncoder
from lmmrec_core.encoders.vlmo import encoder as vlmo_encoder
from lmmrec_core.encoders.vlmo.initial import empty_network
from lmmrec_core.encoders.vlmo.parts import name_groups
from lmmrec_core.encoders.vlmo.presets import BasePlusSettings, TinySettings, VLMoBasePlus, VLMoSmall, VLMoTiny
from lmmrec_core.encoders.vlmo.settings import VLMoSettings
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.roles import Encoder, TrainableEncoder
from tests.encoders.toys import catalogue_of, draw
from tests.encoders.vlmo.small_networks import generator, with_vector

TEXTS = ["A small blue owl, hand made.", "Tall glass", "An owl of glass and an owl of wood stand together"]
EVERY = torch.ones(3, 13, dtype=torch.bool)  # positions of these texts
VECTORS = ("cls", "itc", "itc_vl", "cls_raw", "mean")


def make(**settings):
    encoder = VLMoTiny(TinySettings(seed=3, **settings))
    stream = generator(9)
    with torch.no_grad():  # away from the initial values, where norms do nothing
        for value in encoder.module.parameters():
            value += 0.1 * torch.randn(value.shape, generator=stream)
    return encoder


@pytest.fixture(scope="module")
def encoder():
    return make()


@pytest.fixture(scope="module")
def pairs(encoder):
    return encoder.preprocess_images([draw(seed) for seed in range(3)]), encoder.preprocess_texts(TEXTS)


def test_it_plays_the_three_roles(encoder, pairs):
    for role in (Encoder, TrainableEncoder, FusingEncoder):
        assert isinstance(encoder, role)
    pixels, tokens = pairs
    assert pixels.shape == (3, 3, 32, 32) and tokens["input_ids"].shape == (3, 13)
    assert (encoder.dim("visual"), encoder.dim("textual"), encoder.stage) == (64, 64, "pt")
    assert not encoder.module.training
    json.dumps(encoder.spec())
    with pytest.raises(FeatureError, match="no fused vectors"):
        encoder.dim("fused")


@torch.no_grad()
@pytest.mark.parametrize("vector", VECTORS)
def test_vectors_are_those_of_the_table(vector, encoder, pairs):
    pixels, tokens = pairs
    net, ids, real = encoder.module, tokens["input_ids"], tokens["attention_mask"].bool()
    for kind, rows, mask, seen, words in (
        ("imag", net.embed_image(pixels), None, with_vector(encoder, vector).image_vectors(pixels), None),
        ("text", net.embed_text(ids), real, with_vector(encoder, vector).text_vectors(tokens), ids > 3),
    ):
        boundary = net.lower(rows, kind, mask)
        raw = net.upper(boundary, kind, mask)
        own, joint = net.final_norm(raw), net.final_norm(net.upper(boundary, "vl", mask))
        name = "image" if kind == "imag" else "text"
        plain, both = (own[:, 0] @ net.get_parameter(f"itc_{name}_proj.fc.weight").T,
                       joint[:, 0] @ net.get_parameter(f"itc_vl_{name}_proj.fc.weight").T)  # fmt: skip
        if words is None:
            mean = own[:, 1:].mean(1)
        else:
            mean = torch.stack([own[item][words[item]].mean(0) for item in range(3)])
        expected = {
            "cls": own[:, 0], "cls_raw": raw[:, 0], "mean": mean,
            "itc": plain / plain.norm(dim=1, keepdim=True), "itc_vl": both / both.norm(dim=1, keepdim=True),
        }[vector]  # fmt: skip
        torch.testing.assert_close(seen, expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_contrast_gives_both_terms_unnormalised_with_their_scales(encoder, pairs):
    plain, joint = encoder.contrast(*pairs)
    net = encoder.module
    assert float(plain[2]) == pytest.approx(net.logit_scale.exp().item())
    assert float(joint[2]) == pytest.approx(net.logit_vl_scale.exp().item())
    assert float(plain[2]) != float(joint[2])
    for (image, text, _), vector in ((plain, "itc"), (joint, "itc_vl")):
        other = with_vector(encoder, vector)
        for rows, normed in ((image, other.image_vectors(pairs[0])), (text, other.text_vectors(pairs[1]))):
            assert rows.shape == (3, 64)
            assert (rows.norm(dim=1) - 1).abs().min() > 0.01
            torch.testing.assert_close(torch.nn.functional.normalize(rows, dim=1), normed)


@torch.no_grad()
def test_fused_pass_and_its_heads(encoder, pairs, monkeypatch):
    sequence = encoder.fused(*pairs)
    net = encoder.module
    assert sequence.shape == (3, 13 + 17, 64)
    pooled = torch.tanh(sequence[:, 0] @ net.pooler.dense.weight.T + net.pooler.dense.bias)
    expected = pooled @ net.itm_score.fc.weight.T + net.itm_score.fc.bias
    torch.testing.assert_close(encoder.match_logits(sequence), expected)
    words = encoder.word_logits(sequence, EVERY).unflatten(0, (3, 13))
    assert words.shape == (3, 13, encoder.vocabulary_size)
    some = torch.rand(3, 13, generator=generator(2)) < 0.3
    assert torch.equal(encoder.word_logits(sequence, some), words[some])
    monkeypatch.setattr(vlmo_encoder, "SHORT", 0)  # as on a GPU, and for long sequences
    torch.testing.assert_close(encoder.word_logits(sequence, some), words[some], rtol=1e-5, atol=1e-5)
    head = net.mlm_score
    hidden = sequence[:, :13] @ head.transform.dense.weight.T + head.transform.dense.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    norm = head.transform.LayerNorm
    hidden = (hidden - hidden.mean(-1, keepdim=True)) / hidden.std(-1, correction=0, keepdim=True)
    expected = (hidden * norm.weight + norm.bias) @ head.decoder.weight.T + head.bias
    torch.testing.assert_close(words, expected, rtol=1e-4, atol=1e-4)


def test_gradients_reach_what_each_path_uses(encoder, pairs):
    pixels, tokens = pairs

    def reached(loss):
        encoder.module.zero_grad()
        loss.backward()
        return {name for name, value in encoder.module.named_parameters() if value.grad is not None}

    def naming(names, *parts):
        return any(part in name for name in names for part in parts)

    image = reached(encoder.image_vectors(pixels).square().sum())
    assert "transformer.patch_embed.proj.weight" in image and "transformer.cls_token" in image
    assert not naming(image, "mlp_text", "mlp_vl", "text_embeddings", "_proj.fc")
    text = reached(encoder.text_vectors(tokens).square().sum())
    assert "text_embeddings.word_embeddings.weight" in text and "token_type_embeddings.weight" in text
    assert not naming(text, "mlp_imag", "mlp_vl", "patch_embed", "_proj.fc")
    terms = encoder.contrast(pixels, tokens)
    contrast = reached(sum((scale * (a * b)).sum() for a, b, scale in terms))
    everything = encoder.part("all")
    assert everything - contrast == {name for name in everything if name.startswith(("pooler", "itm", "mlm"))}
    sequence = encoder.fused(pixels, tokens)
    fused = reached(encoder.match_logits(sequence).sum() + encoder.word_logits(sequence, EVERY).square().sum())
    unused = {name for name in everything if name.startswith(("itc", "logit"))}
    last = {name for name in everything if "blocks.3.mlp_text" in name or "blocks.3.mlp_imag" in name}
    last |= {name for name in everything if "blocks.3.norm2_text" in name or "blocks.3.norm2_imag" in name}
    assert everything - fused == unused | last
    encoder.module.zero_grad()


def test_it_learns_which_picture_belongs_to_which_text():
    encoder = VLMoTiny(TinySettings(depth=2, first_vl=1))
    pixels = encoder.preprocess_images([draw(seed) for seed in range(8)])
    tokens = encoder.preprocess_texts([f"{'abcd'[n % 4] * 3} {'ef'[n // 4] * 3}" for n in range(8)])
    optimiser = torch.optim.AdamW(encoder.module.parameters(), lr=1e-3)
    losses, right = [], torch.arange(8)
    for _ in range(30):
        loss = torch.zeros(())
        for image, text, scale in encoder.contrast(pixels, tokens):
            image, text = (torch.nn.functional.normalize(rows, dim=1) for rows in (image, text))
            logits = scale * image @ text.T
            loss = loss + torch.nn.functional.cross_entropy(logits, right) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 < 1.9 < losses[0]


def test_parts_grow_and_groups_partition(encoder):
    names = {name for name, _ in encoder.module.named_parameters()}
    groups = name_groups(encoder.module)
    assert list(groups) == ["embeddings", "block-0", "block-1", "block-2", "block-3", "norm", "heads"]
    assert sum(map(len, groups.values())) == len(names) and frozenset().union(*groups.values()) == names
    assert groups["norm"] == {"transformer.norm.weight", "transformer.norm.bias"}
    assert {"pooler.dense.bias", "logit_scale", "itc_vl_text_proj.fc.weight"} < groups["heads"]
    assert groups["embeddings"] >= {"transformer.pos_embed", "token_type_embeddings.weight"}
    assert encoder.part("all") == names and encoder.part("heads") == groups["heads"]
    assert encoder.part("top-1") == groups["heads"] | groups["norm"] | groups["block-3"]
    assert encoder.part("top-4") == names - groups["embeddings"]
    for part in ("top-0", "top-5", "top-", "tail", "top-01"):
        with pytest.raises(
            ConfigError, match=f"no part '{part}'; known: all, heads, lora, and top-K with K from 1 to 4"
        ):
            encoder.part(part)


def test_saved_weights_give_the_same_encoder(encoder, pairs, tmp_path):
    trained = make(words=("owl", "glass", "blue"), vector="itc", max_text_length=16)
    trained.stage, trained.note = "ft", {"epochs": 3}
    trained.save(tmp_path / "tiny.safetensors")
    again = VLMoTiny.load(tmp_path / "tiny.safetensors")
    assert again.spec() == trained.spec() and again.stage == "ft" and again.note == {"epochs": 3}
    assert not again.module.training and not list(tmp_path.glob("*.part"))
    with torch.no_grad():
        assert torch.equal(again.image_vectors(pairs[0]), trained.image_vectors(pairs[0]))
        tokens = again.preprocess_texts(TEXTS)
        assert torch.equal(again.text_vectors(tokens), trained.text_vectors(trained.preprocess_texts(TEXTS)))


def test_files_of_another_kind_are_refused(encoder, tmp_path):
    path = tmp_path / "tiny.safetensors"
    with pytest.raises(FeatureError, match="no such weights"):
        VLMoTiny.load(path)
    encoder.save(path)
    with pytest.raises(FeatureError, match="weights of vlmo-tiny version 1, expected vlmo-small"):
        VLMoSmall.load(path)
    with safe_open(path, framework="pt") as file:
        note, state = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    del state["logit_scale"]
    save_file(state, path, metadata=note)
    with pytest.raises(FeatureError, match="no weights for 'logit_scale'"):
        VLMoTiny.load(path)
    save_file(state, path)
    with pytest.raises(FeatureError, match="not weights that encoder 'vlmo-tiny' saved"):
        VLMoTiny.load(path)
    encoder.save(path)
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(FeatureError, match="not the ones saved"):
        VLMoTiny.load(path)
    path.write_bytes(b"\x00" * 30)
    with pytest.raises(FeatureError, match="not a file of tensors"):
        VLMoTiny.load(path)


def test_spec_follows_weights_vector_stage_and_settings():
    encoder = make()
    seen = [encoder.spec(), with_vector(encoder, "itc").spec(), make(max_text_length=23).spec()]
    assert make().spec() == seen[0] and make(checkpoint_blocks=True).spec() == seen[0]
    with torch.no_grad():
        encoder.module.transformer.blocks[0].attn.v_bias[0] += 1e-3
    seen.append(encoder.spec())
    encoder.stage = "ft"
    seen.append(encoder.spec())
    assert len({json.dumps(spec, sort_keys=True) for spec in seen}) == 5


def test_features_are_extracted_whatever_the_batch(encoder, tmp_path):
    paths = []
    for seed in range(5):
        paths.append(tmp_path / f"{seed}.png")
        draw(seed).save(paths[-1])
    catalogue = catalogue_of([*TEXTS, "glass", "owl of wood"], paths)
    one, all_at_once = (
        extract({"visual": encoder, "textual": encoder}, catalogue, batch_size=size, progress=False) for size in (1, 5)
    )
    for modality in ("visual", "textual"):
        a, b = torch.tensor(one.matrices[modality]), torch.tensor(all_at_once.matrices[modality])
        assert a.shape == (5, 64) and ((a - b).norm() / a.norm()) < 1e-5


def test_inputs_of_another_shape_are_refused(encoder, pairs):
    pixels, tokens = pairs
    with pytest.raises(FeatureError, match=r"expected \[item, 3, 32, 32\]"):
        encoder.image_vectors(pixels[:, :, :16])
    long = {name: value.repeat(1, 3) for name, value in tokens.items()}
    with pytest.raises(FeatureError, match="length up to 24"):
        encoder.fused(pixels, long)


@pytest.fixture
def retrieval_file(tmp_path, monkeypatch):
    """A published file without the heads of pre-training, of a network made small for the test."""
    small = {"width": 16, "depth": 3, "heads": 2, "first_vl": 2, "image_size": 32}
    monkeypatch.setattr(
        VLMoSettings, "base_plus", classmethod(lambda cls, **given: cls.tiny(**{**given, **small, "vocabulary": 30522}))
    )
    network = empty_network(VLMoSettings.base_plus(max_text_length=40))
    stream = generator(1)
    state = {key: torch.randn(value.shape, generator=stream) for key, value in network.state_dict().items()}
    heads = ("itc_vl", "itm_score", "mlm_score", "logit_vl_scale")
    torch.save({"module": {key: value for key, value in state.items() if not key.startswith(heads)}}, tmp_path / "a.pt")
    return tmp_path / "a.pt"


def test_a_head_that_the_file_lacks_is_refused_where_it_is_needed(retrieval_file):
    encoder = VLMoBasePlus(BasePlusSettings(weights=retrieval_file, vector="itc"))
    spec = encoder.spec()["weights"]
    assert spec["wrapper"] == "module" and "itm_score" in spec["absent_heads"] and len(spec["file_sha256"]) == 64
    pixels, tokens = encoder.preprocess_images([draw(1)]), encoder.preprocess_texts(["a glass owl"])
    assert encoder.image_vectors(pixels).norm().item() == pytest.approx(1)
    sequence = encoder.fused(pixels, tokens)
    for refused, purpose in (
        (lambda: encoder.contrast(pixels, tokens), "contrastive loss"),
        (lambda: encoder.match_logits(sequence), "matching loss"),
        (lambda: encoder.word_logits(sequence, EVERY[:1, :4]), "masked-word loss"),
        (lambda: VLMoBasePlus(BasePlusSettings(weights=retrieval_file, vector="itc_vl")), "vector 'itc_vl'"),
    ):
        with pytest.raises(FeatureError, match=purpose):
            refused()


def test_base_plus_needs_its_file():
    with pytest.raises(FeatureError, match=r"vlmo_base_plus_patch16_224\.pt"):
        VLMoBasePlus()
    with pytest.raises(ConfigError, match="sha256"):
        BasePlusSettings.build({"sha256": "short"}, "encoder")


@pytest.mark.slow
def test_base_plus_at_full_size_loads_and_encodes(tmp_path):
    """All 184,980,734 weights through file, loader and every path, once."""
    settings = VLMoSettings.base_plus()
    network = empty_network(settings)
    stream = generator(1)
    with torch.no_grad():
        for value in network.parameters():
            value.normal_(std=0.02, generator=stream)
    save_file(network.state_dict(), tmp_path / "vlmo.safetensors")
    encoder = VLMoBasePlus(BasePlusSettings(weights=tmp_path / "vlmo.safetensors"))
    pixels, tokens = encoder.preprocess_images([draw(1)]), encoder.preprocess_texts(["word " * 60])
    with torch.no_grad():
        assert encoder.image_vectors(pixels).shape == encoder.text_vectors(tokens).shape == (1, 544)
        sequence = encoder.fused(pixels, tokens)
        assert sequence.shape == (1, 40 + 197, 544) and sequence.isfinite().all()
        masked = torch.arange(40)[None] % 7 == 3
        assert encoder.word_logits(sequence, masked).shape == (6, 30522)
    for mine, theirs in zip(encoder.module.parameters(), network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


WEIGHTS = os.environ.get("LMMREC_VLMO_WEIGHTS")


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS, reason="needs VLMo Base Plus weights: set LMMREC_VLMO_WEIGHTS to the published file")
def test_published_weights_know_red_from_blue():
    """Every backbone key is there, and the matching caption wins by contrast and by matching."""
    encoder = VLMoBasePlus(BasePlusSettings(weights=WEIGHTS))
    pixels = encoder.preprocess_images([Image.new("RGB", (300, 300), colour) for colour in ("red", "blue")])
    tokens = encoder.preprocess_texts(["a plain red picture", "a plain blue picture"])
    with torch.no_grad():
        image, text, _ = encoder.contrast(pixels, tokens)[0]
        cosines = functional.normalize(image) @ functional.normalize(text).T
        crossed = {name: value.flip(0) for name, value in tokens.items()}
        right, wrong = (encoder.match_logits(encoder.fused(pixels, t)).softmax(1)[:, 1] for t in (tokens, crossed))
    assert len(encoder.spec()["weights"]["file_sha256"]) == 64
    assert cosines[0, 0] > cosines[0, 1] and cosines[1, 1] > cosines[1, 0]
    assert (right > wrong).all()
