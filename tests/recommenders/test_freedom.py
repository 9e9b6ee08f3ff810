"""FREEDOM: an oracle by hand and invariants, against a dense form of all items."""

import pytest
import torch
from torch.nn import functional

from lmmrec_core.errors import ConfigError
from lmmrec_core.recommenders.freedom import FREEDOM, frozen_links
from lmmrec_core.roles import TrainingData
from lmmrec_core.training.loop import TrainingSettings, train
from tests.recommenders.toys import (
    ITEMS,
    USERS,
    VISUAL,
    dense_adjacency,
    fill,
    random_batch,
    random_data,
    split_for,
    toy,
    toy_batch,
    written_out,
)

NOTHING = torch.Generator()


def model(data, **settings):
    settings = {"k": 4, "embedding_dim": 5, "reg_weight": 0.3, "dropout": 0.6, **settings}
    return FREEDOM(data, FREEDOM.Settings.build(settings), torch.Generator().manual_seed(3))


def only(data, modality, scale=1.0):
    return TrainingData(data.n_users, data.n_items, data.user, data.item, {modality: scale * data.features[modality]})


def links(data, k):
    """Binary nearest neighbours by cosine over their number, one [item, item] matrix per modality."""
    near = {}
    for modality, rows in data.features.items():
        unit = rows / rows.norm(dim=1, keepdim=True)
        kept = (unit @ unit.T).topk(k).indices
        near[modality] = torch.zeros(data.n_items, data.n_items).scatter(1, kept, 1.0) / k
    return near


def kept_edges(freedom):
    """(user, item) pairs of the epoch's graph."""
    return {tuple(pair) for pair in written_out(freedom.pruned.user_rows).nonzero().tolist()}


def some_edges(data, pairs):
    user, item = torch.tensor(sorted(pairs)).T
    return TrainingData(data.n_users, data.n_items, user, item, data.features)


def dense_vectors(freedom, data, item_graph, layers=2):
    adjacency = dense_adjacency(data)
    root = torch.where(adjacency.sum(1) > 0, adjacency.sum(1).rsqrt(), 0.0)
    step = root[:, None] * adjacency * root
    total = power = torch.cat([freedom.user, freedom.item])
    for _ in range(layers):
        power = step @ power
        total = total + power
    users, items = (total / (layers + 1)).split([data.n_users, data.n_items])
    return users, items + item_graph @ freedom.item


def dense_loss(freedom, data, batch, item_graph, contents, layers=2):
    """The loss with every item mapped, one BPR per score."""
    users, items = dense_vectors(freedom, data, item_graph, layers)

    def ranking(of_items):
        scores = users @ of_items.T
        return -functional.logsigmoid(scores[batch.user, batch.positive] - scores[batch.user, batch.negative]).mean()

    extra = sum(ranking(freedom.maps[modality](rows)) for modality, rows in contents.items())
    return ranking(items) + freedom.settings.reg_weight * extra


def test_oracle():
    freedom = model(toy({"visual": VISUAL}), k=2, embedding_dim=2, reg_weight=0.1, dropout=0)
    fill(freedom, user=USERS, item=ITEMS, maps__visual__weight=torch.eye(2), maps__visual__bias=torch.zeros(2))
    freedom.begin_epoch(1, NOTHING)
    users, items = freedom.representations()
    torch.testing.assert_close(users, torch.tensor([[0.819036, 0.451184], [0.117851, 0.971404]]), rtol=0, atol=1e-6)
    wanted = torch.tensor([[1.235702, 1.235702], [0.784518, 2.402369], [2.5, 4.333333]])
    torch.testing.assert_close(items, wanted, rtol=0, atol=1e-6)
    assert freedom.loss(toy_batch(), NOTHING).item() == pytest.approx(1.453690, abs=1e-6)


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize(("n_layers", "n_ui_layers"), [(1, 2), (2, 1)])
def test_loss_and_gradients_equal_the_dense_form_over_all_items(trainable, n_layers, n_ui_layers):
    data = random_data(1, n_items=40, edges=90)  # a batch of 7 names at most 14 of the 40 items
    freedom = model(data, n_layers=n_layers, n_ui_layers=n_ui_layers, trainable_features=trainable)
    freedom.begin_epoch(1, torch.Generator().manual_seed(5))
    near = links(data, 4)
    graph = (0.1 * near["visual"] + 0.9 * near["textual"]).matrix_power(n_layers)
    batch = random_batch(data, 4)
    contents = freedom.tables if trainable else data.features
    expected = dense_loss(freedom, some_edges(data, kept_edges(freedom)), batch, graph, dict(contents), n_ui_layers)
    loss = freedom.loss(batch, NOTHING)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    parameters = list(freedom.parameters())
    assert len(parameters) == (8 if trainable else 6)
    for a, b in zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_the_item_graph_is_the_mixture_of_binary_neighbours_and_its_rows_sum_to_one():
    data = random_data(1)
    near = links(data, 4)
    graph = written_out(model(data).item_graph)
    torch.testing.assert_close(graph, 0.1 * near["visual"] + 0.9 * near["textual"])
    torch.testing.assert_close(written_out(model(data).item_graph_t), graph.T)
    torch.testing.assert_close(written_out(model(data, visual_weight=0.4).item_graph).sum(1), torch.ones(15))
    torch.testing.assert_close(
        written_out(model(data, visual_weight=0.4).item_graph), 0.4 * near["visual"] + 0.6 * near["textual"]
    )
    assert (graph.diagonal() > 0).all()


def test_k_is_the_number_of_links_of_an_item():
    data = only(random_data(1), "textual")
    for k, links_kept in ((1, 1), (6, 6), (99, 15)):
        graph = written_out(model(data, k=k).item_graph)
        assert ((graph > 0).sum(1) == links_kept).all()
        torch.testing.assert_close(graph.sum(1), torch.ones(15))
    assert torch.equal(written_out(model(data, k=1).item_graph), torch.eye(15))


def test_one_modality_alone_has_all_the_weight_and_another_graph_than_both():
    """The released cache hands a visual-only run the graph of both modalities."""
    data = random_data(1)
    both = written_out(model(data).item_graph)
    for modality, weight in (("visual", 1.0), ("textual", 0.0)):
        single = written_out(model(only(data, modality)).item_graph)
        assert not torch.equal(single > 0, both > 0)
        torch.testing.assert_close(single, links(data, 4)[modality])
        torch.testing.assert_close(written_out(model(data, visual_weight=weight).item_graph), single)


def test_scale_of_the_features_leaves_the_item_graph_alone():
    data = random_data(1)
    a, b = (written_out(model(only(data, "visual", scale)).item_graph) for scale in (1.0, 9.0))
    assert torch.equal(a, b)


def test_an_item_without_features_is_linked_to_itself_only():
    data = random_data(1)
    data.features["visual"][3] = 0
    near, weights = frozen_links({"visual": data.features["visual"]}, 4, 0.1)
    assert near[3].tolist() == [3] * 4 and weights[3].sum() == 1
    graph = written_out(model(only(data, "visual")).item_graph)
    assert torch.equal(graph[3], torch.eye(15)[3])
    data.features["visual"].zero_()
    assert torch.equal(written_out(model(only(data, "visual")).item_graph), torch.eye(15))


def test_no_item_layers_adds_the_items_own_vector():
    freedom = model(random_data(1), n_layers=0)
    expected = freedom.graph.average(freedom.user, freedom.item, 2)[1] + freedom.item
    torch.testing.assert_close(freedom.representations()[1], expected)


def test_before_any_epoch_and_without_dropout_training_uses_every_edge():
    data = random_data(1)
    batch, near = random_batch(data, 4), links(data, 4)
    graph = 0.1 * near["visual"] + 0.9 * near["textual"]
    generator = torch.Generator().manual_seed(1)
    state = generator.get_state()
    for freedom in (model(data), model(data, dropout=0)):
        if not freedom.settings.dropout:
            freedom.begin_epoch(1, generator)
        expected = dense_loss(freedom, data, batch, graph, dict(freedom.tables))
        torch.testing.assert_close(freedom.loss(batch, NOTHING), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(generator.get_state(), state)


def test_evaluation_uses_every_edge():
    data = random_data(1)
    freedom, users = model(data), torch.arange(data.n_users)
    before = freedom.scorer()(users)
    freedom.begin_epoch(1, torch.Generator().manual_seed(5))
    assert torch.equal(freedom.scorer()(users), before)
    near = links(data, 4)
    z_user, z_item = dense_vectors(freedom, data, 0.1 * near["visual"] + 0.9 * near["textual"])
    torch.testing.assert_close(before, (z_user @ z_item.T).detach(), rtol=1e-5, atol=1e-6)


def test_the_epochs_graph_is_not_saved():
    freedom = model(random_data(1))
    before = set(freedom.state_dict())
    freedom.begin_epoch(1, torch.Generator().manual_seed(5))
    freedom.loss(random_batch(random_data(1), 4), NOTHING)
    assert set(freedom.state_dict()) == before == {name for name, _ in freedom.named_parameters()}


def test_training_goes_on_from_a_checkpoint_to_the_same_weights(tmp_path):
    data = random_data(1)
    chosen = TrainingSettings(epochs=4, batch_size=16, checkpoint_seconds=0, threads=1)
    kept = {"checkpoint": tmp_path / "state", "identity": "a"}

    def fit(fails_at=99, **more):
        freedom, calls = model(data), []

        def validate(scorer):  # rises, so that the last epoch is the best
            calls.append(1)
            if len(calls) == fails_at:
                raise RuntimeError("broken off")
            return len(calls) if fails_at < 99 or not more else 10 + len(calls)

        done = train(freedom, data, split_for(data), chosen, seed=7, progress=False, validate=validate, **more)
        assert done.best_epoch == 4
        return freedom.state_dict(), len(calls)

    with pytest.raises(RuntimeError, match="broken off"):
        fit(fails_at=3, **kept)
    (resumed, again), (straight, calls) = fit(**kept), fit()
    assert (again, calls) == (2, 4)
    for name, value in straight.items():
        assert torch.equal(resumed[name], value), name


def test_features_become_tables_or_stay_fixed():
    data = random_data(1)
    free, fixed = model(data), model(data, trainable_features=False)
    assert torch.equal(free.tables["visual"], data.features["visual"]) and not len(fixed.tables)
    leaf = (2 * data.features["visual"]).requires_grad_()
    before = written_out(fixed.item_graph)
    fixed.features["visual"] = leaf
    batch = random_batch(data, 4)
    fixed.loss(batch, NOTHING).backward()
    touched = torch.zeros(data.n_items, dtype=torch.bool)
    touched[torch.cat([batch.positive, batch.negative])] = True
    assert leaf.grad[touched].any(1).all() and not leaf.grad[~touched].any()
    assert torch.equal(written_out(fixed.item_graph), before)


def test_normalised_features_start_the_tables_at_unit_length():
    data = random_data(1)
    tables = model(data, normalise_features=True).tables
    torch.testing.assert_close(tables["textual"].norm(dim=1), torch.ones(15))
    fixed = model(data, normalise_features=True, trainable_features=False)
    unit = TrainingData(
        12, 15, data.user, data.item, {key: functional.normalize(rows) for key, rows in data.features.items()}
    )
    batch = random_batch(data, 4)
    plain = model(unit, trainable_features=False)
    torch.testing.assert_close(fixed.loss(batch, NOTHING), plain.loss(batch, NOTHING))


def test_without_weight_the_features_get_no_gradient():
    freedom = model(random_data(1), reg_weight=0)
    freedom.loss(random_batch(random_data(1), 4), NOTHING).backward()
    assert {name for name, value in freedom.named_parameters() if value.grad is not None} == {"user", "item"}


def test_both_modes_are_the_same_model():
    data = random_data(1)
    a, b = (model(data, mode=mode).loss(random_batch(data, 4), NOTHING) for mode in ("reference", "described"))
    assert torch.equal(a, b)


@pytest.mark.parametrize("wrong", [{"regulariser": "squared"}, {"dropout": 1.0}, {"visual_weight": 1.1}, {"k": 0}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        FREEDOM.Settings.build(wrong)
