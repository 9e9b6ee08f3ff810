"""On a GPU the host hands out work and does not wait for it: nothing is asked of a tensor inside an epoch."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lmmrec_core.errors import TrainingError
from lmmrec_core.recommenders import RECOMMENDERS, edge_dropout, layers
from lmmrec_core.roles import Batch
from lmmrec_core.training import loop
from lmmrec_core.training.optimiser import Optimiser
from tests.recommenders.toys import random_batch, random_data
from tests.training.test_loop import Probe, bpr, run, scripted

DATA = random_data(3, 40, 60, 500)
ASKING = {"_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "masked_select", "repeat_interleave"}
#: Models whose step has a size that depends on what was drawn: BM3 drops out rows of the distinct items of a batch.
WAITING = {"bm3": {"_unique2"}}
LEARNT = sorted(set(RECOMMENDERS) - {"popularity", "itemknn", "ease"})


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    for module in (loop, layers, edge_dropout):
        monkeypatch.setattr(module, "host_waits", lambda device: True)


class Asked(TorchDispatchMode):
    """Notes the operations whose result the host needs before it can go on."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            part is not None and part.dtype in (torch.bool, torch.uint8) for part in args[1]
        )
        if name in ASKING or masks:
            self.found.add(name)
        return function(*args, **(kwargs or {}))


def asked_by(name):
    """What three steps ask after the first of an epoch, which may build graphs."""
    member = RECOMMENDERS[name]
    model, generator = member(DATA, member.Settings(), torch.Generator().manual_seed(0)), torch.Generator()
    model.train()
    optimiser = Optimiser(model, 1e-3, 0.0)
    model.begin_epoch(1, generator)
    batches = [random_batch(DATA, step, 16, step == 0) for step in range(4)]  # fewer rows than items
    batches = [
        Batch(b.user, b.positive, b.negative if model.needs_negatives else None, b.first_of_epoch) for b in batches
    ]
    optimiser.step(model.loss(batches[0], generator))
    with Asked() as asked:
        for batch in batches[1:]:
            optimiser.step(model.loss(batch, generator))
    return asked.found


@pytest.mark.parametrize("name", LEARNT)
def test_a_step_asks_nothing(name, as_on_a_gpu):
    assert asked_by(name) == WAITING.get(name, set())


def test_what_would_be_asked_is_noticed():
    assert asked_by("vbpr") == {"_unique2"}  # on a CPU: to map an item once is cheaper there


def test_losses_read_at_the_end_of_an_epoch_are_the_same(monkeypatch):
    first, second = bpr(), bpr()
    each = run(first, scripted([0.1, 0.3, 0.2]))
    monkeypatch.setattr(loop, "host_waits", lambda device: True)
    once = run(second, scripted([0.1, 0.3, 0.2]))
    assert [epoch.loss for epoch in each.history] == [epoch.loss for epoch in once.history]
    assert all(torch.equal(first.state_dict()[key], value) for key, value in second.state_dict().items())


@pytest.mark.parametrize(("late", "seen"), [(False, 2), (True, 4)])
def test_a_loss_that_is_not_finite_is_named_though_it_is_read_late(late, seen, monkeypatch):
    monkeypatch.setattr(loop, "host_waits", lambda device: late)
    probe = Probe([0.0, float("nan"), float("inf"), 0.0])
    with pytest.raises(TrainingError, match="the loss is nan at epoch 1, batch 2"):
        run(probe)
    assert len(probe.seen) == seen


def test_distinct_rows_or_all_of_them_are_mapped_alike(monkeypatch):
    numbers = torch.tensor([5, 2, 5, 7])
    some, place = layers.distinct_numbers(numbers)
    assert some.tolist() == [2, 5, 7] and torch.equal(some[place], numbers)
    monkeypatch.setattr(layers, "host_waits", lambda device: True)
    some, place = layers.distinct_numbers(numbers)
    assert torch.equal(some[place], numbers) and len(some) == 4
    rows = torch.tensor([[3e30, 4e30], [0.0, 0.0], [1e-30, 0.0], [3.0, 4.0]])
    unasked = layers.features_normalised(rows)
    monkeypatch.setattr(layers, "host_waits", lambda device: False)
    assert torch.equal(unasked, layers.features_normalised(rows))
    ordinary = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(layers.features_normalised(ordinary), layers.rows_normalised(ordinary))


def test_a_subset_of_edges_is_the_same_however_it_is_found(monkeypatch):
    graph = layers.BipartiteGraph.symmetric(DATA.user, DATA.item, DATA.n_users, DATA.n_items)
    subsets, found = edge_dropout.EdgeSubsets(graph), []
    for waits in (False, True):
        monkeypatch.setattr(edge_dropout, "host_waits", lambda device, waits=waits: waits)
        found.append(subsets.drop(0.3, torch.Generator().manual_seed(1)))
    for one, other in zip(*([*part.buffers()] for part in found), strict=True):
        assert torch.equal(one, other)


def test_a_training_goes_on_on_the_kind_of_device_that_began_it(tmp_path, monkeypatch):
    def stop(scorer):
        raise KeyboardInterrupt

    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        run(bpr(), scripted_then(stop), path=path, epochs=5, checkpoint_seconds=0)
    assert path.is_file()
    real = loop._Loop.state
    monkeypatch.setattr(loop._Loop, "state", lambda self: {**real(self), "device": "cuda"})
    with pytest.raises(KeyboardInterrupt):
        run(bpr(), scripted_then(stop), path=tmp_path / "gpu.pt", epochs=5, checkpoint_seconds=0)
    with pytest.raises(TrainingError, match=r"gpu\.pt: this training was begun on device cuda .* set device=cuda, or"):
        run(bpr(), path=tmp_path / "gpu.pt", epochs=5)


def scripted_then(stop):
    """Two scores, then ``stop``."""
    scores = iter([0.1, 0.2])

    def validate(scorer):
        score = next(scores, None)
        return stop(scorer) if score is None else score

    return validate
