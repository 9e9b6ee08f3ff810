import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lmmrec_core.encoders.extract import extract, feature_spec
from lmmrec_core.errors import ConfigError, FeatureError
from tests.encoders.toys import MeanColour, catalogue_of, draw
from tests.limits import run_within

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)]
TEXTS = ["banana", "a", "  ", "cat and dog", "xyz"]


@pytest.fixture
def catalogue(tmp_path):
    """Five items of one colour each; item 2 has no text, item 4 no picture."""
    paths = []
    for number, colour in enumerate(COLOURS):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", (8, 8), colour).save(paths[-1])
    return catalogue_of(TEXTS, [*paths[:4], None])


def both(encoder=None):
    encoder = encoder or MeanColour()
    return {"textual": encoder, "visual": encoder}


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_rows_follow_the_items_and_absent_content_gets_the_mean(catalogue, batch_size):
    features = extract(both(), catalogue, batch_size=batch_size, progress=False)
    assert list(features.matrices) == ["visual", "textual"]
    assert features.matrices["visual"].dtype == np.float32
    expected = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0.5, 0.5, 0.5]]
    assert features.matrices["visual"].tolist() == expected
    # lengths 6, 1, 11, 3 and counts of "a" 3, 1, 2, 0: means 5.25 and 1.5
    assert features.matrices["textual"].tolist() == [[6, 3], [1, 1], [5.25, 1.5], [11, 2], [3, 0]]
    assert features.present["visual"].tolist() == [True, True, True, True, False]
    assert features.present["textual"].tolist() == [True, True, False, True, True]


def test_zero_rule_and_card(catalogue):
    features = extract(both(), catalogue, missing="zero", progress=False, catalogue_fingerprint="f" * 16)
    assert features.matrices["visual"][4].tolist() == [0, 0, 0]
    card = json.loads(json.dumps(features.card))  # must be JSON
    assert card["modalities"]["visual"]["missing"] == 1
    assert card["modalities"]["textual"]["items"] == 5
    assert card["spec"]["items"]["fingerprint"] == "f" * 16
    assert card["spec"]["missing"]["rule"] == "zero"
    assert {"torch", "numpy", "pillow"} <= set(card["versions"])
    assert card["precision"] == "fp32" and card["device"] == "cpu" and "T" in card["created"]


def test_batches_bound_memory(catalogue):
    encoder = MeanColour()
    extract({"visual": encoder}, catalogue, batch_size=3, progress=False)
    assert encoder.batches == [3, 1]


def test_texts_come_longest_first(catalogue):
    encoder, seen = MeanColour(), []
    original = encoder.preprocess_texts
    encoder.preprocess_texts = lambda texts: seen.extend(texts) or original(texts)
    extract({"textual": encoder}, catalogue, batch_size=2, progress=False)
    assert seen == ["cat and dog", "banana", "xyz", "a"]


def test_modules_are_evaluated_without_gradient_and_put_back(catalogue):
    encoder = MeanColour()
    encoder.module.train()
    encoder.module[0].eval()  # a frozen part in a module that trains
    first = extract({"visual": encoder}, catalogue, progress=False)
    assert first.digest == extract({"visual": encoder}, catalogue, progress=False).digest  # dropout was off
    assert encoder.module.training and encoder.module[1].training and not encoder.module[0].training


def test_an_unreadable_picture_is_refused_by_name(catalogue, tmp_path):
    (tmp_path / "1.png").write_bytes(b"no picture")
    with pytest.raises(FeatureError, match=r"item 'i1': picture .*1\.png"):
        extract({"visual": MeanColour()}, catalogue, progress=False)


def test_nothing_to_encode(catalogue):
    bare = replace(catalogue, images=(None,) * 5)
    with pytest.raises(FeatureError, match="none of the 5 items has visual content"):
        extract({"visual": MeanColour()}, bare, progress=False)
    with pytest.raises(FeatureError, match="no items"):
        extract({"visual": MeanColour()}, catalogue_of([], []), progress=False)


def test_bad_vectors_name_encoder_and_item(catalogue):
    encoder = MeanColour()
    encoder.image_vectors = lambda pixels: torch.full((len(pixels), 3), torch.nan)
    with pytest.raises(FeatureError, match="encoder 'toy': visual features of item 'i0'"):
        extract({"visual": encoder}, catalogue, progress=False)
    encoder.image_vectors = lambda pixels: torch.zeros(len(pixels), 4)
    with pytest.raises(FeatureError, match=r"shape \(4, 4\), expected \(4, 3\)"):
        extract({"visual": encoder}, catalogue, progress=False)


def test_settings_outside_their_sets(catalogue):
    wrong = MeanColour()
    wrong.modalities = ("textual",)
    for encoders, settings, words in [
        ({}, {}, "no encoder given"),
        ({"visual": wrong}, {}, "encodes textual, not visual"),
        ({"image": wrong}, {}, "unknown modality 'image'"),
        (both(), {"missing": "median"}, "unknown missing rule 'median'"),
        (both(), {"batch_size": 0}, "batch_size is 0"),
    ]:
        with pytest.raises(ConfigError, match=words):
            extract(encoders, catalogue, progress=False, **settings)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no device 'cuda' here"):
            extract(both(), catalogue, progress=False, device="cuda")


def test_progress_is_shown_on_request(catalogue, capsys):
    extract({"visual": MeanColour()}, catalogue, progress=True)
    assert "toy: visual by toy" in capsys.readouterr().err
    extract({"visual": MeanColour()}, catalogue, progress=False)
    assert capsys.readouterr().err == ""


def test_spec_tells_orders_apart_though_fingerprints_do_not(catalogue):
    turned = replace(catalogue, item_ids=catalogue.item_ids[::-1])
    first = feature_spec(both(), catalogue, catalogue_fingerprint="same")
    second = feature_spec(both(), turned, catalogue_fingerprint="same")
    assert first["items"]["order"] != second["items"]["order"]
    assert first == feature_spec(both(), catalogue, catalogue_fingerprint="same")


def test_real_encoders_do_not_depend_on_the_batch(tmp_path):
    from lmmrec_core.encoders.lite0 import EfficientNetLite0, Lite0Settings
    from lmmrec_core.encoders.minilm import MiniLM

    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        draw(number, (40 + 10 * number, 80)).save(path)
    catalogue = catalogue_of(["red car", "a blue wooden train with wagons", "x", "doll " * 30], paths)
    encoders = {"visual": EfficientNetLite0(Lite0Settings(image_size=96)), "textual": MiniLM()}
    one = extract(encoders, catalogue, batch_size=1, progress=False)
    all_at_once = extract(encoders, catalogue, batch_size=64, progress=False)
    for modality, dim in (("visual", 1280), ("textual", 384)):
        a, b = one.matrices[modality], all_at_once.matrices[modality]
        assert a.shape == (4, dim)
        assert np.linalg.norm(a - b) / np.linalg.norm(a) < 1e-5
        assert np.linalg.norm(a[0] - a[1]) / np.linalg.norm(a[0]) > 1e-2  # rows differ between items


@pytest.mark.shared
def test_the_amazon_samples_with_their_defects(shared_data):
    images = shared_data / "amazon-format-samples" / "images"
    ids = ["0001234567", *[f"B0TOY{number:05d}" for number in range(1, 20)]]
    paths = [path if (path := images / f"{item}.jpg").is_file() else None for item in ids]
    with pytest.raises(FeatureError, match=r"'B0TOY00007'.*cannot be read"):  # truncated
        extract({"visual": MeanColour()}, catalogue_of([""] * 20, paths, ids), progress=False)
    paths[ids.index("B0TOY00007")] = None
    features = extract({"visual": MeanColour()}, catalogue_of([""] * 20, paths, ids), progress=False)
    absent = [item for item, there in zip(ids, features.present["visual"], strict=True) if not there]
    assert absent == ["B0TOY00007", "B0TOY00013"]  # taken out; not there


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sets a limit of memory as Linux does")
def test_large_pictures_are_not_held_together(tmp_path):
    """Five pictures of 200 MB each, in one batch, within the stated 768 MB and those that wait."""
    transparent = Image.new("LA", (8000, 8000), (128, 100))  # the most costly kind: grey, turned to RGBA, then to RGB
    transparent.save(tmp_path / "large.png", compress_level=1)
    code = """
catalogue = catalogue_of(["a"] * 5, [Path(sys.argv[1])] * 5)
features = extract({"visual": MeanColour()}, catalogue, batch_size=8, progress=False)
print(features.matrices["visual"].round(3).tolist())
"""
    imports = """
from lmmrec_core.encoders.extract import extract
from tests.encoders.toys import MeanColour, catalogue_of
"""
    told = run_within(1024, imports, code, tmp_path / "large.png")
    assert json.loads(told) == [[pytest.approx(205 / 255, abs=2e-3)] * 3] * 5
