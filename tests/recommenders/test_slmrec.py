"""SLMRec: its tasks written out, oracles by hand, invariants, and the switches."""

import itertools
import math

import pytest
import torch

from lmmrec_core.audit.ledger import read_ledger
from lmmrec_core.recommenders.slmrec import SLMRec, _dropped
from lmmrec_core.roles import Batch, TrainingData
from tests.recommenders.plain_channels import (
    MODALITY_SETS,
    assert_same,
    clean,
    encode,
    fuse,
    inputs,
    nce,
    only,
    unit,
    vectors,
)
from tests.recommenders.toys import fill, random_batch, random_data

FAC_MAPS = {
    ("visual", "textual"): {"g_i_iv", "g_v_iv", "g_iv_iva", "g_iva_ivat", "g_t_ivat"},
    ("visual",): {"g_i_iv", "g_v_iv"},
    ("textual",): {"g_i_iv", "g_iv_iva", "g_iva_ivat", "g_t_ivat"},
}


def model(data, **settings):
    settings = {"embedding_dim": 6, "ssl_alpha": 0.3, "stale_eval": False, **settings}
    return SLMRec(data, SLMRec.Settings.build(settings), torch.Generator().manual_seed(3))


def stream(seed=8):
    return torch.Generator().manual_seed(seed)


def pairs(data, seed=4):
    batch = random_batch(data, seed)
    return Batch(batch.user, batch.positive, None)


def plain_main(slmrec, data, batch):
    z_user, z_item = vectors(slmrec, clean(data))
    return nce(unit(z_user[batch.user]), unit(z_item[batch.positive]), slmrec.settings.temp)


def plain_fac(slmrec, data, batch, cosine=False):
    rows = [encode(slmrec, clean(data), items)[1][batch.positive] for items in inputs(slmrec)]
    rows = dict(zip(("id", *slmrec.features), rows, strict=True))
    maps, total = slmrec.spaces, 0.0
    anchor = maps["g_i_iv"](rows["id"])
    cases = []
    if "visual" in rows:
        cases.append((anchor, maps["g_v_iv"](rows["visual"])))
    if "textual" in rows:
        cases.append((maps["g_iva_ivat"](maps["g_iv_iva"](anchor)), maps["g_t_ivat"](rows["textual"])))
    for query, key in cases:
        query, key = (unit(query), unit(key)) if cosine else (query, key)
        total = total + nce(query, key, slmrec.settings.ssl_temp)
    return total


def layers_of(slmrec, data, items):
    """Every layer of [P_u; items], layer 0 first."""
    found = [torch.cat([slmrec.user, items])]
    for _ in range(slmrec.settings.n_layers):
        found.append(clean(data) @ found[-1])
    return found


def plain_vectors_of_views(slmrec, data, blanked):
    """z_u, z_i of the two views of FM, layers appended as by the authors: crosswise after the 0th."""
    averages: list[list[torch.Tensor]] = [[], []]
    for at, items in enumerate(inputs(slmrec)):
        own = [layers_of(slmrec, data, torch.zeros_like(items) if at == place else items) for place in blanked]
        for view in (0, 1):
            stacked = [own[view][0], *own[1 - view][1:]]
            averages[view].append(sum(stacked) / len(stacked))
    views = []
    for channels in averages:
        users, items = zip(*(rows.split([data.n_users, data.n_items]) for rows in channels), strict=True)
        views.append((fuse(slmrec, slmrec.read_user, list(users)), fuse(slmrec, slmrec.read_item, list(items))))
    return views


def plain_views(slmrec, data, batch, blanked=(None, None)):
    """FM: two views, each without the item rows of one channel; without blanks the clean vectors twice."""
    views = plain_vectors_of_views(slmrec, data, blanked)
    rows = [(unit(z_user[batch.user]), unit(z_item[batch.positive])) for z_user, z_item in views]
    temperature = slmrec.settings.ssl_temp
    return sum(nce(first, second, temperature) for first, second in zip(*rows, strict=True))


@pytest.mark.parametrize("modalities", MODALITY_SETS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stale_eval": True, "ssl_temp": 0.7, "temp": 0.4},
        {"fac_cosine": True, "n_layers": 2},
        {"fusion": "mean", "n_layers": 1},
    ],
)
def test_loss_and_gradients_equal_the_plain_form(modalities, settings):
    data = only(random_data(1), *modalities)
    slmrec, batch = model(data, **settings), pairs(data)
    expected = plain_main(slmrec, data, batch) + 0.3 * plain_fac(slmrec, data, batch, settings.get("fac_cosine", False))
    assert_same(slmrec, slmrec.loss(batch, stream()), expected)


@pytest.mark.parametrize("task", ["FAC", "FD", "FM", "FD+FM"])
def test_without_weight_the_second_task_is_absent(task):
    data = random_data(1)
    slmrec, batch, draws = model(data, ssl_alpha=0.0, ssl_task=task), pairs(data), stream()
    loss = slmrec.loss(batch, draws)
    torch.testing.assert_close(loss, plain_main(slmrec, data, batch), rtol=1e-5, atol=1e-6)
    loss.backward()
    learning = {name for name, value in slmrec.named_parameters() if value.grad is not None}
    assert {"user", "item", "read_user.weight"} <= learning
    assert not any(name.startswith("spaces") for name in learning)
    assert torch.equal(draws.get_state(), stream().get_state())


@pytest.mark.parametrize("modalities", MODALITY_SETS)
def test_every_map_of_fac_learns_and_none_is_superfluous(modalities):
    data = only(random_data(1), *modalities)
    slmrec = model(data)
    assert set(slmrec.spaces) == FAC_MAPS[modalities]
    slmrec.loss(pairs(data), stream()).backward()
    for name, value in slmrec.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all(), name
        if name.endswith("weight"):
            assert value.grad.any(), name


def test_the_coarse_space_has_half_the_width():
    slmrec = model(random_data(1))
    assert slmrec.spaces["g_iv_iva"].weight.shape == (6, 6)
    assert slmrec.spaces["g_iva_ivat"].weight.shape == slmrec.spaces["g_t_ivat"].weight.shape == (3, 6)


@pytest.mark.parametrize("task", ["FD", "FM", "FD+FM"])
def test_other_tasks_have_no_maps_of_their_own(task):
    assert not model(random_data(1), ssl_task=task).spaces


def ids_only(data, **settings):
    """z are the id tables themselves."""
    slmrec = model(data, n_layers=0, ssl_alpha=0.0, rank_by="score", **settings)
    first = torch.eye(6, 18)
    fill(slmrec, read_user__weight=first, read_item__weight=first)
    fill(slmrec, read_user__bias=torch.zeros(6), read_item__bias=torch.zeros(6))
    return slmrec


def test_contrast_oracles():
    data = random_data(1)
    slmrec, batch = ids_only(data), Batch(torch.arange(3), torch.arange(3), None)
    fill(slmrec, user=torch.eye(12, 6), item=5 * torch.eye(15, 6))
    assert slmrec.loss(batch, stream()).item() == pytest.approx(math.log(1 + 2 * math.exp(-5)), abs=1e-6)  # 0.013386
    fill(slmrec, user=torch.ones(12, 6), item=torch.ones(15, 6))
    assert slmrec.loss(batch, stream()).item() == pytest.approx(math.log(3), abs=1e-6)


@pytest.mark.parametrize("task", ["FAC", "FD", "FM", "FD+FM"])
def test_a_batch_of_one_row_teaches_nothing(task):
    data = random_data(1)
    one = Batch(data.user[:1], data.item[:1], None)
    assert model(data, ssl_task=task).loss(one, stream()).item() == pytest.approx(0.0, abs=1e-6)


def test_lengths_do_not_enter_the_main_loss_but_item_lengths_enter_the_ranking():
    data = random_data(1)
    slmrec, batch, users = ids_only(data), pairs(data), torch.arange(12)
    loss, scores = slmrec.loss(batch, stream()), slmrec.scorer()(users)
    scale = torch.rand(15, 1, generator=stream()) * 9 + 0.1
    fill(slmrec, user=slmrec.user.detach() * scale[:12])
    torch.testing.assert_close(slmrec.loss(batch, stream()), loss)
    assert torch.equal(slmrec.scorer()(users).argsort(1), scores.argsort(1))
    fill(slmrec, item=slmrec.item.detach() * scale)
    torch.testing.assert_close(slmrec.loss(batch, stream()), loss)
    assert not torch.equal(slmrec.scorer()(users).argsort(1), scores.argsort(1))


@pytest.mark.parametrize("modalities", MODALITY_SETS)
def test_feature_masking_blanks_another_channel_in_either_view(modalities):
    data = only(random_data(1), *modalities)
    slmrec, batch = model(data, ssl_task="FM"), pairs(data)
    choices = list(itertools.permutations(range(1 + len(modalities)), 2))
    plain = [plain_main(slmrec, data, batch) + 0.3 * plain_views(slmrec, data, batch, pair) for pair in choices]
    seen = set()
    for seed in range(25):
        loss = slmrec.loss(batch, stream(seed))
        fits = [at for at, expected in enumerate(plain) if torch.allclose(loss, expected, rtol=1e-5, atol=1e-6)]
        assert len(fits) == 1
        if fits[0] not in seen:
            assert_same(
                slmrec, loss, plain_main(slmrec, data, batch) + 0.3 * plain_views(slmrec, data, batch, choices[fits[0]])
            )
        seen.update(fits)
    assert len(seen) == len(choices)


def test_masking_takes_the_other_views_layers_as_the_authors_code_does():
    """Per channel and item with one user each: own layer 0, then the other view's propagated row, by hand."""
    data = random_data(1)
    slmrec = model(data, ssl_task="FM", n_layers=2)
    channels = slmrec.channels()
    given = [[torch.zeros_like(x) if at == place else x for at, x in enumerate(channels)] for place in (0, 1)]
    straight = [slmrec.fused(slmrec.graph, *slmrec.both_read(inputs)) for inputs in given]
    crossed = slmrec._crosswise(given, straight)
    for ours, plain in zip(crossed, plain_vectors_of_views(slmrec, data, (0, 1)), strict=True):
        for side in (0, 1):
            torch.testing.assert_close(ours[side], plain[side], rtol=1e-5, atol=1e-6)
    assert torch.equal(crossed[0][0], straight[1][0])  # users share layer 0
    for at in (0, 1):
        assert not torch.allclose(crossed[0][1], straight[at][1], atol=1e-3)


def test_the_ledger_says_whose_layers_a_masked_view_has():
    data = random_data(1)
    slmrec, batch = model(data, ssl_task="FM", n_layers=2), pairs(data)
    crossed = [plain_main(slmrec, data, batch) + 0.3 * plain_views(slmrec, data, batch, pair)
               for pair in itertools.permutations(range(3), 2)]  # fmt: skip
    loss = slmrec.loss(batch, stream())
    as_the_authors = any(torch.allclose(loss, plain, rtol=1e-5, atol=1e-6) for plain in crossed)
    (entry,) = (one for one in read_ledger().differences if one.name == "layers appended crosswise")
    words = "The same. Each view has its own layer 0 and the other view's further layers."
    assert as_the_authors and entry.study == words


def test_masking_with_dropout_has_the_crossed_views_as_its_mean():
    data = random_data(1)
    slmrec, draws = model(data, ssl_task="FD+FM", n_layers=2), stream()
    channels = slmrec.channels()
    given = [[torch.zeros_like(x) if at == place else x for at, x in enumerate(channels)] for place in (1, 2)]
    with torch.no_grad():
        drawn = [slmrec._crosswise(given, [slmrec._noisy(inputs, 0.3, draws) for inputs in given]) for _ in range(400)]
    for view, plain in enumerate(plain_vectors_of_views(slmrec, data, (1, 2))):
        for side in (0, 1):
            values = torch.stack([pair[view][side] for pair in drawn])
            error = values.std(0) / len(drawn) ** 0.5
            assert ((values.mean(0) - plain[side]).abs() <= 5 * error + 1e-6).all()


def test_feature_dropout_without_dropout_contrasts_the_clean_vectors():
    data = random_data(1)
    slmrec, batch = model(data, ssl_task="FD", dropout=0.0), pairs(data)
    assert_same(
        slmrec,
        slmrec.loss(batch, stream()),
        plain_main(slmrec, data, batch) + 0.3 * plain_views(slmrec, data, batch),
    )


def test_feature_dropout_makes_two_views_whose_mean_is_the_clean_one():
    data = random_data(1)
    slmrec, draws = model(data, ssl_task="FD"), stream()
    channels = slmrec.channels()
    with torch.no_grad():
        views = [slmrec._noisy(channels, 0.3, draws) for _ in range(400)]
    for side, expected in enumerate(vectors(slmrec, clean(data))):
        drawn = torch.stack([view[side] for view in views])
        error = drawn.std(0) / len(views) ** 0.5
        assert not torch.equal(drawn[0], drawn[1])
        assert ((drawn.mean(0) - expected).abs() <= 5 * error + 1e-6).all()
    batch = pairs(data)
    draws = stream()
    first, second = slmrec.loss(batch, draws), slmrec.loss(batch, draws)
    assert first.item() != second.item() and first.item() == slmrec.loss(batch, stream()).item()
    for value in torch.autograd.grad(first, [slmrec.user, slmrec.item, slmrec.maps["visual"].weight]):
        assert value.any() and value.isfinite().all()


def test_dropped_entries_have_the_stated_share_and_the_others_keep_the_mean():
    rows = _dropped(torch.ones(400, 50), 0.3, stream())
    assert rows.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert (rows == 0).float().mean().item() == pytest.approx(0.3, abs=0.015)


def test_masking_with_dropout_does_both():
    data = random_data(1)
    batch = pairs(data)
    both, masked = (model(data, ssl_task="FD+FM", dropout=rate) for rate in (0.3, 0.0))
    only_masked = model(data, ssl_task="FM", dropout=0.3)
    assert torch.equal(masked.loss(batch, stream()), only_masked.loss(batch, stream()))
    assert not torch.allclose(both.loss(batch, stream()), masked.loss(batch, stream()))
    dropped = model(data, ssl_task="FD", dropout=0.3)
    assert not torch.allclose(both.loss(batch, stream()), dropped.loss(batch, stream()))


def test_no_negatives_are_asked_for_or_read():
    data = random_data(1)
    batch = random_batch(data, 4)
    assert not SLMRec.needs_negatives
    assert torch.equal(model(data).loss(batch, stream()), model(data).loss(pairs(data), stream()))


def test_the_smallest_width_still_has_a_coarse_space():
    data = random_data(1)
    assert model(data, embedding_dim=1).loss(pairs(data), stream()).isfinite()


def test_items_of_users_without_rows_are_scored():
    data = random_data(1)
    lonely = TrainingData(
        data.n_users + 1,
        data.n_items + 1,
        data.user,
        data.item,
        {modality: torch.cat([rows, torch.ones(1, rows.shape[1])]) for modality, rows in data.features.items()},
    )
    slmrec = model(lonely)
    slmrec.loss(pairs(data), stream()).backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in slmrec.parameters())
    assert slmrec.scorer()(torch.tensor([12])).isfinite().all()
