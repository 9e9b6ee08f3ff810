"""The training loop: early stopping, schedule, exact resume, and errors that name the cure."""

import os
import signal
import threading

import numpy as np
import pytest
import torch
from torch import nn

from lmmrec_core import checkpoints
from lmmrec_core.errors import ConfigError, TrainingError
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.recommenders.bpr import BPR
from lmmrec_core.recommenders.popularity import Popularity
from lmmrec_core.roles import TrainingData
from lmmrec_core.training.loop import TrainingSettings, train
from tests.recommenders.toys import random_data, split_for

DATA = random_data(0)
SPLIT = split_for(DATA)


def bpr(**settings):
    return BPR(DATA, BPR.Settings(embedding_dim=4, **settings), torch.Generator().manual_seed(0))


def run(model, validate=lambda scorer: 0.0, data=DATA, seed=1, path=None, identity="run a", **settings):
    settings = {"epochs": 3, "batch_size": 16, **settings}
    return train(
        model, data, SPLIT, TrainingSettings(**settings), seed=seed, validate=validate, checkpoint=path,
        identity=identity, progress=False,
    )  # fmt: skip


def scripted(scores):
    """Give the next score at every evaluation."""
    remaining = iter(scores)
    return lambda scorer: next(remaining)


class Probe(nn.Module):
    """Records its batches and the learning rate's effect: Adam moves by the learning rate under a constant gradient."""

    name, needs_negatives, zero_fill_gradients = "probe", True, False

    def __init__(self, values=()):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen, self.epochs, self.values = [], [], iter(values)

    def begin_epoch(self, epoch, generator):
        self.epochs.append((epoch, self.weight.item()))

    def resting_parameters(self):
        return ()

    def loss(self, batch, generator):
        self.seen.append(batch)
        return self.weight.sum() + next(self.values, 0.0)

    def scorer(self):
        return lambda users: torch.zeros(len(users), DATA.n_items)


def test_an_epoch_visits_every_row_once_and_keeps_the_short_last_batch():
    probe = Probe()
    run(probe, epochs=2)
    assert [len(batch.user) for batch in probe.seen] == [16, 16, 16, 2] * 2
    assert [batch.first_of_epoch for batch in probe.seen] == [True, False, False, False] * 2
    rows = set(zip(DATA.user.tolist(), DATA.item.tolist(), strict=True))
    orders = []
    for epoch in (probe.seen[:4], probe.seen[4:]):
        pairs = [(u, i) for b in epoch for u, i in zip(b.user.tolist(), b.positive.tolist(), strict=True)]
        assert set(pairs) == rows and len(pairs) == len(rows)
        assert not {(u, i) for b in epoch for u, i in zip(b.user.tolist(), b.negative.tolist(), strict=True)} & rows
        orders.append(pairs)
    assert orders[0] != orders[1]


def test_only_strictly_better_counts_and_stopping_needs_more_than_patience():
    done = run(bpr(), scripted([0.2, 0.3, 0.3, 0.3, 0.1, 0.9]), epochs=9, patience=2)
    assert (done.best_epoch, len(done.history), done.stopped) == (2, 5, "patience")
    assert [epoch.valid for epoch in done.history] == [0.2, 0.3, 0.3, 0.3, 0.1]


def test_rounding_hides_small_gains_when_asked():
    scores = [0.10001, 0.10002, 0.10003]
    assert run(bpr(), scripted(scores), patience=0, stop_rounding=4).best_epoch == 1
    assert run(bpr(), scripted(scores), patience=0).best_epoch == 3


def test_the_best_epochs_weights_are_left_in_the_model():
    model, kept = bpr(), {}

    def validate(scorer):
        kept[len(kept) + 1] = model.item.detach().clone()
        return {1: 0.1, 2: 0.5}.get(len(kept), 0.2)

    assert run(model, validate, epochs=4).best_epoch == 2
    assert torch.equal(model.item, kept[2]) and not torch.equal(kept[2], kept[4])


def test_evaluation_interval_counts_evaluations_and_the_last_epoch_is_evaluated():
    done = run(bpr(), scripted([0.1, 0.2, 0.3]), epochs=5, evaluate_every=2)
    assert [epoch.valid for epoch in done.history] == [None, 0.1, None, 0.2, 0.3]
    assert done.stopped == "cap"


def test_steps_and_epochs_of_the_same_length_give_the_same_training():
    """50 rows in batches of 16 are 4 steps an epoch."""
    scores = [0.1, 0.4, 0.2, 0.3, 0.3, 0.9]
    in_steps = run(bpr(), scripted(scores), epochs=None, steps=40, evaluate_steps=9, patience_steps=13)
    in_epochs = run(bpr(), scripted(scores), epochs=10, evaluate_every=2, patience=1)
    assert [epoch.valid for epoch in in_steps.history] == [epoch.valid for epoch in in_epochs.history]
    assert (in_steps.best_epoch, in_steps.best_step, in_steps.steps_per_epoch) == (4, 16, 4)
    assert in_steps.stopped == in_epochs.stopped == "patience" and len(in_steps.history) == 8


def test_fp32_is_not_rounded_on_a_gpu_while_training():
    cudnn, matmul, seen = torch.backends.cudnn, torch.backends.cuda.matmul, []

    def validate(scorer):
        seen.append((cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic, matmul.allow_tf32))
        return 0.1

    before = cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic, matmul.allow_tf32
    matmul.allow_tf32 = True
    try:
        run(bpr(), validate, epochs=1)
        after = cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic, matmul.allow_tf32
    finally:
        matmul.allow_tf32 = before[-1]
    assert seen == [(False, False, True, False)] and after == (*before[:3], True)


def test_learning_rate_falls_continuously():
    probe = Probe()
    run(probe, epochs=3, batch_size=50, learning_rate=0.1, lr_decay=0.5, lr_decay_epochs=2)
    weights = [weight for _, weight in probe.epochs] + [probe.weight.item()]
    assert [epoch for epoch, _ in probe.epochs] == [1, 2, 3]
    run_to_end = Probe()
    run(
        run_to_end,
        scripted([0.1, 0.2, 0.3]),
        epochs=3,
        batch_size=50,
        learning_rate=0.1,
        lr_decay=0.5,
        lr_decay_epochs=2,
    )
    steps = -np.diff([*weights[:3], run_to_end.weight.item()])
    np.testing.assert_allclose(steps, [0.1, 0.1 * 0.5**0.5, 0.05], rtol=1e-5)


def test_a_loss_that_is_not_finite_stops_with_place_and_cure():
    with pytest.raises(TrainingError, match=r"probe: the loss is nan at epoch 2, batch 3; lower learning_rate"):
        run(Probe([0.0] * 6 + [float("nan")]))


def test_a_validation_score_that_is_not_finite_stops():
    with pytest.raises(TrainingError, match="validation score is nan at epoch 1"):
        run(bpr(), lambda scorer: float("nan"))


def test_rows_other_than_the_training_part_are_refused():
    leaked = TrainingData(
        DATA.n_users,
        DATA.n_items,
        torch.cat([DATA.user, torch.tensor([0])]),
        torch.cat([DATA.item, torch.tensor([14])]),
        {},
    )
    with pytest.raises(TrainingError, match=r"not the train part .*split\.train"):
        run(bpr(), data=leaked)


def test_members_without_parameters_need_no_training():
    done = run(Popularity(DATA, Popularity.Settings(), torch.Generator()))
    assert (done.history, done.best_epoch, done.stopped) == ((), 0, "nothing to train")


def test_a_module_that_does_not_play_the_role_is_refused_with_what_it_lacks():
    class Half(nn.Linear):
        name, needs_negatives = "half", True

        def scorer(self):
            return lambda users: torch.zeros(len(users), DATA.n_items)

    expected = "Half cannot be trained because it has no begin_epoch, loss, resting_parameters, zero_fill_gradients; "
    with pytest.raises(TrainingError, match=expected):
        run(Half(2, 2))


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="learning_rate"):
        TrainingSettings.build({"learning_rate": 0})


def test_the_global_generator_is_left_as_it_was():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    run(bpr())
    assert torch.equal(torch.get_rng_state(), before)


class Interrupted(Exception):
    pass


def cut_after(epochs, then=None):
    """A validation with rising and falling scores that stops the process's training after some epochs."""
    calls = []

    def validate(scorer):
        calls.append(1)
        if len(calls) == epochs and then is not None:
            then()
        return float(scorer(torch.tensor([0])).sum()) % 1

    return validate


@pytest.mark.parametrize("name", ["bpr", "lightgcn", "vbpr", "lattice"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_resume_after_a_signal_is_bit_identical(tmp_path, name, number):
    member = RECOMMENDERS[name]

    def fresh():
        return member(DATA, member.Settings(embedding_dim=4), torch.Generator().manual_seed(0))

    settings = {"epochs": 6, "patience": 6, "weight_decay": 0.01, "lr_decay": 0.9, "checkpoint_seconds": 3600}
    whole, cut, resumed = fresh(), fresh(), fresh()
    expected = run(whole, cut_after(99), **settings)
    path = tmp_path / "run.pt"
    handlers = [signal.getsignal(some) for some in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises((KeyboardInterrupt, SystemExit)) as stop:
        run(cut, cut_after(3, lambda: os.kill(os.getpid(), number)), path=path, **settings)
    assert stop.type is (KeyboardInterrupt if number == signal.SIGINT else SystemExit)
    assert [signal.getsignal(some) for some in (signal.SIGINT, signal.SIGTERM)] == handlers
    done = run(resumed, cut_after(99), path=path, **settings)
    assert (done.best_epoch, done.stopped, len(done.history)) == (expected.best_epoch, expected.stopped, 6)
    assert [(e.loss, e.valid) for e in done.history] == [(e.loss, e.valid) for e in expected.history]
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key


def test_a_signal_in_the_last_epoch_is_not_swallowed(tmp_path):
    path, again = tmp_path / "run.pt", bpr()
    with pytest.raises(KeyboardInterrupt):
        run(bpr(), cut_after(3, lambda: os.kill(os.getpid(), signal.SIGINT)), path=path)
    assert len(run(again, lambda scorer: pytest.fail("trained again"), path=path).history) == 3


def test_a_crash_resumes_from_the_last_checkpoint(tmp_path):
    def crash():
        raise Interrupted

    whole, resumed, path = bpr(), bpr(), tmp_path / "run.pt"
    run(whole, cut_after(99), epochs=5)
    with pytest.raises(Interrupted):
        run(bpr(), cut_after(4, crash), path=path, epochs=5, checkpoint_seconds=0)
    run(resumed, cut_after(99), path=path, epochs=5)
    assert torch.equal(resumed.item, whole.item)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first, again, path = bpr(), bpr(), tmp_path / "run.pt"
    done = run(first, cut_after(99), path=path, checkpoint_seconds=0)
    repeated = run(again, lambda scorer: pytest.fail("trained again"), path=path)
    assert repeated.best_epoch == done.best_epoch and torch.equal(again.item, first.item)


def test_short_runs_write_no_checkpoint(tmp_path):
    run(bpr(), path=tmp_path / "run.pt")
    assert not list(tmp_path.iterdir())


def test_another_runs_checkpoint_is_refused_and_a_damaged_one_ignored(tmp_path):
    path = tmp_path / "run.pt"
    run(bpr(), path=path, checkpoint_seconds=0)
    with pytest.raises(TrainingError, match="belongs to run 'run a'"):
        run(bpr(), path=path, identity="run b")
    path.write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="starts over"):
        assert len(run(bpr(), path=path).history) == 3


def test_checkpoints_hold_only_what_the_safe_reader_takes(tmp_path):
    run(bpr(), path=tmp_path / "run.pt", checkpoint_seconds=0)
    state = checkpoints.load(tmp_path / "run.pt", "run a")
    assert set(state["generators"]) == {"shuffle", "negatives", "model"} and len(state["history"]) == 3


def test_training_works_outside_the_main_thread():
    results = []
    worker = threading.Thread(target=lambda: results.append(run(bpr())))
    worker.start()
    worker.join()
    assert len(results[0].history) == 3


@pytest.mark.parametrize("seed", [1, 2])
def test_the_seed_fixes_everything(seed):
    a, b, other = bpr(), bpr(), bpr()
    for model, its_seed in ((a, seed), (b, seed), (other, seed + 5)):
        run(model, seed=its_seed)
    assert torch.equal(a.item, b.item) and not torch.equal(a.item, other.item)
