"""Adapters for a user's own models: a sentence-transformers folder for texts, a timm network for pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch
from PIL.Image import Image
from safetensors import safe_open
from timm.data import resolve_model_data_config
from torch import Tensor

from lmmrec_core.digests import digest, file_sha256
from lmmrec_core.encoders.features.unread import TokenCounts, count_pieces
from lmmrec_core.encoders.one_modality import OneModality
from lmmrec_core.encoders.pictures.rule import Fit, ImageRule
from lmmrec_core.encoders.weights import load_strictly, read_tensors
from lmmrec_core.errors import FeatureError, unknown
from lmmrec_core.flow import Modality

if TYPE_CHECKING:  # takes seconds to import, for its own trainers
    from sentence_transformers import SentenceTransformer

_VERSION = 1
_NEEDED = ("*.json", "*.txt", "*.model", "*.safetensors")  # of a published sentence model; no program, no pickle


class SentenceFolder(OneModality):
    """Texts → vectors by a sentence-transformers model, with its own tokeniser, pooling and normalisation.

    ``model`` is a folder, or a published name, which is fetched once. The model's default prompt goes before each text.
    """

    name = "own"
    modalities: tuple[Modality, ...] = ("textual",)
    module: "SentenceTransformer"

    def __init__(self, model: str, max_length: int | None) -> None:
        from sentence_transformers import SentenceTransformer

        folder = _sentence_folder(model)
        self.files = {
            path.relative_to(folder).as_posix(): file_sha256(path, FeatureError)
            for pattern in ("*.json", "*.txt", "*.model")
            for path in sorted(folder.rglob(pattern))
        }
        try:
            self.module = SentenceTransformer(str(folder), device="cpu", local_files_only=True).float().eval()
        except Exception as error:  # two libraries have many ways of saying that a file is absent or wrong
            raise FeatureError(
                f"{folder}: not a sentence-transformers model ({_reason(error)}); give a folder that the library saved"
            ) from None
        _check_complete(self.module, folder)
        # version 5 of the library has a shorter name for it than those before
        width = getattr(self.module, "get_embedding_dimension", None) or self.module.get_sentence_embedding_dimension
        self.width = int(width())
        if max_length is not None:
            limit = self.module.max_seq_length
            if limit is not None and max_length > limit:
                raise FeatureError(f"{folder}: max_length {max_length} is more than the model's {limit}; lower it")
            self.module.max_seq_length = max_length
        name = getattr(self.module, "default_prompt_name", None)
        self.prompt: str = (self.module.prompts.get(name) or "") if name else ""
        if self.prompt and any(getattr(part, "include_prompt", True) is False for part in self.module.modules()):
            raise FeatureError(
                f"{folder}: its pooling leaves the prompt out, which is not supported; give another model"
            )

    def spec(self) -> Mapping[str, Any]:
        return {
            "weights": self._weights_spec("sentence-transformers"),
            "architecture": self._architecture_spec(
                _VERSION, modules=[type(part).__name__ for part in self.module], files=digest(self.files),
                vector="as the model pools",
            ),
            "text": {
                "max_length": self.module.max_seq_length, "truncation": "right", "unit": "tokens",
                "prompt": self.prompt,
            },
        }  # fmt: skip

    def preprocess_texts(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        read = getattr(self.module, "preprocess", self.module.tokenize)  # tokenize is the older name
        features = read([self.prompt + text for text in texts])
        return {key: value for key, value in features.items() if isinstance(value, Tensor)}

    def token_counts(self, texts: Sequence[str]) -> TokenCounts:
        tokenizer, longest = self.module.tokenizer, self.module.max_seq_length
        if longest is None or not hasattr(tokenizer, "num_special_tokens_to_add"):
            return TokenCounts()  # a kind of sentence model that splits texts in its own way
        return count_pieces(tokenizer, [self.prompt + text for text in texts], longest)

    def text_vectors(self, tokens: Mapping[str, Tensor]) -> Tensor:
        vectors: Tensor = self.module(dict(tokens))["sentence_embedding"]
        return vectors


class TimmPictures(OneModality):
    """Pictures → the pooled features of a timm network, before its classifier.

    Mean, deviation and size are what timm states for the weights. Pictures are cropped to the middle of the shorter
    side; timm's further margin, ``crop_pct``, is left out.
    """

    name = "own"
    modalities: tuple[Modality, ...] = ("visual",)

    def __init__(
        self, model: str, weights: Path | None, pretrained: str | None, image_size: int | None, fit: Fit
    ) -> None:
        base = model.partition(".")[0]
        if not timm.is_model(base):
            raise unknown("timm model", model, timm.list_models())
        self.model = model if pretrained is None else f"{base}.{pretrained}"
        self.source, self.notes = ("timm", {"tag": self.model}) if pretrained else ("own file", {})
        try:
            # load_strictly below refuses a half-loaded network; timm only fills what it fetches
            self.module = timm.create_model(self.model, pretrained=pretrained is not None, num_classes=0).float().eval()
        except Exception as error:
            if pretrained is None:
                raise FeatureError(f"timm model {model!r} cannot be built ({_reason(error)}); name another") from None
            raise FeatureError(
                f"weights of timm model {self.model!r} could not be fetched ({_reason(error)}); fetch the safetensors "
                "file on a connected machine and give its path as weights, without pretrained"
            ) from None
        if weights is not None:
            load_strictly(self.module, _without_classifier(self.module, read_tensors(weights)), weights)
            self.notes["file_sha256"] = file_sha256(weights, FeatureError)
        stated = resolve_model_data_config(self.module)
        size = image_size or int(stated["input_size"][1])
        self.image = ImageRule(size, fit, tuple(stated["mean"]), tuple(stated["std"]))
        with torch.no_grad():
            try:
                self.width = int(self.module(torch.zeros(1, 3, size, size)).shape[1])
            except (AssertionError, RuntimeError, IndexError) as error:
                raise FeatureError(
                    f"timm model {model!r} takes no pictures of {size} pixels ({_reason(error)}); leave image_size out"
                ) from None

    def spec(self) -> Mapping[str, Any]:
        return {
            "weights": self._weights_spec(self.source, **self.notes),
            "architecture": self._architecture_spec(_VERSION, network=f"timm {self.model}", vector="pooled features"),
            "image": self.image.spec(),
        }

    @property
    def picture_rule(self) -> ImageRule:
        """How pictures are prepared."""
        return self.image

    def preprocess_images(self, images: Sequence[Image]) -> Tensor:
        return self.image.pixels(images)

    def image_vectors(self, pixels: Tensor) -> Tensor:
        vectors: Tensor = self.module(pixels)
        return vectors


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _sentence_folder(model: str) -> Path:
    """The local folder of a model: the named one, or a fetched copy of a published model."""
    folder = Path(model)
    if folder.is_dir():
        return folder
    if folder.is_absolute() or model.startswith(".") or model.count("/") > 1:
        raise FeatureError(f"{model}: no such folder; give the folder of a sentence-transformers model, or its name")
    name = model if "/" in model else f"sentence-transformers/{model}"
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(_NEEDED)))
    except Exception as error:  # offline, absent, or a fault of the service: the model is not to be had
        raise FeatureError(
            f"sentence-transformers model {name!r} could not be fetched ({_reason(error)}); fetch it on a connected "
            "machine, save it there with SentenceTransformer.save, and give that folder as model"
        ) from None


def _check_complete(module: "SentenceTransformer", folder: Path) -> None:
    """Raises FeatureError for a weight in no file: the library would fill it with random numbers."""
    stored: set[str] = set()
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            stored.update(file.keys())
    for path in folder.rglob("pytorch_model*.bin"):
        stored.update(read_tensors(path))
    transformer = getattr(module[0], "auto_model", None)
    if transformer is None or not stored:
        return  # a bag of words, or another module that loads its files completely or not at all
    for key in transformer.state_dict():
        if key.startswith("pooler.") or key.endswith("position_ids"):
            continue  # unused, or not a weight
        if not any(name == key or name.endswith(f".{key}") for name in stored):
            raise FeatureError(f"{folder}: no weights for {key!r}; part of the model would be random; save it whole")


def _without_classifier(module: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    names = module.default_cfg.get("classifier") or ()
    heads = tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))
    own = module.state_dict()
    return {key: value for key, value in state.items() if key in own or not key.startswith(heads)}
