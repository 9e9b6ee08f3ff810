"""MMGCL: the released loss written out on the same edges, and the switches."""

import math

import pytest
import torch

from lmmrec_core.errors import ConfigError
from lmmrec_core.recommenders.mmgcl import MMGCL
from tests.recommenders.plain_channels import (
    MODALITY_SETS,
    assert_same,
    clean,
    encode,
    fuse,
    inputs,
    nce,
    of_edges,
    only,
    unit,
    vectors,
)
from tests.recommenders.toys import fill, random_batch, random_data


def model(data, **settings):
    settings = {"embedding_dim": 6, "stale_eval": False, **settings}
    return MMGCL(data, MMGCL.Settings.build(settings), torch.Generator().manual_seed(3))


def stream(seed=8):
    return torch.Generator().manual_seed(seed)


def plain_bpr(mmgcl, data, batch, eps=1e-5):
    z_user, z_item = vectors(mmgcl, clean(data))
    user, wanted, unwanted = z_user[batch.user], z_item[batch.positive], z_item[batch.negative]
    return -(eps + ((user * wanted).sum(1) - (user * unwanted).sum(1)).sigmoid()).log().mean()


def plain_loss(mmgcl, data, batch, step):
    """BPR and the two equal terms of the released code."""
    settings = mmgcl.settings
    v_user, v_item = vectors(mmgcl, step)
    rows = unit(v_user[batch.user]), unit(v_item[batch.positive])
    terms = nce(*rows, settings.ssl_temp), nce(*rows, settings.ssl_temp)
    return plain_bpr(mmgcl, data, batch, settings.eps) + settings.ssl_alpha * (terms[0] + terms[1])


@pytest.mark.parametrize("modalities", MODALITY_SETS)
@pytest.mark.parametrize("settings", [{}, {"n_layers": 2, "ssl_temp": 0.5, "ssl_alpha": 1.0, "stale_eval": True}])
def test_loss_and_gradients_equal_the_plain_form_on_the_same_edges(modalities, settings):
    data = only(random_data(1), *modalities)
    mmgcl, batch = model(data, **settings), random_batch(data, 4)
    step = of_edges(mmgcl.subsets.drop(0.3, stream()))
    assert int((step > 0).sum()) == 2 * 35  # of 50 edges
    assert_same(mmgcl, mmgcl.loss(batch, stream()), plain_loss(mmgcl, data, batch, step))


def test_without_dropout_the_contrast_is_on_the_clean_vectors():
    data = random_data(1)
    mmgcl, batch = model(data, dropout=0.0), random_batch(data, 4)
    assert_same(mmgcl, mmgcl.loss(batch, stream()), plain_loss(mmgcl, data, batch, clean(data)))


@pytest.mark.parametrize("mode", ["reference", "described"])
def test_without_weight_there_is_no_contrast_and_no_draw(mode):
    data = random_data(1)
    mmgcl, batch, draws = model(data, ssl_alpha=0.0, mode=mode), random_batch(data, 4), stream()
    assert_same(mmgcl, mmgcl.loss(batch, draws), plain_bpr(mmgcl, data, batch))
    assert torch.equal(draws.get_state(), stream().get_state())


def test_every_batch_has_edges_of_its_own():
    data = random_data(1)
    mmgcl, batch, draws = model(data), random_batch(data, 4), stream()
    losses = [mmgcl.loss(batch, draws).item() for _ in range(3)]
    assert len(set(losses)) == 3
    assert mmgcl.loss(batch, stream()).item() == losses[0]


def test_eps_bounds_the_pairwise_term():
    data = random_data(1)
    mmgcl, batch = model(data, ssl_alpha=0.0, n_layers=0), random_batch(data, 4)
    ids = torch.eye(6, 18)
    fill(mmgcl, read_user__weight=ids, read_item__weight=ids, user=torch.full((12, 6), 30.0))
    fill(mmgcl, item=torch.arange(15.0)[:, None].expand(15, 6))
    worst = type(batch)(batch.user, torch.zeros_like(batch.positive), torch.full_like(batch.positive, 14))
    assert mmgcl.loss(worst, stream()).item() == pytest.approx(math.log(1e5), abs=1e-4)  # 11.5
    tighter = model(data, ssl_alpha=0.0, n_layers=0, eps=1e-3)
    tighter.load_state_dict(mmgcl.state_dict())
    assert tighter.loss(worst, stream()).item() == pytest.approx(math.log(1e3), abs=1e-4)


def test_contrast_of_equal_rows_is_the_logarithm_of_the_batch_size():
    data = random_data(1)
    mmgcl, batch = model(data, ssl_alpha=0.25), random_batch(data, 4)
    for layer in (mmgcl.read_user, mmgcl.read_item):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.ones_(layer.bias)
    expected = -math.log(0.5 + 1e-5) + 0.25 * 2 * math.log(7)
    assert mmgcl.loss(batch, stream()).item() == pytest.approx(expected, abs=1e-5)


def plain_described(mmgcl, data, batch, steps, masked, swapped):
    """The contrast as described: the graph of every channel, the blanked one, and that of the challenging negative."""
    settings, given = mmgcl.settings, inputs(mmgcl)
    encoded = [encode(mmgcl, step, items) for step, items in zip(steps, given, strict=True)]
    first_user = unit(fuse(mmgcl, mmgcl.read_user, [users[batch.user] for users, _ in encoded]))
    own = [items[batch.positive] for _, items in encoded]
    other = [items[batch.negative] for _, items in encoded]
    first_item = unit(fuse(mmgcl, mmgcl.read_item, own))
    challenge = unit(fuse(mmgcl, mmgcl.read_item, [other[m] if m == swapped else own[m] for m in range(len(own))]))
    given[masked] = mmgcl.get_buffer(f"mask_{list(mmgcl.features)[masked - 1]}")
    second_user, second_item = vectors(mmgcl, clean(data), given)
    of_users = nce(first_user, unit(second_user[batch.user]), settings.ssl_temp)
    weights = (first_item @ unit(second_item[batch.positive]).T / settings.ssl_temp).exp()
    extra = ((first_item * challenge).sum(1) / settings.ssl_temp).exp()
    of_items = -(weights.diagonal() / (weights.sum(1) + extra)).log().mean()
    return plain_bpr(mmgcl, data, batch) + settings.ssl_alpha * (of_users + of_items)


@pytest.mark.parametrize("modalities", MODALITY_SETS)
@pytest.mark.parametrize("chances", [(1.0, 0.0), (0.0, 1.0)])
def test_described_mode_equals_the_plain_form(modalities, chances):
    data = only(random_data(1), *modalities)
    mmgcl, batch = model(data, mode="described", mask_p=chances), random_batch(data, 4)
    draws = stream()
    steps = [of_edges(mmgcl.subsets.drop(0.3, draws)) for _ in range(1 + len(modalities))]
    assert not torch.equal(steps[0], steps[1])
    place = 2 if len(modalities) == 2 and chances[1] else 1
    assert_same(mmgcl, mmgcl.loss(batch, stream()), plain_described(mmgcl, data, batch, steps, place, place))


def test_described_mode_draws_modalities_by_their_chances():
    mmgcl, draws = model(random_data(1), mode="described", mask_p=(0.25, 0.75)), stream()
    drawn = torch.tensor([mmgcl._draw(draws) for _ in range(2000)])
    assert drawn.float().mean().item() == pytest.approx(0.75, abs=0.04)


def test_described_mode_draws_the_masked_and_the_exchanged_modality_separately():
    data = random_data(1)
    mmgcl, batch = model(data, mode="described", mask_p=(0.5, 0.5)), random_batch(data, 4)
    seen = []
    for seed in range(10):
        draws = stream(seed)
        steps = [of_edges(mmgcl.subsets.drop(0.3, draws)) for _ in range(3)]
        loss = mmgcl.loss(batch, stream(seed)).item()
        for pair in ((1, 1), (1, 2), (2, 1), (2, 2)):
            if plain_described(mmgcl, data, batch, steps, *pair).item() == pytest.approx(loss, abs=1e-6):
                seen.append(pair)
    assert len(seen) == 10  # one for every seed
    assert len(set(seen)) > 2


def test_the_random_tables_are_saved_not_trained_and_exist_only_as_described():
    data = random_data(1)
    described = model(data, mode="described")
    names = {"mask_visual", "mask_textual"}
    assert names <= set(described.state_dict()) and not names & {name for name, _ in described.named_parameters()}
    assert described.get_buffer("mask_visual").shape == (15, 6)
    assert not names & set(model(data).state_dict())


@pytest.mark.parametrize("chances", [(0.5, 0.6), (-0.1, 1.1)])
def test_chances_that_do_not_sum_to_one_are_refused(chances):
    with pytest.raises(ConfigError, match=r"mask_p.*two probabilities that sum to 1"):
        model(random_data(1), mask_p=chances)
