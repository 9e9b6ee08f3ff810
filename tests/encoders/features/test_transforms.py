import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmrec_core.encoders.features.transforms import CONTROLS, apply_control, l2_normalise, pca, project, rotate, select
from lmmrec_core.errors import ConfigError, FeatureError
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


def test_l2_gives_unit_rows_and_leaves_zero_rows():
    features = random_features()
    unit = l2_normalise(features)
    lengths = np.linalg.norm(unit.matrices["visual"], axis=1)
    assert lengths[1] == 0
    assert np.allclose(np.delete(lengths, 1), 1, atol=1e-6)
    assert np.isfinite(l2_normalise(apply_control(features, "zero", 1)).matrices["visual"]).all()
    extreme = select(features, ["textual"])
    extreme.matrices["textual"][0] = 1e-30  # squares vanish in float32
    extreme.matrices["textual"][3] = 1e30  # squares overflow in float32
    assert np.allclose(np.linalg.norm(l2_normalise(extreme).matrices["textual"], axis=1), 1, atol=1e-6)


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


def test_projection():
    features = random_features(2000, (40, 3))
    small = project(features, "visual", 10, 1)
    assert small.matrices["visual"].shape == (2000, 10)
    ratio = (small.matrices["visual"] ** 2).sum() / (features.matrices["visual"] ** 2).sum()
    assert 0.6 < ratio < 1.4
    whole = project(features, "visual", 40, 1)  # all dimensions: a rotation
    assert np.allclose(cosines(whole.matrices["visual"][:9]), cosines(features.matrices["visual"][:9]), rtol=1e-3)
    for dim in (0, 41):
        with pytest.raises(ConfigError, match="give 1 to 40"):
            project(features, "visual", dim, 1)


def test_pca_keeps_the_directions_of_largest_variance():
    features = random_features(60, (8, 3))
    visual = features.matrices["visual"].astype(np.float64)
    centred = visual - visual.mean(axis=0)
    reduced = pca(features, "visual", 3).matrices["visual"]
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    assert np.allclose(np.abs(reduced), np.abs(u[:, :3] * s[:3]), atol=1e-4)
    assert np.allclose(reduced.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(reduced.T @ reduced, np.diag(s[:3] ** 2), atol=1e-2)  # uncorrelated, not whitened
    whole = pca(features, "visual", 8).matrices["visual"]
    assert np.allclose(cosines(whole), centred @ centred.T, rtol=1e-4, atol=1e-3)
    assert np.array_equal(pca(features, "visual", 3).matrices["textual"], features.matrices["textual"])


def test_pca_without_centring_keeps_inner_products_as_they_are():
    features = random_features(60, (8, 3))
    whole = pca(features, "visual", 8, centred=False)
    assert np.allclose(cosines(whole.matrices["visual"]), cosines(features.matrices["visual"]), rtol=1e-3, atol=1e-3)
    cone = random_features(50, (8, 3))
    cone.matrices["visual"][:] = 10 + random_features(50, (8, 3), 1).matrices["visual"]
    small = l2_normalise(pca(cone, "visual", 2, centred=False)).matrices["visual"]
    assert (small @ small.T).min() > 0.8  # still a cone
    around = l2_normalise(pca(cone, "visual", 2)).matrices["visual"]
    assert (around @ around.T).min() < 0


def test_pca_is_the_same_for_rotated_features_up_to_signs_and_is_recorded():
    features = random_features(60, (6, 3))
    turned = rotate(features, "visual", 1)
    first, second = (pca(part, "visual", 4).matrices["visual"] for part in (features, turned))
    assert np.allclose(np.abs(first), np.abs(second), atol=1e-3)
    again = pca(features, "visual", 4)
    assert again.digest == pca(features, "visual", 4).digest
    note = {"transform": "pca", "dim": 4, "centred": True, "modalities": ["visual"]}
    assert again.card["transforms"] == [note]
    for dim in (0, 7):
        with pytest.raises(ConfigError, match="give 1 to 6, the lesser of items and dims"):
            pca(features, "visual", dim)
    with pytest.raises(ConfigError, match="unknown modality"):
        pca(select(features, ["visual"]), "textual", 1)


def test_shuffled_pairs_keep_each_modality_and_lose_the_correspondence():
    """The pair shuffle of encoders spec 7.6: one modality's rows permuted, flags with them."""
    features = random_features(400, (6, 6))
    features.matrices["textual"][:] = features.matrices["visual"]
    unit = l2_normalise(apply_control(features, "shuffled", 5, ["textual"]))
    pairs = (unit.matrices["visual"] * unit.matrices["textual"]).sum(axis=1)
    before = l2_normalise(features)
    assert (before.matrices["visual"] * before.matrices["textual"]).sum(axis=1).mean() > 0.99
    chance = unit.matrices["visual"].mean(axis=0) @ unit.matrices["textual"].mean(axis=0)
    assert abs(pairs.mean() - chance) < 5 * pairs.std() / 20
    assert sorted(map(tuple, unit.matrices["textual"])) == sorted(map(tuple, before.matrices["textual"]))


def test_select_orders_and_refuses():
    features = random_features()
    assert list(select(features, ["textual", "visual"]).matrices) == ["visual", "textual"]
    text = select(features, ["textual"])
    assert list(text.matrices) == list(text.present) == ["textual"]
    assert text.digest != features.digest
    with pytest.raises(ConfigError, match="unknown modality 'visual'"):
        select(text, ["visual"])
    with pytest.raises(FeatureError, match="no modality given"):
        select(features, [])


def test_unknown_control():
    with pytest.raises(ConfigError, match="did you mean 'shuffled'"):
        apply_control(random_features(), "shuffle", 1)


@pytest.mark.parametrize("control", [control for control in CONTROLS if control != "none"])
def test_inputs_are_left_alone_and_the_card_tells_the_story(control):
    features, fresh = random_features(), random_features()
    changed = l2_normalise(apply_control(features, control, 7, ["visual"]))
    assert all(np.array_equal(features.matrices[m], fresh.matrices[m]) for m in BOTH)
    assert features.card == fresh.card
    assert changed.card["transforms"] == [
        {"transform": "control", "control": control, "seed": 7, "modalities": ["visual"]},
        {"transform": "l2_normalise", "modalities": ["visual", "textual"]},
    ]
    assert changed.card["catalogue"] == "toy"
