"""LATTICE: an oracle by hand and invariants, against a dense form."""

import pytest
import torch
from torch.nn import functional

from lmmrec_core.errors import TrainingError
from lmmrec_core.recommenders import item_graph
from lmmrec_core.recommenders.item_graph import kept_cosines, laplacian, nearest_columns
from lmmrec_core.recommenders.lattice import LATTICE
from lmmrec_core.roles import TrainingData
from tests.recommenders.toys import (
    ITEMS,
    USERS,
    VISUAL,
    dense_adjacency,
    fill,
    random_batch,
    random_data,
    toy,
    toy_batch,
)

NOTHING = torch.Generator()


def model(data, **settings):
    settings = {"k": 4, "feature_dim": 6, "embedding_dim": 5, "batch_size": 7, **settings}
    return LATTICE(data, LATTICE.Settings(**settings), torch.Generator().manual_seed(3))


def only(data, modality, scale=1.0):
    return TrainingData(data.n_users, data.n_items, data.user, data.item, {modality: scale * data.features[modality]})


def knn(rows, k, clip=False):
    unit = rows / rows.norm(dim=1, keepdim=True)
    cosine = unit @ unit.T
    kept = cosine.topk(k).indices
    mask = torch.zeros_like(cosine).scatter(1, kept, 1.0)
    return (cosine.clamp(min=0) if clip else cosine) * mask


def lap(matrix):
    total = matrix.sum(1)
    scale = torch.where(total > 0, total.rsqrt(), 0.0)
    return scale[:, None] * matrix * scale


def dense_graph(lattice, described=False):
    settings = lattice.settings
    shares = lattice.modality_weights.softmax(0)
    learned = frozen = mixed = 0
    for share, modality in zip(shares, ("visual", "textual"), strict=True):
        near = knn(lattice.maps[modality](lattice.tables[modality]), settings.k, described)
        learned = learned + share * near
        mixed = mixed + share * lap(near)
        frozen = frozen + share * lap(knn(lattice.features[modality], settings.k, described))
    return (1 - settings.lambda_) * (mixed if described else lap(learned)) + settings.lambda_ * frozen


def dense_loss(lattice, data, batch, graph, described=False):
    adjacency = dense_adjacency(data)
    if described:
        root = adjacency.sum(1).clamp(min=1).rsqrt()
        step = root[:, None] * adjacency * root
    else:
        loops = adjacency + torch.eye(len(adjacency))
        step = loops / loops.sum(1, keepdim=True)
    x = torch.cat([lattice.user, lattice.item])
    z = (x + step @ x + step @ step @ x) / 3
    items = z[data.n_users :] + functional.normalize(graph @ lattice.item)
    u, i, j = z[batch.user], items[batch.positive], items[batch.negative]
    penalty = (u.square().sum() + i.square().sum() + j.square().sum()) / (2 * lattice.settings.batch_size)
    return -functional.logsigmoid((u * i).sum(1) - (u * j).sum(1)).mean() + lattice.settings.reg_weight * penalty


def assert_same_gradients(lattice, loss, expected):
    parameters = list(lattice.parameters())
    for a, b in zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lambda_", [0.0, 0.9])
def test_oracle(lambda_):
    lattice = model(
        toy({"visual": VISUAL}), k=2, embedding_dim=2, feature_dim=2, reg_weight=0.1, batch_size=2, lambda_=lambda_
    )
    fill(lattice, user=USERS, item=ITEMS, maps__visual__weight=torch.eye(2), maps__visual__bias=torch.zeros(2))
    graph = lattice.item_graph()
    dense = graph.times(torch.eye(3)).detach()
    expected = torch.tensor([[0.555556, 0.444444, 0], [0.444444, 0.555556, 0], [0, 0.353553, 0.625]])
    torch.testing.assert_close(dense, expected, rtol=1e-5, atol=1e-6)
    users, items = lattice.representations()
    torch.testing.assert_close(users, torch.tensor([[0.777778, 0.407407], [0.055556, 1.25]]), rtol=1e-5, atol=1e-6)
    wanted = torch.tensor([[1.474443, 0.959109], [0.593613, 2.280329], [3.504712, 4.863288]])
    torch.testing.assert_close(items, wanted, rtol=1e-5, atol=1e-6)
    assert lattice.loss(toy_batch(), NOTHING).item() == pytest.approx(2.947434, abs=1e-5)


@pytest.mark.parametrize("described", [False, True])
def test_first_batch_equals_the_dense_form_with_gradient_through_the_graph(described):
    data = random_data(1)
    lattice = model(
        data, mode="described" if described else "reference", trainable_features=True, reg_weight=0.3, lambda_=0.6
    )
    fill(lattice, modality_weights=torch.tensor([0.2, 0.9]))
    batch = random_batch(data, 4)
    expected = dense_loss(lattice, data, batch, dense_graph(lattice, described), described)
    loss = lattice.loss(batch, NOTHING)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    assert_same_gradients(lattice, loss, expected)


def test_later_batches_use_the_first_graph_without_gradient():
    data = random_data(1)
    lattice = model(data, reg_weight=0.3)
    graph = dense_graph(lattice).detach()
    lattice.loss(random_batch(data, 4), NOTHING)
    fill(lattice, maps__visual__bias=torch.randn(6))  # the next graph would differ
    later = random_batch(data, 5, first=False)
    expected = dense_loss(lattice, data, later, graph)
    loss = lattice.loss(later, NOTHING)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    assert {name for name, value in lattice.named_parameters() if value.grad is not None} == {"user", "item"}
    wanted = torch.autograd.grad(expected, (lattice.user, lattice.item))
    torch.testing.assert_close(lattice.item.grad, wanted[1], rtol=1e-4, atol=1e-6)


def test_scoring_builds_anew_and_leaves_the_epochs_graph_alone():
    data = random_data(1)
    lattice = model(data)
    lattice.loss(random_batch(data, 4), NOTHING)
    kept, users = lattice._current, torch.arange(data.n_users)
    before = lattice.scorer()(users)
    fill(lattice, maps__visual__weight=torch.randn(6, 5))
    after = lattice.scorer()(users)
    assert lattice._current is kept and not torch.allclose(before, after)
    graph = dense_graph(lattice)
    items = lattice.graph.average(lattice.user, lattice.item, 2)
    expected = items[0] @ (items[1] + functional.normalize(graph @ lattice.item)).T
    torch.testing.assert_close(after, expected.detach(), rtol=1e-4, atol=1e-6)


def test_one_modality_equals_all_weight_on_it():
    data = random_data(1)
    single, both = model(only(data, "visual")), model(data)
    assert single.modality_weights is None
    shared = {name.replace(".", "__"): value for name, value in single.state_dict().items()}
    fill(both, **shared, modality_weights=torch.tensor([50.0, -50.0]))
    users = torch.arange(data.n_users)
    torch.testing.assert_close(both.scorer()(users), single.scorer()(users))


def test_all_weight_on_the_frozen_graph_ignores_the_maps():
    data = random_data(1)
    lattice = model(data, lambda_=1.0)
    lattice.loss(random_batch(data, 4), NOTHING).backward()
    assert not lattice.maps["visual"].weight.grad.any() and not lattice.maps["textual"].bias.grad.any()
    assert lattice.modality_weights.grad.any()
    users = torch.arange(data.n_users)
    before = lattice.scorer()(users)
    fill(lattice, maps__visual__weight=torch.randn(6, 5))
    torch.testing.assert_close(lattice.scorer()(users), before)


def test_scale_of_the_features_leaves_the_frozen_graph_alone():
    data = random_data(1)
    a, b = model(only(data, "visual")), model(only(data, "visual", scale=9.0))
    assert torch.equal(a.visual_columns, b.visual_columns)
    torch.testing.assert_close(a.visual_weights, b.visual_weights)


def test_no_item_layers_adds_the_items_own_direction():
    data = random_data(1)
    lattice = model(data, n_layers=0)
    expected = lattice.graph.average(lattice.user, lattice.item, 2)[1] + functional.normalize(lattice.item)
    torch.testing.assert_close(lattice.representations()[1], expected)


def test_two_item_layers_and_plain_factorisation():
    data = random_data(1)
    lattice = model(data, n_layers=2, cf_model="mf")
    graph = dense_graph(lattice)
    users, items = lattice.representations()
    assert torch.equal(users, lattice.user)
    expected = lattice.item + functional.normalize(graph @ graph @ lattice.item)
    torch.testing.assert_close(items, expected, rtol=1e-5, atol=1e-6)


def test_features_stay_fixed_or_become_tables():
    data = random_data(1)
    assert "tables.visual" in dict(model(data).named_parameters())
    fixed = model(data, trainable_features=False)
    assert not len(fixed.tables)
    leaf = data.features["visual"].clone().requires_grad_()
    fixed.features["visual"] = leaf
    fixed.loss(random_batch(data, 4), NOTHING).backward()
    assert leaf.grad.any()


def test_an_item_without_features_has_no_links_and_no_nan():
    data = random_data(1)
    data.features["visual"][3] = 0
    lattice = model(only(data, "visual"), lambda_=1.0)
    dense = lattice.item_graph().times(torch.eye(15)).detach()
    assert not dense[3].any() and not dense[:, 3].any()
    loss = lattice.loss(random_batch(data, 4), NOTHING)
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in lattice.parameters())


def test_all_features_zero_still_trains_the_ids():
    data = random_data(1)
    data.features["visual"].zero_()
    lattice = model(only(data, "visual"))
    lattice.loss(random_batch(data, 4), NOTHING).backward()
    assert all(parameter.grad.isfinite().all() for parameter in lattice.parameters())


def test_a_negative_row_sum_is_refused_and_clipping_cures_it():
    angles = torch.tensor([0.0, 120.0, 240.0]).deg2rad()
    rows = torch.stack([angles.cos(), angles.sin()], 1)
    features = {"visual": torch.cat([rows[:1], rows[1:2].repeat(7, 1) + 1e-3 * torch.randn(7, 2)])}
    data = TrainingData(1, 8, torch.tensor([0, 0]), torch.tensor([0, 1]), features)
    with pytest.raises(TrainingError, match=r"item at position 0 \(from 0\) sum to -.*clip_negatives=true"):
        model(data, k=8)
    model(data, k=8, clip_negatives=True)
    model(data, k=8, mode="described")


def test_a_learned_graph_is_refused_in_one_line_without_a_warning_of_torch(recwarn):
    weights = torch.tensor([[1.0, -2.0], [1.0, 0.5]], requires_grad=True)
    with pytest.raises(TrainingError, match="sum to -1"):
        laplacian(torch.tensor([[0, 1], [1, 0]]), weights, "learned graph")
    assert not recwarn.list


def test_nearest_is_the_same_in_blocks(monkeypatch):
    rows = functional.normalize(torch.randn(23, 4))
    whole = nearest_columns(rows, 5)
    monkeypatch.setattr(item_graph, "_BLOCK_ENTRIES", 50)
    assert torch.equal(nearest_columns(rows, 5), whole)
    torch.testing.assert_close(kept_cosines(rows, whole), (rows @ rows.T).topk(5).values, rtol=1e-5, atol=1e-6)
    assert nearest_columns(rows, 99).shape == (23, 23)


def test_neighbours_are_found_again_after_any_change_of_the_parameters(monkeypatch):
    """A fused optimiser does not raise version counters, so reuse must look at the values."""
    data = random_data(1)
    lattice = model(only(data, "visual"))
    calls = []
    monkeypatch.setattr(
        "lmmrec_core.recommenders.lattice.nearest_columns", lambda rows, k: calls.append(1) or nearest_columns(rows, k)
    )
    adam = torch.optim.Adam(lattice.parameters(), lr=0.5, fused=True)
    lattice.loss(random_batch(data, 4), NOTHING).backward()
    lattice.scorer()
    assert len(calls) == 1
    adam.step()
    lattice.scorer()
    assert len(calls) == 2


@pytest.mark.parametrize("block", [1, 700, 2**24])
def test_cosines_without_gradient_are_gathered_block_by_block_with_the_same_bits(block, monkeypatch):
    rows = functional.normalize(torch.randn(90, 33, generator=torch.Generator().manual_seed(2)), dim=1)
    columns = nearest_columns(rows, 6)
    whole = torch.bmm(functional.embedding(columns, rows), rows[:, :, None]).squeeze(2)
    largest, plain = [0], functional.embedding

    def counted(places, table):
        largest.append(places.numel() * table.shape[1])
        return plain(places, table)

    monkeypatch.setattr(item_graph, "_BLOCK_ENTRIES", block)
    monkeypatch.setattr(functional, "embedding", counted)
    assert torch.equal(kept_cosines(rows, columns), whole)
    assert max(largest) <= max(block, 6 * 33)  # at least one row at a time
    leaf = rows.clone().requires_grad_()
    assert torch.equal(kept_cosines(leaf, columns), whole) and max(largest) == 90 * 6 * 33  # at once, for its gradient
