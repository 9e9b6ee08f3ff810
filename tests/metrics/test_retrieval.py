"""Ranks by hand and naively; chance on unrelated rows, hits on aligned ones; CCA against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import CCA as ReferenceCCA

from lmmrec_core.encoders.features.transforms import apply_control, rotate
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.metrics import rows
from lmmrec_core.metrics.resampling import Estimate
from lmmrec_core.metrics.retrieval import CanonicalCorrelation, answer_ranks, cca_retrieval, retrieval
from tests.encoders.toys import random_features
from tests.metrics.spaces import aligned_pair, random_rows, rotation, unit


def naive_rank(a, b, i, right):
    """Walk down the list; wrong rows come first among equals."""
    cosines = unit(a)[i] @ unit(b).T
    order = sorted(range(len(b)), key=lambda j: (-round(cosines[j], 9), j in right))
    return 1 + next(place for place, j in enumerate(order) if j in right)


def share(found, name):
    return found[name].value


def test_ranks_by_hand():
    pictures = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    texts = np.array([[1.0, 0.1], [1.0, 0.0], [1.0, 1.0]])
    # cosines of picture 0: 0.995, 1, 0.707; of picture 1: 0.0995, 0, 0.707; of picture 2: 0.774, 0.707, 1
    assert answer_ranks(pictures, texts).tolist() == [2, 3, 1]


def test_ties_count_against():
    same = np.ones((4, 2))
    assert answer_ranks(same, same).tolist() == [4, 4, 4, 4]
    assert answer_ranks(np.zeros((3, 2)), random_rows(3, 2)).tolist() == [3, 3, 3]


def test_identical_content_is_right_for_each_other():
    same = np.ones((4, 2))
    texts, images = ["a", "a", "b", "c"], ["p", "q", "p", "r"]
    assert answer_ranks(same, same, [texts]).tolist() == [3, 3, 4, 4]
    # item 0 shares its text with 1 and its picture with 2; what 1 and 2 share with 0 does not join them
    assert answer_ranks(same, same, [texts, images]).tolist() == [2, 3, 3, 4]
    points = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    swapped = points[[1, 0, 2]]
    assert answer_ranks(points, swapped).tolist() == [2, 2, 1]
    assert answer_ranks(points, swapped, [["x", "x", None]]).tolist() == [1, 1, 1]


@given(st.integers(0, 10_000), st.integers(2, 25))
@settings(max_examples=40)
def test_ranks_equal_a_walk_down_the_list(seed, n):
    generator = np.random.default_rng(seed)
    a, b = generator.integers(-2, 3, (2, n, 3)).astype(float) + 0.1  # many ties
    keys = generator.integers(0, max(1, n // 2), n).tolist()
    found = answer_ranks(a, b, [keys])
    for i in range(n):
        right = {j for j in range(n) if keys[j] == keys[i]}
        assert found[i] == naive_rank(a, b, i, right)


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_order_of_items_and_common_rotation(seed):
    a, b = aligned_pair(25, 4, noise=1.0, seed=seed)
    found, order = answer_ranks(a, b), np.random.default_rng(seed).permutation(25)
    assert np.array_equal(answer_ranks(a[order], b[order]), found[order])
    turn = rotation(4, seed)
    assert np.array_equal(answer_ranks(a @ turn, b @ turn), found)


def test_blocks_change_nothing(monkeypatch):
    a, b = aligned_pair(31, 4, noise=1.0)
    whole = answer_ranks(a, b, [list(range(31))])
    monkeypatch.setattr(rows, "_BLOCK_ENTRIES", 31 * 4)
    assert np.array_equal(answer_ranks(a, b, [list(range(31))]), whole)


def test_only_some_queries_against_all_items():
    a, b = aligned_pair(30, 4, noise=1.0)
    asked = np.zeros(30, dtype=bool)
    asked[[3, 7, 20]] = True
    some, whole = answer_ranks(a, b, queries=asked), answer_ranks(a, b)
    assert np.array_equal(some[asked], whole[asked]) and not some[~asked].any()
    found = retrieval({"visual": a, "textual": b}, queries=asked, ks=(1,))
    assert share(found, "visual_to_textual/R@1") == (whole[asked] == 1).mean()
    assert found["visual_to_textual/median_rank"]["value"] == np.median(whole[asked])
    assert found["chance@1"] == 1 / 30


def test_unrelated_rows_are_at_chance_and_aligned_ones_are_found():
    n = 600
    unrelated = retrieval({"visual": random_rows(n, 16, 1), "textual": random_rows(n, 16, 2)})
    for k in (1, 10, 50):
        assert unrelated[f"chance@{k}"] == pytest.approx(k / n)
        for direction in ("visual_to_textual", "textual_to_visual"):
            assert abs(share(unrelated, f"{direction}/R@{k}") - k / n) < 4 * np.sqrt(k / n / n)
    assert 200 < unrelated["visual_to_textual/median_rank"]["value"] < 400
    a, b = aligned_pair(n, 16)
    aligned = retrieval({"visual": a, "textual": b})
    assert share(aligned, "visual_to_textual/R@1") > 0.9 and share(aligned, "textual_to_visual/R@1") > 0.9
    assert aligned["textual_to_visual/median_rank"]["value"] == 1


@pytest.mark.parametrize("control", ["rotation", "shuffled pairs"])
def test_the_controls_bring_retrieval_to_chance(control):
    a, b = aligned_pair(500, 12)
    features = random_features(500, (12, 12))
    features.matrices["visual"][:], features.matrices["textual"][:] = a, b
    assert share(retrieval(dict(features.matrices)), "visual_to_textual/R@1") > 0.9
    broken = (
        rotate(features, "visual", 3) if control == "rotation" else apply_control(features, "shuffled", 3, ["visual"])
    )
    for direction in ("visual_to_textual", "textual_to_visual"):
        assert share(retrieval(dict(broken.matrices)), f"{direction}/R@1") < 5 / 500


def test_more_places_than_items():
    found = retrieval({"visual": random_rows(5, 2), "textual": random_rows(5, 2)}, ks=(10,))
    assert share(found, "visual_to_textual/R@10") == found["chance@10"] == 1.0


def test_one_item_finds_itself():
    found = retrieval({"visual": np.ones((1, 2)), "textual": np.ones((1, 2))}, ks=(1,))
    assert share(found, "visual_to_textual/R@1") == 1.0


@pytest.mark.parametrize(
    ("given_keys", "queries", "text"),
    [
        ([["a"]], None, "1 keys for 6 items"),
        ([], np.zeros(6, dtype=bool), "one of them true"),
        ([], np.arange(6), "give 6 bools"),
    ],
)
def test_keys_and_queries_belong_to_the_items(given_keys, queries, text):
    with pytest.raises(FeatureError, match=text):
        retrieval({"visual": random_rows(6, 2), "textual": random_rows(6, 2)}, given_keys, queries)


def test_retrieval_needs_two_modalities_and_a_k():
    with pytest.raises(FeatureError, match="between two modalities, not 1"):
        retrieval({"visual": random_rows()})
    with pytest.raises(ConfigError, match="each from 1"):
        retrieval({"visual": random_rows(), "textual": random_rows()}, ks=(0, 1))


def test_canonical_correlations_are_those_of_scikit_learn():
    a, b = aligned_pair(400, 3, noise=1.0)
    a, b = a @ np.diag([1, 5, 0.2]) + 4, np.hstack([b, random_rows(400, 2, 7)])
    ours = CanonicalCorrelation(a, b, dim=3, penalty=0.0)
    x, y = ReferenceCCA(n_components=3, max_iter=5000, tol=1e-12).fit(a, b).transform(a, b)
    expected = [np.corrcoef(x[:, d], y[:, d])[0, 1] for d in range(3)]
    assert np.allclose(ours.correlations, expected, atol=1e-4)
    mine = [np.corrcoef(ours.first(a)[:, d], ours.second(b)[:, d])[0, 1] for d in range(3)]
    assert np.allclose(mine, ours.correlations, atol=1e-6)


def test_cca_finds_what_a_rotation_hides():
    a, b = aligned_pair(600, 8, noise=0.5)
    hidden = {"visual": a @ rotation(8, 1), "textual": np.hstack([b, random_rows(600, 5, 3)]) @ rotation(13, 2)}
    found = cca_retrieval(hidden)
    assert found["held_out"] == 120 and found["chance@1"] == pytest.approx(1 / 120)
    assert share(found, "visual_to_textual/R@1") > 0.3 and share(found, "textual_to_visual/R@10") > 0.7
    again = cca_retrieval({"visual": a, "textual": np.hstack([b, random_rows(600, 5, 3)])})
    assert share(again, "visual_to_textual/R@1") == pytest.approx(share(found, "visual_to_textual/R@1"), abs=0.01)
    lost = cca_retrieval({"visual": a, "textual": b[np.random.default_rng(0).permutation(600)]})
    assert share(lost, "visual_to_textual/R@1") < 0.05


def test_cca_with_more_dims_than_items_and_shared_resamples():
    wide = {"visual": random_rows(50, 200, 1), "textual": random_rows(50, 300, 2)}
    found = cca_retrieval(wide, seed=4)
    assert share(found, "visual_to_textual/R@1") < 0.5
    assert all(len(part.columns) == 50 for part in found.values() if isinstance(part, Estimate))
    assert share(cca_retrieval(wide, seed=4), "visual_to_textual/R@10") == share(found, "visual_to_textual/R@10")


def test_cca_refuses_what_it_cannot_use():
    with pytest.raises(FeatureError, match="at least ten"):
        cca_retrieval({"visual": random_rows(9), "textual": random_rows(9)})
    with pytest.raises(FeatureError, match="second modality are equal"):
        cca_retrieval({"visual": random_rows(20), "textual": np.ones((20, 3))})
    with pytest.raises(ConfigError, match="give 1 to 2 dims"):
        CanonicalCorrelation(random_rows(20, 2), random_rows(20, 4), dim=3)
