"""Weights under transformers' names: the library's own model gives the same vectors, and other files are refused."""

from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

from lmmrec_core.encoders.clip.encoder import CLIP
from lmmrec_core.encoders.clip.settings import CLIPSettings
from lmmrec_core.errors import FeatureError
from tests.encoders.clip.small_clips import QUICK, TEXTS, content, small_official


@pytest.fixture(scope="module")
def theirs():
    """transformers' CLIP of the shape of QUICK, with random weights."""
    vision, text = QUICK["vision_cfg"], QUICK["text_cfg"]
    torch.manual_seed(3)
    config = CLIPConfig(
        vision_config={
            "hidden_size": vision["width"], "intermediate_size": 4 * vision["width"], "num_hidden_layers": 3,
            "num_attention_heads": vision["width"] // vision["head_width"], "image_size": vision["image_size"],
            "patch_size": vision["patch_size"], "hidden_act": "quick_gelu",
        },
        text_config={
            "hidden_size": text["width"], "intermediate_size": 4 * text["width"], "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"], "vocab_size": text["vocab_size"], "hidden_act": "quick_gelu",
            "max_position_embeddings": text["context_length"], "eos_token_id": 49407,
        },
        projection_dim=QUICK["embed_dim"],
    )  # fmt: skip
    return CLIPModel(config).eval()


def file_of(state, folder):
    path = folder / "model.safetensors"
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path


def loaded(path):
    return CLIP(CLIPSettings.build({"config": QUICK, "weights": str(path)}))


def test_both_libraries_give_the_same_vectors(theirs, tmp_path):
    ours = loaded(file_of(theirs.state_dict(), tmp_path))
    pixels, tokens = content(ours)
    with torch.no_grad():
        wanted = theirs.vision_model(pixel_values=pixels).pooler_output @ theirs.visual_projection.weight.T
        pooled = theirs.text_model(input_ids=next(iter(tokens.values())).long()).pooler_output
        text = pooled @ theirs.text_projection.weight.T
        found, found_text = ours.image_vectors(pixels), ours.text_vectors(tokens)
    unit = partial(torch.nn.functional.normalize, dim=-1)
    assert torch.allclose(unit(found), unit(wanted), atol=1e-5)
    assert torch.allclose(unit(found_text), unit(text), atol=1e-5)
    assert len(TEXTS) == len(found) and not torch.allclose(unit(found[0]), unit(found[1]), atol=1e-3)


def test_position_numbers_of_older_versions_are_passed_over(theirs, tmp_path):
    old = {**theirs.state_dict(), "vision_model.embeddings.position_ids": torch.arange(17)[None]}
    ours, same = loaded(file_of(old, tmp_path)), loaded(file_of(theirs.state_dict(), tmp_path))
    for key, value in ours.module.state_dict().items():
        assert torch.equal(value, same.module.state_dict()[key])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("text_projection.weight"), "lacks 'text_projection.weight'"),
        (lambda s: s.pop("vision_model.encoder.layers.1.self_attn.k_proj.bias"), "lacks k_proj"),
        (lambda s: s.update({"vision_model.head.probe": torch.zeros(1)}), "has 'vision_model.head.probe'"),
        (lambda s: s.update({"text_model.encoder.layers.0.self_attn.gate": torch.zeros(1)}), "self_attn.gate"),
    ],
)
def test_the_file_of_another_model_is_refused_and_the_right_one_named(theirs, tmp_path, change, message):
    state = dict(theirs.state_dict())
    change(state)
    with pytest.raises(FeatureError, match=message) as told:
        loaded(file_of(state, tmp_path))
    assert "open_clip_model.safetensors of timm/vit_base_patch16_clip_224.openai" in str(told.value)


def test_a_smaller_model_s_file_is_refused_by_the_first_key_that_does_not_fit(theirs, tmp_path):
    state = {key: value for key, value in theirs.state_dict().items() if ".layers.2." not in key}
    with pytest.raises(FeatureError, match=r"no weights for 'visual.transformer.resblocks.2"):
        loaded(file_of(state, tmp_path))


def test_our_own_files_are_read_as_before(tmp_path):
    ours = small_official()
    path = file_of(ours.module.state_dict(), tmp_path)
    for key, value in loaded(path).module.state_dict().items():
        assert torch.equal(value, ours.module.state_dict()[key])
