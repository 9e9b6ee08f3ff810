import math

import pytest
import torch

from lmmrec_core.encoders.fine_tuning.schedule import (
    MAX_LOG_SCALE,
    Stepper,
    decays,
    factor,
    learning_rates,
    named,
    parameter_groups,
    trainable,
)
from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings
from lmmrec_core.errors import ConfigError
from tests.encoders.fine_tuning.toys import FusingToy


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_the_rate_rises_then_falls_and_never_rests(steps):
    factors = [factor(step, steps, 0.1) for step in range(steps)]
    assert max(factors) == 1.0 and min(factors) > 0
    rising = round(0.1 * steps)
    assert factors[:rising] == pytest.approx([(step + 1) / rising for step in range(rising)])
    assert factors[rising:] == pytest.approx([(steps - step) / (steps - rising) for step in range(rising, steps)])
    assert factor(steps, steps, 0.1) == 0.0


def test_what_decays_is_stated_by_name_and_shape():
    matrix, vector = torch.zeros(3, 3), torch.zeros(3)
    for name in ("visual.proj", "transformer.blocks.0.attn.qkv.weight", "text_embeddings.word_embeddings.weight"):
        assert decays(name, matrix)
    for name in (
        "transformer.pos_embed", "visual.positional_embedding", "text_embeddings.position_embeddings.weight",
        "transformer.cls_token", "visual.class_embedding", "token_type_embeddings.weight",
        "text_embeddings.token_type_embeddings.weight", "relative_position_bias_table", "logit_vl_scale",
    ):  # fmt: skip
        assert not decays(name, matrix)
    assert not decays("transformer.blocks.0.norm2_vl.weight", vector) and not decays("mlp.fc1.bias", vector)
    assert not decays("anything", torch.tensor(1.0))


def test_groups_partition_the_moving_parameters():
    encoder, settings = FusingToy(), FineTuneSettings(part_learning_rates={"heads": 1e-3, "pixels.*": 1e-4})
    parameters = trainable(encoder, settings)
    groups = parameter_groups(encoder, parameters, settings)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(listed) == len(set(listed)) and set(listed) == {id(p) for p in encoder.module.parameters()}
    for group in groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            assert dict(encoder.module.named_parameters())[name] is parameter
            assert group["weight_decay"] == (0.01 if parameter.ndim > 1 and name != "position" else 0.0)


def test_the_smallest_entry_gives_the_rate():
    encoder = FusingToy()
    settings = FineTuneSettings(
        learning_rate=1e-5, part_learning_rates={"top-1": 1e-4, "heads": 1e-3, "*_head.bias": 1e-2}
    )
    rates = learning_rates(encoder, trainable(encoder, settings), settings)
    assert rates["words.weight"] == 1e-5 and rates["pixels.bias"] == 1e-4
    assert rates["image_head.weight"] == 1e-3 and rates["image_head.bias"] == 1e-2


def test_parts_patterns_and_what_stays():
    encoder = FusingToy()
    assert set(trainable(encoder, FineTuneSettings(part="top-1", frozen=("heads",)))) == {
        "pixels.weight",
        "pixels.bias",
    }
    assert named(encoder, "words.*") == {"words.weight"}
    for settings, message in (
        (FineTuneSettings(part="none"), "part 'none' has no parameters"),
        (FineTuneSettings(part="blocks.*"), "part 'blocks.\\*' has no parameters"),
        (FineTuneSettings(part="half"), "unknown part 'half'"),
        (FineTuneSettings(frozen=("*",)), "leaves nothing of part 'all'"),
    ):
        with pytest.raises(ConfigError, match=message):
            trainable(encoder, settings)
    settings = FineTuneSettings(part="heads", part_learning_rates={"pixels.*": 1.0})
    with pytest.raises(ConfigError, match="has none of the parameters that are trained"):
        learning_rates(encoder, trainable(encoder, settings), settings)


def stepper(**changes) -> tuple[FusingToy, Stepper]:
    encoder, settings = FusingToy(), FineTuneSettings(**{"learning_rate": 0.1, "warm_up": 0.0, **changes})
    return encoder, Stepper(encoder, trainable(encoder, settings), settings, steps=4)


def test_log_scales_stay_between_one_and_a_hundred():
    for direction, end in ((-1.0, MAX_LOG_SCALE), (1.0, 0.0)):
        encoder, steps = stepper(learning_rate=3.0)
        for _ in range(4):
            (direction * (encoder.module.logit_scale + encoder.module.logit_second_scale)).backward()
            steps.step()
            for scale in (encoder.module.logit_scale, encoder.module.logit_second_scale):
                assert 0.0 <= scale.item() <= torch.tensor(math.log(100)).item()
            steps.zero()
        assert encoder.module.logit_scale.item() == pytest.approx(end)


def test_a_frozen_scale_is_not_clamped():
    encoder = FusingToy()
    with torch.no_grad():
        encoder.module.logit_scale.fill_(9.0)
    settings = FineTuneSettings(frozen=("logit_scale*",))
    steps = Stepper(encoder, trainable(encoder, settings), settings, steps=4)
    encoder.module.words.weight.sum().backward()
    steps.step()
    assert encoder.module.logit_scale.item() == 9.0


def test_the_norm_is_clipped_and_reported():
    encoder, steps = stepper()
    (100 * encoder.module.position.sum()).backward()
    assert steps.step() == pytest.approx(100 * math.sqrt(12))
    assert encoder.module.position.grad.norm().item() == pytest.approx(1.0, rel=1e-4)


def test_a_gradient_that_is_no_number_moves_nothing():
    encoder, steps = stepper()
    before = encoder.module.position.detach().clone()
    (float("inf") * encoder.module.position.sum()).backward()
    assert not math.isfinite(steps.step())
    assert torch.equal(encoder.module.position, before) and steps.done == 0


@pytest.mark.parametrize("optimiser", ["adamw", "adam"])
def test_updates_equal_the_librarys(optimiser):
    encoder, steps = stepper(optimiser=optimiser, weight_decay=0.5)
    weight = encoder.module.words.weight
    copy = weight.detach().clone().requires_grad_()
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[optimiser]
    reference = kind([copy], lr=0.1, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.5)
    for step in range(4):
        for parameter in (weight, copy):
            parameter.grad = torch.full_like(parameter, 0.01 * (step + 1))
        reference.param_groups[0]["lr"] = 0.1 * (4 - step) / 4
        reference.step()
        steps.step()
        torch.testing.assert_close(weight.detach(), copy.detach())
