"""Policies that change the gradient: what they keep, that "sampled" has no bias, and what is reported."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lmmrec_core.errors import ConfigError
from lmmrec_core.training.joint.policies import agreement, chosen_window, largest, row_norms, sampled
from tests.training.joint.toy_encoders import (
    Moving,
    ToyEncoder,
    batches_of,
    build,
    data_of,
    error,
    settings,
    whole_graph,
    windowed,
)

ITEMS = 45
DATA = data_of(ToyEncoder(ITEMS), ITEMS)


def test_norms_are_over_the_modalities_side_by_side():
    gradients = {"visual": torch.tensor([[3.0, 0.0], [0.0, 0.0]]), "textual": torch.tensor([[4.0], [0.0]])}
    assert row_norms(gradients).tolist() == [5.0, 0.0]


def test_the_largest_rows_are_kept_and_never_a_zero_one():
    assert largest(torch.tensor([0.1, 0.0, 3.0, 2.0]), 2).tolist() == [2, 3]
    assert largest(torch.tensor([0.1, 0.0, 0.0]), 3).tolist() == [0]


def test_sampled_rows_have_the_stated_probabilities_and_weights():
    norms, generator = torch.tensor([6.0, 2.0, 1.0, 1.0, 0.0]), torch.Generator().manual_seed(0)
    chance = torch.tensor([1.0, 0.4, 0.2, 0.2, 0.0])  # k = 2: 2 n / 10, at most 1
    count = torch.zeros(5)
    for _ in range(4000):
        kept, weight = sampled(norms, 2, generator)
        torch.testing.assert_close(weight, 1 / chance[kept])
        count[kept] += 1
    assert ((count / 4000 - chance).abs() <= 3.5 * (chance * (1 - chance) / 4000).sqrt() + 1e-9).all()
    assert len(sampled(torch.zeros(3), 2, generator)[0]) == 0


def gradient(policy: str, name: str = "mmgcn", **values) -> torch.Tensor:
    model = build(name, DATA)
    window = windowed(model, ToyEncoder(ITEMS), batches_of(DATA, 1, size=4), policy=policy, **values)
    return window.gradients[0]


def test_sampling_is_unbiased():
    """On the real path: the mean of 2,000 draws of the weights' gradient against the exact one."""
    model, encoder = build("mmgcn", DATA), ToyEncoder(ITEMS)
    window = windowed(model, encoder, batches_of(DATA, 1, size=4), policy="sampled", kept_rows=8)
    exact = whole_graph(build("mmgcn", DATA), ToyEncoder(ITEMS), batches_of(DATA, 1, size=4))
    encoder.module.eval()
    rows = encoder.rows(torch.arange(ITEMS))
    per_item = []  # d<row, its gradient>/d weights, one vector per item: the draws are sums of these
    for item in range(ITEMS):
        part = sum((rows[m][item] * g[item]).sum() for m, g in window.feature_gradients[0].items())
        grads = torch.autograd.grad(part, list(encoder.module.parameters()), retain_graph=True, allow_unused=True)
        per_item.append(torch.cat([g.flatten() for g in grads]))
    table = torch.stack(per_item)
    assert error(table.sum(0), exact) < 1e-4
    draws = []
    for _ in range(2000):
        items, weighted = window._kept(window.feature_gradients[0])
        weight = (weighted["visual"] / window.feature_gradients[0]["visual"]).nanmean(1)
        draws.append((table[items] * weight[items, None]).sum(0))
    draws = torch.stack(draws)
    assert len(items) < ITEMS
    off = (draws.mean(0) - exact).abs() / (draws.std(0) / 2000**0.5 + 1e-9)
    assert off.mean() < 1.1 and (off < 3).float().mean() > 0.98  # a mean of |normal| values is 0.8


def test_one_sampled_update_is_the_weighted_sum_of_its_rows():
    window = windowed(build("mmgcn", DATA), ToyEncoder(ITEMS), batches_of(DATA, 1, size=4), policy="sampled")
    assert 0 < error(window.gradients[0], gradient("window")) < 5


@pytest.mark.parametrize("policy", ["top", "sampled", "bank"])
def test_all_rows_kept_is_exact(policy):
    values = {"updates_per_epoch": "every_step"} if policy == "bank" else {"kept_rows": 10**6}
    encoder, model = ToyEncoder(ITEMS), build("vbpr", DATA)
    window = windowed(model, encoder, batches_of(DATA, 2, size=60), policy=policy, **values)
    exact = windowed(
        build("vbpr", DATA), ToyEncoder(ITEMS), batches_of(DATA, 2, size=60),
        updates_per_epoch=values.get("updates_per_epoch", 8),
    )  # fmt: skip
    for found, expected in zip(window.gradients, exact.gradients, strict=True):
        assert error(found, expected) < 1e-5


def test_top_gets_closer_with_more_rows():
    exact = gradient("window")
    errors = [error(gradient("top", kept_rows=k), exact) for k in (2, 10, 44)]
    assert errors[0] > errors[1] > errors[2] > 0


def test_the_bank_encodes_the_batch_keeps_old_rows_of_others_and_drops_their_gradient():
    encoder, model = ToyEncoder(ITEMS), build("mmgcn", DATA)
    batches = batches_of(DATA, 3, size=4)
    start = {m: f.clone() for m, f in DATA.features.items()}
    window = windowed(
        model, encoder, batches, kind=Moving, policy="bank", updates_per_epoch="every_step", encoder_learning_rate=0.01
    )
    live = torch.zeros(ITEMS, dtype=torch.bool)
    for batch in batches:
        live[torch.cat([batch.positive, batch.negative])] = True
    old = torch.isclose(model.features["visual"].detach(), start["visual"], rtol=1e-5, atol=1e-7).all(1)
    assert old[~live].all() and not old[live].all() and len(window.gradients) == 3
    assert window.feature_gradients[0]["visual"][~live].any()  # there was gradient to drop


@pytest.mark.parametrize("policy", ["top", "sampled", "bank"])
def test_what_an_approximation_costs_is_measured_against_the_exact_gradient(policy):
    values = {"updates_per_epoch": "every_step"} | ({} if policy == "bank" else {"kept_rows": 6})
    window = windowed(
        build("mmgcn", DATA), ToyEncoder(ITEMS), batches_of(DATA, 6, size=4), policy=policy, measure_batches=3, **values
    )
    notes = window.notes()
    exact = gradient("window", updates_per_epoch="every_step")
    first = notes["against_exact"][0]
    expected = agreement(exact, window.gradients[0])
    assert (first["cosine"], first["relative_error"]) == pytest.approx(expected, rel=1e-3)
    assert len(notes["against_exact"]) == 3 and first["relative_error"] > 0
    medians = sorted(entry["cosine"] for entry in notes["against_exact"])[1]
    assert notes["median_cosine_above_0.95_in_every_epoch"] == (medians > 0.95)


def test_measuring_changes_nothing():
    """BM3 draws dropout in its loss: the extra loss of a measured batch must not shift the draws."""
    plain, measured = (
        windowed(
            build("bm3", DATA), ToyEncoder(ITEMS), batches_of(DATA, 3, size=4, negatives=False),
            policy="bank", updates_per_epoch="every_step", measure_batches=count,
        )
        for count in (0, 3)
    )  # fmt: skip
    assert all(torch.equal(a, b) for a, b in zip(plain.gradients, measured.gradients, strict=True))
    assert measured.measured[0][1] == pytest.approx(1)  # BM3 reads the batch's items only


def test_a_bank_is_refused_where_features_enter_once_an_epoch():
    with pytest.raises(ConfigError, match="once an epoch"):
        windowed(
            build("lattice", DATA), ToyEncoder(ITEMS), batches_of(DATA, 1), policy="bank",
            updates_per_epoch="every_step",
        )  # fmt: skip


@hypothesis_settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 60))
def test_measured_windows_are_as_many_as_asked_for(n_windows, measured):
    chosen = [chosen_window(index, n_windows, measured) for index in range(n_windows)]
    assert sum(chosen) == min(n_windows, measured) and (not measured or chosen[0])


def test_agreement_of_known_vectors():
    assert agreement(torch.tensor([3.0, 0.0]), torch.tensor([3.0, 4.0])) == pytest.approx((0.6, 4 / 3))
    assert agreement(torch.zeros(2), torch.zeros(2)) == (1.0, 0.0)
    assert agreement(torch.ones(2), torch.zeros(2)) == (0.0, 1.0)


def test_settings_name_the_policies():
    with pytest.raises(ConfigError, match="policy"):
        settings(policy="stale")
