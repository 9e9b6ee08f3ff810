"""BM3: an oracle by hand and invariants, against a plain form over all users and items."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from lmmrec_core.errors import ConfigError
from lmmrec_core.recommenders.bm3 import BM3
from lmmrec_core.roles import Batch, TrainingData
from tests.recommenders.toys import (
    ITEMS,
    USERS,
    VISUAL,
    dense_adjacency,
    fill,
    random_batch,
    random_data,
    toy,
)

NOTHING = torch.Generator()


def model(data, **settings):
    settings = {"embedding_dim": 5, "dropout": 0, **settings}
    return BM3(data, BM3.Settings.build(settings), torch.Generator().manual_seed(3))


def only(data, modality, scale=1.0):
    return TrainingData(data.n_users, data.n_items, data.user, data.item, {modality: scale * data.features[modality]})


def predict_nothing(bm3):
    """q = identity."""
    fill(
        bm3, predictor__weight=torch.eye(len(bm3.predictor.bias)), predictor__bias=torch.zeros_like(bm3.predictor.bias)
    )


def dense_vectors(bm3, data):
    adjacency = dense_adjacency(data)
    root = torch.where(adjacency.sum(1) > 0, adjacency.sum(1).rsqrt(), 0.0)
    step = root[:, None] * adjacency * root
    total = power = torch.cat([bm3.user, bm3.item])
    for _ in range(bm3.settings.n_layers):
        power = step @ power
        total = total + power
    users, items = (total / (bm3.settings.n_layers + 1)).split([data.n_users, data.n_items])
    return users, items + bm3.item


def dense_loss(bm3, data, batch, contents, masks=None):
    """The loss with every row mapped, predicted and dropped out; ``masks`` multiply user, item and mapped rows."""
    settings, user, item = bm3.settings, batch.user, batch.positive
    users, items = dense_vectors(bm3, data)
    masks = masks or {}

    def target(rows, name):
        return rows.detach() * masks.get(name, 1.0)

    def apart(left, right):
        return 1 - cosine_similarity(left, right, dim=-1).mean()

    q = bm3.predictor
    loss = apart(q(users)[user], target(items, "item")[item]) + apart(q(items)[item], target(users, "user")[user])
    for modality, rows in contents.items():
        mapped = bm3.maps[modality](rows)
        loss = loss + settings.cl_weight * (
            apart(q(mapped)[item], target(items, "item")[item]) + apart(q(mapped)[item], target(mapped, modality)[item])
        )
    if settings.mode == "described":
        penalty = (users[user].square().sum() + items[item].square().sum()) / (2 * len(user))
    else:
        penalty = (users.norm() + items.norm()) / data.n_items
    return loss + settings.reg_weight * penalty


def assert_same_loss_and_gradients(bm3, loss, expected):
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    parameters = list(bm3.parameters())
    for a, b in zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_oracle():
    bm3 = model(toy({"visual": VISUAL}), embedding_dim=2)
    fill(bm3, user=USERS, item=ITEMS, maps__visual__weight=torch.eye(2), maps__visual__bias=torch.zeros(2))
    predict_nothing(bm3)
    users, items = bm3.representations()
    torch.testing.assert_close(users, torch.tensor([[0.853553, 0.5], [0, 1.207107]]), rtol=0, atol=1e-6)
    wanted = torch.tensor([[1.853553, 0], [0.25, 3.353553], [4.5, 6]])
    torch.testing.assert_close(items, wanted, rtol=0, atol=1e-6)
    batch = Batch(torch.tensor([0, 1]), torch.tensor([0, 1]), None)
    assert bm3.loss(batch, NOTHING).item() == pytest.approx(0.814981, abs=1e-6)


@pytest.mark.parametrize("mode", ["reference", "described"])
@pytest.mark.parametrize(("n_layers", "trainable"), [(1, True), (2, False)])
def test_loss_and_gradients_equal_the_plain_form_over_all_rows(mode, n_layers, trainable):
    data = random_data(1, n_users=30, n_items=40, edges=90)
    bm3 = model(data, mode=mode, n_layers=n_layers, trainable_features=trainable)
    batch = random_batch(data, 4, size=25)
    assert len(batch.positive.unique()) < 25 and len(batch.user.unique()) < 25  # rows share items and users
    expected = dense_loss(bm3, data, batch, dict(bm3.tables if trainable else data.features))
    assert_same_loss_and_gradients(bm3, bm3.loss(batch, NOTHING), expected)


def test_with_dropout_too_when_the_masks_are_those_of_the_whole_tables():
    data = random_data(1, n_users=30, n_items=40, edges=90)
    bm3, batch = model(data, dropout=0.3), random_batch(data, 4, size=25)
    generator = torch.Generator().manual_seed(9)
    masks = {}
    for name, size, rows in (
        ("user", 30, batch.user.unique()),
        ("item", 40, batch.positive.unique()),
        ("visual", 40, batch.positive.unique()),
        ("textual", 40, batch.positive.unique()),
    ):
        masks[name] = torch.full((size, 5), torch.nan)
        masks[name][rows] = (torch.rand(len(rows), 5, generator=generator) >= 0.3) / 0.7
    expected = dense_loss(bm3, data, batch, dict(bm3.tables), masks)
    assert_same_loss_and_gradients(bm3, bm3.loss(batch, torch.Generator().manual_seed(9)), expected)


def test_rows_that_repeat_a_pair_share_its_masks():
    """As in the released code, which drops out whole tables once a batch."""
    bm3 = model(random_data(1), dropout=0.5)
    once, often = (Batch(torch.full((n,), 2), torch.full((n,), 6), None) for n in (1, 8))
    a, b = (bm3.loss(batch, torch.Generator().manual_seed(4)) for batch in (once, often))
    torch.testing.assert_close(a, b)


def test_targets_are_dropped_out_at_the_given_rate_and_carry_no_gradient():
    bm3 = model(random_data(1), dropout=0.3)
    rows = torch.full((200, 100), 7.0, requires_grad=True)
    target = bm3._target(rows, torch.Generator().manual_seed(1))
    assert not target.requires_grad
    torch.testing.assert_close(target.unique(), torch.tensor([0.0, 10.0]))
    zeros = (target == 0).float().mean().item()
    assert abs(zeros - 0.3) < 3 * (0.3 * 0.7 / 20000) ** 0.5


def test_the_given_generator_feeds_the_dropout_and_no_other_does():
    data = random_data(1)
    bm3, batch = model(data, dropout=0.5), random_batch(data, 4)
    state = torch.get_rng_state()
    losses = [bm3.loss(batch, torch.Generator().manual_seed(seed)).item() for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.get_rng_state(), state)
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    model(data).loss(batch, generator)
    assert torch.equal(generator.get_state(), before)  # nothing is drawn without dropout


def test_without_dropout_and_predictor_a_modality_is_its_own_target():
    data = only(random_data(1), "visual")
    batch = random_batch(data, 4)
    with_features, without = model(data, cl_weight=2.0), model(data, cl_weight=0)
    for bm3 in (with_features, without):
        predict_nothing(bm3)
    items = with_features.representations()[1][batch.positive]
    mapped = with_features.maps["visual"](data.features["visual"])[batch.positive]
    expected = 2 * (1 - cosine_similarity(mapped, items, dim=-1).mean())
    extra = with_features.loss(batch, NOTHING) - without.loss(batch, NOTHING)
    torch.testing.assert_close(extra, expected, rtol=1e-5, atol=1e-6)


def test_scale_of_the_features_changes_no_cosine_without_biases():
    data = random_data(1)
    losses = []
    for scale in (1.0, 7.0):
        bm3 = model(only(data, "textual", scale), dropout=0.5)
        fill(bm3, maps__textual__bias=torch.zeros(5), predictor__bias=torch.zeros(5))
        losses.append(bm3.loss(random_batch(data, 4), torch.Generator().manual_seed(1)))
    torch.testing.assert_close(*losses)


def test_ranking_predicts_both_sides():
    data = random_data(1)
    bm3 = model(data, n_layers=2)
    users, items = dense_vectors(bm3, data)
    weight, bias = bm3.predictor.weight, bm3.predictor.bias
    expected = (users @ weight.T + bias) @ (items @ weight.T + bias).T
    torch.testing.assert_close(bm3.scorer()(torch.arange(12)), expected.detach(), rtol=1e-5, atol=1e-5)


def test_no_layers_leave_the_tables_the_items_twice():
    bm3 = model(random_data(1), n_layers=0)
    predict_nothing(bm3)
    users, items = bm3.representations()
    torch.testing.assert_close(users, bm3.user)
    torch.testing.assert_close(items, 2 * bm3.item)


def test_negatives_are_neither_asked_for_nor_used():
    data = random_data(1)
    bm3, batch = model(data), random_batch(data, 4)
    assert not bm3.needs_negatives
    assert torch.equal(bm3.loss(batch, NOTHING), bm3.loss(Batch(batch.user, batch.positive, None), NOTHING))


def test_the_regulariser_counts_every_row_in_reference_mode_and_the_batch_as_described():
    data = random_data(1)
    batch = Batch(data.user[:5], data.item[:5], None)
    outside = next(user for user in range(12) if user not in data.user[:5])
    moved = {}
    for kind in ("norm", "squared"):
        bm3 = model(data, regulariser=kind, n_layers=0, reg_weight=1.0)
        before = bm3.loss(batch, NOTHING)
        with torch.no_grad():
            bm3.user[outside] += 3
        moved[kind] = not torch.equal(bm3.loss(batch, NOTHING), before)
    assert moved == {"norm": True, "squared": False}


@pytest.mark.parametrize(("setting", "silent"), [("cl_weight", {"maps", "tables"}), ("reg_weight", set())])
def test_a_weight_of_zero_switches_its_term_off(setting, silent):
    data = random_data(1)
    bm3, batch = model(data, **{setting: 0}), random_batch(data, 4)
    loss = bm3.loss(batch, NOTHING)
    torch.testing.assert_close(loss, dense_loss(bm3, data, batch, dict(bm3.tables)), rtol=1e-5, atol=1e-6)
    loss.backward()
    without = {name.split(".")[0] for name, value in bm3.named_parameters() if value.grad is None}
    assert without == silent


def test_features_become_tables_or_stay_fixed():
    data = random_data(1)
    free, fixed = model(data), model(data, trainable_features=False)
    assert torch.equal(free.tables["visual"], data.features["visual"]) and not len(fixed.tables)
    leaf = (2 * data.features["visual"]).requires_grad_()
    fixed.features["visual"] = leaf
    batch = random_batch(data, 4)
    fixed.loss(batch, NOTHING).backward()
    touched = torch.zeros(data.n_items, dtype=torch.bool)
    touched[batch.positive] = True
    assert leaf.grad[touched].any(1).all() and not leaf.grad[~touched].any()


def test_normalised_features_start_the_tables_at_unit_length():
    data = random_data(1)
    tables = model(data, normalise_features=True).tables
    torch.testing.assert_close(tables["visual"].norm(dim=1), torch.ones(15))
    a, b = (
        model(only(data, "visual", scale), normalise_features=True).loss(random_batch(data, 4), NOTHING)
        for scale in (1.0, 5.0)
    )
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("wrong", [{"dropout": 1.0}, {"cl_weight": -1}, {"n_layers": -1}, {"knn_k": 10}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        BM3.Settings.build(wrong)
