"""CLIP weights under the names of Hugging Face's ``CLIPModel`` (huggingface/transformers: modeling_clip.py).

Both libraries build the same network. transformers keeps query, key and value apart, and projections transposed.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lmmrec_core.errors import FeatureError

_TOWERS = {"vision_model.": "visual.", "text_model.": ""}
_PLAIN = {
    "logit_scale": "logit_scale",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    **{
        f"{ours}.{kind}": f"{theirs}.{kind}"
        for ours, theirs in {
            "text_model.final_layer_norm": "ln_final",
            "vision_model.pre_layrnorm": "visual.ln_pre",  # so it is spelt there
            "vision_model.post_layernorm": "visual.ln_post",
        }.items()
        for kind in ("weight", "bias")
    },
}
_TRANSPOSED = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}
_COUNTS = tuple(f"{tower}embeddings.position_ids" for tower in _TOWERS)  # 0, 1, 2, …: older versions stored them
_BLOCK = re.compile(r"(vision_model\.|text_model\.)encoder\.layers\.(\d+)\.(.+)")
_IN_BLOCK = {
    f"{ours}.{kind}": f"{theirs}.{kind}"
    for ours, theirs in {
        "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }.items()
    for kind in ("weight", "bias")
}  # fmt: skip
_APART = ("q_proj", "k_proj", "v_proj")  # in the order in which open_clip joins them


def has_transformers_names(state: Mapping[str, Tensor]) -> bool:
    """Whether a file is of the library transformers, of whatever model."""
    return any(key.startswith(tuple(_TOWERS)) for key in state)


def renamed(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The same weights under open_clip's names, values untouched.

    Raises FeatureError naming the key, and the kind of file to give, for the file of another model, or of one tower.
    """
    found: dict[str, Tensor] = {}
    apart: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        if key in _PLAIN:
            found[_PLAIN[key]] = value
        elif key in _TRANSPOSED:
            found[_TRANSPOSED[key]] = value.T.contiguous()
        elif key in _COUNTS:
            continue
        elif (match := _BLOCK.fullmatch(key)) is None:
            raise _another(path, f"has {key!r}")
        else:
            tower, number, name = match.groups()
            block = f"{_TOWERS[tower]}transformer.resblocks.{number}."
            part, _, kind = name.removeprefix("self_attn.").partition(".")
            if name in _IN_BLOCK:
                found[block + _IN_BLOCK[name]] = value
            elif name.startswith("self_attn.") and part in _APART and kind in ("weight", "bias"):
                apart.setdefault(f"{block}attn.in_proj_{kind}", {})[part] = value
            else:
                raise _another(path, f"has {key!r}")
    for key, parts in apart.items():
        lacking = [part for part in _APART if part not in parts]
        if lacking:
            raise _another(path, f"lacks {lacking[0]} for {key!r}")
        found[key] = torch.cat([parts[part] for part in _APART])
    for key in _TRANSPOSED:
        if key not in state:
            raise _another(path, f"lacks {key!r}")
    return found


def _another(path: Path, what: str) -> FeatureError:
    return FeatureError(
        f"{path}: its names are those of the library transformers, but not of a whole CLIPModel (it {what}); give "
        "model.safetensors of openai/clip-vit-base-patch16 or a like model, or open_clip's own file "
        "(for ViT-B-16: open_clip_model.safetensors of timm/vit_base_patch16_clip_224.openai)"
    )
