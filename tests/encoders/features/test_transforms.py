import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrec_core.encoders.features.transforms import apply_control, given_twice, keep_modalities, rotate
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.names import CONTROLS
from tests.encoders.toys import random_features

BOTH = ("visual", "textual")


@given(seed=st.integers(0, 2**31), n=st.integers(3, 40))
def test_shuffling_moves_whole_items(seed, n):
    features = random_features(n)
    shuffled = apply_control(features, "shuffled", seed, BOTH)
    together = np.hstack([features.matrices["visual"], features.matrices["textual"]])
    moved = np.hstack([shuffled.matrices["visual"], shuffled.matrices["textual"]])
    # the same set of (picture, text) pairs, so the pairing of modalities is kept
    assert sorted(map(tuple, together)) == sorted(map(tuple, moved))
    # the flags travel with the rows: item 2 alone has no text
    lacking = int(np.flatnonzero(~shuffled.present["textual"])[0])
    assert np.array_equal(shuffled.matrices["textual"][lacking], features.matrices["textual"][2])


def test_shuffling_is_seeded_and_changes_nearly_all_items():
    features = random_features(500)
    first, again, other = (apply_control(features, "shuffled", seed) for seed in (1, 1, 2))
    assert first.digest == again.digest != other.digest != features.digest
    still = (first.matrices["visual"] == features.matrices["visual"]).all(axis=1).mean()
    assert still < 0.02


def test_shuffling_one_modality_leaves_the_other():
    features = random_features(50)
    shuffled = apply_control(features, "shuffled", 1, ["visual"])
    assert np.array_equal(shuffled.matrices["textual"], features.matrices["textual"])
    assert not np.array_equal(shuffled.matrices["visual"], features.matrices["visual"])
    both = apply_control(features, "shuffled", 1, BOTH)
    assert np.array_equal(both.matrices["visual"], shuffled.matrices["visual"])


@pytest.mark.parametrize(("control", "moved", "kept"), [("shuffled-V", *BOTH), ("shuffled-T", *BOTH[::-1])])
def test_one_modality_alone_is_shuffled_by_the_same_order(control, moved, kept):
    features = random_features(50)
    some, both = apply_control(features, control, 1), apply_control(features, "shuffled", 1)
    assert np.array_equal(some.matrices[kept], features.matrices[kept])
    assert np.array_equal(some.matrices[moved], both.matrices[moved])
    assert np.array_equal(some.present[moved], both.present[moved])
    with pytest.raises(FeatureError, match=f"moves the {moved} rows, which are not in use"):
        apply_control(keep_modalities(features, [kept]), control, 1)


def test_one_modality_given_twice_takes_the_place_of_the_other():
    features = random_features(50)
    for modality in BOTH:
        twice = given_twice(features, modality)
        assert all(np.array_equal(twice.matrices[name], features.matrices[modality]) for name in BOTH)
        assert all(np.array_equal(twice.present[name], features.present[modality]) for name in BOTH)
        assert twice.digest not in (features.digest, keep_modalities(features, [modality]).digest)
        assert twice.card["transforms"] == [{"transform": "twice", "modalities": [modality]}]
    with pytest.raises(ConfigError, match="modality"):
        given_twice(keep_modalities(features, ["visual"]), "textual")


def test_a_projection_keeps_sizes_and_nearly_keeps_cosines():
    features = random_features(60, (400, 400))
    projected = apply_control(features, "projected", 1)
    for modality in BOTH:
        assert projected.matrices[modality].shape == features.matrices[modality].shape
        some = features.matrices[modality].any(axis=1)  # one item has no text, and a row of zeros
        old, new = features.matrices[modality][some], projected.matrices[modality][some]
        assert new.dtype == np.float32 and not projected.matrices[modality][~some].any()
        assert np.allclose(np.linalg.norm(new, axis=1) / np.linalg.norm(old, axis=1), 1, atol=0.25)
        unit_old, unit_new = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (old, new))
        error = (unit_new @ unit_new.T - unit_old @ unit_old.T)[np.triu_indices(len(old), 1)]
        assert abs(error.std() - 1 / np.sqrt(400)) < 0.01  # of rows that are nearly orthogonal
        assert abs(np.corrcoef(old[:, 0], new[:, 0])[0, 1]) < 0.5


def test_noise_has_the_moments_of_each_column_and_no_content():
    features = random_features(4000)
    noise = apply_control(features, "noise", 3)
    for modality in BOTH:
        old, new = features.matrices[modality], noise.matrices[modality]
        assert new.dtype == np.float32 and new.shape == old.shape
        sigma = old.std(axis=0)
        assert np.all(np.abs(new.mean(axis=0) - old.mean(axis=0)) < 5 * sigma / np.sqrt(4000))
        assert np.allclose(new.std(axis=0), sigma, rtol=0.08)
        assert abs(np.corrcoef(old[:, 0], new[:, 0])[0, 1]) < 0.08
    alone = apply_control(features, "noise", 3, ["textual"])
    assert np.array_equal(alone.matrices["textual"], noise.matrices["textual"])  # own stream per modality


def test_zero_and_none():
    features = random_features()
    assert not apply_control(features, "zero", 1).matrices["visual"].any()
    assert apply_control(features, "none", 1) is features
    kept = apply_control(features, "zero", 1, ["textual"])
    assert kept.matrices["visual"].any() and not kept.matrices["textual"].any()


def cosines(matrix):
    wide = matrix.astype(np.float64)
    return wide @ wide.T


def test_rotation_keeps_geometry_inside_and_breaks_it_between():
    features = random_features(40, (6, 6))
    turned = rotate(features, "visual", 4)
    assert np.allclose(cosines(turned.matrices["visual"]), cosines(features.matrices["visual"]), rtol=1e-4, atol=1e-4)
    assert not np.allclose(turned.matrices["visual"], features.matrices["visual"], atol=0.1)
    assert np.array_equal(turned.matrices["textual"], features.matrices["textual"])
    assert rotate(features, "visual", 4).digest == turned.digest != rotate(features, "visual", 5).digest


def test_rotations_have_no_preferred_direction():
    """Without the sign rule of the QR decomposition the first entry would be one-signed."""
    features = random_features(3, (4, 4))
    features.matrices["visual"][:] = np.eye(4)[:3]
    entries = [rotate(features, "visual", seed).matrices["visual"][0, 0] for seed in range(300)]
    assert abs(np.mean(entries)) < 4 * 0.5 / np.sqrt(300)


def test_shuffled_pairs_keep_each_modality_and_lose_the_correspondence():
    """One modality's rows permuted, its flags with them: the control that breaks the pairing of picture and text."""
    features = random_features(400, (6, 6))
    features.matrices["textual"][:] = features.matrices["visual"]
    before, after = (
        {m: rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for m, rows in some.matrices.items()}
        for some in (features, apply_control(features, "shuffled", 5, ["textual"]))
    )
    pairs = (after["visual"] * after["textual"]).sum(axis=1)
    assert (before["visual"] * before["textual"]).sum(axis=1).mean() > 0.99
    chance = after["visual"].mean(axis=0) @ after["textual"].mean(axis=0)
    assert abs(pairs.mean() - chance) < 5 * pairs.std() / 20
    assert sorted(map(tuple, after["textual"])) == sorted(map(tuple, before["textual"]))


def test_keeping_modalities_orders_and_refuses():
    features = random_features()
    assert list(keep_modalities(features, ["textual", "visual"]).matrices) == ["visual", "textual"]
    text = keep_modalities(features, ["textual"])
    assert list(text.matrices) == list(text.present) == ["textual"]
    assert text.digest != features.digest
    with pytest.raises(ConfigError, match="unknown modality 'visual'"):
        keep_modalities(text, ["visual"])
    with pytest.raises(FeatureError, match="no modality given"):
        keep_modalities(features, [])


def test_unknown_control():
    with pytest.raises(ConfigError, match="did you mean 'shuffled'"):
        apply_control(random_features(), "shuffle", 1)


@pytest.mark.parametrize("control", [control for control in CONTROLS if control != "shuffled-T"])
def test_inputs_are_left_alone_and_the_card_tells_the_story(control):
    features, fresh = random_features(), random_features()
    changed = rotate(apply_control(features, control, 7, ["visual"]), "textual", 3)
    assert all(np.array_equal(features.matrices[m], fresh.matrices[m]) for m in BOTH)
    assert features.card == fresh.card
    assert changed.card["transforms"] == [
        {"transform": "control", "control": control, "seed": 7, "modalities": ["visual"]},
        {"transform": "rotate", "seed": 3, "modalities": ["textual"]},
    ]
    assert changed.card["catalogue"] == "toy"
