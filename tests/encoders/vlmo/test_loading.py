"""Published files load whole or not at all."""

import hashlib
import math
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lmmrec_core.encoders.vlmo.initial import build_network, empty_network
from lmmrec_core.encoders.vlmo.loading import _fit_image_positions, _Fitting, load_checkpoint
from lmmrec_core.errors import ConfigError, FeatureError
from tests.encoders.vlmo.small_networks import generator, tiny

SETTINGS = tiny()
POSITIONS = "text_embeddings.position_embeddings.weight"
WRAPPED = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "global_step": 3, "epoch": 1.5},
    "module": lambda state: {"module": {f"module.{key}": value for key, value in state.items()}},
    "model": lambda state: {"model": {f"module.module.{key}": value for key, value in state.items()}},
}


@pytest.fixture(scope="module")
def state():
    return build_network(SETTINGS, generator(3)).state_dict()


@pytest.fixture
def network():
    return build_network(SETTINGS, generator(4))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(path, content):
    torch.save(content, path)
    return path


def assert_same(network, state):
    seen = network.state_dict()
    assert seen.keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(seen[key], value), key


@pytest.mark.parametrize("wrapper", list(WRAPPED))
def test_every_wrapper_gives_the_same_weights(wrapper, state, network, tmp_path):
    path = write(tmp_path / "vlmo.pt", WRAPPED[wrapper](state))
    loaded = load_checkpoint(network, SETTINGS, path)
    assert_same(network, state)
    assert loaded.spec() == {
        "file_sha256": sha256(path), "wrapper": "" if wrapper == "bare" else wrapper,
        "dropped": [], "resized": [], "absent_heads": [],
    }  # fmt: skip


def test_safetensors_and_half_precision_load_as_fp32(state, network, tmp_path):
    save_file(state, tmp_path / "vlmo.safetensors")
    load_checkpoint(network, SETTINGS, tmp_path / "vlmo.safetensors")
    assert_same(network, state)
    half = {key: value.half() for key, value in state.items()}
    load_checkpoint(network, SETTINGS, write(tmp_path / "half.pt", half))
    assert_same(network, {key: value.float() for key, value in half.items()})


def test_the_loader_sets_every_weight(state, tmp_path):
    network = empty_network(SETTINGS)
    load_checkpoint(network, SETTINGS, write(tmp_path / "vlmo.pt", state))
    assert_same(network, state)


def test_optional_keys_are_dropped_and_named(state, network, tmp_path):
    extra = {
        "text_embeddings.position_ids": torch.arange(12).view(1, -1), "temp": torch.tensor(0.07),
        "relative_position_index": torch.zeros(2, 2),
    }  # fmt: skip
    loaded = load_checkpoint(network, SETTINGS, write(tmp_path / "vlmo.pt", {**state, **extra}))
    assert loaded.dropped == ("relative_position_index", "temp", "text_embeddings.position_ids")
    assert_same(network, state)


def test_longer_text_positions_are_cut_and_shorter_refused(state, network, tmp_path):
    rows = torch.randn(196, SETTINGS.width, generator=generator(5))
    loaded = load_checkpoint(network, SETTINGS, write(tmp_path / "long.pt", {**state, POSITIONS: rows}))
    assert torch.equal(network.state_dict()[POSITIONS], rows[:12])
    assert loaded.resized == (f"{POSITIONS}: 196 -> 12, first rows",)
    short = write(tmp_path / "short.pt", {**state, POSITIONS: rows[:11]})
    with pytest.raises(FeatureError, match="has 11 positions, fewer than max_text_length 12"):
        load_checkpoint(network, SETTINGS, short)


def test_image_positions_stay_on_the_same_grid_and_are_resized_to_another(state, network, tmp_path):
    path = write(tmp_path / "vlmo.pt", state)
    assert load_checkpoint(network, SETTINGS, path).resized == ()
    assert torch.equal(network.transformer.pos_embed, state["transformer.pos_embed"])
    larger = tiny(image_size=64)
    bigger = build_network(larger, generator(6))
    loaded = load_checkpoint(bigger, larger, path)
    assert loaded.resized == ("transformer.pos_embed: 4 x 4 -> 8 x 8, bicubic",)
    seen, source = bigger.transformer.pos_embed, state["transformer.pos_embed"]
    assert seen.shape == (1, 65, SETTINGS.width)
    assert torch.equal(seen[:, 0], source[:, 0])
    resize = bicubic_matrix(4, 8)
    table = source[0, 1:].double().view(4, 4, -1)
    expected = torch.einsum("io,jp,opd->ijd", resize, resize, table).flatten(0, 1)
    torch.testing.assert_close(seen[0, 1:].double(), expected, rtol=0, atol=1e-7)


def bicubic_matrix(old, new):
    """Weights [new, old] of cubic convolution with a = -3/4, cells' centres aligned, borders repeated."""
    a, weights = -0.75, torch.zeros(new, old, dtype=torch.float64)
    for cell in range(new):
        place = (cell + 0.5) * old / new - 0.5
        for other in range(math.floor(place) - 1, math.floor(place) + 3):
            t = abs(place - other)
            near = (a + 2) * t**3 - (a + 3) * t**2 + 1
            far = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
            weights[cell, min(max(other, 0), old - 1)] += near if t <= 1 else far
    return weights


def test_published_positions_reach_the_published_size():  # from 224 to 384 pixels
    table = torch.randn(1, 197, 544, generator=generator(7))
    fitting = _Fitting(Path("any"), {"transformer.pos_embed": table})
    _fit_image_positions(fitting, 14)
    assert fitting.state["transformer.pos_embed"] is table and fitting.resized == []
    _fit_image_positions(fitting, 24)
    assert fitting.state["transformer.pos_embed"].shape == (1, 577, 544)
    assert torch.equal(fitting.state["transformer.pos_embed"][:, 0], table[:, 0])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s.pop("transformer.norm.bias"), r"missing: transformer\.norm\.bias"),
        (lambda s: s.pop("pooler.dense.weight"), r"missing: pooler\.dense\.weight"),
        (lambda s: s.pop("itm_score.fc.bias"), r"missing: itm_score\.fc\.bias"),  # half a head
        (lambda s: s.update({"vqa_classifier.0.bias": torch.zeros(3)}), r"unknown: vqa_classifier\.0\.bias"),
        (
            lambda s: s.update({"token_type_embeddings.weight": torch.zeros(3, 24)}),
            r"misshapen: token_type_embeddings\.weight \(3, 24\) instead of \(2, 24\)",
        ),
        (lambda s: s["mlm_score.bias"].fill_(float("nan")), r"not finite: mlm_score\.bias"),
        (lambda s: s.update({"relative_position_bias_table": torch.zeros(5, 3)}), "VLMo Base or Large"),
        (lambda s: s.update({"transformer.blocks.0.gamma_1": torch.zeros(24)}), "VLMo Base or Large"),
        (lambda s: s.update({"transformer.pos_embed": torch.zeros(1, 16, 24)}), "not a square grid"),
        (lambda s: s.update({"module.logit_scale": torch.zeros(())}), "two entries are named 'logit_scale'"),
        (lambda s: s.update({"transformer.norm.bias": 3}), r"'transformer\.norm\.bias' is a int"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_changes_nothing(change, complaint, state, network, tmp_path):
    spoilt = {key: value.clone() for key, value in state.items()}
    change(spoilt)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(FeatureError, match=complaint) as caught:
        load_checkpoint(network, SETTINGS, write(tmp_path / "spoilt.pt", spoilt))
    assert "spoilt.pt" in str(caught.value)
    assert_same(network, before)


def test_several_problems_are_named_together(state, network, tmp_path):
    spoilt = {f"{key}s" if key.endswith("bias") else key: value for key, value in state.items()}
    with pytest.raises(FeatureError, match=r"missing: .* and \d+ more; unknown: .*biass.* and \d+ more"):
        load_checkpoint(network, SETTINGS, write(tmp_path / "spoilt.pt", spoilt))


def test_whole_heads_may_be_absent_and_are_named(state, network, tmp_path):
    heads = ("itc_vl", "itm_score", "mlm_score", "logit_vl_scale")
    retrieval = {key: value for key, value in state.items() if not key.startswith(heads)}
    loaded = load_checkpoint(network, SETTINGS, write(tmp_path / "coco.pt", retrieval))
    assert loaded.absent == ("itc_vl_image_proj", "itc_vl_text_proj", "itm_score", "logit_vl_scale", "mlm_score")


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": {}}, {"state_dict": 3}, {1: torch.zeros(2)}])
def test_files_without_named_weights_are_refused(content, network, tmp_path):
    with pytest.raises(FeatureError, match=r"odd\.pt"):
        load_checkpoint(network, SETTINGS, write(tmp_path / "odd.pt", content))


@pytest.mark.parametrize("name", ["noise.pt", "noise.safetensors"])
def test_damaged_files_are_refused(name, network, tmp_path):
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(FeatureError, match="fetch it again"):
        load_checkpoint(network, SETTINGS, tmp_path / name)
    with pytest.raises(FeatureError, match="cannot be read"):
        load_checkpoint(network, SETTINGS, tmp_path / "nowhere.pt")


class HyperParameters(dict):
    """Stands for the settings objects that Lightning writes into its files."""


class Harmful:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def test_foreign_objects_need_trust_and_a_pinned_file(state, network, tmp_path):
    path = write(tmp_path / "lightning.pt", {"state_dict": state, "hyper_parameters": HyperParameters(lr=1)})
    with pytest.raises(FeatureError, match=r"objects other than tensors \(.*HyperParameters\); set trust_pickle"):
        load_checkpoint(network, SETTINGS, path)
    with pytest.raises(ConfigError, match="trust_pickle needs sha256"):
        load_checkpoint(network, SETTINGS, path, trust_pickle=True)
    with pytest.raises(FeatureError, match="SHA-256"):
        load_checkpoint(network, SETTINGS, path, trust_pickle=True, sha256="0" * 64)
    load_checkpoint(network, SETTINGS, path, trust_pickle=True, sha256=sha256(path).upper())
    assert_same(network, state)


@pytest.mark.parametrize("function", [subprocess.check_call, exec, "system"])
def test_a_malicious_file_runs_nothing_even_when_trusted(function, state, network, tmp_path):
    mark = tmp_path / "it-ran"
    if function == "system":
        call = Harmful(os.system, f"touch {mark}")
    elif function is exec:
        call = Harmful(exec, f"open({str(mark)!r}, 'w').close()")
    else:
        call = Harmful(function, ["touch", str(mark)])
    path = write(tmp_path / "evil.pt", {"state_dict": state, "hyper_parameters": call})
    with pytest.raises(FeatureError, match=r"evil\.pt"):
        load_checkpoint(network, SETTINGS, path)
    try:
        load_checkpoint(network, SETTINGS, path, trust_pickle=True, sha256=sha256(path))
        assert_same(network, state)
    except FeatureError as error:
        assert "without running its code" in str(error)
    assert not mark.exists()
    with path.open("rb") as file:  # the file does run its code where unpickling is not restricted
        torch.load(file, weights_only=False)
    assert mark.exists()


def test_a_pinned_digest_is_checked_for_safe_files_too(state, network, tmp_path):
    path = write(tmp_path / "vlmo.pt", state)
    load_checkpoint(network, SETTINGS, path, sha256=sha256(path))
    with pytest.raises(FeatureError, match="expected 0000000000000000"):
        load_checkpoint(network, SETTINGS, path, sha256="0" * 64)
