import zipfile

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from lmmrec_core.encoders.clip.build import (
    activation,
    architecture,
    build_module,
    check_origin,
    check_tag,
    fetch,
    read_weights,
)
from lmmrec_core.encoders.clip.encoder import CLIP
from lmmrec_core.encoders.clip.official import ClipB16, ClipB32, ClipL14
from lmmrec_core.encoders.clip.settings import CLIPSettings
from lmmrec_core.errors import ConfigError, FeatureError
from tests.encoders.clip.small_clips import QUICK, content, small_official


def count(module, start=""):
    return sum(value.numel() for name, value in module.named_parameters() if name.startswith(start))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ViT-B-16-quickgelu", 149_620_737), ("ViT-B-32-quickgelu", 151_277_313), ("ViT-L-14-quickgelu", 427_616_513)],
)
def test_published_sizes_exactly(name, expected):
    module = build_module(architecture(name), device="meta")  # nothing is allocated
    assert count(module) == expected
    assert activation(module) == "quick_gelu"


def test_vit_b_16_by_tower_and_its_keys():
    module = build_module(architecture("ViT-B-16-quickgelu"), device="meta")
    assert count(module, "visual.") == 86_192_640
    assert count(module) - count(module, "visual.") == 63_428_097
    assert count(module, "visual.transformer.resblocks.7.") == 7_087_872
    assert count(module, "transformer.resblocks.11.") == 3_152_384
    state = module.state_dict()
    assert len(state) == 302
    assert state["visual.positional_embedding"].shape == (197, 768)
    assert state["visual.proj"].shape == (768, 512) and state["text_projection"].shape == (512, 512)


def test_the_plain_name_with_openai_weights_is_refused():
    assert activation(build_module(architecture("ViT-B-16"), device="meta")) == "gelu"
    with pytest.raises(ConfigError, match=r"QuickGELU.*use model: ViT-B-16-quickgelu"):
        check_tag("ViT-B-16", "openai")
    with pytest.raises(ConfigError, match="use model: ViT-B-16-quickgelu"):
        ClipB16(CLIPSettings(model="ViT-B-16", pretrained="openai"))
    with pytest.raises(ConfigError, match="unknown pretrained tag 'laion2b_s34b_b88k'"):
        check_tag("ViT-B-16-quickgelu", "laion2b_s34b_b88k")
    assert check_tag("ViT-B-16", "laion2b_s34b_b88k")["hf_hub"]


def test_a_local_file_for_the_plain_name_must_say_whose_weights_it_holds():
    check_origin("ViT-B-16-quickgelu", None)
    check_origin("ViT-B-16", "laion2b_s34b_b88k")
    with pytest.raises(ConfigError, match="does not tell"):
        check_origin("ViT-B-16", None)
    with pytest.raises(ConfigError, match="features would be wrong"):
        check_origin("ViT-B-16", "openai")


def test_quick_gelu_changes_the_vectors():
    quick = small_official()
    plain = small_official(config={**QUICK, "quick_gelu": False})
    assert (quick.activation, plain.activation) == ("quick_gelu", "gelu")
    plain.module.load_state_dict(quick.module.state_dict())
    pixels, _ = content(quick)
    with torch.no_grad():
        assert not torch.allclose(quick.image_vectors(pixels), plain.image_vectors(pixels), atol=1e-4)


def test_random_weights_follow_the_seed_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = small_official(), small_official(), small_official(seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.spec() == again.spec()
    assert first.spec()["weights"]["state_sha256"] != other.spec()["weights"]["state_sha256"]


@pytest.mark.parametrize("form", ["safetensors", "torch", "wrapped", "half"])
def test_local_weights_load_bit_equal(tmp_path, form):
    source = small_official()
    state = {key: value.clone() for key, value in source.module.state_dict().items()}
    path = tmp_path / "weights.pt"
    if form == "safetensors":
        path = tmp_path / "weights.safetensors"
        save_file(state, path)
    elif form == "wrapped":
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    elif form == "half":
        state = {key: value.half() for key, value in state.items()}
        torch.save(state, path)
    else:
        torch.save(state, path)
    loaded = CLIP(CLIPSettings(config=QUICK, weights=path))
    for key, value in loaded.module.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[key].float())
    spec = loaded.spec()
    assert spec["weights"]["source"] == "own file" and len(spec["weights"]["file_sha256"]) == 64
    assert str(tmp_path) not in str(spec)


def test_weights_must_fit_to_the_last_key(tmp_path):
    state = dict(small_official().module.state_dict())
    cases = {
        "no weights for 'visual.proj'": {key: value for key, value in state.items() if key != "visual.proj"},
        "unknown weights 'extra'": {**state, "extra": torch.zeros(2)},
        r"'visual.proj' has shape \(2, 2\)": {**state, "visual.proj": torch.zeros(2, 2)},
    }
    for number, (message, broken) in enumerate(cases.items()):
        path = tmp_path / f"{number}.pt"
        torch.save(broken, path)
        with pytest.raises(FeatureError, match=message):
            CLIP(CLIPSettings(config=QUICK, weights=path))
    with pytest.raises(FeatureError, match="cannot be read"):
        CLIP(CLIPSettings(config=QUICK, weights=tmp_path / "nowhere.pt"))


def test_a_torchscript_file_is_refused_with_the_cure(tmp_path):
    path = tmp_path / "ViT-B-16.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    assert zipfile.is_zipfile(path)
    with pytest.raises(FeatureError, match=r"TorchScript program.*vit_base_patch16_clip_224\.openai"):
        read_weights(path)
    plain = tmp_path / "plain.pt"
    torch.save({"weight": torch.zeros(2, 2)}, plain)  # also a zip archive
    assert list(read_weights(plain)) == ["weight"]


def test_code_in_a_file_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit('code was run')",))

    torch.save({"weight": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(FeatureError, match="not a file of tensors"):
        read_weights(tmp_path / "trap.pt")


def test_other_picture_sizes_resize_the_positions(tmp_path):
    source = small_official()
    save_file(source.module.state_dict(), tmp_path / "weights.safetensors")
    same = CLIP(CLIPSettings(config=QUICK, weights=tmp_path / "weights.safetensors", image_size=32))
    larger = CLIP(CLIPSettings(config=QUICK, weights=tmp_path / "weights.safetensors", image_size=64))
    before, after = (e.module.visual.positional_embedding for e in (source, larger))
    assert torch.equal(same.module.visual.positional_embedding, before)
    assert after.shape == (65, 48) and torch.equal(after[0], before[0])
    assert larger.spec()["weights"]["positions"] == "resized, bicubic"
    assert larger.preprocess_images([]).shape == (0, 3, 64, 64)
    with torch.no_grad():
        assert larger.image_vectors(content(larger)[0]).shape == (4, 24)


def test_offline_the_cure_is_named(no_network, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FeatureError, match=r"could not be fetched.*give its path as weights, with pretrained: openai"):
        fetch("ViT-B-16-quickgelu", "openai")


def test_members_keep_to_their_architecture():
    assert [member.name for member in (ClipB16, ClipB32, ClipL14)] == ["clip-b16", "clip-b32", "clip-l14"]
    with pytest.raises(ConfigError, match="use encoder own"):
        ClipB16(CLIPSettings(model="ViT-B-32", pretrained="openai"))
    with pytest.raises(ConfigError, match="use encoder own"):
        ClipB16(CLIPSettings(config=QUICK, seed=1))
    with pytest.raises(ConfigError, match="no published weights for a config of your own"):
        CLIP(CLIPSettings(config=QUICK, pretrained="openai"))
    with pytest.raises(ConfigError, match="no weights; give weights"):
        CLIP(CLIPSettings(config=QUICK))
    with pytest.raises(ConfigError, match="no architecture"):
        CLIP(CLIPSettings(seed=1))
    with pytest.raises(ConfigError, match="unknown open_clip model 'ViT-B-61'"):
        CLIP(CLIPSettings(model="ViT-B-61", seed=1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "ViT-B-16", "config": QUICK}, "give one architecture"),
        ({"seed": 1, "pretrained": "openai"}, "seed is for random weights"),
        ({"vector": "cls"}, "vector = 'cls'"),
        ({"imagesize": 224}, "did you mean 'image_size'"),
    ],
)
def test_settings_that_contradict_themselves(values, message):
    with pytest.raises(ConfigError, match=message):
        CLIPSettings.build(values, "encoder")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"embed_dim": 8}, "'vision_cfg' is missing"),
        ({**QUICK, "text_cfg": {"depth": 3}}, "cannot be built by open_clip"),
    ],
)
def test_a_configuration_that_open_clip_cannot_build(config, message):
    with pytest.raises(ConfigError, match=message):
        build_module(config)


def test_a_configuration_leaves_no_file(tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    build_module({**QUICK, "embed_dim": 20}, device="meta")
    assert list(tmp_path.iterdir()) == []
    open_clip.factory._rescan_model_configs()  # what another add_model_config does
    assert "ViT-B-16" in open_clip.list_models()
