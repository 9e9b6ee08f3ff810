"""Alignment steered on purpose: pairs that change partners before pre-training, and features of one modality turned."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lmmrec_core.data.controls import write_outside_items
from lmmrec_core.data.folder import read_content
from lmmrec_core.encoders.fine_tuning.holdout import drawn_items
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import Catalogue
from lmmrec_core.study.cases import Case, all_cases
from lmmrec_core.study.features import features_key, load_features
from lmmrec_core.study.run import plan
from lmmrec_core.study.weights.making import trained_encoder
from lmmrec_core.study.weights.pretraining_items import mispaired
from lmmrec_core.study.weights.recipes import recipe_of
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


def test_towers_learn_from_their_own_items_and_only_the_common_space_from_mispaired_ones(workspace, dataset) -> None:
    pretrain = workspace.track.encoder("clip")["pretrain"]
    wrong = replace(workspace, track=changed(workspace.track, pretrain={**pretrain, "mispaired": 0.9}))
    states = [trained_encoder(here, "clip", "PT", dataset).module.state_dict() for here in (workspace, wrong)]
    moved = {name for name, value in states[0].items() if not torch.equal(value, states[1][name])}
    heads = set(trained_encoder(workspace, "clip", "PT", dataset).part("heads"))
    assert moved and moved <= heads
    keys = {recipe_of(here, "clip", "PT", dataset).key for here in (workspace, wrong)}
    assert len(keys) == 2


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
