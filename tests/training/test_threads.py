"""Threads by the size of the work and the load of the machine; what is asked for is done."""

import os
import subprocess
import sys
import time

import pytest
import torch

from lmmrec_core import process
from lmmrec_core.process import LITTLE_WORK, free_cores, threads_for
from lmmrec_core.recommenders.bpr import BPR
from lmmrec_core.recommenders.lightgcn import LightGCN
from lmmrec_core.roles import TrainingData
from lmmrec_core.training.loop import TrainingSettings, train
from lmmrec_core.training.threads import suiting_threads
from tests.recommenders.toys import random_data, split_for

DATA = random_data(0)
SPLIT = split_for(DATA)


@pytest.fixture(autouse=True)
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def free(monkeypatch):
    """Set how many cores are free; those asked for are noted."""
    asked = []

    def set_free(count):
        monkeypatch.setattr(process, "free_cores", lambda: asked.append(count) or count)
        return asked

    return set_free


def test_little_work_has_one_thread_and_the_machine_is_not_even_looked_at(free):
    asked = free(4)
    assert threads_for(LITTLE_WORK - 1, at_most=4) == 1 and threads_for(10**12, at_most=1) == 1
    assert asked == []


@pytest.mark.parametrize(("cores", "at_most", "expected"), [(4, 4, 4), (3, 4, 3), (1, 4, 1), (8, 4, 4)])
def test_more_work_has_the_free_cores(free, cores, at_most, expected):
    free(cores)
    assert threads_for(LITTLE_WORK, at_most) == expected


@pytest.mark.parametrize(("busy", "expected"), [(0.0, 8), (3.0, 8), (12.5, 7), (50.0, 4), (99.0, 1), (100.0, 1)])
def test_free_cores_are_those_that_others_leave(monkeypatch, busy, expected):
    """Eight cores; a third of one is taken for noise."""
    monkeypatch.setattr(process.psutil, "cpu_count", lambda: 8)
    monkeypatch.setattr(process.psutil, "cpu_percent", lambda interval: busy)
    monkeypatch.setattr(process.os, "sched_getaffinity", lambda _: range(8), raising=False)
    assert free_cores() == expected
    monkeypatch.setattr(process.os, "sched_getaffinity", lambda _: range(2), raising=False)
    assert free_cores() == min(2, expected)


def test_free_cores_of_this_machine():
    start = time.perf_counter()
    assert 1 <= free_cores() <= (os.cpu_count() or 1)
    assert time.perf_counter() - start < 5


def model_of(kind, data, dim):
    return kind(data, kind.Settings(embedding_dim=dim), torch.Generator().manual_seed(0))


def test_a_models_tables_features_and_edges_are_its_work(monkeypatch):
    seen = []
    monkeypatch.setattr("lmmrec_core.training.threads.threads_for", lambda work, at_most: seen.append(work) or 1)
    bare = TrainingData(DATA.n_users, DATA.n_items, DATA.user, DATA.item, {})
    for kind, data in ((BPR, bare), (BPR, DATA), (LightGCN, bare)):
        suiting_threads(model_of(kind, data, 4), data)
    tables = (12 + 15) * 4
    assert seen[:2] == [tables, tables + 15 * (5 + 4)]
    assert seen[2] == tables + 64 * 2 * 50  # each edge in both directions


class Watching(BPR):
    """BPR that notes how many threads it is trained with."""

    def begin_epoch(self, epoch, generator):
        self.__dict__.setdefault("seen", []).append(torch.get_num_threads())
        super().begin_epoch(epoch, generator)


def trained(validate=lambda scorer: 0.0, path=None, **settings):
    model = model_of(Watching, DATA, 4)
    done = train(
        model, DATA, SPLIT, TrainingSettings(**{"epochs": 3, "batch_size": 16, **settings}), seed=1, validate=validate,
        checkpoint=path, identity="x", progress=False,
    )  # fmt: skip
    return model, done


def test_small_models_train_with_one_thread_and_leave_the_others_alone():
    model, done = trained()
    assert model.seen == [1, 1, 1] and done.threads == 1
    assert torch.get_num_threads() == 4


def test_large_ones_train_with_the_free_cores(monkeypatch, free):
    free(3)
    monkeypatch.setattr(process, "LITTLE_WORK", 10)
    model, done = trained()
    assert model.seen == [3, 3, 3] and done.threads == 3 and torch.get_num_threads() == 4


def test_the_number_asked_for_is_used(free):
    free(1)
    model, done = trained(threads=2)
    assert model.seen == [2, 2, 2] and done.threads == 2


def test_a_training_goes_on_with_the_threads_it_began_with(monkeypatch, free, tmp_path):
    """Sums of two threads may differ from those of three in the last bit."""
    monkeypatch.setattr(process, "LITTLE_WORK", 10)
    free(2)

    def stops(scorer, seen=[]):  # noqa: B006
        seen.append(0)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        trained(stops, tmp_path / "x.pt", checkpoint_seconds=0)
    free(4)
    model, done = trained(path=tmp_path / "x.pt", checkpoint_seconds=0)
    assert done.threads == 2 and model.seen == [2] * len(model.seen) and len(model.seen) < 3
    assert torch.get_num_threads() == 4


def test_threads_change_no_number_of_a_small_model():
    (one, _), (two, _) = trained(threads=1), trained(threads=2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def displayed(environment):
    """What OpenMP says of itself in a process that runs a command and then uses torch."""
    code = "import sys; from lmmrec_core.cli.main import main; main(['check-table', 'none.csv']); import torch"
    asked = {**os.environ, "OMP_DISPLAY_ENV": "TRUE", **environment}
    asked = {name: value for name, value in asked.items() if value}
    return subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True, check=True).stderr


def test_in_commands_waiting_threads_sleep_unless_the_environment_says_otherwise():
    told = displayed({"OMP_WAIT_POLICY": ""})
    if "OMP_WAIT_POLICY" not in told:
        pytest.skip("this torch has an OpenMP that does not tell its settings")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in told
    assert "OMP_WAIT_POLICY = 'ACTIVE'" in displayed({"OMP_WAIT_POLICY": "active"})
