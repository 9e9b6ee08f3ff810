import os

import open_clip
import pytest
import torch
from PIL import Image
from torch.nn import functional

from lmmrec_core.encoders.clip.encoder import CLIP
from lmmrec_core.encoders.clip.official import ClipB16
from lmmrec_core.encoders.clip.settings import CLIPSettings
from lmmrec_core.encoders.clip.tiny import TINY, ClipTiny
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.roles import Encoder, TrainableEncoder
from tests.encoders.clip.small_clips import QUICK, TEXTS, content, small_official, tiny
from tests.encoders.toys import draw


@pytest.fixture(scope="module")
def encoder():
    return small_official()


def vectors(encoder, pixels, tokens):
    with torch.no_grad():
        return encoder.image_vectors(pixels), encoder.text_vectors(tokens)


def test_role(encoder):
    for member in (encoder, tiny()):
        assert isinstance(member, Encoder) and isinstance(member, TrainableEncoder)
        assert not any(part.training for part in member.module.modules())


def test_joint_vectors_are_open_clips_own_and_not_normalised(encoder):
    pixels, tokens = content(encoder)
    image, text = vectors(encoder, pixels, tokens)
    whole = open_clip.SimpleTokenizer()(list(TEXTS))
    with torch.no_grad():
        assert torch.equal(image, encoder.module.encode_image(pixels))
        assert torch.allclose(text, encoder.module.encode_text(whole), atol=1e-6)  # trimmed against full length
    assert tokens["input_ids"].shape[1] < whole.shape[1] == 77
    assert image.shape == (4, encoder.dim("visual")) == (4, 24) and text.shape == (4, encoder.dim("textual"))
    assert not torch.allclose(image.norm(dim=1), torch.ones(4), atol=0.01)


@pytest.mark.parametrize("custom", [False, True])
def test_joint_is_pre_times_projection(custom):
    config = {**QUICK, "custom_text": custom}  # both layouts of open_clip: text in the model, or a tower of its own
    joint, pre = CLIP(CLIPSettings(config=config, seed=1)), CLIP(CLIPSettings(config=config, seed=1, vector="pre"))
    pixels, tokens = content(joint)
    image, text = vectors(joint, pixels, tokens)
    before_image, before_text = vectors(pre, pixels, tokens)
    tower = joint.module.text if custom else joint.module
    assert (pre.dim("visual"), pre.dim("textual")) == (48, 32) == (before_image.shape[1], before_text.shape[1])
    assert torch.allclose(before_image @ joint.module.visual.proj, image, atol=1e-5)
    assert torch.allclose(before_text @ tower.text_projection, text, atol=1e-5)
    assert torch.equal(pre.contrast(pixels, tokens)[0][0], joint.image_vectors(pixels))  # joint whatever the vector


def test_tokens_mean_is_the_mean_of_what_the_towers_give():
    mean = small_official(vector="tokens_mean")
    pixels, tokens = content(mean)
    image, text = vectors(mean, pixels, tokens)
    mean.module.visual.output_tokens = True
    with torch.no_grad():
        _, patches = mean.module.visual(pixels)
        assert torch.allclose(image, patches.mean(dim=1), atol=1e-6)
        one = {"input_ids": tokens["input_ids"][1:2, :3]}  # start, one word, end
        assert one["input_ids"][0, 2] == 49407
        states = mean.module.transformer(
            mean.module.token_embedding(one["input_ids"]) + mean.module.positional_embedding[:3],
            attn_mask=mean.module.attn_mask[:3, :3],
        )
        assert torch.allclose(text[1], mean.module.ln_final(states)[0, 1:].mean(dim=0), atol=1e-6)


def test_a_long_text_is_cut_with_the_end_token_last(encoder):
    ids = encoder.preprocess_texts(["word " * 200, "a"])["input_ids"]
    assert ids.shape == (2, 77) and ids.dtype == torch.int64
    assert ids[0, 0] == 49406 and ids[0, 76] == 49407 and (ids[0] == 0).sum() == 0
    assert ids[1].tolist()[:3] == [49406, 320, 49407] and (ids[1, 3:] == 0).all()
    short = small_official(max_length=8)
    assert short.preprocess_texts(["word " * 200])["input_ids"].shape == (1, 8)
    assert short.preprocess_texts(["word " * 200])["input_ids"][0, -1] == 49407
    assert short.spec()["text"]["max_length"] == 8
    with pytest.raises(ConfigError, match="more than the model's 77"):
        small_official(max_length=78)


def test_the_release_cuts_characters_first(encoder):
    release = small_official(cut="characters")
    text = "an uncommonly long description " * 4
    cut, whole = (e.preprocess_texts([text])["input_ids"] for e in (release, encoder))
    assert torch.equal(cut, encoder.preprocess_texts([text[:77]])["input_ids"])
    assert cut.shape[1] < whole.shape[1]
    assert release.spec()["text"]["cut"].startswith("77 characters")


@pytest.mark.parametrize("size", [(60, 90), (200, 50), (224, 224), (33, 500)])
def test_crop_equals_open_clips_transform_bit_by_bit(encoder, size):
    picture = draw(3, size)
    transform = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**open_clip.get_model_preprocess_cfg(encoder.module)), is_train=False
    )
    assert torch.allclose(encoder.preprocess_images([picture])[0], transform(picture), atol=1e-6)


def test_fit_and_norm():
    tall = Image.new("RGB", (100, 300))
    tall.paste("white", (0, 200, 100, 300))  # the lowest third
    crop, squash, pad = (small_official(fit=fit, norm="half") for fit in ("crop", "squash", "pad"))
    assert crop.preprocess_images([tall]).mean() < -0.99  # the middle is black
    assert abs(squash.preprocess_images([tall]).mean().item() + 1 / 3) < 0.02
    padded = pad.preprocess_images([tall])[0]
    assert padded[:, :, 0].min() == padded[:, :, -1].min() == 1.0  # white at the sides
    assert padded[:, 0, 16].max() == -1.0
    mean = torch.tensor((0.48145466, 0.4578275, 0.40821073))
    std = torch.tensor((0.26862954, 0.26130258, 0.27577711))
    black = small_official().preprocess_images([Image.new("RGB", (50, 50))])
    assert torch.allclose(black[0, :, 0, 0], -mean / std, atol=1e-6)
    assert pad.spec()["image"]["padding"] == "white" and "padding" not in crop.spec()["image"]


def test_every_setting_changes_the_spec(encoder):
    base = encoder.spec()
    other = [
        {"seed": 2}, {"vector": "pre"}, {"image_size": 64}, {"fit": "pad"}, {"norm": "half"}, {"max_length": 30},
        {"cut": "characters"}, {"config": {**QUICK, "quick_gelu": False}},
    ]  # fmt: skip
    specs = [base, *(small_official(**settings).spec() for settings in other)]
    assert len({str(spec) for spec in specs}) == len(specs)
    assert small_official().spec() == base


def test_gradient_reaches_every_weight(encoder):
    pixels, tokens = content(encoder)
    [(image, text, scale)] = encoder.contrast(pixels, tokens)
    logits = scale * functional.normalize(image) @ functional.normalize(text).T
    functional.cross_entropy(logits, torch.arange(4)).backward()
    still = [name for name, value in encoder.module.named_parameters() if value.grad is None or not value.grad.any()]
    assert still == []
    assert scale.item() == pytest.approx(1 / 0.07, rel=1e-5)
    assert torch.equal(encoder.image_vectors(pixels), image)
    encoder.module.zero_grad()


def test_batch_size_changes_nothing_much(encoder):
    pixels, tokens = content(encoder)
    image, text = vectors(encoder, pixels, tokens)
    for row in range(4):
        alone = encoder.preprocess_texts([TEXTS[row]])
        one_image, one_text = vectors(encoder, pixels[row : row + 1], alone)
        assert torch.allclose(one_image[0], image[row], rtol=1e-5, atol=1e-5)
        assert torch.allclose(one_text[0], text[row], rtol=1e-5, atol=1e-5)


def test_saved_and_loaded_it_is_the_same_encoder(tmp_path):
    first = tiny(vector="pre", fit="pad", max_length=12, vocabulary=("a", "train", "bear"), seed=4)
    first.stage, first.note = "ft", {"epochs": 3, "objective": "itc"}
    first.save(tmp_path / "tuned.safetensors")
    again = ClipTiny.load(tmp_path / "tuned.safetensors")
    pixels, tokens = content(first)
    for one, other in zip(vectors(first, pixels, tokens), vectors(again, *content(again)), strict=True):
        assert torch.equal(one, other)
    assert again.spec() == first.spec() and again.stage == "ft"
    assert again.spec()["weights"]["training"] == {"epochs": 3, "objective": "itc"}
    other = ClipTiny(CLIPSettings(weights=tmp_path / "tuned.safetensors", vector="joint"))
    assert other.settings.vector == "joint" and other.settings.fit == "pad"
    assert str(tmp_path) not in str(other.spec())
    with pytest.raises(ConfigError, match="saved with max_length = 12, settings say 20"):
        ClipTiny(CLIPSettings(weights=tmp_path / "tuned.safetensors", max_length=20))
    with pytest.raises(FeatureError, match="weights of clip-tiny version 1, expected clip-b16"):
        ClipB16.load(tmp_path / "tuned.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["tuned.safetensors"]


def test_what_load_refuses(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(FeatureError, match="not weights that encoder 'clip-tiny' saved"):
        ClipTiny.load(tmp_path / "plain.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(FeatureError, match=r"broken\.safetensors: not a file of tensors"):
        ClipTiny.load(tmp_path / "broken.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "half.safetensors", metadata={"lmmrec": '{"encoder": "clip-tiny"}'})
    with pytest.raises(FeatureError, match="note is incomplete"):
        ClipTiny.load(tmp_path / "half.safetensors")
    with pytest.raises(FeatureError, match="no such weights"):
        ClipTiny.load(tmp_path / "nowhere.safetensors")


def test_tiny_models_and_their_sizes():
    sizes = {}
    for name in TINY:
        member = tiny(model=name)
        sizes[name] = sum(value.numel() for value in member.module.parameters())
        pixels, tokens = content(member)
        image, text = vectors(member, pixels, tokens)
        assert image.shape == text.shape == (4, member.dim("visual"))
    assert sizes["clip-tiny-64"] == 13_151_233
    assert sizes["clip-tiny-96"] == 15_060_481
    assert sizes["clip-tiny-32"] < sizes["clip-tiny-controls"] < 500_000
    with pytest.raises(ConfigError, match="unknown model 'clip-tiny-46'"):
        tiny(model="clip-tiny-46")


def test_words_by_vocabulary_and_by_hash():
    listed = tiny(vocabulary=("bear", "red", "train"))
    ids = listed.preprocess_texts(["Red train, unheard-of", ""])["input_ids"]
    assert ids.tolist() == [[510, 3, 4, 1, 511], [510, 511, 0, 0, 0]]
    hashed = tiny()
    first, second = hashed.preprocess_texts(["red train red", "train 7"])["input_ids"].tolist()
    assert first[1] == first[3] != first[2] == second[1]
    assert all(2 <= number < 510 for number in (first[1], first[2], second[2]))
    assert hashed.preprocess_texts(["a " * 100])["input_ids"].shape == (1, 24)
    assert listed.spec()["text"] != hashed.spec()["text"]
    with pytest.raises(ConfigError, match="give vocab_size 604 or more"):
        tiny(vocabulary=tuple(f"word{number}" for number in range(600)))
    with pytest.raises(ConfigError, match="reads byte pairs"):
        tiny(model="clip-tiny-64", vocabulary=("bear",))


def test_a_tiny_clip_learns_pairs():
    member = tiny()
    pixels, tokens = content(member)
    optimiser = torch.optim.AdamW(member.module.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        [(image, text, scale)] = member.contrast(pixels, tokens)
        logits = scale * functional.normalize(image) @ functional.normalize(text).T
        loss = functional.cross_entropy(logits, torch.arange(4)) + functional.cross_entropy(logits.T, torch.arange(4))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 2 and losses[-1] < 0.3


def test_vectors_that_a_tower_lacks_are_refused_at_once():
    resnet = {**QUICK, "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None}}
    CLIP(CLIPSettings(config=resnet, seed=1))
    with pytest.raises(ConfigError, match="use vector: joint"):
        CLIP(CLIPSettings(config=resnet, seed=1, vector="pre"))
    with pytest.raises(ConfigError, match="unknown modality 'audio'"):
        small_official().dim("audio")


WEIGHTS = os.environ.get("LMMREC_CLIP_WEIGHTS")


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS, reason="needs CLIP ViT-B/16 weights: set LMMREC_CLIP_WEIGHTS to the safetensors file")
def test_published_weights_know_red_from_blue():
    encoder = ClipB16(CLIPSettings(weights=WEIGHTS))
    pixels = encoder.preprocess_images([Image.new("RGB", (300, 300), colour) for colour in ("red", "blue")])
    tokens = encoder.preprocess_texts(["a plain red picture", "a plain blue picture"])
    with torch.no_grad():
        [(image, text, scale)] = encoder.contrast(pixels, tokens)
    logits = scale * functional.normalize(image) @ functional.normalize(text).T
    assert scale.item() == pytest.approx(100, rel=1e-3)
    assert logits[0, 0] > logits[0, 1] and logits[1, 1] > logits[1, 0]
    assert logits[0, 0] > logits[1, 0] and logits[1, 1] > logits[0, 1]
