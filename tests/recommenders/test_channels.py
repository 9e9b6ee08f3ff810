"""What MMGCL and SLMRec share, against the plain three-encoding form, and their invariants."""

import pytest
import torch
from torch.nn import functional

from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.recommenders.channels import ChannelRecommender, item_average, user_average
from lmmrec_core.recommenders.layers import BipartiteGraph
from lmmrec_core.roles import TrainingData
from tests.recommenders.plain_channels import MODALITY_SETS, clean, encode, inputs, only, vectors
from tests.recommenders.toys import fill, random_batch, random_data

BOTH = pytest.mark.parametrize("name", ["mmgcl", "slmrec"])


def build(name, data, seed=3, **settings):
    member = RECOMMENDERS[name]
    return member(data, member.Settings(**{"embedding_dim": 6, **settings}), torch.Generator().manual_seed(seed))


def loss_of(model, data, seed=5):
    return model.loss(random_batch(data, seed), torch.Generator().manual_seed(seed))


def with_features(data, **features):
    return TrainingData(data.n_users, data.n_items, data.user, data.item, features)


@pytest.mark.parametrize("kind", ["symmetric", "mean"])
@pytest.mark.parametrize("layers", [0, 1, 2, 3, 4])
def test_one_side_at_a_time_equals_both_sides_at_once(kind, layers):
    data, noise = random_data(layers, edges=30), torch.Generator().manual_seed(1)
    graph = getattr(BipartiteGraph, kind)(data.user, data.item, data.n_users, data.n_items)
    users, items = (torch.randn(size, 5, generator=noise).requires_grad_() for size in (12, 15))
    expected = graph.average(users, items, layers)
    for side, one_side in enumerate((user_average, item_average)):
        result = one_side(graph, users, items, layers)
        torch.testing.assert_close(result, expected[side], rtol=1e-5, atol=1e-6)
        target = torch.randn(result.shape, generator=noise)
        ours = torch.autograd.grad((result * target).sum(), (users, items), allow_unused=True)
        plain = torch.autograd.grad((expected[side] * target).sum(), (users, items), retain_graph=True)
        for a, b in zip(ours, plain, strict=True):
            torch.testing.assert_close(torch.zeros_like(b) if a is None else a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("modalities", MODALITY_SETS)
@pytest.mark.parametrize("layers", [0, 1, 2, 3])
@pytest.mark.parametrize("fusion", ["concat", "mean"])
def test_vectors_and_gradients_equal_the_plain_form(modalities, layers, fusion):
    data = only(random_data(2), *modalities)
    model = build("slmrec", data, n_layers=layers, fusion=fusion)
    plain, target = vectors(model, clean(data)), torch.Generator().manual_seed(1)
    ours = model.representations()
    weights = [torch.randn(side.shape, generator=target) for side in plain]
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    parameters = [value for name, value in model.named_parameters() if not name.startswith("spaces")]
    results = ((sides[0] * weights[0]).sum() + (sides[1] * weights[1]).sum() for sides in (ours, plain))
    gradients = (torch.autograd.grad(result, parameters) for result in results)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@BOTH
def test_no_layers_and_a_map_that_reads_the_ids_is_matrix_factorisation(name):
    data = random_data(1)
    model = build(name, data, n_layers=0, mode="described")
    first = torch.eye(6, 18)
    fill(model, read_user__weight=first, read_item__weight=first, read_user__bias=torch.zeros(6))
    fill(model, read_item__bias=torch.zeros(6))
    expected = (model.user @ model.item.T).detach()
    torch.testing.assert_close(model.scorer()(torch.arange(data.n_users)), expected)


@BOTH
@pytest.mark.parametrize("normalise", [False, True])
def test_the_scale_of_feature_rows_has_no_effect(name, normalise):
    data = random_data(0)
    scales = torch.rand(data.n_items, 1, generator=torch.Generator().manual_seed(1)) * 9 + 0.1
    scaled = with_features(data, visual=scales * data.features["visual"], textual=data.features["textual"] / scales)
    a, b = (build(name, some, normalise_features=normalise) for some in (data, scaled))
    torch.testing.assert_close(loss_of(a, data), loss_of(b, scaled))
    users = torch.arange(data.n_users)
    torch.testing.assert_close(a.scorer()(users), b.scorer()(users))


@BOTH
def test_features_with_gradient_are_normalised_inside_the_loss(name):
    data = random_data(0)
    model, fixed = build(name, data), build(name, data)
    leaves = {modality: (3 * rows).requires_grad_() for modality, rows in data.features.items()}
    model.features.update(leaves)
    loss = loss_of(model, data)
    torch.testing.assert_close(loss, loss_of(fixed, data))
    loss.backward()
    for leaf in leaves.values():  # a row's length has no effect, so no gradient points along it
        assert leaf.grad.abs().max() > 1e-6
        torch.testing.assert_close((leaf * leaf.grad).sum(1), torch.zeros(data.n_items), rtol=0, atol=1e-6)
    with torch.no_grad():
        leaves["visual"].add_(torch.randn(leaves["visual"].shape, generator=torch.Generator().manual_seed(2)))
    assert not torch.allclose(loss, loss_of(model, data))


@BOTH
def test_an_item_without_content_enters_its_channel_with_the_bias_alone(name):
    data = random_data(0)
    data.features["visual"][4] = 0
    model = build(name, data)
    torch.testing.assert_close(model.channels()[1][4], model.maps["visual"].bias)


def test_equal_content_and_maps_give_equal_channels():
    data = random_data(0)
    data = with_features(data, visual=data.features["visual"], textual=data.features["visual"])
    model = build("slmrec", data)
    fill(model, maps__textual__weight=model.maps["visual"].weight, maps__textual__bias=model.maps["visual"].bias)
    ids, visual, textual = (item_average(model.graph, model.user, items, 3) for items in model.channels())
    assert torch.equal(visual, textual) and not torch.allclose(ids, visual)
    torch.testing.assert_close(visual, encode(model, clean(data), inputs(model)[1])[1], rtol=1e-5, atol=1e-6)


@BOTH
def test_the_regulariser_of_the_settings_is_never_read(name):
    data = random_data(0)
    for changed in ({"reg_weight": 100.0}, {"regulariser": "squared"}):
        assert torch.equal(loss_of(build(name, data), data), loss_of(build(name, data, **changed), data))


@BOTH
def test_sigmoid_ranking_saturates_and_score_ranking_does_not(name):
    data, users = random_data(0), torch.arange(12)
    raw, squashed = (build(name, data, rank_by=rule).scorer()(users) for rule in ("score", "sigmoid"))
    torch.testing.assert_close(squashed, raw.sigmoid())
    model = build(name, data, stale_eval=False)
    fill(model, read_user__bias=torch.full((6,), 10.0), read_item__bias=torch.arange(6.0))
    assert (model.scorer()(users) == 1).all()  # the reference: every item ties


@BOTH
def test_reference_mode_ranks_by_the_sigmoid_of_stale_vectors_described_mode_by_fresh_scores(name):
    settings = RECOMMENDERS[name].Settings
    assert settings().squashed and settings().stale
    assert not settings(mode="described").squashed and not settings(mode="described").stale
    assert settings(mode="described", rank_by="sigmoid").squashed and not settings(rank_by="score").squashed
    assert settings(mode="described", stale_eval=True).stale


@BOTH
@pytest.mark.parametrize("stale", [True, False])
@pytest.mark.parametrize("modalities", MODALITY_SETS)
def test_stale_ranking_uses_the_clean_vectors_of_the_last_loss(name, stale, modalities):
    data = only(random_data(0), *modalities)
    model, users = build(name, data, stale_eval=stale, rank_by="score"), torch.arange(12)
    fill(model, user=torch.randn(12, 6, generator=torch.Generator().manual_seed(1)))
    loss_of(model, data)
    at_loss = (vectors(model, clean(data))[0] @ vectors(model, clean(data))[1].T).detach()
    fill(model, item=torch.randn(15, 6, generator=torch.Generator().manual_seed(2)))  # the optimiser's step
    now = (vectors(model, clean(data))[0] @ vectors(model, clean(data))[1].T).detach()
    assert not torch.allclose(now, at_loss, atol=1e-3)
    torch.testing.assert_close(model.scorer()(users), at_loss if stale else now, rtol=1e-5, atol=1e-5)


@BOTH
def test_double_precision_gives_the_same_loss(name):
    data = random_data(0)
    single, double = build(name, data), build(name, data).double()
    torch.testing.assert_close(loss_of(double, data).float(), loss_of(single, data), rtol=1e-5, atol=1e-6)


def test_the_read_maps_fit_the_channels():
    data = random_data(0)
    assert build("mmgcl", data).read_user.weight.shape == (6, 18)
    assert build("mmgcl", only(data, "textual")).read_item.weight.shape == (6, 12)
    assert build("slmrec", data, fusion="mean").read_user.weight.shape == (6, 6)
    assert issubclass(RECOMMENDERS["mmgcl"], ChannelRecommender)
    maps = build("slmrec", data).maps
    bound = (6 / (5 + 6)) ** 0.5
    assert bound / 2 < maps["visual"].weight.abs().max() <= bound
    assert functional.linear(torch.zeros(1, 5), maps["visual"].weight, maps["visual"].bias).abs().max() <= 5**-0.5
