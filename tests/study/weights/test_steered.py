"""Alignment steered on purpose: pairs that change partners before pre-training, and features of one modality turned."""

from dataclasses import replace

import numpy as np
import pytest

from lmmrec_core.data.controls import write_outside_items
from lmmrec_core.data.folder import read_content
from lmmrec_core.encoders.fine_tuning.holdout import drawn_items
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import Catalogue
from lmmrec_core.study.cases import Case, all_cases
from lmmrec_core.study.features import features_key, load_features
from lmmrec_core.study.run import plan
from lmmrec_core.study.weights.pretraining_items import mispaired
from lmmrec_core.study.weights.recipes import PretrainSettings, recipe_of
from tests.study.weights.test_weights import changed


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    folder = tmp_path_factory.mktemp("outside") / "items"
    write_outside_items(folder, 5, 100)
    return read_content(folder)


def test_texts_of_the_asked_share_change_hands_and_held_out_ones_stay(items: Catalogue) -> None:
    held = drawn_items(items.item_ids, 0.1)
    moved = {}
    for share in (0.25, 0.5):
        wrong = mispaired(items, share, 0.1)
        moved[share] = np.array([a != b for a, b in zip(items.texts, wrong.texts, strict=True)])
        assert sorted(wrong.texts) == sorted(items.texts) and wrong.images == items.images
        assert not (moved[share] & held).any()
        assert moved[share].sum() == round(share * (~held).sum())
    assert (moved[0.5] >= moved[0.25]).all()  # a dose grows
    with pytest.raises(ConfigError, match=r"mispaired: 0.01 .* larger share"):
        mispaired(items, 0.01, 0.1)


def test_only_pairs_of_a_folder_can_be_mispaired() -> None:
    with pytest.raises(ConfigError, match="mispaired needs source folder"):
        PretrainSettings.build({"source": "controls", "items": 40, "seed": 1, "mispaired": 0.5}, "a test")


def test_turned_features_say_the_same_within_a_modality_and_nothing_across(track, dataset, workspace) -> None:
    here = replace(workspace, track=changed(track, rotated="visual"))
    plain, turned = (load_features(w, dataset, "clip", "PT") for w in (workspace, here))
    assert np.array_equal(plain.matrices["textual"], turned.matrices["textual"])
    a, b = (f.matrices["visual"].astype(np.float64) for f in (plain, turned))
    np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-5)
    assert np.abs(a - b).max() > 0.1
    assert features_key(here, dataset, "clip", "PT") != features_key(workspace, dataset, "clip", "PT")
    assert recipe_of(here, "clip", "PT", dataset).key == recipe_of(workspace, "clip", "PT", dataset).key
    assert "ETE" not in here.track.paradigms("clip") and "FT" in here.track.paradigms("clip")
    assert not any(case.encoder == "clip" and case.paradigm == "ETE" for case in all_cases(here.track, (1,)))


def test_nobody_trains_turned_features_end_to_end(track, workspace) -> None:
    here = replace(workspace, track=changed(track, rotated="visual"))
    cell = {"track": "controls", "dataset": "complementary", "model": "vbpr", "encoder": "clip", "modalities": "V&T"}
    with pytest.raises(ConfigError, match=r"encoders, clip: .* rotated, so paradigm ETE"):
        plan(Case.build({**cell, "paradigm": "ETE"}, "case"), here)
