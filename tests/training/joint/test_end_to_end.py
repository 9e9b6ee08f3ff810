"""The readings of Algorithm 1 inside the training loop: who moves, who stays, and that a stop changes nothing."""

import os
import signal

import numpy as np
import pytest
import torch
from torch import nn

from lmmrec_core.errors import ConfigError
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.roles import ContentRecommender, ItemEncoder, TrainingData
from lmmrec_core.training.joint.end_to_end import end_to_end
from lmmrec_core.training.loop import TrainingSettings, train
from tests.contracts.pyg_guest import PygContent
from tests.recommenders.toys import split_for
from tests.training.joint.toy_encoders import ToyEncoder, build, data_of, settings

ITEMS = 45
DATA = data_of(ToyEncoder(ITEMS), ITEMS)
WITH_FEATURES = sorted(name for name, member in RECOMMENDERS.items() if member.uses_features)
E2 = {"reading": "e2", "encoder_learning_rate": 0.01, "updates_per_epoch": 2, "chunk": 16}


def score(scorer) -> float:
    """Any number that depends on the weights."""
    return float(scorer(torch.arange(4)).double().sum()) % 1


def fit(model, features, data=DATA, epochs=3, path=None, validate=score, **values):
    chosen = TrainingSettings(epochs=epochs, patience=epochs, batch_size=32, learning_rate=0.01, **values)
    return train(
        model, data, split_for(data), chosen, seed=2, validate=validate, checkpoint=path, identity="a", progress=False,
        features=features,
    )  # fmt: skip


def trained(name, values, encoder=None, **more):
    """A recommender trained under a reading: its model, encoder, the encoder's weights before, and the Training."""
    encoder = encoder or ToyEncoder(ITEMS)
    before = {key: value.clone() for key, value in encoder.module.state_dict().items()}
    model = build(name, DATA)
    done = fit(model, end_to_end(settings(**values), encoder), **more)
    return model, encoder, before, done


def moved(encoder, before) -> set[str]:
    return {key for key, value in encoder.module.state_dict().items() if not torch.equal(value, before[key])}


def test_the_toy_plays_the_role():
    assert isinstance(ToyEncoder(3), ItemEncoder)


@pytest.mark.parametrize("name", WITH_FEATURES)
def test_e2_moves_the_whole_encoder_and_the_features_follow(name):
    model, encoder, before, done = trained(name, E2)
    assert moved(encoder, before) == before.keys()
    for modality, rows in encoder.features().items():
        torch.testing.assert_close(model.features[modality], rows, rtol=1e-5, atol=1e-6)
        assert not model.features[modality].requires_grad
        assert done.notes["feature_change"][modality] > 0.001
    assert done.notes["trained_parameters"] == sum(p.numel() for p in encoder.module.parameters())
    assert done.notes["updates"] == 3 * (1 if name == "lattice" else 2)
    assert max(done.notes["start_difference"].values()) < 1e-6


def test_an_encoder_is_trained_with_a_module_that_is_not_of_our_base_class():
    encoder = ToyEncoder(ITEMS)
    before = {key: value.clone() for key, value in encoder.module.state_dict().items()}
    model = PygContent(DATA, PygContent.Settings(embedding_dim=4), torch.Generator().manual_seed(0))
    assert isinstance(model, ContentRecommender)
    done = fit(model, end_to_end(settings(**E2), encoder))
    assert moved(encoder, before) == before.keys() and done.notes["updates"] == 6
    for modality, rows in encoder.features().items():
        torch.testing.assert_close(model.features[modality], rows, rtol=1e-5, atol=1e-6)


def test_e3_moves_its_part_and_nothing_else():
    _, encoder, before, done = trained("vbpr", {**E2, "reading": "e3", "part": "heads"})
    assert moved(encoder, before) == {key for key in before if key.startswith("heads.")}
    assert done.notes["trained_parameters"] == sum(p.numel() for p in encoder.module.heads.parameters())


@pytest.mark.parametrize("name", WITH_FEATURES)
def test_e1_moves_the_features_and_not_the_encoder(name):
    model, encoder, before, done = trained(name, {"reading": "e1"})
    assert not moved(encoder, before)
    for modality, rows in DATA.features.items():
        assert not torch.equal(model.features[modality], rows) and done.notes["feature_change"][modality] > 0
        assert torch.equal(model.features[modality], model.free_features[modality])


def test_under_e1_items_without_a_training_row_stay_and_nothing_decays():
    data = data_of(ToyEncoder(ITEMS), ITEMS, edges=60)
    model = build("vbpr", data)
    fit(model, end_to_end(settings(reading="e1"), None), data, weight_decay=0.1)
    cold = torch.ones(ITEMS, dtype=torch.bool)
    cold[data.item] = False
    assert cold.any()
    for modality, rows in data.features.items():
        assert torch.equal(model.features[modality][cold], rows[cold])
        assert (model.features[modality] != rows)[~cold].any(1).all()


def test_e1_equals_the_release_where_the_release_trains_its_own_copy():
    """LATTICE with free features against LATTICE with its own trainable tables."""
    free, own = build("lattice", DATA), build("lattice", DATA, trainable_features=True)
    fit(free, end_to_end(settings(reading="e1"), None))
    fit(own, None)
    for modality, rows in own.tables.items():
        torch.testing.assert_close(free.features[modality], rows.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(free.user, own.user, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", WITH_FEATURES)
def test_the_letter_of_the_algorithm_trains_what_fixed_features_train(name):
    model, encoder, before, done = trained(name, {"reading": "e0"})
    fixed = build(name, DATA)
    plain = fit(fixed, None)
    assert not moved(encoder, before) and done.notes["trained_parameters"] == 0 and plain.notes == {}
    for key, value in fixed.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "same_features", "unit_rows"),
    [("vbpr", True, False), ("lattice", True, False), ("mmgcn", False, False), ("mmgcl", False, False),
     ("slmrec", False, False)],
)  # fmt: skip
def test_the_released_side_effects(name, same_features, unit_rows):
    model, encoder, before, done = trained(
        name, {"reading": "e0", "arm": "released", "stochastic": True}, ToyEncoder(ITEMS, dropout=0.3)
    )
    assert not moved(encoder, before) and not encoder.module.training
    for modality, rows in DATA.features.items():
        assert torch.equal(model.features[modality], rows) == same_features
    assert model.unit_rows == unit_rows and bool(done.notes["effect"])


def test_a_model_outside_the_release_has_no_released_arm():
    with pytest.raises(ConfigError, match="bm3"):
        trained("bm3", {"reading": "e0", "arm": "released"})


def test_only_free_features_do_without_an_encoder():
    with pytest.raises(ConfigError, match="needs an encoder"):
        end_to_end(settings(**E2), None)


def test_models_without_features_or_with_their_own_are_refused():
    for values in (E2, {"reading": "e1"}, {"reading": "e0"}):
        with pytest.raises(ConfigError, match="no item features"):
            fit(build("bpr", DATA), end_to_end(settings(**values), ToyEncoder(ITEMS)))
        with pytest.raises(ConfigError, match="trainable_features=false"):
            model = build("bm3", DATA, trainable_features=True)
            fit(model, end_to_end(settings(**values), ToyEncoder(ITEMS)))


def test_evaluation_sees_features_of_the_current_weights_and_the_best_epoch_is_left_whole():
    encoder, model, seen = ToyEncoder(ITEMS, dropout=0.2), build("vbpr", DATA), []

    def validate(scorer):
        encoder.module.eval()
        current = encoder.features()
        for modality, rows in current.items():
            torch.testing.assert_close(model.features[modality].detach(), rows, rtol=1e-5, atol=1e-6)
        weights = {key: value.clone() for key, value in encoder.module.state_dict().items()}
        seen.append((weights, current, scorer(torch.arange(5))))
        return {2: 0.9}.get(len(seen), 0.1 / len(seen))

    done = fit(model, end_to_end(settings(**E2, stochastic=True), encoder), epochs=4, validate=validate)
    weights, rows, scores = seen[1]
    assert done.best_epoch == 2 and not encoder.module.training
    assert all(torch.equal(value, weights[key]) for key, value in encoder.module.state_dict().items())
    assert not torch.equal(weights["heads.visual.weight"], seen[3][0]["heads.visual.weight"])
    torch.testing.assert_close(model.features["visual"], rows["visual"])
    torch.testing.assert_close(model.scorer()(torch.arange(5)), scores)


@pytest.mark.parametrize(("name", "epochs_per_update", "expected"), [("lattice", 1, 2), ("vbpr", 1, 1), ("vbpr", 2, 4)])
def test_no_state_before_the_second_update_is_kept(name, epochs_per_update, expected):
    """The score falls from the first epoch on; patience starts with the first evaluation that counts."""
    falling = iter(range(99, 0, -1))
    values = {**E2, "updates_per_epoch": 1 if epochs_per_update > 1 else 2, "epochs_per_update": epochs_per_update}
    model, features = build(name, DATA), end_to_end(settings(**values), ToyEncoder(ITEMS))
    chosen = TrainingSettings(epochs=9, patience=1, batch_size=32)
    done = train(
        model, DATA, split_for(DATA), chosen, seed=2, validate=lambda scorer: next(falling) / 100, progress=False,
        features=features,
    )  # fmt: skip
    assert (done.best_epoch, len(done.history), done.stopped) == (expected, expected + 2, "patience")
    assert done.notes["updates_before_kept"] == 2 and done.notes["trained"]


def test_a_training_that_ends_before_the_second_update_says_so():
    model, _, _, done = trained("lattice", E2, epochs=1)
    assert done.best_epoch == 1 and not done.notes["trained"] and done.notes["updates_before_kept"] == 1
    assert torch.isfinite(model.features["visual"]).all()


class Stop(Exception):
    pass


@pytest.mark.parametrize("stop", ["signal", "crash"])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("vbpr", {**E2, "updates_per_epoch": "every_step"}),
        ("vbpr", {**E2, "stochastic": True}),
        ("mmgcn", {**E2, "policy": "sampled", "kept_rows": 9, "measure_batches": 1}),
        ("mmgcn", {**E2, "policy": "bank", "updates_per_epoch": "every_step"}),
        ("lattice", {**E2, "stochastic": True}),
        ("mmgcn", {**E2, "updates_per_epoch": 1, "epochs_per_update": 3}),
        ("vbpr", {**E2, "updates_per_epoch": 1, "epochs_per_update": 3}),
        ("vbpr", {"reading": "e1"}),
        ("mmgcl", {"reading": "e0", "arm": "released", "stochastic": True}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, list(value.values())[-2:])),
)
def test_resumed_equals_uninterrupted(tmp_path, name, values, stop):
    def one(path=None, at=None):
        encoder, calls = ToyEncoder(ITEMS, dropout=0.3), []
        model = build(name, DATA)

        def validate(scorer):
            calls.append(1)
            if len(calls) == at and stop == "crash":
                raise Stop
            if len(calls) == at:
                os.kill(os.getpid(), signal.SIGINT)
            return score(scorer)

        seconds = 0 if stop == "crash" else 3600
        features = end_to_end(settings(**values), encoder)
        done = fit(
            model, features, epochs=6, path=path, validate=validate, evaluate_every=2, checkpoint_seconds=seconds
        )
        return model, encoder, done

    whole, whole_encoder, expected = one()
    with pytest.raises((KeyboardInterrupt, Stop)):
        one(tmp_path / "run.pt", at=2)
    model, encoder, done = one(tmp_path / "run.pt")
    assert [(e.loss, e.valid) for e in done.history] == [(e.loss, e.valid) for e in expected.history]
    assert done.best_epoch == expected.best_epoch and done.notes == expected.notes
    for now, then in ((model, whole), (encoder.module, whole_encoder.module)):
        for key, value in then.state_dict().items():
            assert torch.equal(now.state_dict()[key], value), key
    for modality, rows in whole.features.items():
        assert torch.equal(model.features[modality], rows), modality


@pytest.mark.parametrize(
    "values",
    [{**E2, "updates_per_epoch": 1, "epochs_per_update": 3}, {**E2, "updates_per_epoch": 2}, {"reading": "e1"},
     {"reading": "e0", "arm": "letter"}],
    ids=lambda values: "-".join(map(str, list(values.values())[-2:])),
)  # fmt: skip
def test_killed_after_its_last_epoch_it_notes_the_same(tmp_path, values):
    """Then nothing is left to train: what is noted comes from the checkpoint alone."""

    def one():
        features = end_to_end(settings(**values), ToyEncoder(ITEMS))
        return fit(build("vbpr", DATA), features, epochs=6, path=tmp_path / "run.pt", checkpoint_seconds=0)

    whole, again = one(), one()
    assert (tmp_path / "run.pt").is_file() and again.notes == whole.notes
    if "epochs_per_update" in values:
        assert whole.notes["steps_per_update"] == 3 * whole.steps_per_epoch


class Squeeze:
    """One picture row per item: a linear map to two columns, at first all but blind to column 0, where taste is."""

    def __init__(self, inputs: torch.Tensor) -> None:
        self.inputs, self.module = inputs, nn.Linear(inputs.shape[1], 2, bias=False)
        with torch.no_grad():
            self.module.weight.copy_(torch.eye(inputs.shape[1])[1:3])
            self.module.weight[:, 0] = 0.05

    def rows(self, items: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"visual": self.module(self.inputs[items])}

    def part(self, name: str) -> frozenset[str]:
        return frozenset(["weight"])


def probe(features: torch.Tensor, wanted: torch.Tensor) -> float:
    """R² on the second half of the items of a least-squares fit on the first."""
    half = len(wanted) // 2
    columns = torch.cat([features, torch.ones(len(features), 1)], 1).double()
    fitted = columns @ torch.linalg.lstsq(columns[:half], wanted[:half, None].double()).solution
    rest = (wanted[half:] - fitted[half:, 0]).square().sum() / (wanted[half:] - wanted[half:].mean()).square().sum()
    return 1 - float(rest)


@pytest.mark.parametrize("name", ["vbpr", "freedom"])
def test_e2_brings_a_planted_visual_signal_into_the_features_and_e0_does_not(name):
    """Users like items whose column 0 is on their side."""
    generator = torch.Generator().manual_seed(4)
    n_users, n_items = 60, 100
    inputs = torch.randn(n_items, 8, generator=generator)
    side = torch.arange(n_users) % 2 * 2.0 - 1
    likes = torch.rand(n_users, n_items, generator=generator) < 0.25 * torch.sigmoid(4 * side[:, None] * inputs[:, 0])
    likes[0] |= ~likes.any(0)
    user, item = likes.nonzero().T
    found = {}
    for reading in ("e0", "e2"):
        encoder = Squeeze(inputs)
        start = encoder.rows(torch.arange(n_items))["visual"].detach().clone()
        data = TrainingData(n_users, n_items, user, item, {"visual": start})
        more = {"reg_weight": 0.1} if name == "freedom" else {}
        values = {"reading": "e0"} if reading == "e0" else {**E2, "updates_per_epoch": 8, "encoder_learning_rate": 0.02}
        model = build(name, data, embedding_dim=8, **more)
        last = iter(np.linspace(0.1, 0.9, 8))
        features = end_to_end(settings(**values), encoder)
        fit(model, features, data, epochs=8, validate=lambda scorer, last=last: next(last))
        found[reading] = probe(model.features["visual"], inputs[:, 0])
    assert found["e0"] == pytest.approx(probe(start, inputs[:, 0]), abs=1e-6) and found["e0"] < 0.2
    assert found["e2"] > found["e0"] + 0.3
