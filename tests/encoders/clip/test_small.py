import numpy as np
import pytest
import torch
from torch.nn import functional

from lmmrec_core.encoders.clip.settings import CLIPSettings
from lmmrec_core.encoders.clip.small import ClipSmall, align_heads, pooled_pairs, set_heads
from lmmrec_core.encoders.fine_tuning.cca import Heads
from lmmrec_core.encoders.fine_tuning.holdout import drawn_items
from lmmrec_core.encoders.lite0 import EfficientNetLite0, Lite0Settings
from lmmrec_core.encoders.minilm import MiniLM, MiniLMSettings
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.roles import TrainableEncoder
from tests.encoders.clip.small_clips import TEXTS, content
from tests.encoders.toys import draw


@pytest.fixture(scope="module")
def encoder():
    return ClipSmall()


def test_built_without_network(no_network):
    encoder = ClipSmall()
    assert isinstance(encoder, TrainableEncoder)
    count = {name: value.numel() for name, value in encoder.module.named_parameters()}
    assert sum(count.values()) == 26_362_625  # with the bias of the picture map
    assert sum(number for name, number in count.items() if name.startswith("text.")) == 22_663_680
    assert count["visual.head.proj.bias"] == 256
    pixels, tokens = content(encoder)
    assert pixels.shape == (4, 3, 128, 128) and set(tokens) == {"input_ids", "attention_mask"}


def test_towers_equal_the_single_encoders(encoder):
    lite0, minilm = EfficientNetLite0(Lite0Settings(image_size=128)), MiniLM(MiniLMSettings(max_length=64))
    pixels, tokens = content(encoder)
    assert torch.equal(pixels, lite0.preprocess_images([draw(number) for number in range(4)]))
    pre = ClipSmall(CLIPSettings(vector="pre"))
    assert (pre.dim("visual"), pre.dim("textual")) == (1280, 384)
    with torch.no_grad():
        assert torch.allclose(pre.image_vectors(pixels), lite0.image_vectors(pixels), atol=1e-5)
        pooled = pre.text_vectors(tokens)
        assert torch.allclose(
            functional.normalize(pooled), minilm.text_vectors(minilm.preprocess_texts(TEXTS)), atol=1e-6
        )
        # and the joint vectors are linear functions of them
        module = encoder.module
        joint = encoder.image_vectors(pixels)
        assert torch.allclose(joint, module.visual.head.proj(pre.image_vectors(pixels)), atol=1e-5)
        assert torch.allclose(encoder.text_vectors(tokens), module.encode_text(tokens["input_ids"]), atol=1e-6)
        assert torch.allclose(encoder.text_vectors(tokens), pooled @ module.text.proj.weight.T, atol=1e-5)


def test_long_texts_are_cut_at_64_word_pieces(encoder):
    ids = encoder.preprocess_texts(["long " * 100, "a"])["input_ids"]
    assert ids.shape == (2, 64) and ids[0, -1] == 102 and ids[1, :3].tolist() == [101, 1037, 102]
    with pytest.raises(ConfigError, match="more than the model's 512"):
        ClipSmall(CLIPSettings(max_length=513))


def test_batch_norm_never_trains(encoder):
    norms = [part for part in encoder.module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert len(norms) == 49
    pixels, _ = content(encoder)
    before = {name: value.clone() for name, value in encoder.module.state_dict().items()}
    encoder.module.train()
    try:
        assert encoder.module.training and encoder.module.visual.trunk.training
        assert not any(norm.training for norm in norms)
        with torch.no_grad():
            together = encoder.image_vectors(pixels)
            alone = torch.cat([encoder.image_vectors(pixels[row : row + 1]) for row in range(4)])
        assert torch.allclose(together, alone, atol=1e-4)  # in training mode each batch would have its own statistics
    finally:
        encoder.module.eval()
    assert all(torch.equal(value, before[name]) for name, value in encoder.module.state_dict().items())


def test_a_copy_keeps_batch_norm_still(encoder):
    from copy import deepcopy

    copy = deepcopy(encoder.module).train()
    assert not any(part.training for part in copy.modules() if isinstance(part, torch.nn.BatchNorm2d))
    assert not any(part.training for part in encoder.module.modules())  # the original is not touched


def test_parts(encoder):
    assert encoder.part("heads") == {
        "visual.head.proj.weight",
        "visual.head.proj.bias",
        "text.proj.weight",
        "logit_scale",
    }
    top = encoder.part("top-1")
    assert {"visual.trunk.conv_head.weight", "visual.trunk.bn2.weight", "visual.trunk.blocks.6.0.conv_pw.weight"} <= top
    assert not any(name.startswith(("visual.trunk.blocks.5", "text.transformer.embeddings")) for name in top)
    assert "text.transformer.encoder.layer.5.output.dense.weight" in top
    with pytest.raises(ConfigError, match="at most top-6"):
        encoder.part("top-7")


def test_gradient_reaches_every_weight(encoder):
    [(image, text, scale)] = encoder.contrast(*content(encoder, TEXTS[:2]))
    (functional.normalize(image) @ functional.normalize(text).T * scale)[0].softmax(0)[0].backward()
    still = [name for name, value in encoder.module.named_parameters() if value.grad is None]
    assert still == []
    assert encoder.module.visual.trunk.conv_stem.weight.grad.abs().sum() > 0
    encoder.module.zero_grad()


def test_spec_has_contents_and_no_folder(encoder):
    spec = encoder.spec()
    assert spec["weights"]["visual_sha256"].startswith("579344248a93")
    assert spec["weights"]["textual_sha256"].startswith("53aa51172d14")
    assert spec["image"]["fit"] == "squash" and spec["image"]["mean"] == [0.5, 0.5, 0.5]
    assert str(encoder.folder) not in str(spec)
    assert ClipSmall(CLIPSettings(seed=1)).spec() != spec
    with pytest.raises(ConfigError, match="no published weights"):
        ClipSmall(CLIPSettings(pretrained="openai"))


def test_heads_set_from_matrices_and_saved(tmp_path):
    encoder = ClipSmall()
    random = np.random.default_rng(3)
    heads = Heads(random.normal(size=(64, 1280)), random.normal(size=64), random.normal(size=(64, 384)), 37.5)
    set_heads(encoder, heads, {"method": "test"})
    pixels, tokens = content(encoder)
    pre = ClipSmall(CLIPSettings(vector="pre"))
    with torch.no_grad():
        [(image, text, scale)] = encoder.contrast(pixels, tokens)
        expected = heads.similarities(
            pre.image_vectors(pixels).double().numpy(), pre.text_vectors(tokens).double().numpy()
        )
    assert scale.item() == pytest.approx(37.5, rel=1e-6)
    assert (image[:, 64:] == 0).all() and (text[:, 64:] == 0).all()
    np.testing.assert_allclose(functional.normalize(image) @ functional.normalize(text).T, expected, atol=1e-5)
    encoder.save(tmp_path / "small.safetensors")
    again = ClipSmall.load(tmp_path / "small.safetensors")
    assert again.spec() == encoder.spec() and again.note == {"method": "test"}
    assert not again.module.training and not any(
        p.training for p in again.module.train().visual.trunk.modules() if isinstance(p, torch.nn.BatchNorm2d)
    )
    with pytest.raises(FeatureError, match="does not fit 'clip-small'"):
        set_heads(encoder, Heads(np.zeros((300, 1280)), np.zeros(300), np.zeros((300, 384))), {})


def test_aligning_on_pairs_brings_partners_together(tmp_path, encoder):
    """Pictures of one colour, texts that name it: after alignment a held-out picture finds its kind of text."""
    from PIL import Image

    colours = {"red": (220, 30, 30), "green": (30, 170, 40), "blue": (30, 60, 220), "white": (245, 245, 245),
               "black": (12, 12, 12), "yellow": (240, 220, 40)}  # fmt: skip
    random = np.random.default_rng(0)
    ids, images, texts, kinds = [], [], [], []
    for number in range(240):
        kind = list(colours)[number % 6]
        colour = tuple(int(value) for value in np.clip(np.array(colours[kind]) + random.integers(-12, 13, 3), 0, 255))
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (32, 32), colour).save(path)
        ids.append(f"item {number}")
        images.append(path)
        texts.append(f"a picture that is {kind} all over, number {number}")
        kinds.append(kind)
    small = ClipSmall(CLIPSettings(image_size=32, max_length=16))
    visual, textual = pooled_pairs(small, ids[:2], images[:2], texts[:2], progress=False)
    assert visual.shape == (2, 1280) and textual.shape == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(textual, axis=1), 1, atol=1e-6)
    heads = align_heads(small, ids, images, texts, batch_size=50, progress=False)
    assert small.note["held_out"] == int(drawn_items(ids, 0.1).sum()) and small.note["pairs"] == 240
    assert small.module.logit_scale.exp().item() == pytest.approx(heads.scale, rel=1e-5)
    out = np.flatnonzero(drawn_items(ids, 0.1))
    visual, textual = pooled_pairs(small, [ids[i] for i in out], [images[i] for i in out], [texts[i] for i in out],
                                   progress=False)  # fmt: skip
    nearest = heads.similarities(visual, textual).argmax(axis=1)
    hits = np.mean([kinds[out[row]] == kinds[out[column]] for row, column in enumerate(nearest)])
    assert hits > 0.9  # chance is about one in six
