"""The encoder in chunks: what it refuses, what it costs in memory, kept boundary states, groups of weight decay."""

import pytest
import torch
from torch import nn

from lmmrec_core.errors import ConfigError, FeatureError, TrainingError
from lmmrec_core.roles import TrainingData
from lmmrec_core.training.joint.boundary import CachedBoundary, SplitEncoder
from lmmrec_core.training.joint.chunks import decay_groups, generators, trained_part
from tests.training.joint.toy_encoders import ToyEncoder, batches_of, build, data_of, error, windowed

ITEMS = 45
DATA = data_of(ToyEncoder(ITEMS), ITEMS)


def run(encoder, **values):
    return windowed(build("vbpr", DATA), encoder, batches_of(DATA, 1), **values)


def test_batch_statistics_are_refused_by_name_and_frozen_ones_are_not():
    with pytest.raises(TrainingError, match=r"'towers\.visual\.1'.*stochastic=false"):
        run(ToyEncoder(ITEMS, batch_norm=True), stochastic=True)
    encoder = ToyEncoder(ITEMS, batch_norm=True)
    before = {key: value.clone() for key, value in encoder.module.named_buffers()}
    encoder.module.train()  # however it comes
    assert len(run(encoder).gradients) == 1
    assert all(torch.equal(value, before[key]) for key, value in encoder.module.named_buffers())
    encoder.module.towers["textual"][1] = nn.BatchNorm1d(8, track_running_stats=False)
    with pytest.raises(TrainingError, match=r"'towers\.textual\.1'"):
        run(encoder)


def test_an_encoder_that_draws_in_evaluation_mode_is_refused():
    encoder, draws = ToyEncoder(ITEMS), torch.Generator().manual_seed(0)
    plain = encoder.rows
    encoder.rows = lambda items: {m: rows + torch.rand(rows.shape, generator=draws) for m, rows in plain(items).items()}
    with pytest.raises(TrainingError, match="differ from call to call"):
        run(encoder)


def test_rows_of_another_shape_or_modality_or_not_finite_are_refused():
    def changed(change):
        encoder = ToyEncoder(ITEMS)
        plain = encoder.rows
        encoder.rows = lambda items: change(plain(items))
        return encoder

    with pytest.raises(FeatureError, match=r"visual rows of shape \(45, 4\), not \(45, 5\)"):
        run(changed(lambda rows: {**rows, "visual": rows["visual"][:, 1:]}))
    with pytest.raises(FeatureError, match="reads textual features but the encoder computes visual"):
        run(changed(lambda rows: {"visual": rows["visual"]}))
    with pytest.raises(TrainingError, match=r"textual rows are not finite \(items 0 to 44\)"):
        run(changed(lambda rows: {**rows, "textual": rows["textual"] / 0}))


def test_a_part_must_name_parameters():
    encoder = ToyEncoder(3)
    assert set(trained_part(encoder, "heads")) == encoder.part("heads")
    assert {name for name, p in encoder.module.named_parameters() if p.requires_grad} == encoder.part("heads")
    for names, text in ((frozenset(), "is empty"), (frozenset(["other"]), "names no parameter: other")):
        encoder.part = lambda name, names=names: names
        with pytest.raises(ConfigError, match=text):
            trained_part(encoder, "heads")


def test_generators_are_seeded_alike_and_left_as_they_were():
    torch.manual_seed(3)
    before, device = torch.get_rng_state(), torch.device("cpu")
    values = []
    for seed in (7, 7, 8):
        with generators(seed, device):
            values.append(torch.rand(3))
    assert torch.equal(values[0], values[1]) and not torch.equal(values[0], values[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_an_encoder_step_leaves_the_global_generator_alone():
    encoder, before = ToyEncoder(ITEMS, dropout=0.5), torch.get_rng_state()
    run(encoder, stochastic=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_weight_decay_spares_vectors_positions_and_scales():
    named = {
        "visual.proj.weight": torch.zeros(2, 2), "visual.proj.bias": torch.zeros(2), "pos_embed": torch.zeros(1, 3, 2),
        "cls_token": torch.zeros(1, 1, 2), "token_type_embeddings.weight": torch.zeros(2, 2),
        "logit_scale": torch.zeros(()), "blocks.0.norm.weight": torch.zeros(2),
    }  # fmt: skip
    parameters = {name: nn.Parameter(value) for name, value in named.items()}
    decayed, spared = decay_groups(parameters, 0.1)
    assert decayed["weight_decay"] == 0.1 and spared["weight_decay"] == 0.0
    assert [p is parameters["visual.proj.weight"] for p in decayed["params"]] == [True]
    assert len(spared["params"]) == len(parameters) - 1


class Bytes:
    """Bytes that autograd keeps for the backward pass of an encoder, at most at once."""

    def __init__(self) -> None:
        self.now, self.peak = 0, 0

    def pack(self, tensor):
        size = tensor.numel() * tensor.element_size()
        self.now += size
        self.peak = max(self.peak, self.now)
        return _Kept(tensor, size, self)


class _Kept:
    def __init__(self, tensor, size, counter) -> None:
        self.tensor, self.size, self.counter = tensor, size, counter

    def __del__(self) -> None:
        self.counter.now -= self.size


def peak_bytes(n_items: int, chunk: int, name: str) -> int:
    encoder, counter = ToyEncoder(n_items), Bytes()
    data = data_of(encoder, n_items)
    plain = encoder.rows

    def rows(items):
        with torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda kept: kept.tensor):
            return plain(items)

    encoder.rows = rows
    model = build(name, data)
    windowed(model, encoder, batches_of(data, 2, negatives=model.needs_negatives), updates_per_epoch=1, chunk=chunk)
    assert counter.now == 0
    return counter.peak


@pytest.mark.parametrize("name", ["vbpr", "mmgcn", "lattice"])
def test_activations_are_bounded_by_a_chunk_whatever_the_catalogue(name):
    small, large = peak_bytes(40, 8, name), peak_bytes(160, 8, name)
    assert 0 < small == large < peak_bytes(40, 40, name)


class CutEncoder(ToyEncoder):
    """The toy cut below its heads; counts how many items pass the towers."""

    passed = 0

    def boundary(self, items, part):
        self.passed += len(items)
        return {m: tower(self.inputs[items]) for m, tower in self.module.towers.items()}

    def rows_from(self, states, part):
        return {m: self.module.heads[m](state) for m, state in states.items()}

    def rows(self, items):
        return self.rows_from(self.boundary(items, "heads"), "heads")


HEADS = {"reading": "e3", "part": "heads", "chunk": 7, "updates_per_epoch": 1}


def test_kept_boundary_states_give_the_same_rows_and_gradients():
    """The towers run once per item, and nothing else changes."""
    plain, cut = CutEncoder(ITEMS), CutEncoder(ITEMS)
    assert isinstance(cut, SplitEncoder) and not isinstance(ToyEncoder(3), SplitEncoder)
    expected, found = run(plain, **HEADS), run(cut, **HEADS, boundary="keep")
    assert error(found.gradients[0], expected.gradients[0]) < 1e-6
    assert cut.passed == ITEMS < plain.passed
    assert found.notes()["start_difference"]["visual"] < 1e-6
    assert found.notes()["boundary_bytes"] == ITEMS * 8 * 4 * 2
    items = torch.tensor([4, 40, 2])
    cached = CachedBoundary(cut, "heads", ITEMS, 10)
    for modality, rows in cut.rows(items).items():
        torch.testing.assert_close(cached.rows(items)[modality], rows, rtol=1e-6, atol=1e-6)


def test_boundary_states_in_half_the_memory_are_close():
    found, expected = run(CutEncoder(ITEMS), **HEADS, boundary="keep-bf16"), run(CutEncoder(ITEMS), **HEADS)
    assert found.notes()["boundary_bytes"] == ITEMS * 8 * 2 * 2
    assert 0 < error(found.gradients[0], expected.gradients[0]) < 0.02


def test_boundary_states_that_cannot_be_kept_are_refused():
    with pytest.raises(ConfigError, match="ToyEncoder cannot be cut below part 'heads'"):
        run(ToyEncoder(ITEMS), **HEADS, boundary="keep")
    wrong = CutEncoder(ITEMS)
    wrong.boundary = lambda items, part: wrong.rows(items)
    wrong.rows = ToyEncoder.rows.__get__(wrong)
    with pytest.raises(TrainingError, match=r"'visual' depends on part 'heads'"):
        run(wrong, **HEADS, boundary="keep")
    ragged = CutEncoder(ITEMS)
    ragged.boundary = lambda items, part: {"text": torch.zeros(len(items), len(items))}
    with pytest.raises(TrainingError, match="pad to one length"):
        run(ragged, **HEADS, boundary="keep")
    cached = CachedBoundary(CutEncoder(ITEMS), "heads", ITEMS, 10)
    cached.module.train()
    with pytest.raises(TrainingError, match="do not draw"):
        cached.rows(torch.arange(3))
    for values in ({"stochastic": True}, {"reading": "e2", "part": "all"}):
        with pytest.raises(ConfigError, match="boundary states can be kept"):
            run(CutEncoder(ITEMS), **{**HEADS, "boundary": "keep", **values})


def test_one_modality_takes_what_it_needs():
    data = TrainingData(DATA.n_users, DATA.n_items, DATA.user, DATA.item, {"textual": DATA.features["textual"]})
    window = windowed(build("vbpr", data), ToyEncoder(ITEMS), batches_of(data, 1))
    assert set(window.feature_gradients[0]) == {"textual"}
    assert window.gradients[0].count_nonzero() < window.gradients[0].numel()
