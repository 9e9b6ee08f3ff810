import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lmmrec_core.encoders.fine_tuning import loop
from lmmrec_core.encoders.fine_tuning.evaluation import standing_of
from lmmrec_core.encoders.fine_tuning.gradients import Passes
from lmmrec_core.encoders.fine_tuning.loop import batches
from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings
from lmmrec_core.encoders.weights import state_digest
from lmmrec_core.errors import ConfigError, TrainingError
from lmmrec_core.roles import TrainableEncoder
from tests.encoders.fine_tuning.running import ALL, PAIRS, run, same, state, unmeasured
from tests.encoders.fine_tuning.toys import FusingToy, ToyTowers


def test_the_toys_play_their_roles():
    assert isinstance(FusingToy(), TrainableEncoder) and isinstance(FusingToy(), loop.TrainableEncoder)


def test_held_out_retrieval_rises_far_above_chance():
    encoder, tuning = run(epochs=12)
    chance = 10 / len(PAIRS)
    assert tuning.before.held_out.score < 3 * chance
    assert tuning.after.held_out.score > 7 * chance
    assert tuning.after.held_out.candidates == len(PAIRS) and tuning.after.held_out.queries == PAIRS.held_out.sum()
    assert tuning.after.everything.queries == len(PAIRS)
    assert tuning.after.loss < tuning.before.loss
    assert tuning.steps == 12 * 3 and tuning.history[-1].step == 36 and tuning.stopped == "epochs"
    assert standing_of(encoder, PAIRS, Passes()) == tuning.after  # the encoder has the weights that were reported
    assert tuning.weights == state_digest(encoder.module)


def test_fp32_is_not_rounded_on_a_gpu_while_tuning(monkeypatch):
    seen, step = set(), loop._Loop._step

    def watching(self, *given):
        seen.add((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        return step(self, *given)

    monkeypatch.setattr(loop._Loop, "_step", watching)
    before = torch.backends.cudnn.allow_tf32
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=True):
        run(epochs=1)
        assert torch.backends.cudnn.allow_tf32
    assert seen == {(False, False)} and torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize("objectives", [("itc",), ("itm",), ("mlm",), ("itc", "mlm"), ALL])
def test_every_objective_falls(objectives):
    _, tuning = run(objectives=objectives, epochs=8)
    first, last = tuning.history[0], tuning.history[-1]
    assert set(first.losses) == set(objectives)
    assert all(last.losses[name] < first.losses[name] for name in objectives)
    weights = {"itc": 1.0, "itm": 1.0, "mlm": 0.25}
    assert last.loss == pytest.approx(sum(weights[name] * loss for name, loss in last.losses.items()))


def test_chunks_train_the_same_weights():
    whole, first = run(objectives=ALL)
    chunked, second = run(objectives=ALL, micro_batch=5)
    assert second.history[-1].losses == pytest.approx(first.history[-1].losses, abs=1e-3)
    for name, value in whole.module.state_dict().items():
        torch.testing.assert_close(chunked.module.state_dict()[name], value, atol=1e-3, rtol=1e-2)


def test_held_out_pairs_are_never_trained_on(monkeypatch):
    seen: list[int] = []
    step = loop._Loop._step

    def watching(self, batch, place):
        seen.extend(batch.image_group.tolist())
        return step(self, batch, place)

    monkeypatch.setattr(loop._Loop, "_step", watching)
    run(epochs=2)
    assert sorted(seen) == sorted(2 * PAIRS.train_rows.tolist())
    assert seen[:90] != sorted(seen[:90]) and seen[:90] != seen[90:]  # in random order, another one each epoch


def test_the_same_seed_gives_the_same_weights_whatever_else_draws():
    first, tuning = run(objectives=ALL, augment="crop")
    torch.manual_seed(123)
    again, other = run(objectives=ALL, augment="crop")
    assert same(state(first), state(again)) and unmeasured(tuning.history) == unmeasured(other.history)
    different, _ = run(objectives=ALL, augment="crop", seed=1)
    assert not same(state(first), state(different))


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    run(FusingToy(dropout=0.3), epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("part", ["heads", "top-1", "words.*"])
def test_what_is_frozen_stays_bit_equal(part):
    encoder = FusingToy()
    before = state(encoder)
    asked = [parameter.requires_grad for parameter in encoder.module.parameters()]
    run(encoder, part=part, objectives=ALL, frozen=("match.*",), epochs=4, weight_decay=0.5)
    moving = {"words.weight"} if part == "words.*" else encoder.part(part) - {"match.weight", "match.bias"}
    after = state(encoder)
    for name, value in before.items():
        if name not in moving:
            assert torch.equal(after[name], value), name
    assert not same(before, after)
    assert [parameter.requires_grad for parameter in encoder.module.parameters()] == asked
    assert all(parameter.grad is None for parameter in encoder.module.parameters())


def test_batch_norm_keeps_its_statistics_and_dropout_acts():
    encoder = FusingToy(dropout=0.3, batch_norm=True)
    before = state(encoder)
    run(encoder, epochs=2, micro_batch=8)
    after = state(encoder)
    assert torch.equal(after["norm.running_mean"], before["norm.running_mean"])
    assert after["norm.num_batches_tracked"] == 0
    assert not torch.equal(after["norm.weight"], before["norm.weight"])  # its scale is learnt like any other
    assert not any(layer.training for layer in encoder.module.modules())
    still, _ = run(FusingToy(dropout=0.3, batch_norm=True), epochs=2, micro_batch=8, stochastic=False)
    assert not same(state(still), after)


def test_batch_norm_that_insists_on_training_is_refused():
    encoder = FusingToy(batch_norm=True)
    encoder.module.norm.eval = lambda: encoder.module.norm.train(True)
    with pytest.raises(TrainingError, match="batch-norm 'norm' is in training mode"):
        run(encoder)


def scripted(monkeypatch, scores: list[float], losses: list[float] | None = None) -> None:
    """Evaluations give these held-out scores, the first before training."""
    left = iter(zip(scores, losses or [1.0] * len(scores), strict=True))
    true = standing_of(FusingToy(), PAIRS, Passes())

    def standing(*args):
        score, loss = next(left)
        both = {**true.held_out.image_to_text, "recall@10": score}
        return replace(true, held_out=replace(true.held_out, image_to_text=both, text_to_image=both), loss=loss)

    monkeypatch.setattr(loop, "standing_of", standing)


@pytest.mark.parametrize(
    ("scores", "losses", "patience", "best", "epochs", "stopped"),
    [
        ([0.1, 0.2, 0.3, 0.3, 0.2, 0.9], None, 1, 2, 4, "patience"),
        ([0.1, 0.2, 0.1, 0.3, 0.2, 0.2], None, 1, 3, 5, "patience"),
        ([0.1, 0.2, 0.1, 0.3, 0.2, 0.4], None, 9, 5, 5, "epochs"),
        ([0.5, 0.2, 0.3, 0.4, 0.4, 0.4], None, 0, 0, 1, "patience"),
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [3.0, 2.0, 2.5, 1.0, 1.0, 1.5], 9, 3, 5, "epochs"),
    ],
)
def test_the_best_epoch_is_kept(monkeypatch, scores, losses, patience, best, epochs, stopped):
    kept: dict[int, dict[str, Tensor]] = {0: state(FusingToy())}
    scripted(monkeypatch, scores, losses)
    compare = loop._Loop._compare

    def watching(self, number, standing):
        kept[number] = state(self.encoder)
        compare(self, number, standing)

    monkeypatch.setattr(loop._Loop, "_compare", watching)
    encoder, tuning = run(epochs=5, patience=patience)
    assert (tuning.best_epoch, len(tuning.history), tuning.stopped) == (best, epochs, stopped)
    assert same(state(encoder), kept[best])
    assert tuning.after.held_out.score == scores[best] and tuning.before.held_out.score == scores[0]


def test_without_keep_start_the_first_epoch_is_better_than_nothing(monkeypatch):
    scripted(monkeypatch, [0.5, 0.2, 0.1, 0.1])
    _, tuning = run(keep_start=False)
    assert tuning.best_epoch == 1 and tuning.before.held_out.score == 0.5 and tuning.after.held_out.score == 0.2


def test_a_loss_that_is_no_number_names_the_learning_rate():
    encoder = FusingToy()
    with torch.no_grad():
        encoder.module.match.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"toy: the itm loss is nan at epoch 1, batch 1; lower learning_rate"):
        run(encoder, objectives=ALL)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in encoder.module.parameters())


def test_weights_blown_up_by_the_rate_are_no_result():
    with pytest.raises(TrainingError, match=r"lower learning_rate \(now 1e\+30\)"):
        run(learning_rate=1e30, epochs=5)


@pytest.mark.parametrize(
    ("encoder", "changes", "message"),
    [
        (ToyTowers(), {"objectives": ALL}, "toy does not read picture and text together, so it has no itm or mlm"),
        (FusingToy(), {"items": "train_items"}, "the pairs are of items = 'all'"),
        (FusingToy(), {"gradient_checkpointing": True}, "cannot recompute activations"),
        (FusingToy(), {"part": "words"}, "has no say in itc: nothing to learn"),
        (FusingToy(), {"part": "top-9"}, "unknown part 'top-9'"),
    ],
)
def test_what_does_not_fit_is_refused(encoder, changes, message):
    with pytest.raises(ConfigError, match=message):
        run(encoder, **changes)


def test_crops_need_pictures():
    pairs = replace(PAIRS, pixels=PAIRS.pixels.reshape(-1, 48))
    with pytest.raises(ConfigError, match="augment = 'crop' needs pictures"):
        run(pairs=pairs, augment="crop")


def test_recomputation_is_switched_on_and_off():
    encoder = FusingToy()
    calls: list[bool] = []
    encoder.module.set_grad_checkpointing = calls.append
    run(encoder, gradient_checkpointing=True, epochs=1)
    assert calls == [True, False]


@pytest.mark.parametrize(
    "change", [{"objectives": ()}, {"objectives": ("itc", "itc")}, {"batch_size": 1}, {"warmup": 1}]
)
def test_settings_are_checked(change):
    with pytest.raises(ConfigError):
        FineTuneSettings.build(change)


def test_a_part_learns_at_its_own_rate():
    slow, _ = run(part_learning_rates={"words.*": 1e-12}, epochs=1)
    start = FusingToy()
    assert torch.allclose(slow.module.words.weight, start.module.words.weight, atol=1e-9)
    assert not torch.allclose(slow.module.image_head.weight, start.module.image_head.weight, atol=1e-3)


def test_a_single_pair_left_over_joins_the_batch_before():
    assert [len(part) for part in batches(np.arange(10), 4)] == [4, 4, 2]
    assert [len(part) for part in batches(np.arange(9), 4)] == [4, 5]
    assert [len(part) for part in batches(np.arange(3), 4)] == [3]
    assert np.concatenate(batches(np.arange(9), 4)).tolist() == list(range(9))


def test_the_rate_of_the_last_step_is_told():
    _, tuning = run(epochs=2, warm_up=0.0)
    assert [epoch.rate for epoch in tuning.history] == pytest.approx([4 / 6, 1 / 6])
    assert math.isfinite(tuning.history[0].loss)
