"""The encoder's optimiser: steps that do not depend on the scale of the loss, and the record of them."""

import pytest
import torch
from torch import nn

from lmmrec_core.errors import TrainingError
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.training.joint.updates import EPS, EncoderUpdates, recorded
from tests.training.joint.toy_encoders import Moving, ToyEncoder, batches_of, build, data_of, windowed

ITEMS = 45
DATA = data_of(ToyEncoder(ITEMS), ITEMS)
WITH_FEATURES = sorted(name for name, member in RECOMMENDERS.items() if member.uses_features)
RATE = 0.01


def moved(name, scale, epochs, steps=58, rate=RATE, **values):
    """An encoder trained with a loss times ``scale`` while the recommender stands still: its move, its record."""
    encoder = ToyEncoder(ITEMS)
    before = torch.nn.utils.parameters_to_vector(encoder.module.parameters()).detach().clone()
    model = build(name, DATA, **values)
    plain = model.loss
    model.loss = lambda batch, generator: scale * plain(batch, generator)
    batches = batches_of(DATA, steps, negatives=model.needs_negatives)
    window = windowed(
        model, encoder, batches, kind=Moving, learning_rate=1e-12, epochs=epochs, updates_per_epoch=1,
        encoder_learning_rate=rate,
    )  # fmt: skip
    return torch.nn.utils.parameters_to_vector(encoder.module.parameters()).detach() - before, window.optimiser.record


@pytest.mark.parametrize("name", WITH_FEATURES)
def test_a_smaller_loss_gives_the_same_two_updates(name):
    for epochs in (1, 2):
        plain, _ = moved(name, 1.0, epochs, steps=6)
        small, _ = moved(name, 1e-4, epochs, steps=6)
        seen = plain.abs() > 0.1 * RATE  # FREEDOM's loss is blind to an offset of all rows: rounding errors
        torch.testing.assert_close(small[seen], plain[seen], rtol=1e-3, atol=0)
        assert seen.float().mean() > 0.9 and bool((small[~seen].abs() < 0.1 * RATE).all())


def test_lattice_moves_its_encoder_by_a_learning_rate_in_its_first_update():
    """58 steps an epoch, as on Amazon Baby, of which one reads the features; a loss of 1e-4 for good measure."""
    for scale in (1.0, 1e-4):
        change, record = moved("lattice", scale, 1)
        assert record["update"] == [1] and record["step"] == [58] and record["gradient"][0] < 1e-2 * scale
        live = change[change != 0]
        assert float(live.abs().mean()) / RATE > 0.9
        assert record["mean_step"][0] == pytest.approx(float(change.abs().sum()) / len(live) / RATE, rel=2e-3)


def test_the_step_is_adamw_of_the_gradient_over_its_root_mean_square():
    generator = torch.Generator().manual_seed(1)
    weight, bias = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(4))
    ours = EncoderUpdates({"weight": weight, "bias": bias}, 0.1, 0.01)
    twin, other = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(4))
    plain = torch.optim.AdamW(
        [{"params": [twin], "weight_decay": 0.01}, {"params": [other], "weight_decay": 0.0}], lr=0.1, eps=EPS
    )
    for size in (1e-9, 1.0, 1e6):
        gradients = [size * torch.randn(shape, generator=generator) for shape in ((3, 4), (4,))]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        weight.grad, bias.grad = (gradient.clone() for gradient in gradients)
        twin.grad, other.grad = (gradient / flat.square().mean().sqrt() for gradient in gradients)
        ours.step(1, 1, 0.0)
        plain.step()
        assert ours.record["gradient"][-1] == pytest.approx(float(flat.norm()), rel=5e-3)
        torch.testing.assert_close(weight, twin)
        torch.testing.assert_close(bias, other)


def test_rounding_errors_do_not_move_what_the_loss_cannot_see():
    weight = nn.Parameter(torch.zeros(2))
    updates = EncoderUpdates({"weight": weight}, 1.0, 0.0)
    weight.grad = torch.tensor([1e-3, 1e-11])
    updates.step(1, 1, 0.0)
    assert weight[0].item() == pytest.approx(-1, abs=1e-4) and abs(weight[1].item()) < 1e-2


def test_no_gradient_is_no_update_and_a_broken_one_stops():
    weight = nn.Parameter(torch.ones(2))
    updates = EncoderUpdates({"weight": weight}, 0.1, 0.0)
    updates.step(1, 1, 0.0)
    assert updates.done == 0 and torch.equal(weight, torch.ones(2))
    weight.grad = torch.tensor([1.0, float("nan")])
    with pytest.raises(TrainingError, match=r"norm nan in epoch 3; lower encoder_learning_rate \(now 0.1\)"):
        updates.step(3, 1, 0.0)


def test_the_record_stays_short():
    kept = [update for update in range(1, 1025) if recorded(update)]
    assert kept[:20] == [*range(1, 17), 18, 20, 22, 24] and kept[-3:] == [896, 960, 1024] and len(kept) == 64


def test_the_record_says_where_each_update_was():
    _, record = moved("vbpr", 1.0, 3, steps=4)
    assert record["update"] == [1, 2, 3] and record["epoch"] == [1, 2, 3] and record["step"] == [4, 8, 12]
    assert all(value > 0 for column in ("feature_gradient", "gradient", "mean_step") for value in record[column])


def test_the_rate_rises_over_the_first_updates_and_then_stays(tmp_path):
    weight = nn.Parameter(torch.zeros(5))
    updates = EncoderUpdates({"weight": weight}, RATE, 0.0, warm_up=4)
    moves = []
    for number in range(6):
        before = weight.detach().clone()
        weight.grad = torch.ones(5)
        updates.step(1, number + 1, 1.0)
        moves.append(float((weight.detach() - before).abs().mean()) / RATE)
        if number == 2:  # as after an interruption
            state, updates = updates.state(), EncoderUpdates({"weight": weight}, RATE, 0.0, warm_up=4)
            updates.restore(state)
    assert moves == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1], rel=1e-3)
