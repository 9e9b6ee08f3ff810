"""Negatives: never a training item of the user, uniform over the rest of the training items."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from lmmrec_core.errors import TrainingError
from lmmrec_core.training.sampling import NegativeSampler


@settings(max_examples=40, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1), st.integers(0, 1000))
def test_never_a_training_item_and_always_one_of_the_training_part(pairs, seed):
    user, item = (torch.tensor(column) for column in zip(*sorted(pairs), strict=True))
    present = set(item.tolist())
    full = [u for u in set(user.tolist()) if {i for v, i in pairs if v == u} == present]
    if full:
        with pytest.raises(TrainingError, match=f"user at position {min(full)} .from 0. has all {len(present)} items"):
            NegativeSampler(user, item, 10)
        return
    generator = torch.Generator().manual_seed(seed)
    many = user.repeat(20)
    negative = NegativeSampler(user, item, 10).sample(many, generator)
    assert not {(u, i) for u, i in zip(many.tolist(), negative.tolist(), strict=True)} & pairs
    assert set(negative.tolist()) <= present


def test_uniform_over_the_allowed_items():
    user = torch.tensor([0] * 6 + [1] * 4)
    item = torch.tensor([0, 1, 2, 3, 4, 5, 7, 8, 9, 11])
    negative = NegativeSampler(user, item, 20).sample(
        torch.ones(12000, dtype=torch.int64), torch.Generator().manual_seed(1)
    )
    counts = torch.bincount(negative, minlength=20)
    assert counts[6:].sum() == 0
    assert chisquare(counts[:6].numpy()).pvalue > 1e-3


def test_repeated_training_rows_do_not_count_twice():
    sampler = NegativeSampler(torch.tensor([0, 0, 1]), torch.tensor([0, 0, 1]), 2)
    assert sampler.sample(torch.tensor([0, 1]), torch.Generator()).tolist() == [1, 0]


def test_the_same_generator_state_gives_the_same_negatives():
    sampler = NegativeSampler(torch.arange(30) % 6, torch.arange(30) % 11, 11)
    users = torch.arange(30) % 6
    first, second = (sampler.sample(users, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)


def test_an_empty_training_part_is_refused():
    with pytest.raises(TrainingError, match="no interactions"):
        NegativeSampler(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), 4)
