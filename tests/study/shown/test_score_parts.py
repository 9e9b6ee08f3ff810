"""A score of VBPR is the sum of its parts, and each part is what the model itself computes for it."""

import numpy as np
import pytest
import torch

from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import Features
from lmmrec_core.recommenders.layers import features_normalised
from lmmrec_core.recommenders.vbpr import VBPR
from lmmrec_core.roles import TrainingData
from lmmrec_core.study.own.kept import KeptModel
from lmmrec_core.study.shown.score_parts import above_average, parts_frame, score_parts

N_USERS, N_ITEMS, DIM = 4, 7, 3
ALL = np.arange(N_USERS)


def features() -> Features:
    rng = np.random.default_rng(1)
    widths = {"visual": 5, "textual": 2}
    matrices = {m: rng.normal(size=(N_ITEMS, width)).astype(np.float32) for m, width in widths.items()}
    return Features(matrices, {m: np.ones(N_ITEMS, dtype=bool) for m in widths}, {}, "d")


def trained(modalities=("visual", "textual"), **settings) -> VBPR:
    """A model whose every parameter is drawn, biases too."""
    given = {m: torch.from_numpy(features().matrices[m]) for m in modalities}
    edge = torch.tensor([0, 1])
    data = TrainingData(N_USERS, N_ITEMS, edge, edge, given)
    model = VBPR(data, VBPR.Settings.build({"embedding_dim": DIM, **settings}), torch.Generator().manual_seed(3))
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    return model


def kept(model: VBPR, tmp_path, modalities=("visual", "textual")) -> KeptModel:
    users, items = model.vectors()
    matrix, offset = model.content_map()
    tensors = {"user": users, "item": items, "map.matrix": matrix, "map.offset": offset}
    members = dict.fromkeys(modalities, "ready")
    note = {"key": "0" * 16, "case": {"model": "vbpr"}, "content": {"members": members, "unit_rows": model.unit_rows}}
    return KeptModel(tmp_path / "model.safetensors", note, tensors, (), ())


@pytest.mark.parametrize("mode", ["reference", "described"])
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("modalities", [("visual", "textual"), ("textual",)])
def test_the_parts_add_up_to_the_scores(tmp_path, mode, normalise, modalities):
    model = trained(modalities, mode=mode, normalise_features=normalise)
    parts = score_parts(kept(model, tmp_path, modalities), features(), ALL)
    assert list(parts) == ["id", *modalities, "constant"]
    scores = model.scorer()(torch.arange(N_USERS)).double().numpy()
    np.testing.assert_allclose(sum(parts.values()), scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("normalise", [False, True])
def test_each_part_is_that_of_the_formula(tmp_path, normalise):
    """Computed from the model's own parameters: id vectors on one side, the map of text and picture on the other."""
    model = trained(normalise_features=normalise)
    parts = score_parts(kept(model, tmp_path), features(), ALL)
    rows = {m: torch.from_numpy(x) for m, x in features().matrices.items()}
    rows = {m: features_normalised(x) for m, x in rows.items()} if normalise else rows
    own, of_content = model.user[:, :DIM], model.user[:, DIM:]
    weight = model.item_linear.weight
    wanted = {
        "id": own @ model.item.T,
        "textual": of_content @ (rows["textual"] @ weight[:, :2].T).T,
        "visual": of_content @ (rows["visual"] @ weight[:, 2:].T).T,
        "constant": (of_content @ model.item_linear.bias)[:, None].expand(-1, N_ITEMS),
    }
    for name, part in wanted.items():
        np.testing.assert_allclose(parts[name], part.detach().numpy(), rtol=1e-4, atol=1e-4)


def test_above_the_average_item_no_part_has_a_mean_and_differences_stay(tmp_path):
    parts = score_parts(kept(trained(), tmp_path), features(), np.array([2]))
    lifted = above_average(parts)
    assert set(lifted) == {"id", "visual", "textual"}
    for part in lifted.values():
        np.testing.assert_allclose(part.mean(axis=1), 0, atol=1e-12)
    frame = parts_frame(lifted, 0, np.array([5, 0]))
    scores = sum(parts.values())[0]
    assert frame["score"][0] - frame["score"][1] == pytest.approx(scores[5] - scores[0])


def test_what_does_not_belong_to_the_model_is_refused(tmp_path):
    whole = kept(trained(), tmp_path)
    fewer = Features({m: x[:-1] for m, x in features().matrices.items()}, {}, {}, "d")
    with pytest.raises(FeatureError, match=r"textual features are \(6, 2\), the model has 7 items"):
        score_parts(whole, fewer, ALL)
    alone = Features({"visual": features().matrices["visual"]}, {}, {}, "d")
    with pytest.raises(FeatureError, match="reads textual features"):
        score_parts(whole, alone, ALL)
    note = {**whole.note, "content": {"no_new_items": "model 'bpr' reads no content"}}
    plain = KeptModel(whole.path, note, {k: v for k, v in whole.tensors.items() if "map" not in k}, (), ())
    with pytest.raises(ConfigError, match="cannot be taken apart: model 'bpr' reads no content"):
        score_parts(plain, features(), ALL)
