"""The closed form of vlmo-small: its regressions against independent ones, and what it leaves in the encoder."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.linalg import lstsq
from torch import nn
from torch.nn import functional

from lmmrec_core.encoders.fine_tuning.cca import Heads, partner_recall
from lmmrec_core.encoders.fine_tuning.holdout import LEAST_SHARE, drawn_items
from lmmrec_core.encoders.fine_tuning.outside import OutsidePairs
from lmmrec_core.encoders.vlmo.closed_form import STEM_PENALTY, align_vlmo, fit_stem_map, set_projections
from lmmrec_core.encoders.vlmo.presets import SmallSettings, TinySettings, VLMoSmall, VLMoTiny
from lmmrec_core.errors import ConfigError
from lmmrec_core.roles import AlignsPairs
from tests.encoders.toys import draw

WORDS = ("red", "green", "blue", "white")
build = partial(VLMoSmall, SmallSettings(image_size=32, vector="itc", max_text_length=12))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> OutsidePairs:
    folder = tmp_path_factory.mktemp("pairs")
    ids = tuple(f"item {number}" for number in range(150))
    for number, name in enumerate(ids):
        draw(number).save(folder / f"{name}.png")
    texts = tuple(f"a {WORDS[number % 4]} thing, number {number}" for number in range(150))
    return OutsidePairs("drawn", ids, tuple(folder / f"{name}.png" for name in ids), texts)


@pytest.fixture(scope="module")
def aligned(pairs):
    encoder = build()
    return encoder, align_vlmo(encoder, pairs, progress=False)


def test_stem_is_the_ridge_regression_of_its_targets() -> None:
    """As least squares with one row more for each weight: sqrt(n · penalty · mean variance) times the identity."""
    stem = build().module.transformer.patch_embed
    random = torch.Generator().manual_seed(0)
    maps, wanted = torch.randn(40, 320, 2, 2, generator=random), torch.randn(40, 384, generator=random)
    stem.standardise.fit(maps.movedim(1, -1).flatten(0, -2))
    fit_stem_map(stem, maps, wanted)
    cells = ((maps.flatten(2) - stem.standardise.centre[:, None]) / stem.standardise.spread[:, None]).mean(2)
    x, y = cells.double().numpy(), wanted.double().numpy()
    x0, y0 = x - x.mean(0), y - y.mean(0)
    more = np.sqrt(40 * STEM_PENALTY * x0.var(0).mean()) * np.eye(320)
    expected = lstsq(np.vstack([x0, more]), np.vstack([y0, np.zeros((320, 384))]))[0]
    np.testing.assert_allclose(stem.proj.weight.detach().numpy().T, expected, atol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(stem.proj(cells).mean(0), y.mean(0), atol=1e-5)  # the means are met


def test_a_bias_goes_into_weights_that_stay_small() -> None:
    """Rows with a mean of 2 and a deviation of 0.3 in each of 16 places: c' x is near 1, its weights near 2 / 64."""
    random = np.random.default_rng(1)
    rows = 2 + 0.3 * random.normal(size=(200, 16))
    heads = Heads(random.normal(size=(4, 16)), random.normal(size=4), random.normal(size=(4, 16)))
    image, text = nn.Linear(16, 6, bias=False), nn.Linear(16, 6, bias=False)
    set_projections(image, text, heads, rows)
    with torch.no_grad():
        mapped = image(torch.from_numpy(rows).float()).numpy()
    np.testing.assert_allclose(mapped[:, :4], rows @ heads.visual.T + heads.bias, atol=0.2 * np.abs(heads.bias).max())
    assert (mapped[:, 4:] == 0).all() and (text.weight[4:] == 0).all()
    np.testing.assert_allclose(text.weight[:4].detach(), heads.textual, rtol=1e-6)
    constant = (image.weight[:4].detach().numpy() - heads.visual) / heads.bias[:, None]
    np.testing.assert_allclose(constant, 2 / 64, atol=0.02)


def test_weights_survive_half_precision(aligned) -> None:
    """A layer norm's rows lie on a plane; an exact bias would have weights of millions that cancel."""
    net = aligned[0].module
    for head in (net.itc_image_proj, net.itc_vl_image_proj):
        assert head.fc.weight.abs().max() < 1e3


def test_what_it_says_of_itself_is_what_the_encoder_does(aligned, pairs) -> None:
    encoder, record = aligned
    assert isinstance(encoder, AlignsPairs) and encoder.note == record
    out = np.flatnonzero(drawn_items(pairs.item_ids, LEAST_SHARE))
    assert (record["held_out"], record["fitted"], record["pairs"]) == (len(out), 150 - len(out), 150)
    pixels = encoder.preprocess_images([draw(number) for number in out])
    tokens = encoder.preprocess_texts([pairs.texts[number] for number in out])
    with torch.no_grad():
        images, texts = encoder.image_vectors(pixels), encoder.text_vectors(tokens)
        own, continued = encoder.contrast(pixels, tokens)
    assert partner_recall((images @ texts.T).double().numpy(), 10) == pytest.approx(
        record["held_out_recall@10"], abs=0.05
    )
    assert own[2].item() == pytest.approx(record["scale"], rel=1e-5)
    assert continued[2].item() == pytest.approx(record["continued"]["scale"], rel=1e-5)
    rows = [functional.normalize(side, dim=1).double().numpy() for side in continued[:2]]
    said = record["continued"]["held_out_recall@10"]
    assert partner_recall(rows[0] @ rows[1].T, 10) == pytest.approx(said)


def test_the_same_pairs_give_the_same_weights(aligned, pairs, tmp_path) -> None:
    encoder, _ = aligned
    other = build()
    align_vlmo(other, pairs, progress=False)
    for name, value in encoder.module.state_dict().items():
        assert torch.equal(value, other.module.state_dict()[name]), name
    encoder.save(tmp_path / "vlmo.safetensors")
    assert VLMoSmall.load(tmp_path / "vlmo.safetensors").note == encoder.note


def test_words_and_blocks_stay_minilms(aligned) -> None:
    before, after = build().module.state_dict(), aligned[0].module.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    heads = {f"itc{vl}_{side}_proj.fc.weight" for vl in ("", "_vl") for side in ("image", "text")}
    stem = {f"transformer.patch_embed.{name}" for name in ("proj.weight", "proj.bias")}
    constants = {f"transformer.patch_embed.standardise.{name}" for name in ("centre", "spread")}
    assert changed == heads | stem | constants | {"logit_scale", "logit_vl_scale"}


def test_another_stem_is_refused(pairs) -> None:
    with pytest.raises(ConfigError, match="only a grid stem below post-norm blocks has a closed form"):
        align_vlmo(VLMoTiny(TinySettings()), pairs, progress=False)
