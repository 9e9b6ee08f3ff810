"""How vlmo-small starts: with the weights of MiniLM-L6 in a post-norm VLMo.

MiniLM normalises after each sum. In pre-norm blocks its weights are worthless (the output has cosine 0.16 to MiniLM's),
so those are refused. Its key bias is left out; the softmax makes that exact.
"""

import json
from pathlib import Path

import torch
from torch import Tensor

from lmmrec_core.digests import file_sha256
from lmmrec_core.encoders.vlmo.model import GridEmbed, VLMoNetwork
from lmmrec_core.encoders.vlmo.settings import VLMoSettings
from lmmrec_core.encoders.weights import check_sha256, package_file, read_tensors
from lmmrec_core.errors import ConfigError, FeatureError

_CLASS_TOKEN = 101
_SHAPE = {"width": "hidden_size", "depth": "num_hidden_layers", "heads": "num_attention_heads"}
_EMBEDDINGS = ("word_embeddings.weight", "token_type_embeddings.weight", "LayerNorm.weight", "LayerNorm.bias")


def start_from_minilm(network: VLMoNetwork, settings: VLMoSettings, folder: Path | None = None) -> str:
    """Overwrite the weights of ``network`` that have a counterpart in MiniLM; returns the SHA-256 of its file.

    Text, image and vision-language experts all start as copies of MiniLM's. The model's own token types start at zero,
    the word head's decoder as the word table, and with the grid stem the class row as the word vector of [CLS].
    ``folder`` holds ``config.json`` and ``model.safetensors``; None takes the installed package's, checked by digest.

    Raises ConfigError for pre-norm settings, FeatureError for a folder of another shape.
    """
    if settings.norm != "post":
        raise ConfigError(
            "VLMo: MiniLM's weights need norm: post (it normalises after each sum); "
            "with norm: pre start from random weights"
        )
    from lmmrec_core.encoders import minilm  # loads transformers, which the tiny VLMo does without

    where = package_file(minilm.PACKAGE, lambda package: package.get_model_path()) if folder is None else folder
    path = where / "model.safetensors"
    digest = check_sha256(path, minilm.SHA256) if folder is None else file_sha256(path, FeatureError)
    _check_shape(where, settings)
    with torch.no_grad():
        _copy(network, settings, read_tensors(path), path)
    return digest


def _check_shape(folder: Path, settings: VLMoSettings) -> None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        seen = {ours: config[theirs] for ours, theirs in _SHAPE.items()}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FeatureError(f"{folder / 'config.json'}: no BERT settings ({error}); give a MiniLM folder") from None
    wanted = {name: getattr(settings, name) for name in _SHAPE}
    if seen != wanted:
        raise FeatureError(f"{folder}: a network of {seen}, expected {wanted}; give a MiniLM-L6 folder")


def _copy(network: VLMoNetwork, settings: VLMoSettings, source: dict[str, Tensor], path: Path) -> None:
    targets = dict(network.named_parameters())

    def take(target: str, value: Tensor) -> None:
        if targets[target].shape != value.shape:
            raise FeatureError(
                f"{path}: {target!r} would take shape {tuple(value.shape)}, expected {tuple(targets[target].shape)}; "
                "give a MiniLM-L6 folder, or settings of its shape"
            )
        targets[target].copy_(value)

    def of(key: str) -> Tensor:
        if key not in source:
            raise FeatureError(f"{path}: no weights for {key!r}; give a MiniLM-L6 folder")
        return source[key].float()

    for name in _EMBEDDINGS:
        take(f"text_embeddings.{name}", of(f"embeddings.{name}"))
    positions = of("embeddings.position_embeddings.weight")[: settings.max_text_length]
    take("text_embeddings.position_embeddings.weight", positions)
    for index in range(settings.depth):
        layer, block = f"encoder.layer.{index}", f"transformer.blocks.{index}"
        maps = [of(f"{layer}.attention.self.{name}.weight") for name in ("query", "key", "value")]
        take(f"{block}.attn.qkv.weight", torch.cat(maps))
        take(f"{block}.attn.q_bias", of(f"{layer}.attention.self.query.bias"))
        take(f"{block}.attn.v_bias", of(f"{layer}.attention.self.value.bias"))
        for kind in ("weight", "bias"):
            take(f"{block}.attn.proj.{kind}", of(f"{layer}.attention.output.dense.{kind}"))
            take(f"{block}.norm1.{kind}", of(f"{layer}.attention.output.LayerNorm.{kind}"))
            for expert in ("text", "imag", "vl") if index >= settings.first_vl else ("text", "imag"):
                take(f"{block}.mlp_{expert}.fc1.{kind}", of(f"{layer}.intermediate.dense.{kind}"))
                take(f"{block}.mlp_{expert}.fc2.{kind}", of(f"{layer}.output.dense.{kind}"))
                take(f"{block}.norm2_{expert}.{kind}", of(f"{layer}.output.LayerNorm.{kind}"))
    words = of("embeddings.word_embeddings.weight")
    take("mlm_score.decoder.weight", words)
    targets["token_type_embeddings.weight"].zero_()
    if isinstance(network.transformer.patch_embed, GridEmbed):
        take("transformer.cls_token", words[_CLASS_TOKEN].view(1, 1, -1))
