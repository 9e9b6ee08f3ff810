"""Recommenders on a GPU: what the CPU computes, an exact resume, the same lists."""

from functools import partial

import numpy as np
import pytest
import torch

from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.roles import Batch
from lmmrec_core.training.loop import TrainingSettings, train
from lmmrec_core.training.optimiser import Optimiser
from lmmrec_core.training.recommend import top_k
from lmmrec_core.training.sampling import NegativeSampler
from tests.recommenders.toys import random_batch, random_data, split_for

DATA = random_data(3, 40, 60, 500)
LEARNT = sorted(set(RECOMMENDERS) - {"popularity", "itemknn", "ease"})
# edges drawn on the device differ from those drawn on the CPU
UNDRAWN = {"mmgcl": {"dropout": 0.0}}
# largest relative differences allowed, of the loss and of scores to the largest one; an H200 gave 2.5e-7 and 4.4e-7
# on a larger catalogue (benchmarks/rehearsal.json)
LOSS, SCORE = 1e-5, 1e-4


def fresh(name, **changes):
    member = RECOMMENDERS[name]
    return member(DATA, member.Settings.build(changes), torch.Generator().manual_seed(0))


def three_steps(name, device):
    model, generator = fresh(name, **UNDRAWN.get(name, {})).to(device).train(), torch.Generator().manual_seed(1)
    optimiser, losses = Optimiser(model, 1e-3, 0.0), []
    model.begin_epoch(1, generator)
    for step in range(3):
        batch = random_batch(DATA, step, 32, step == 0)
        parts = [None if part is None else part.to(device) for part in (batch.user, batch.positive, batch.negative)]
        loss = model.loss(Batch(*parts, batch.first_of_epoch), generator)
        optimiser.step(loss)
        losses.append(loss.item())
    optimiser.settle()
    return losses, model.eval().scorer()(torch.arange(DATA.n_users)).cpu()


@pytest.mark.parametrize("name", LEARNT)
def test_losses_and_scores_are_those_of_the_cpu(name, device):
    (losses, scores), (expected, wanted) = three_steps(name, device), three_steps(name, "cpu")
    assert losses == pytest.approx(expected, rel=LOSS)
    assert float((scores - wanted).abs().max()) <= SCORE * float(wanted.abs().max())


def trained(name, device, path=None, evaluations=0, stop=False):
    """Weights after five epochs; with ``stop`` the fourth is interrupted."""
    done, model = evaluations, fresh(name)

    def validate(scorer):
        nonlocal done
        done += 1
        if stop and done == 4:
            raise KeyboardInterrupt
        return float(done)

    settings = TrainingSettings(epochs=5, batch_size=64, checkpoint_seconds=0, device=device, weight_decay=0.01)
    train(model, DATA, split_for(DATA), settings, seed=1, validate=validate, checkpoint=path, progress=False)
    return model.state_dict()


@pytest.mark.parametrize("name", LEARNT)
def test_a_resumed_training_ends_with_the_same_bits(name, device, tmp_path):
    whole, path = trained(name, device), tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        trained(name, device, path, stop=True)
    resumed = trained(name, device, path, evaluations=3)
    assert resumed.keys() == whole.keys()
    for key, value in whole.items():
        assert value.device.type == torch.device(device).type
        assert torch.equal(resumed[key], value), key


def rows_of(table, users):
    return table[users.to(table.device)]


@pytest.mark.parametrize("mask_valid", [False, True])
def test_lists_are_those_of_the_cpu(mask_valid, device):
    random = np.random.default_rng(0)
    held = random.integers(0, DATA.n_users, 80), random.integers(0, DATA.n_items, 80)
    split = split_for(DATA, held)
    scores = torch.from_numpy(random.integers(0, 5, (DATA.n_users, DATA.n_items)).astype(np.float32))  # many are equal
    lists = []
    for table in (scores.to(device), scores):
        scorer = partial(rows_of, table)
        lists.append(top_k(scorer, np.arange(DATA.n_users), split, k=60, mask_valid=mask_valid, chunk=7))
    assert (lists[0] == -1).any() and np.array_equal(*lists)


def test_negatives_are_drawn_on_the_device(device):
    user, item = DATA.user.to(device), DATA.item.to(device)
    sampler = NegativeSampler(user, item, DATA.n_items)
    asked = user.repeat(200)
    drawn = sampler.sample(asked, torch.Generator(device).manual_seed(0))
    assert drawn.device.type == torch.device(device).type
    positive = set((DATA.user * DATA.n_items + DATA.item).tolist())
    keys = (asked * DATA.n_items + drawn).cpu().tolist()
    assert positive.isdisjoint(keys)
    pairs = [(u, i) for u in range(DATA.n_users) for i in range(DATA.n_items)]
    candidates = set(DATA.item.tolist())
    possible = {u * DATA.n_items + i for u, i in pairs if i in candidates} - positive
    assert len(set(keys)) > 0.99 * len({key for key in possible if key // DATA.n_items in set(DATA.user.tolist())})


@pytest.mark.gpu
@pytest.mark.parametrize("name", sorted(set(LEARNT) - {"bm3"}))  # its step asks for the distinct items of a batch
def test_a_step_does_not_wait_for_the_gpu(name):
    """The driver refuses every operation after which the host would wait (tests/training/test_waiting.py counts them).

    The first batch of an epoch may build a graph.
    """
    model, generator = fresh(name).to("cuda").train(), torch.Generator().manual_seed(1)
    optimiser = Optimiser(model, 1e-3, 0.0)
    model.begin_epoch(1, generator)
    batches = []
    for step in range(3):
        batch = random_batch(DATA, step, 16, step == 0)
        parts = [None if part is None else part.to("cuda") for part in (batch.user, batch.positive, batch.negative)]
        batches.append(Batch(*parts, batch.first_of_epoch))
    optimiser.step(model.loss(batches[0], generator))
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches[1:]:
            optimiser.step(model.loss(batch, generator))
    finally:
        torch.cuda.set_sync_debug_mode("default")
