"""Probes against scikit-learn, planted and absent signals, and what a rotation must not change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import f1_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from lmmrec_core.errors import FeatureError
from lmmrec_core.metrics import probes
from lmmrec_core.metrics.probes import ALPHAS, label_probe, ridge, ridge_probe
from lmmrec_core.metrics.resampling import Estimate, intervals
from tests.metrics.spaces import random_rows, rotation


def values(found):
    return {name: part.value if isinstance(part, Estimate) else part for name, part in found.items()}


@pytest.fixture(scope="module")
def scene():
    """Picture tells left from right, text tells up from down, the label needs both."""
    generator = np.random.default_rng(0)
    sides = generator.integers(0, 2, (200, 2))
    rows = {
        name: np.outer(2.0 * sides[:, axis] - 1, [1.0, 0.5, 0, 0]) + 0.4 * generator.standard_normal((200, 4))
        for axis, name in enumerate(("visual", "textual"))
    }
    return rows, [f"{a}{b}" for a, b in sides]


def test_macro_f1_is_that_of_scikit_learn(scene):
    rows, labels = scene
    found = label_probe({"visual": rows["visual"]}, labels, seed=3)
    codes = np.unique(labels, return_inverse=True)[1]
    fold = probes._stratified(codes, 5, probes.derive(3, "label probe"))
    predicted = np.empty(200, dtype=int)
    for train, test in PredefinedSplit(fold).split():
        centre = rows["visual"][train].mean(axis=0)
        length = np.sqrt(((rows["visual"][train] - centre) ** 2).sum(axis=1).mean())
        model = LogisticRegression(C=10.0).fit((rows["visual"][train] - centre) / length, codes[train])
        predicted[test] = model.predict((rows["visual"][test] - centre) / length)
    assert found["visual"].value == pytest.approx(f1_score(codes, predicted, average="macro"))
    plain = cross_val_predict(LogisticRegression(C=1.0), rows["visual"], codes, cv=PredefinedSplit(fold))
    assert found["visual"].value == pytest.approx(f1_score(codes, plain, average="macro"), abs=0.05)


def test_resampled_f1_is_the_f1_of_the_resample(scene):
    rows, labels = scene
    estimate = label_probe({"visual": rows["visual"]}, labels)["visual"]
    counts = np.bincount(np.random.default_rng(0).integers(0, 200, 200), minlength=200)
    repeated = np.repeat(estimate.columns, counts, axis=0)
    assert estimate.of_means(counts @ estimate.columns / 200) == pytest.approx(estimate.of_means(repeated.mean(axis=0)))
    found = intervals({"f1": estimate}, resamples=300)["f1"]
    assert 0 < found["low"] < found["value"] < found["high"] < 1


def test_folds_are_stratified():
    truth = np.repeat([0, 1, 2], [50, 25, 5])
    fold = probes._stratified(truth, 5, 1)
    table = np.array([[((truth == c) & (fold == f)).sum() for f in range(5)] for c in range(3)])
    assert (table == [[10] * 5, [5] * 5, [1] * 5]).all()


def test_complementary_modalities_gain_from_each_other(scene):
    rows, labels = scene
    found = values(label_probe(rows, labels))
    assert found["classes"] == 4 and found["labelled"] == 200
    assert found["joint"] > 0.9 > 0.6 > max(found["visual"], found["textual"])
    assert found["gain"] == pytest.approx(found["joint"] - max(found["visual"], found["textual"]))
    redundant = values(label_probe({"visual": rows["visual"], "textual": rows["visual"]}, [x[0] for x in labels]))
    assert abs(redundant["gain"]) < 0.03


def test_random_features_know_no_label(scene):
    _, labels = scene
    found = values(label_probe({"visual": random_rows(200, 10, 5)}, labels))
    assert 0.1 < found["visual"] < 0.4  # four even classes


def test_few_and_unknown_labels_are_left_out(scene):
    rows, labels = scene
    changed = [None, None, *labels[2:196], "rare", "rare", "rare", ""]
    found = values(label_probe(rows, changed))
    assert found["classes"] == 4 and found["labelled"] == 194
    assert label_probe(rows, ["one"] * 200) == {}
    assert label_probe(rows, [None] * 200) == {}
    with pytest.raises(FeatureError, match="3 labels for 200 items"):
        label_probe(rows, labels[:3])


@given(st.integers(0, 1000))
@settings(max_examples=4, deadline=None)
def test_a_rotation_changes_no_probe(seed):
    generator = np.random.default_rng(seed)
    rows = {
        "visual": generator.standard_normal((60, 5)) @ np.diag([9, 1, 1, 1, 0.1]),
        "textual": random_rows(60, 3, seed),
    }
    turned = {**rows, "visual": 100 * rows["visual"] @ rotation(5, seed) + 7}
    target = rows["visual"][:, :2] + generator.standard_normal((60, 2))
    assert values(ridge_probe(turned, target)) == pytest.approx(values(ridge_probe(rows, target)), abs=1e-9)
    labels = [str(x) for x in (rows["visual"][:, 0] + rows["textual"][:, 0] > 0)]
    assert values(label_probe(turned, labels)) == pytest.approx(values(label_probe(rows, labels)), abs=0.04)


@pytest.mark.parametrize("shape", [(80, 10), (40, 70)])
def test_ridge_is_that_of_scikit_learn(shape):
    generator = np.random.default_rng(1)
    rows = generator.standard_normal(shape)
    target = rows[:, :3] @ generator.standard_normal((3, 4)) + generator.standard_normal((shape[0], 4))
    rows, target = rows - rows.mean(axis=0), target - target.mean(axis=0)
    reference = RidgeCV(alphas=ALPHAS).fit(rows, target)
    assert np.allclose(ridge(rows, target), reference.coef_.T, atol=1e-8)


def test_r2_of_planted_signals_and_their_unique_shares():
    generator = np.random.default_rng(4)
    own = {"visual": random_rows(400, 5, 1), "textual": random_rows(400, 5, 2)}
    shared = random_rows(400, 2, 3)
    rows = {name: np.hstack([part, shared]) for name, part in own.items()}
    target = own["visual"][:, :2] @ generator.standard_normal((2, 6)) + shared @ generator.standard_normal((2, 6))
    found = values(ridge_probe(rows, target))
    assert found["visual"] > 0.99 and found["joint"] > 0.99
    assert 0.1 < found["textual"] < 0.9
    assert found["unique_visual"] == pytest.approx(found["joint"] - found["textual"])
    assert found["unique_textual"] == pytest.approx(found["joint"] - found["visual"]) == pytest.approx(0, abs=0.01)
    nothing = values(ridge_probe({"visual": rows["textual"]}, random_rows(400, 6, 9)))
    assert -0.05 < nothing["visual"] < 0.02 and set(nothing) == {"visual"}


def test_the_wider_modality_does_not_weigh_more():
    """The same content in many columns: a joint probe sees it as one modality, not as hundreds of columns."""
    rows = {"visual": random_rows(60, 4, 1), "textual": random_rows(60, 4, 2)}
    wide = {**rows, "visual": np.hstack([rows["visual"]] * 50)}
    target = rows["textual"][:, :2] + 0.5 * random_rows(60, 2, 3)
    assert values(ridge_probe(wide, target)) == pytest.approx(values(ridge_probe(rows, target)), abs=1e-9)


def test_r2_by_definition():
    rows, target = random_rows(50, 3), random_rows(50, 2, 8)
    fold = probes.numpy_stream(0, "ridge probe").permutation(50) % 5
    error = around = 0.0
    for held_out in range(5):
        train, test = fold != held_out, fold == held_out
        centre, mean = rows[train].mean(axis=0), target[train].mean(axis=0)
        spread = np.sqrt(((rows[train] - centre) ** 2).sum(axis=1).mean())
        model = RidgeCV(alphas=ALPHAS).fit((rows[train] - centre) / spread, target[train])
        error += ((target[test] - model.predict((rows[test] - centre) / spread)) ** 2).sum()
        around += ((target[test] - mean) ** 2).sum()
    assert ridge_probe({"visual": rows}, target)["visual"].value == pytest.approx(1 - error / around)


def test_a_constant_modality_adds_nothing():
    rows = {"visual": random_rows(60, 3), "textual": np.ones((60, 2))}
    target = rows["visual"] @ random_rows(3, 4, 7)
    found = values(ridge_probe(rows, target))
    assert found["textual"] == pytest.approx(0.0, abs=1e-9)
    assert found["unique_textual"] == pytest.approx(0.0, abs=0.02)


def test_what_cannot_be_probed_is_refused():
    rows = {"visual": random_rows(20, 2)}
    with pytest.raises(FeatureError, match="3 item vectors for 20 rows"):
        ridge_probe(rows, np.ones((3, 2)))
    with pytest.raises(FeatureError, match="all item vectors are equal"):
        ridge_probe(rows, np.ones((20, 2)))
    with pytest.raises(FeatureError, match="too few for 5 folds"):
        ridge_probe({"visual": random_rows(8, 2)}, random_rows(8, 2))
    with pytest.raises(FeatureError, match="same items"):
        ridge_probe({"visual": random_rows(20), "textual": random_rows(19)}, random_rows(20))
