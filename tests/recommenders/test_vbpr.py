"""VBPR: an oracle by hand, invariants, the publication's formula, and the batch-rows shortcut."""

import pytest
import torch

from lmmrec_core.errors import FeatureError
from lmmrec_core.recommenders.vbpr import VBPR
from lmmrec_core.roles import TrainingData
from tests.recommenders.toys import ITEMS, VISUAL, fill, random_batch, random_data, toy, toy_batch


def model(data, **settings):
    return VBPR(data, VBPR.Settings(**settings), torch.Generator().manual_seed(3))


def only(data, *modalities):
    features = {modality: data.features[modality] for modality in modalities}
    return TrainingData(data.n_users, data.n_items, data.user, data.item, features)


def spec_model(**settings):
    vbpr = model(toy({"visual": VISUAL}), embedding_dim=2, reg_weight=0.1, **settings)
    fill(vbpr, user=torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1]]), item=ITEMS, item_linear__weight=torch.eye(2))
    return vbpr


def test_oracle():
    vbpr = spec_model()
    torch.testing.assert_close(vbpr.scorer()(torch.arange(2)), torch.tensor([[2.0, 0.8, 3.0], [0.0, 2.6, 5.0]]))
    assert vbpr.loss(toy_batch(), torch.Generator()).item() == pytest.approx(1.189316, abs=1e-6)


def test_scale_of_the_features_matters_unless_normalised():
    data = random_data(0)
    scaled = TrainingData(
        data.n_users, data.n_items, data.user, data.item, {name: 7 * rows for name, rows in data.features.items()}
    )
    users = torch.arange(data.n_users)
    assert not torch.allclose(model(data).scorer()(users), model(scaled).scorer()(users))
    a, b = (model(some, normalise_features=True).scorer()(users) for some in (data, scaled))
    torch.testing.assert_close(a, b)


def test_without_the_map_it_is_matrix_factorisation_on_the_first_half():
    data = random_data(0)
    vbpr = model(data, embedding_dim=3)
    fill(vbpr, item_linear__weight=torch.zeros(3, 9))
    expected = (vbpr.user[:, :3] @ vbpr.item.T).detach()
    torch.testing.assert_close(vbpr.scorer()(torch.arange(data.n_users)), expected)


def test_text_comes_first_in_the_map():
    data = random_data(0)
    vbpr = model(data, embedding_dim=3)
    joined = torch.cat([data.features["textual"], data.features["visual"]], 1)
    items = torch.cat([vbpr.item, vbpr.item_linear(joined)], 1)
    torch.testing.assert_close(vbpr.scorer()(torch.arange(data.n_users)), (vbpr.user @ items.T).detach())


@pytest.mark.parametrize("mode", ["reference", "described"])
def test_mapping_only_the_batch_items_changes_neither_loss_nor_gradients(mode):
    data = random_data(4, n_items=40)  # a batch of 7 has at most 14 of the 40 items
    batch = random_batch(data, 1)
    few = model(data, mode=mode, reg_weight=0.5)
    if mode == "described":
        fixed = torch.Generator().manual_seed(3)
        fill(few, bias=torch.randn(40, generator=fixed), feature_bias=torch.randn(9, generator=fixed))
    users, items = few.representations()
    both = torch.cat([batch.positive, batch.negative])
    u, (i, j) = users[batch.user], items[both].chunk(2)
    margin = (u * i).sum(1) - (u * j).sum(1)
    if mode == "reference":
        penalty = (u.norm() + i.norm() + j.norm()) / 7
    else:
        rows = few.user[batch.user], few.item[both], few.bias[both]
        penalty = sum(row.square().sum() for row in rows) / 14
    expected = -margin.sigmoid().log().mean() + 0.5 * penalty
    loss = few.loss(batch, torch.Generator())
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    parameters = [parameter for parameter in few.parameters() if parameter.requires_grad]
    for a, b in zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_small_and_large_catalogues_take_different_paths_to_the_same_loss():
    data = random_data(4, n_items=40)
    vbpr, small, large = model(data), random_batch(data, 1, size=7), random_batch(data, 1, size=7)
    repeated = type(large)(large.user.repeat(4), large.positive.repeat(4), large.negative.repeat(4))  # 56 item rows
    unweighted = model(data, reg_weight=0)
    a, b = (unweighted.loss(batch, torch.Generator()) for batch in (small, repeated))
    torch.testing.assert_close(a, b)
    assert vbpr.loss(small, torch.Generator()).isfinite()


def test_described_mode_is_the_publications_formula():
    data = only(random_data(0), "visual")
    vbpr = model(data, mode="described", embedding_dim=3)
    fill(vbpr, bias=torch.randn(data.n_items), feature_bias=torch.randn(5))
    latent, visual = vbpr.user[:, :3], vbpr.user[:, 3:]
    rows = data.features["visual"]
    expected = (
        vbpr.bias + latent @ vbpr.item.T + visual @ (rows @ vbpr.item_linear.weight.T).T + rows @ vbpr.feature_bias
    )
    torch.testing.assert_close(vbpr.scorer()(torch.arange(data.n_users)), expected.detach())
    assert not vbpr.item_linear.bias.requires_grad


@pytest.mark.parametrize(("modalities", "width"), [(("visual",), 5), (("textual",), 4), (("visual", "textual"), 9)])
def test_the_map_is_as_wide_as_the_modalities_in_use(modalities, width):
    assert model(only(random_data(0), *modalities)).item_linear.weight.shape == (64, width)


def test_gradients_reach_substituted_features():
    data = random_data(0)
    vbpr = model(data)
    leaf = data.features["visual"].clone().requires_grad_()
    vbpr.features["visual"] = leaf
    batch = random_batch(data, 2)
    vbpr.loss(batch, torch.Generator()).backward()
    touched = torch.zeros(data.n_items, dtype=torch.bool)
    touched[torch.cat([batch.positive, batch.negative])] = True
    assert leaf.grad[touched].any(1).all() and not leaf.grad[~touched].any()


def test_unusable_features_are_refused():
    data = random_data(0)
    with pytest.raises(FeatureError, match="none were given"):
        model(only(data))
    broken = data.features["textual"].clone()
    broken[3, 1] = torch.nan
    with pytest.raises(FeatureError, match="textual features of item at position 3"):
        model(TrainingData(data.n_users, data.n_items, data.user, data.item, {"textual": broken}))
    with pytest.raises(FeatureError, match="15 items"):
        model(TrainingData(data.n_users, data.n_items, data.user, data.item, {"textual": broken[:4]}))
