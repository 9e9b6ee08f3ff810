"""What every recommender promises; runs on each member of RECOMMENDERS, ours and other packages', without being told.

``test_guests.py`` runs this file once more beside packages that bring members of their own.
"""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest
import torch
from torch import nn

import lmmrec_core.recommenders as stage
from lmmrec_core.errors import FeatureError, TrainingError
from lmmrec_core.flow import Interactions, Split
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.roles import Batch, ContentRecommender, Recommender, TrainableRecommender, TrainingData
from lmmrec_core.seeds import torch_stream
from lmmrec_core.training.loop import TrainingSettings, train
from lmmrec_core.training.recommend import top_k

MEMBERS = sorted(RECOMMENDERS)
TRAINED = [name for name in MEMBERS if issubclass(RECOMMENDERS[name], nn.Module)]
WITH_FEATURES = [name for name in MEMBERS if RECOMMENDERS[name].uses_features]
LEARN_FROM_FEATURES = [name for name in WITH_FEATURES if name in TRAINED]
DESCRIBED = [name for name in TRAINED if "mode" in RECOMMENDERS[name].Settings.model_fields]

N_USERS, N_ITEMS, BLOCKS = 48, 40, 4  # item N_ITEMS - 1 occurs in held-out rows only
BLOCK_OF_USER, BLOCK_OF_ITEM = np.arange(N_USERS) % BLOCKS, np.arange(N_ITEMS) % BLOCKS


def planted() -> Split:
    """Users like the items of their block; each has 6 of 10 in train, one in valid and two in test."""
    rng = np.random.default_rng(5)
    parts: list[list[tuple[int, int]]] = [[], [], []]
    for user in range(N_USERS):
        liked = np.flatnonzero(BLOCK_OF_USER[user] == BLOCK_OF_ITEM)
        liked = np.append(rng.permutation(liked[liked != N_ITEMS - 1]), [N_ITEMS - 1] if N_ITEMS - 1 in liked else [])
        for part, items in zip(parts, (liked[:6], liked[6:7], liked[-2:]), strict=True):
            part += [(user, int(item)) for item in items]
    rows = [Interactions(*np.array(sorted(part), dtype=np.int64).T.copy()) for part in parts]
    return Split(N_USERS, N_ITEMS, *rows, "given", None, "planted")


SPLIT = planted()


def features() -> dict[str, torch.Tensor]:
    """Block membership in noise, another width per modality."""
    noise = torch.Generator().manual_seed(2)
    blocks = torch.eye(BLOCKS)[torch.from_numpy(BLOCK_OF_ITEM)]
    return {
        modality: blocks @ torch.randn(BLOCKS, width, generator=noise)
        + 0.3 * torch.randn(N_ITEMS, width, generator=noise)
        for modality, width in (("visual", 7), ("textual", 5))
    }


def data_for(name: str, given: dict[str, torch.Tensor] | None = None, split: Split = SPLIT) -> TrainingData:
    if given is None:
        given = features() if RECOMMENDERS[name].uses_features else {}
    user, item = (torch.from_numpy(rows.copy()) for rows in (split.train.user, split.train.item))
    return TrainingData(N_USERS, N_ITEMS, user, item, given)


def build(name: str, data: TrainingData, seed: int = 1, **settings):
    member = RECOMMENDERS[name]
    if "embedding_dim" in member.Settings.model_fields:
        settings.setdefault("embedding_dim", 16)
    return member(data, member.Settings.build(settings), torch_stream(seed, "init"))


def fit(model, data: TrainingData, seed: int = 1, epochs: int = 3, split: Split = SPLIT, validate=lambda scorer: 0.0):
    chosen = TrainingSettings(epochs=epochs, batch_size=64, learning_rate=0.02, patience=epochs)
    train(model, data, split, chosen, seed=seed, validate=validate, progress=False)
    return model


def valid_recall(scorer) -> float:
    """Share of users whose validation item is among the first 4."""
    return float((top_k(scorer, SPLIT.valid.user, SPLIT, k=4) == SPLIT.valid.item[:, None]).any(1).mean())


def weights_after(name: str, split: Split, seed: int = 1) -> torch.Tensor:
    data = data_for(name, split=split)
    return fit(build(name, data, seed), data, seed, split=split).scorer()(torch.arange(N_USERS))


def batch_of(data: TrainingData) -> Batch:
    return Batch(data.user[:32], data.item[:32], data.item.flip(0)[:32], True)


def test_every_recommender_class_is_a_member():
    found = set()
    for module in pkgutil.iter_modules(stage.__path__):
        for _, thing in inspect.getmembers(importlib.import_module(f"{stage.__name__}.{module.name}"), inspect.isclass):
            if isinstance(getattr(thing, "name", None), str) and hasattr(thing, "scorer"):
                found.add(thing)
    assert found == {RECOMMENDERS[name] for name in RECOMMENDERS.own}
    assert all(name == member.name for name, member in RECOMMENDERS.items())


@pytest.mark.parametrize("name", MEMBERS)
def test_plays_its_role(name):
    model = build(name, data_for(name))
    assert isinstance(model, Recommender)
    assert isinstance(model, nn.Module) == isinstance(model, TrainableRecommender)
    if name in LEARN_FROM_FEATURES:
        assert isinstance(model, ContentRecommender) and list(model.features) == ["visual", "textual"]
    assert inspect.getdoc(RECOMMENDERS[name])


@pytest.mark.parametrize("name", MEMBERS)
def test_scores_every_item_for_any_users_in_any_order(name):
    data = data_for(name)
    scorer = fit(build(name, data), data).scorer()
    everyone = scorer(torch.arange(N_USERS))
    assert everyone.shape == (N_USERS, N_ITEMS) and everyone.dtype == torch.float32 and everyone.isfinite().all()
    assert not everyone.requires_grad
    some = torch.tensor([7, 0, 7, 30])
    torch.testing.assert_close(scorer(some), everyone[some], rtol=1e-5, atol=1e-5)
    assert scorer(torch.zeros(0, dtype=torch.int64)).shape == (0, N_ITEMS)


@pytest.mark.parametrize("name", MEMBERS)
def test_learns_a_planted_signal(name):
    data = data_for(name)
    model = fit(build(name, data), data, epochs=40, validate=valid_recall)
    users = np.arange(N_USERS)
    found = top_k(model.scorer(), users, SPLIT, k=4)
    right = (BLOCK_OF_ITEM[found] == BLOCK_OF_USER[:, None]).mean()  # 4 of 34 candidates are in the block: chance 0.12
    if name == "popularity":  # the floor itself: the same list for every user
        assert right < 0.4
    else:
        assert right > 0.6


@pytest.mark.parametrize("name", MEMBERS)
def test_the_seed_fixes_the_scores(name):
    first = weights_after(name, SPLIT)
    assert torch.equal(first, weights_after(name, SPLIT))
    if name in TRAINED:
        assert not torch.equal(first, weights_after(name, SPLIT, seed=2))


@pytest.mark.parametrize("name", MEMBERS)
def test_held_out_rows_have_no_influence(name):
    swapped = Split(N_USERS, N_ITEMS, SPLIT.train, SPLIT.test, SPLIT.valid, "given", None, "swapped")
    assert torch.equal(weights_after(name, SPLIT), weights_after(name, swapped))


@pytest.mark.parametrize("name", TRAINED)
def test_negatives_are_neither_training_items_of_the_user_nor_unseen_items(name, monkeypatch):
    data = data_for(name)
    model, seen = build(name, data), []
    plain = model.loss
    monkeypatch.setattr(model, "loss", lambda batch, generator: seen.append(batch) or plain(batch, generator))
    fit(model, data)
    rows = set(zip(data.user.tolist(), data.item.tolist(), strict=True))
    assert N_ITEMS - 1 not in data.item
    for batch in seen:
        assert (batch.negative is not None) == model.needs_negatives
        if batch.negative is not None:
            assert not set(zip(batch.user.tolist(), batch.negative.tolist(), strict=True)) & rows
            assert N_ITEMS - 1 not in batch.negative


@pytest.mark.parametrize("modality", ["visual", "textual"])
@pytest.mark.parametrize("name", WITH_FEATURES)
def test_one_modality_is_enough(name, modality):
    data = data_for(name, {modality: features()[modality]})
    assert fit(build(name, data), data).scorer()(torch.arange(3)).isfinite().all()


@pytest.mark.parametrize("name", WITH_FEATURES)
def test_features_matter(name):
    data, other = data_for(name), data_for(name, {key: rows.flip(0) for key, rows in features().items()})
    scores = [fit(build(name, some), some).scorer()(torch.arange(3)) for some in (data, other)]
    assert not torch.allclose(*scores)


@pytest.mark.parametrize("rows", ["one", "all"])
@pytest.mark.parametrize("name", WITH_FEATURES)
def test_features_of_zeros_do_not_break_it(name, rows):
    given = features()
    for matrix in given.values():
        matrix[3 if rows == "one" else slice(None)] = 0
    data = data_for(name, given)
    assert fit(build(name, data), data).scorer()(torch.arange(N_USERS)).isfinite().all()


@pytest.mark.parametrize("name", WITH_FEATURES)
def test_features_that_are_not_finite_or_missing_are_refused(name):
    given = features()
    given["textual"][5, 1] = torch.inf
    with pytest.raises(FeatureError, match="textual features of item at position 5"):
        build(name, data_for(name, given))
    with pytest.raises(FeatureError, match="none were given"):
        build(name, data_for(name, {}))
    with pytest.raises(FeatureError, match=f"{N_ITEMS} items"):
        build(name, data_for(name, {"visual": features()["visual"][:-1]}))


@pytest.mark.parametrize("name", LEARN_FROM_FEATURES)
def test_gradients_reach_features_put_in_place_of_the_fixed_ones(name):
    data = data_for(name)
    fixed = {"trainable_features": False} if "trainable_features" in RECOMMENDERS[name].Settings.model_fields else {}
    model = build(name, data, **fixed)
    leaves = {modality: matrix.clone().requires_grad_() for modality, matrix in features().items()}
    model.features.update(leaves)
    model.begin_epoch(1, torch.Generator())
    model.loss(batch_of(data), torch.Generator().manual_seed(0)).backward()
    for modality, leaf in leaves.items():
        assert leaf.grad is not None and leaf.grad.any() and leaf.grad.isfinite().all(), modality


@pytest.mark.parametrize("name", TRAINED)
def test_a_broken_weight_stops_training_with_a_clear_error(name):
    data = data_for(name)
    model = build(name, data)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(TrainingError, match=rf"{name}: the loss is nan at epoch 1, batch 1; lower\s+learning_rate"):
        fit(model, data)


@pytest.mark.parametrize("name", DESCRIBED)
def test_described_mode_trains_too(name):
    data = data_for(name)
    assert fit(build(name, data, mode="described"), data).scorer()(torch.arange(N_USERS)).isfinite().all()


@pytest.mark.parametrize("name", TRAINED)
def test_every_parameter_that_learns_is_saved(name):
    data = data_for(name)
    model, other = fit(build(name, data), data), build(name, data, seed=9)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.scorer()(torch.arange(5)), model.scorer()(torch.arange(5)))


@pytest.mark.parametrize("name", ["lattice", "freedom", "bm3"])
def test_free_tables_are_the_released_code_and_not_the_publication(name: str) -> None:
    settings = RECOMMENDERS[name].Settings
    assert settings.build({}).trains_features and not settings.build({"mode": "described"}).trains_features
    for asked in (True, False):
        assert settings.build({"mode": "described", "trainable_features": asked}).trains_features == asked
