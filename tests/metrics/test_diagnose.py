"""All diagnostics together: plain values, repeatable, with what rotations and shuffles must not change."""

import json
import math

import numpy as np
import pytest

from lmmrec_core.encoders.features.transforms import apply_control, rotate
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.metrics.alignment import pair_alignment, pair_alignment_by_chance
from lmmrec_core.metrics.diagnose import VERSION, diagnose
from tests.encoders.toys import random_features
from tests.metrics.spaces import aligned_pair, random_rows
from tests.metrics.splits import interactions

N = 160


@pytest.fixture(scope="module")
def scene():
    """Aligned modalities whose directions follow the users' taste."""
    generator = np.random.default_rng(0)
    a, b = aligned_pair(N, 6, noise=0.15)
    features = random_features(N, (6, 6))
    features.matrices["visual"][:], features.matrices["textual"][:] = a, b
    group = (a + b)[:, :2].argmax(axis=1)
    liked = [generator.choice(np.flatnonzero(group == user % 2), 8, replace=False) for user in range(60)]
    pairs = [(user, int(item)) for user, items in enumerate(liked) for item in items]
    return features, {"train": interactions(pairs[::2]), "held_out": interactions(pairs[1::2])}


@pytest.fixture(scope="module")
def found(scene):
    features, extras = scene
    return diagnose(dict(features.matrices), shared_space=True, bootstrap=200, **extras)


def flat(value, name=""):
    if isinstance(value, dict):
        return {key: part for inner in value for key, part in flat(value[inner], f"{name}/{inner}").items()}
    return {name: value}


def without_intervals(found):
    return {name: part for name, part in flat(found).items() if not name.endswith(("/low", "/high"))}


def test_every_section_is_there_and_is_json(found):
    assert set(found) == {
        "version", "items", "k", "seed", "bootstrap", "dims", "modality", "pair", "shared", "cca", "graph"
    }  # fmt: skip
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["version"] == VERSION and found["items"] == N and found["dims"] == {"visual": 6, "textual": 6}
    assert set(found["graph"]) == {"visual", "textual", "union"}
    assert all(math.isfinite(value) for value in flat(found).values() if isinstance(value, int | float))


def test_measures_have_intervals_around_them(found):
    measured = [part for part in _nodes(found) if "value" in part]
    assert len(measured) > 60
    assert all({"value", "low", "high"} <= set(part) and part["low"] <= part["high"] for part in measured)
    exact = ("R@", "median_rank", "never_chosen")  # shares near 0 or 1 may lie on the edge
    outside = [
        name
        for name, part in _named(found)
        if not part["low"] - 1e-12 <= part["value"] <= part["high"] + 1e-12 and not any(word in name for word in exact)
    ]
    assert outside == []


def _nodes(value):
    return [part for _, part in _named(value)]


def _named(value, name=""):
    if not isinstance(value, dict):
        return []
    here = [(name, value)] if "value" in value else []
    return here + [pair for key, inner in value.items() for pair in _named(inner, f"{name}/{key}")]


def test_planted_alignment_is_seen(found):
    shared, pair = found["shared"], found["pair"]
    assert shared["align"]["high"] < shared["align_by_chance"] / 2
    assert shared["visual_to_textual"]["R@1"]["low"] > 0.5 and shared["textual_to_visual"]["R@1"]["low"] > 0.5
    assert pair["adjusted_overlap@10"]["low"] > 0.3 and pair["cka"]["value"] > 0.6
    assert found["graph"]["union"]["common_user_lift"]["low"] > 1
    assert 0.3 < shared["separability"]["value"] < 0.7


def test_union_and_edges_of_the_graphs(found):
    """I k directed edges, I k (2 − overlap) in the union."""
    assert found["graph"]["visual"]["edges"] == found["graph"]["textual"]["edges"] == N * 10
    expected = N * 10 * (2 - found["pair"]["overlap@10"]["value"])
    assert found["graph"]["union"]["edges"] == pytest.approx(expected, abs=1e-6)


def test_rotating_one_modality_changes_only_what_needs_the_shared_space(scene, found):
    """Alignment, gap and retrieval fall to chance, everything inside the modalities stays."""
    features, extras = scene
    turned = diagnose(dict(rotate(features, "visual", 2).matrices), shared_space=True, bootstrap=0, **extras)
    before, after = without_intervals(found), without_intervals(turned)
    for name in before:
        if name.startswith(("/shared", "/bootstrap")) or "cosine_counts" in name:
            continue
        slack = 0.03 if name.startswith("/cca") or "above_" in name or "p99" in name else 1e-6
        assert after[name] == pytest.approx(before[name], abs=slack), name
    shared = turned["shared"]
    for direction in ("visual_to_textual", "textual_to_visual"):
        assert shared[direction]["R@1"]["value"] < 5 / N


def test_rotation_brings_the_distance_of_pairs_to_chance():
    """In many dimensions: a rotation's trace, which is what is left of the agreement, vanishes beside the dimension."""
    features = random_features(100, (128, 128))
    features.matrices["textual"][:] = features.matrices["visual"]
    assert pair_alignment(*features.matrices.values()).value == pytest.approx(2 / 100)  # item 1 has a row of zeros
    turned = rotate(features, "visual", 2).matrices.values()
    assert pair_alignment(*turned).value == pytest.approx(pair_alignment_by_chance(*turned), abs=0.1)


def test_shuffling_one_modality_breaks_also_the_neighbours(scene):
    features, extras = scene
    broken = diagnose(
        dict(apply_control(features, "shuffled", 1, ["visual"]).matrices), shared_space=True, bootstrap=0, **extras
    )
    assert abs(broken["pair"]["adjusted_overlap@10"]["value"]) < 0.05
    assert broken["cca"]["visual_to_textual"]["R@1"]["value"] < 0.2
    assert broken["graph"]["visual"]["common_user_lift"]["value"] < 1.3


def test_repeatable_and_dependent_on_the_seed(scene, found):
    features, extras = scene
    again = diagnose(dict(features.matrices), shared_space=True, bootstrap=200, **extras)
    assert again == found
    other = diagnose(dict(features.matrices), shared_space=True, bootstrap=200, seed=1, **extras)
    assert other["pair"]["cka"]["value"] == found["pair"]["cka"]["value"]
    assert other["pair"]["cka"]["low"] != found["pair"]["cka"]["low"]


def test_the_order_of_items_does_not_matter(scene):
    """All but the folds and samples of separability and CCA, which are drawn by position."""
    features, extras = scene
    order = np.random.default_rng(3).permutation(N)
    place = np.argsort(order)
    moved_parts = {
        name: interactions(list(zip(part.user.tolist(), place[part.item].tolist(), strict=True)))
        for name, part in extras.items()
    }
    plain = diagnose(dict(features.matrices), shared_space=True, bootstrap=0, **extras)
    moved = {name: matrix[order] for name, matrix in features.matrices.items()}
    again = diagnose(moved, shared_space=True, bootstrap=0, **moved_parts)
    for name, value in without_intervals(plain).items():
        if not name.startswith("/cca") and "separability" not in name:
            assert without_intervals(again)[name] == pytest.approx(value, abs=1e-9), name


def test_one_modality_and_no_shared_space():
    alone = diagnose({"visual": random_rows(40)}, shared_space=False, bootstrap=0)
    assert {"pair", "shared", "cca"}.isdisjoint(alone) and set(alone["graph"]) == {"visual"}
    unaligned = diagnose({"visual": random_rows(40, 5), "textual": random_rows(40, 7)}, shared_space=False)
    assert "shared" not in unaligned and "cca" in unaligned and "cka" in unaligned["pair"]
    assert abs(unaligned["pair"]["adjusted_overlap@5"]["value"]) < 0.1


def test_identical_texts_count_as_right():
    rows = {"visual": random_rows(30), "textual": np.tile(random_rows(1), (30, 1)) + 1e-15}
    rows["textual"][0] += 1.0
    keys = ["other", *["same"] * 29]
    strict = diagnose(rows, shared_space=True, bootstrap=0)["shared"]
    fair = diagnose(rows, shared_space=True, bootstrap=0, text_keys=keys, image_keys=range(30))["shared"]
    assert strict["visual_to_textual"]["R@1"]["value"] < 0.1 < fair["visual_to_textual"]["R@10"]["value"]


def test_zero_rows_are_counted_and_harmless():
    rows = {"visual": random_rows(30), "textual": random_rows(30, seed=1)}
    rows["visual"][[3, 4]] = 0
    found = diagnose(rows, shared_space=True, bootstrap=50)
    assert found["modality"]["visual"]["zero_rows"] == 2
    assert all(math.isfinite(v) for v in flat(found).values() if isinstance(v, float))


def test_few_items():
    tiny = diagnose({"visual": random_rows(4, 3), "textual": random_rows(4, 3, 1)}, shared_space=True, k=2)
    assert "overlap@2" in tiny["pair"] and "overlap@5" not in tiny["pair"]
    assert "cca" not in tiny and "separability" not in tiny["shared"]
    assert tiny["shared"]["visual_to_textual"]["R@10"]["value"] == 1.0


@pytest.mark.parametrize(
    ("matrices", "shared", "k", "error", "text"),
    [
        ({"visual": np.ones((1, 2))}, False, 1, ConfigError, "among 1 items"),
        ({"visual": random_rows(10)}, False, 10, ConfigError, "choose k from 1 to 8"),
        ({"visual": random_rows(10)}, False, 0, ConfigError, "choose k from 1 to 8"),
        ({"visual": np.ones((20, 2))}, False, 5, FeatureError, "visual: all 20 rows are equal"),
        ({"visual": np.zeros((20, 2))}, False, 5, FeatureError, "visual: all 20 rows are equal"),
        ({"visual": np.full((20, 2), np.nan)}, False, 5, FeatureError, "visual: row 0 holds NaN"),
        ({}, False, 5, FeatureError, "give one or two"),
        ({"visual": random_rows(20), "textual": random_rows(21)}, False, 5, FeatureError, "the same items"),
        ({"visual": random_rows(20, 3), "textual": random_rows(20, 4)}, True, 5, FeatureError, "does not exist"),
        ({"visual": random_rows(20, 3)}, True, 5, FeatureError, "does not exist"),
    ],
)
def test_what_cannot_be_diagnosed_is_refused(matrices, shared, k, error, text):
    with pytest.raises(error, match=text):
        diagnose(matrices, shared_space=shared, k=k)
