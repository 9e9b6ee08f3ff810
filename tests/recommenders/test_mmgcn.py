"""MMGCN against a plain form built from torch-geometric's mean aggregation, its invariants and its switches."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import SimpleConv

from lmmrec_core.recommenders.layers import BipartiteGraph
from lmmrec_core.recommenders.mmgcn import MMGCN
from lmmrec_core.roles import TrainingData
from lmmrec_core.training.loop import TrainingSettings, train
from tests.recommenders.toys import fill, random_batch, random_data, split_for, toy


def model(data: TrainingData, seed: int = 1, **settings) -> MMGCN:
    settings = {"embedding_dim": 4, "visual_width": 6, **settings}
    return MMGCN(data, MMGCN.Settings.build(settings), torch.Generator().manual_seed(seed))


def plain_vectors(mmgcn: MMGCN, data: TrainingData, features: dict[str, Tensor]) -> Tensor:
    """The forward pass written out: nodes stacked, neighbours averaged by torch-geometric, vectors concatenated."""
    mean = SimpleConv(aggr="mean")
    edges = torch.stack([data.user, data.n_users + data.item])
    edges = torch.cat([edges, edges.flip(0)], 1)
    outputs = []
    for modality, matrix in features.items():
        branch = mmgcn.branches[modality]
        rows = matrix if branch.map is None else branch.map(matrix)
        x = functional.normalize(torch.cat([branch.preferences, rows]))
        for place, direct in enumerate(branch.direct):
            h = functional.leaky_relu(mean(x @ branch.convolutions[place], edges))
            own = functional.leaky_relu(direct(x)) + mmgcn.ids
            x = functional.leaky_relu(branch.join[place](torch.cat([h, own], 1)))
        outputs.append(x)
    return torch.stack(outputs).mean(0)


def plain_loss(mmgcn: MMGCN, data: TrainingData, batch, features: dict[str, Tensor]) -> Tensor:
    """The loss, with the rows interleaved as the released code has them."""
    out = plain_vectors(mmgcn, data, features)
    users = batch.user.repeat_interleave(2)
    items = torch.stack([batch.positive, batch.negative], 1).flatten() + data.n_users
    score = (out[users] * out[items]).sum(1).view(-1, 2)
    main = -functional.logsigmoid(score[:, 0] - score[:, 1]).mean()
    penalty = (mmgcn.ids[users] ** 2 + mmgcn.ids[items] ** 2).mean()
    for modality in features:
        if modality == "visual" or mmgcn.settings.trains_ids:
            penalty = penalty + (mmgcn.branches[modality].preferences ** 2).mean()
    return main + mmgcn.settings.reg_weight * penalty


@pytest.mark.parametrize("mode", ["reference", "described"])
@pytest.mark.parametrize("modalities", [("visual", "textual"), ("visual",), ("textual",)])
def test_loss_and_gradients_equal_the_plain_form(mode, modalities):
    data = random_data(3)
    features = {modality: data.features[modality] for modality in modalities}
    data = TrainingData(data.n_users, data.n_items, data.user, data.item, features)
    mmgcn = model(data, mode=mode, reg_weight=0.3)
    parameters = dict(mmgcn.named_parameters())
    for seed in (1, 2):  # the second batch uses what was kept of the first
        batch = random_batch(data, seed)
        loss, expected = mmgcn.loss(batch, torch.Generator()), plain_loss(mmgcn, data, batch, features)
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-7)
        got = torch.autograd.grad(loss, list(parameters.values()))
        wanted = torch.autograd.grad(expected, list(parameters.values()))
        for name, a, b in zip(parameters, got, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=name)


def test_gradients_to_features_equal_the_plain_form():
    data = random_data(4)
    mmgcn, batch = model(data), random_batch(data, 1)
    mmgcn.loss(batch, torch.Generator())  # fixed features first, so that something was kept
    leaves = {modality: matrix.clone().requires_grad_() for modality, matrix in data.features.items()}
    mmgcn.features.update(leaves)
    got = torch.autograd.grad(mmgcn.loss(batch, torch.Generator()), list(leaves.values()))
    wanted = torch.autograd.grad(plain_loss(mmgcn, data, batch, leaves), list(leaves.values()))
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_shapes_of_the_specification():
    data = toy({"visual": torch.eye(3)[:, :2]})
    branch = model(data, embedding_dim=2, visual_width=256).branches["visual"]
    assert branch.map.weight.shape == (256, 2)
    assert [tuple(weight.shape) for weight in branch.convolutions] == [(256, 256), (2, 2), (2, 2)]
    assert [tuple(layer.weight.shape) for layer in branch.direct] == [(2, 256), (2, 2), (2, 2)]
    assert [tuple(layer.weight.shape) for layer in branch.join] == [(2, 258), (2, 4), (2, 4)]


def test_mean_operator_on_the_toy_graph():
    data = toy()
    graph = BipartiteGraph.mean(data.user, data.item, 2, 3)
    users, items = graph.propagate(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0], [5.0]]))
    torch.testing.assert_close(users.flatten(), torch.tensor([3.5, 4.0]))
    torch.testing.assert_close(items.flatten(), torch.tensor([1.0, 1.5, 0.0]))


def fitted(data: TrainingData, **settings) -> MMGCN:
    mmgcn = model(data, **settings)
    chosen = TrainingSettings(epochs=3, batch_size=16, learning_rate=0.01, patience=3)
    train(mmgcn, data, split_for(data), chosen, seed=1, validate=lambda scorer: 0.0, progress=False)
    return mmgcn


def test_the_regulariser_moves_nothing_in_reference_mode_and_something_as_described():
    data = random_data(5)
    plain, regularised = fitted(data, reg_weight=0.0), fitted(data, reg_weight=10.0)
    for (name, a), b in zip(plain.named_parameters(), regularised.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not {"ids", "branches.visual.preferences"} & dict(plain.named_parameters()).keys()
    trained = [fitted(data, mode="described", reg_weight=weight) for weight in (0.0, 10.0)]
    assert {"ids", "branches.textual.preferences"} <= dict(trained[0].named_parameters()).keys()
    assert trained[1].ids.norm() < trained[0].ids.norm()


def test_row_lengths_of_the_text_do_not_matter_those_of_the_pictures_do():
    data = random_data(6)
    lengths = torch.rand(data.n_items, 1, generator=torch.Generator().manual_seed(0)) + 0.5
    for modality, same in (("textual", True), ("visual", False)):
        scaled = {**data.features, modality: data.features[modality] * lengths}
        other = TrainingData(data.n_users, data.n_items, data.user, data.item, scaled)
        pair = [model(given).representations()[1] for given in (data, other)]
        assert torch.allclose(*pair, atol=1e-6) == same


def test_both_modalities_are_the_mean_or_the_sum_of_the_branches():
    data = random_data(7)
    whole = model(data)
    for combine, factor in (("mean", 0.5), ("sum", 1.0)):
        both = model(data, combine=combine)
        both.load_state_dict(whole.state_dict())
        single = [branch(data.features[modality], both.ids, both.graph) for modality, branch in both.branches.items()]
        torch.testing.assert_close(torch.cat(both.representations()), factor * sum(single))


def test_an_isolated_item_receives_nothing_from_neighbours():
    data = toy({"textual": torch.randn(3, 4, generator=torch.Generator().manual_seed(1))})
    mmgcn = model(data, n_layers=1)
    before = mmgcn.representations()[1][2]
    fill(mmgcn, branches__textual__convolutions__0=torch.zeros(4, 4))
    torch.testing.assert_close(mmgcn.representations()[1][2], before)


def test_adding_instead_of_joining():
    data = random_data(8)
    mmgcn = model(data, concat=False, n_layers=1, visual_width=4)
    assert mmgcn.branches["textual"].join[0].weight.shape == (4, 4)
    branch = mmgcn.branches["textual"]
    nodes, mean = branch._start(data.features["textual"], mmgcn.graph)
    h = functional.leaky_relu(mean @ branch.convolutions[0])
    own = functional.leaky_relu(branch.direct[0](nodes)) + mmgcn.ids
    expected = functional.leaky_relu(branch.join[0](h) + own)
    torch.testing.assert_close(branch(data.features["textual"], mmgcn.ids, mmgcn.graph), expected)


@pytest.mark.parametrize("stale", [True, False])
def test_stale_evaluation_ranks_with_the_vectors_before_the_last_step(stale):
    data = random_data(9)
    mmgcn = model(data, stale_eval=stale)
    optimiser = torch.optim.SGD(mmgcn.parameters(), lr=0.5)
    before = torch.cat(mmgcn.representations()).detach()
    mmgcn.loss(random_batch(data, 1), torch.Generator()).backward()
    optimiser.step()
    after = torch.cat(mmgcn.representations()).detach()
    vectors = before if stale else after
    users, items = vectors.split([data.n_users, data.n_items])
    torch.testing.assert_close(mmgcn.scorer()(torch.arange(data.n_users)), users @ items.T)
    assert not torch.allclose(before, after)


def test_what_was_kept_is_given_up_when_saved_values_are_loaded():
    data = random_data(10)
    first, second = model(data, seed=1), model(data, seed=2)
    first.representations()
    first.load_state_dict(second.state_dict())
    torch.testing.assert_close(first.representations()[1], second.representations()[1])
    assert isinstance(first, nn.Module)
