"""Gradient caching against the whole computation graph, for every recommender with features."""

import pytest
import torch

from lmmrec_core.errors import ConfigError, TrainingError
from lmmrec_core.recommenders import RECOMMENDERS
from tests.training.joint.toy_encoders import (
    Captured,
    Moving,
    ToyEncoder,
    batches_of,
    build,
    data_of,
    error,
    flat,
    settings,
    whole_graph,
    windowed,
)

ITEMS = 45
WITH_FEATURES = sorted(name for name, member in RECOMMENDERS.items() if member.uses_features)
ENCODER = ToyEncoder(ITEMS)
DATA = data_of(ENCODER, ITEMS)


def both(name: str, n: int, double: bool = False, chunk: int = 7, **values):
    """The gradient of one window of n steps: by gradient caching, and through the whole graph."""
    found, expected = [], []
    for collected in (found, expected):
        encoder = ToyEncoder(ITEMS, double=double)
        whole = {"dropout": 0.0} if double and name == "freedom" else {}  # its pruned graphs are made in fp32
        model = build(name, DATA, double=double, **values, **whole)
        batches = batches_of(DATA, n, negatives=model.needs_negatives)
        if collected is found:
            window = windowed(model, encoder, batches, updates_per_epoch=1, chunk=chunk)
            collected += window.gradients
        else:
            collected.append(whole_graph(model, encoder, batches))
    assert len(found) == 1
    return found[0], expected[0]


@pytest.mark.parametrize("chunk", [1, 7, 37, ITEMS])
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("name", WITH_FEATURES)
def test_equals_the_whole_graph(name, n, chunk):
    found, expected = both(name, n, chunk=chunk)
    assert expected.norm() > 0 and error(found, expected) < 1e-5


@pytest.mark.parametrize("name", WITH_FEATURES)
def test_equals_the_whole_graph_as_described(name):
    found, expected = both(name, 3, mode="described")
    assert expected.norm() > 0 and error(found, expected) < 1e-5


def test_normalisation_happens_inside_the_loss():
    found, expected = both("vbpr", 3, normalise_features=True)
    raw, _ = both("vbpr", 3)
    assert error(found, expected) < 1e-5 and error(found, raw) > 0.1


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("name", WITH_FEATURES)
def test_equals_the_whole_graph_in_double_precision(name, n):
    found, expected = both(name, n, double=True)
    assert found.dtype == torch.float64 and error(found, expected) < 1e-10


@pytest.mark.parametrize("repeated", [True, False])
@pytest.mark.parametrize("name", WITH_FEATURES)
def test_draws_are_repeated(name, repeated):
    """Oracle: the graph of the pass that gave the values, kept for every chunk and not computed again."""
    encoder, model = ToyEncoder(ITEMS, dropout=0.4), build(name, DATA)
    batches = batches_of(DATA, 1, negatives=model.needs_negatives)
    kept = []

    class Keeping(Captured):
        def start(self, model, seed):
            super().start(model, seed)
            plain = self.encoder.fill

            def fill(chunk, features):
                plain(chunk, features)
                if chunk.seed is not None:
                    with torch.enable_grad():
                        kept.append((chunk, self.encoder._rows(chunk)))

            self.encoder.fill = fill

        def _update(self, gradients, step):
            self.filled = list(self.filled) if repeated else [type(c)(c.items, c.seed + 1) for c in self.filled]
            super()._update(gradients, step)

    window = windowed(model, encoder, batches, kind=Keeping, updates_per_epoch=1, chunk=7, stochastic=True)
    encoder.module.zero_grad(set_to_none=True)
    for chunk, rows in kept:
        for modality, gradient in window.feature_gradients[0].items():
            torch.autograd.backward(rows[modality], gradient[chunk.items])
    found = error(window.gradients[0], flat(window.trained.values()))
    assert found < 1e-5 if repeated else found > 0.05


def test_vbpr_encodes_the_items_of_the_batch_and_no_others():
    encoder, model = ToyEncoder(ITEMS), build("vbpr", DATA)
    batches = batches_of(DATA, 3, size=6)
    window = windowed(model, encoder, batches, updates_per_epoch="every_step", chunk=4)
    for batch, gradients in zip(batches, window.feature_gradients, strict=True):
        touched = torch.zeros(ITEMS, dtype=torch.bool)
        touched[torch.cat([batch.positive, batch.negative])] = True
        assert torch.equal(gradients["visual"].abs().sum(1) > 0, touched) and not touched.all()


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("name", [name for name in WITH_FEATURES if RECOMMENDERS[name].reads_batch_items_only])
def test_encoding_only_what_the_batches_touch_equals_encoding_everything(name, n, monkeypatch):
    def train():
        encoder, model = ToyEncoder(ITEMS), build(name, DATA)
        batches = batches_of(DATA, 4, size=6, negatives=model.needs_negatives)
        per_epoch = "every_step" if n == 1 else 2
        values = {"updates_per_epoch": per_epoch, "chunk": 4, "encoder_learning_rate": 0.01}
        window = windowed(model, encoder, batches, kind=Moving, **values)
        window.end_epoch(evaluated=True)
        return window, model.features

    few, features = train()
    monkeypatch.setattr(RECOMMENDERS[name], "reads_batch_items_only", False)
    everything, expected = train()
    assert len(few.gradients) == 4 // n and few.encoder.encoded < everything.encoder.encoded
    for found, wanted in zip(few.gradients, everything.gradients, strict=True):
        assert error(found, wanted) < 1e-4
    for modality, rows in expected.items():
        found = features[modality]
        if name == "freedom":  # its loss is blind to an offset of all rows: the heads' biases move on rounding errors
            found, rows = found - found.mean(0), rows - rows.mean(0)
        assert error(found, rows) < 1e-5


def test_what_a_model_declares_about_features_is_true():
    """``reads_batch_items_only`` and ``features_enter_once_per_epoch`` decide what is encoded: they must be true."""
    for name in WITH_FEATURES:
        model = build(name, DATA)
        batches = batches_of(DATA, 3, size=6, negatives=model.needs_negatives)
        generator = torch.Generator().manual_seed(0)
        model.begin_epoch(1, generator)
        rows, later = [], []
        for batch in batches:
            leaves = {m: f.detach().clone().requires_grad_() for m, f in DATA.features.items()}
            model.features.update(leaves)
            loss = model.loss(batch, generator)
            gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
            live = [g for g in gradients if g is not None and g.any()]
            if not batch.first_of_epoch:
                later += live
            touched = torch.zeros(ITEMS, dtype=torch.bool)
            touched[torch.cat([batch.positive] + ([] if batch.negative is None else [batch.negative]))] = True
            rows += [bool(gradient[~touched].any()) for gradient in live]
        member = RECOMMENDERS[name]
        assert member.reads_batch_items_only == (not any(rows)), name
        assert member.features_enter_once_per_epoch == (not later), name


def test_lattice_gets_one_window_an_epoch_with_gradient_from_its_first_batch():
    encoder, model = ToyEncoder(ITEMS), build("lattice", DATA)
    batches = batches_of(DATA, 6)
    seen = []

    class Watching(Captured):
        def after_step(self, step):
            seen.append(self.leaves["visual"].grad.clone())
            super().after_step(step)

    window = windowed(model, encoder, batches, kind=Watching, updates_per_epoch="every_step")
    assert len(window.gradients) == 1 and seen[0].any() and all(torch.equal(gradient, seen[0]) for gradient in seen)


@pytest.mark.parametrize(("updates", "steps", "expected"), [(8, 20, 7), (8, 5, 5), (1, 5, 1), ("every_step", 5, 5)])
def test_windows_share_an_epoch(updates, steps, expected):
    model = build("vbpr", DATA)
    window = windowed(model, ToyEncoder(ITEMS), batches_of(DATA, steps, size=4), updates_per_epoch=updates)
    assert len(window.gradients) == expected == window.notes()["updates"]


def test_a_short_last_window_is_averaged_over_its_own_steps():
    model = build("vbpr", DATA, reg_weight=0.0)
    batches = batches_of(DATA, 3)
    batches[2] = batches[0]
    window = windowed(model, ToyEncoder(ITEMS), batches, updates_per_epoch=2, learning_rate=1e-9)
    alone = windowed(build("vbpr", DATA, reg_weight=0.0), ToyEncoder(ITEMS), batches[:1], learning_rate=1e-9)
    assert len(window.gradients) == 2 and error(window.gradients[1], alone.gradients[0]) < 1e-4


@pytest.mark.parametrize("name", ["vbpr", "mmgcn", "lattice"])
def test_a_window_may_span_epochs(name):
    models = [build(name, DATA) for _ in range(2)]
    batches = batches_of(DATA, 3, negatives=models[0].needs_negatives)
    window = windowed(models[0], ToyEncoder(ITEMS), batches, epochs=5, updates_per_epoch=1, epochs_per_update=2)
    expected = whole_graph(models[1], ToyEncoder(ITEMS), batches, epochs=2)
    assert len(window.gradients) == 2 == window.notes()["updates"] and window.notes()["steps_per_update"] == 6
    assert error(window.gradients[0], expected) < 1e-5


def test_lower_precision_changes_the_rows_but_not_the_type_of_the_features():
    model = build("vbpr", DATA)
    window = windowed(model, ToyEncoder(ITEMS), batches_of(DATA, 1), precision="bf16")
    difference = window.notes()["start_difference"]["visual"]
    assert model.features["visual"].dtype == torch.float32 and 1e-5 < difference < 0.02
    exact = windowed(build("vbpr", DATA), ToyEncoder(ITEMS), batches_of(DATA, 1))
    assert error(window.gradients[0], exact.gradients[0]) < 0.05


def test_a_model_that_trains_its_own_copy_is_refused():
    with pytest.raises(ConfigError, match="trainable_features=false"):
        windowed(build("lattice", DATA, trainable_features=True), ToyEncoder(ITEMS), batches_of(DATA, 1))


def test_a_loss_that_does_not_depend_on_the_features_is_refused():
    with pytest.raises(TrainingError, match="zero in the whole first window"):
        windowed(build("lattice", DATA, lambda_=1.0), ToyEncoder(ITEMS), batches_of(DATA, 2))
    model = build("vbpr", DATA)
    plain = model.content
    model.content = lambda: {m: f.detach() for m, f in plain().items()}
    with pytest.raises(TrainingError, match="no gradient reached the visual features"):
        windowed(model, ToyEncoder(ITEMS), batches_of(DATA, 1))


def test_an_encoder_out_of_reach_of_the_gradient_is_refused():
    encoder = ToyEncoder(ITEMS)
    plain = encoder.rows
    encoder.rows = lambda items: {m: rows.detach() for m, rows in plain(items).items()}
    with pytest.raises(TrainingError, match="no gradient reached part 'all'"):
        windowed(build("vbpr", DATA), encoder, batches_of(DATA, 1))


def test_an_epoch_that_would_take_too_long_is_stopped_after_one_update():
    with pytest.raises(TrainingError, match=r"above max_epoch_minutes=1e-09; take fewer"):
        windowed(build("vbpr", DATA), ToyEncoder(ITEMS), batches_of(DATA, 3), max_epoch_minutes=1e-9)


def test_settings_that_contradict_each_other_are_refused():
    for values, text in [
        ({"part": "heads"}, "reading e2 trains part 'all'"),
        ({"reading": "e3"}, "reading e3 'heads'"),
        ({"policy": "bank"}, "every_step"),
        ({"policy": "top", "stochastic": True}, "policy 'window'"),
        ({"reading": "e1", "part": "heads"}, "does not use part"),
        ({"reading": "e0", "policy": "top"}, "does not use policy"),
        ({"arm": "released"}, "does not use arm"),
        ({"kept_rows": 4}, "kept_rows"),
        ({"measure_batches": 4}, "exact"),
        ({"updates_per_epoch": 0}, "at least 1"),
        ({"part": "top-0"}, "part"),
        ({"epochs_per_update": 2}, "needs updates_per_epoch=1"),
        ({"reading": "e1", "epochs_per_update": 2}, "does not use epochs_per_update"),
    ]:
        with pytest.raises(ConfigError, match=text):
            settings(**values)


def test_a_gradient_is_restored_on_the_device_of_its_features():
    """A state is read back onto the CPU, and features are wherever the recommender is."""
    batches = batches_of(DATA, 3)
    window = windowed(build("vbpr", DATA), ToyEncoder(ITEMS), batches, updates_per_epoch=1, epochs_per_update=2)
    state = window.state()
    assert all(gradient.any() for gradient in state["window"][2].values())
    window.leaves = {m: leaf.detach().to("meta").requires_grad_() for m, leaf in window.leaves.items()}
    window.restore(state)
    assert [leaf.grad.device.type for leaf in window.leaves.values()] == ["meta", "meta"]
    state["window"][2]["visual"] = None  # as right after an update
    window.restore(state)
    assert window.leaves["visual"].grad is None
