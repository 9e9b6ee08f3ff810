"""Parts to train: names, counts, and that what comes below a part is left alone."""

import pytest
import torch

from lmmrec_core.encoders.clip.build import architecture, build_module
from lmmrec_core.encoders.clip.encoder import CLIP
from lmmrec_core.encoders.clip.settings import CLIPSettings
from lmmrec_core.encoders.clip.towers import clip_part_names
from lmmrec_core.errors import ConfigError
from tests.encoders.clip.small_clips import QUICK, content, small_official

SCALES = ("logit_scale", "logit_bias")


@pytest.fixture(scope="module")
def vit_b_16():
    return build_module(architecture("ViT-B-16-quickgelu"), device="meta")


def size(module, names, start=""):
    return sum(value.numel() for name, value in module.named_parameters() if name in names and name.startswith(start))


def test_counts_of_vit_b_16_exactly(vit_b_16):
    heads, top, everything = (clip_part_names(vit_b_16, part) for part in ("heads", "top-2", "all"))
    assert size(vit_b_16, heads.difference(SCALES)) == 655_360
    assert size(vit_b_16, top, "visual.") == 14_570_496
    assert size(vit_b_16, top.difference(SCALES)) == 21_138_432
    assert size(vit_b_16, everything) == 149_620_737
    assert heads < top < everything


def test_all_blocks_leave_only_embeddings(vit_b_16):
    below = clip_part_names(vit_b_16, "all") - clip_part_names(vit_b_16, "top-12")
    assert below == {
        "positional_embedding", "token_embedding.weight", "visual.class_embedding", "visual.positional_embedding",
        "visual.conv1.weight", "visual.ln_pre.weight", "visual.ln_pre.bias",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("top-13", r"'visual.transformer.resblocks.' has 12 blocks; give at most top-12"),
        ("top-0", "unknown part 'top-0'"),
        ("head", "unknown part 'head'.*known: all, heads"),
        ("lora", "call add_lora first"),
    ],
)
def test_parts_that_are_not_there(vit_b_16, part, message):
    with pytest.raises(ConfigError, match=message):
        clip_part_names(vit_b_16, part)


@pytest.mark.parametrize("custom", [False, True])
def test_what_lies_below_a_part_gets_no_gradient_from_it_alone(custom):
    """Freezing all but a part must cut the graph at the part: nothing of it lies under a frozen block."""
    encoder = CLIP(CLIPSettings(config={**QUICK, "custom_text": custom}, seed=1))
    names = encoder.part("top-1")
    for name, value in encoder.module.named_parameters():
        value.requires_grad_(name in names)
    inputs = []

    def keep(_, given):
        inputs.append(given[0].requires_grad)

    tower = encoder.module.text if custom else encoder.module
    for blocks in (encoder.module.visual.transformer.resblocks, tower.transformer.resblocks):
        blocks[-1].register_forward_pre_hook(keep)
    [(image, text, scale)] = encoder.contrast(*content(encoder))
    (image.sum() * scale + text.sum()).backward()
    assert inputs == [False, False]
    assert {name for name, value in encoder.module.named_parameters() if value.grad is not None} == names


def test_top_blocks_continue_from_the_boundary():
    """The states that enter the K last blocks give the whole vector again (what a boundary cache relies on)."""
    encoder = small_official()
    pixels, _ = content(encoder)
    visual, kept = encoder.module.visual, []
    visual.transformer.resblocks[1].register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    with torch.no_grad():
        whole = encoder.image_vectors(pixels)
        states = visual.transformer.resblocks[2](visual.transformer.resblocks[1](kept[0]))
        assert torch.equal(visual.ln_post(states)[:, 0] @ visual.proj, whole)
