"""bf16 features are used if a sample agrees with fp32."""

import numpy as np
import pytest
import torch

from lmmrec_core.encoders.extract import extract, feature_spec
from lmmrec_core.encoders.minilm import MiniLM
from lmmrec_core.encoders.precision import SAMPLE, compare_precisions, sample_of
from lmmrec_core.errors import ConfigError
from tests.encoders.toys import catalogue_of

ROWS = np.random.default_rng(1).normal(size=(60, 16)).astype(np.float32)
WORDS = ["red", "boat", "old", "cup", "garden", "winter", "shoe", "for", "children", "night"]


class Fragile:
    """A text encoder that subtracts a large constant: bf16 loses what is left."""

    name = "fragile"
    modalities = ("textual",)

    def __init__(self, offset: float) -> None:
        self.module = torch.nn.Linear(8, 8, bias=False)
        torch.nn.init.eye_(self.module.weight)
        self.offset = offset

    def spec(self):
        return {"weights": {"name": self.name}}

    def dim(self, modality):
        return 8

    def preprocess_texts(self, texts):
        counts = [[float(text.count(letter)) for letter in "abcdefgh"] for text in texts]
        return {"input_ids": torch.tensor(counts)}

    def text_vectors(self, tokens):
        return self.module(tokens["input_ids"] + self.offset) - self.offset + 0.01


def catalogue(n=40):
    generator = np.random.default_rng(3)
    texts = [" ".join(generator.choice(WORDS, 9)) for _ in range(n)]
    return catalogue_of(texts, [None] * n)


def test_equal_rows_pass_and_a_turned_one_does_not():
    assert compare_precisions(ROWS, ROWS) == {
        "items": 60,
        "cosine_min": pytest.approx(1),
        "overlap@10": 1.0,
        "passed": True,
    }
    turned = ROWS.copy()
    turned[7] = -turned[7]
    found = compare_precisions(ROWS, turned)
    assert found["cosine_min"] == pytest.approx(-1) and not found["passed"]


def test_neighbours_decide_too():
    """Rows of a near-constant direction: every cosine is close to one, the neighbours are not the same."""
    base = np.ones((60, 16), dtype=np.float32)
    found = compare_precisions(base + 0.01 * ROWS, base + 0.01 * ROWS[::-1])
    assert found["cosine_min"] > 0.995 and found["overlap@10"] < 0.5 and not found["passed"]


def test_few_items():
    assert compare_precisions(ROWS[:1], ROWS[:1])["passed"] and compare_precisions(ROWS[:0], ROWS[:0])["items"] == 0


def test_the_sample_is_bounded_and_repeats():
    items = np.arange(2000)[::-1]
    sample = sample_of(items)
    assert len(sample) == SAMPLE == len(set(sample.tolist())) and (np.diff(sample) > 0).all()
    assert np.array_equal(sample, sample_of(np.arange(2000))) and sample_of(items[:5]).tolist() == list(
        range(1995, 2000)
    )


def test_what_agrees_is_computed_in_bf16_and_says_so():
    encoder = MiniLM()
    exact, lower = (extract({"textual": encoder}, catalogue(), precision=p, progress=False) for p in ("fp32", "bf16"))
    assert lower.card["precision"] == "bf16" and lower.card["spec"]["precision"] == "bf16"
    audit = lower.card["audit"]["textual"]
    assert audit["passed"] and audit["items"] == 40 and 0.999 < audit["cosine_min"] < 1
    assert exact.card["audit"] == {} and exact.digest != lower.digest
    assert lower.matrices["textual"].dtype == np.float32
    np.testing.assert_allclose(lower.matrices["textual"], exact.matrices["textual"], atol=0.02)


def test_what_disagrees_is_computed_in_fp32_with_a_warning():
    with pytest.warns(UserWarning, match=r"bf16 changes the textual features too much .* computing in fp32"):
        features = extract({"textual": Fragile(1000.0)}, catalogue(), precision="bf16", progress=False)
    exact = extract({"textual": Fragile(1000.0)}, catalogue(), progress=False)
    assert features.card["precision"] == "fp32" and not features.card["audit"]["textual"]["passed"]
    assert features.digest == exact.digest


def test_precisions_never_share_a_key():
    one, two = (
        feature_spec({"textual": Fragile(0.0)}, catalogue(), catalogue_fingerprint="f", precision=p)
        for p in ("fp32", "bf16")
    )
    assert one != two and "precision" not in one
    with pytest.raises(ConfigError, match=r"unknown precision 'fp16'"):
        extract({"textual": Fragile(0.0)}, catalogue(), precision="fp16", progress=False)
