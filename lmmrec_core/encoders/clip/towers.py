"""Inside open_clip's towers: vectors before the projections, means over tokens, names of parts.

Four kinds of tower are known: for pictures open_clip's vision transformer and timm trunks, for texts open_clip's text
transformer (inside the model or as a tower of its own) and Hugging Face models. Others give joint vectors only.
open_clip's classes are not typed, hence ``Any`` for a model here.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.model import CLIP as PlainCLIP
from open_clip.timm_model import TimmModel
from open_clip.transformer import TextTransformer, VisionTransformer
from torch import Tensor, nn

from lmmrec_core.encoders.clip.settings import CLIPVector
from lmmrec_core.encoders.lora import low_rank_names
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import Modality

_SCALES = ("logit_scale", "logit_bias")


def text_tower(module: nn.Module) -> Any:
    """The module that holds the text transformer: the model itself in CLIP's original layout, else its ``text``."""
    return module if isinstance(module, PlainCLIP) else module.text


def image_vector(module: Any, pixels: Tensor, vector: CLIPVector) -> Tensor:
    """[item, 3, size, size] → [item, dim].

    ``joint``: the projected vector, not normalised. ``pre``: the vector before the projection. ``tokens_mean``: the
    mean over patch rows after the final norm. The model must have passed :func:`check_vector`.
    """
    visual = module.visual
    if vector == "joint":
        joint: Tensor = module.encode_image(pixels)
        return joint
    if isinstance(visual, TimmModel):
        trunk: Tensor = visual.trunk(pixels)
        return trunk
    return finished_image(module, visual.transformer(visual._embeds(pixels)), vector)


def finished_image(module: Any, states: Tensor, vector: CLIPVector) -> Tensor:
    """What the last block of open_clip's vision transformer gives [item, row, width] → the vectors [item, dim]."""
    pooled, tokens = module.visual._pool(states)
    if vector == "tokens_mean":
        mean: Tensor = tokens.mean(dim=1)
        return mean
    return pooled if vector == "pre" else _project(pooled, module.visual.proj)


def text_vector(module: Any, tokens: Mapping[str, Tensor], vector: CLIPVector) -> Tensor:
    """``input_ids`` [item, length] → [item, dim], with the vectors of :func:`image_vector`.

    ``tokens_mean`` is the mean over real tokens, in a causal tower without the start token, which sees no other token.
    """
    ids, tower = tokens["input_ids"], text_tower(module)
    if isinstance(tower, HFTextEncoder):
        mask = tokens.get("attention_mask", (ids != tower.config.pad_token_id).long())
        out = tower.transformer(input_ids=ids, attention_mask=mask)
        if vector == "tokens_mean":
            return _mean(out.last_hidden_state, mask.bool())
        pooled: Tensor = tower.pooler(out, mask)
        return tower.proj(pooled) if vector == "joint" else pooled
    if not cuts_padding(module):
        joint: Tensor = module.encode_text(ids)
        return joint
    length = ids.shape[1]
    states = tower.token_embedding(ids) + tower.positional_embedding[:length]
    states = tower.transformer(states, attn_mask=tower.attn_mask[:length, :length])
    return finished_text(module, states, ids.argmax(dim=1), vector)


def finished_text(module: Any, states: Tensor, end: Tensor, vector: CLIPVector) -> Tensor:
    """What the last block of a causal text tower gives [item, row, width] → the vectors [item, dim].

    ``end``: the row of the end token [item].
    """
    tower = text_tower(module)
    states = tower.ln_final(states)
    if vector == "tokens_mean":
        place = torch.arange(states.shape[1], device=states.device)
        return _mean(states, (place > 0) & (place <= end[:, None]))
    pooled = states[torch.arange(len(states), device=states.device), end]
    return pooled if vector == "pre" else _project(pooled, tower.text_projection)


def through_head(module: Any, modality: Modality, pooled: Tensor) -> Tensor:
    """The vector before a tower's projection [item, width] → the joint vector [item, dim]."""
    if modality == "visual":
        visual = module.visual
        head = visual.head if isinstance(visual, TimmModel) else visual.proj
    else:
        tower = text_tower(module)
        head = tower.proj if isinstance(tower, HFTextEncoder) else tower.text_projection
    return _project(pooled, head)


def _mean(states: Tensor, real: Tensor) -> Tensor:
    weights = real.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def _project(pooled: Tensor, projection: nn.Module | Tensor | None) -> Tensor:
    if projection is None:
        return pooled
    projected: Tensor = projection(pooled) if isinstance(projection, nn.Module) else pooled @ projection
    return projected


def cuts_padding(module: nn.Module) -> bool:
    """Whether rows may be cut to the longest text: true if the end token, which is pooled, sees nothing after it."""
    tower = text_tower(module)
    if isinstance(tower, PlainCLIP):
        return tower.text_pool_type == "argmax" and tower.attn_mask is not None
    if isinstance(tower, TextTransformer):
        return tower.pool_type == "argmax" and tower.attn_mask is not None and tower.cls_emb is None
    return False


def check_vector(module: Any, vector: CLIPVector) -> None:
    """Raises ConfigError if the vector is not known for one of the towers."""
    if vector == "joint":
        return
    visual, text = module.visual, text_tower(module)
    plain = isinstance(visual, VisionTransformer) and visual.attn_pool is None
    if not (plain or (isinstance(visual, TimmModel) and vector == "pre")):
        raise ConfigError(f"a {type(visual).__name__} picture tower has no {vector!r} vectors here; use vector: joint")
    if not (isinstance(text, HFTextEncoder) or cuts_padding(module)):
        raise ConfigError(f"a {type(text).__name__} text tower has no {vector!r} vectors here; use vector: joint")


def vector_dim(module: Any, modality: Modality, vector: CLIPVector, embed_dim: int) -> int:
    """Length of the vectors of :func:`image_vector` or :func:`text_vector`; ``embed_dim`` is the joint space's."""
    if vector == "joint":
        return embed_dim
    if modality == "visual":
        visual = module.visual
        return int(visual.trunk.num_features if isinstance(visual, TimmModel) else visual.ln_post.normalized_shape[0])
    tower = text_tower(module)
    return int(tower.config.hidden_size if isinstance(tower, HFTextEncoder) else tower.ln_final.normalized_shape[0])


def clip_part_names(module: nn.Module, part: str) -> frozenset[str]:
    """Names of the parameters in a part: "all", "heads", "top-K", or "lora" after ``lora.add_lora``.

    "heads" are the maps after the towers (655,360 weights in ViT-B/16) and the logit scale. "top-K" adds everything
    from the K-th last block of each tower on; the blocks of a timm trunk are its stages. Raises ConfigError for an
    unknown part, or more blocks than a tower has.
    """
    names = [name for name, _ in module.named_parameters()]
    if part == "all":
        return frozenset(names)
    if part == "lora":
        return low_rank_names(module)
    heads = frozenset(name for name in names if _is_head(name))
    if part == "heads":
        return heads
    top = re.fullmatch(r"top-([1-9]\d*)", part)
    if not top:
        raise ConfigError(f"unknown part {part!r} of an encoder; known: all, heads, top-1, top-2, …, lora")
    return heads | _top(module, names, "visual.", int(top[1])) | _top(module, names, "", int(top[1]))


def _is_head(name: str) -> bool:
    return name in ("visual.proj", *_SCALES) or name.startswith(
        ("visual.head.", "visual.attnpool.", "text_projection", "text.text_projection", "text.proj.")
    )


def _top(module: nn.Module, names: list[str], side: str, k: int) -> frozenset[str]:
    """Names from the k-th last block of one tower on, in the order in which the tower defines them."""
    prefix = _blocks(module, visual=side == "visual.")
    tower = prefix.split(".")[0] + "." if prefix.startswith(("visual.", "text.")) else ""
    own = [n for n in names if n.startswith(tower)] if tower else [n for n in names if not n.startswith("visual.")]
    count = 1 + max(int(name.removeprefix(prefix).split(".")[0]) for name in own if name.startswith(prefix))
    if k > count:
        raise ConfigError(f"part 'top-{k}': the tower {prefix!r} has {count} blocks; give at most top-{count}")
    start = next(place for place, name in enumerate(own) if name.startswith(f"{prefix}{count - k}."))
    return frozenset(name for name in own[start:] if "token_embedding" not in name and name not in _SCALES)


def _blocks(module: Any, visual: bool) -> str:
    """What precedes the number of a block in a parameter's name, for instance ``visual.transformer.resblocks.``."""
    tower: Any = module.visual if visual else text_tower(module)
    if isinstance(tower, TimmModel):
        for name in ("blocks", "stages", "layers"):
            if isinstance(getattr(tower.trunk, name, None), nn.Sequential | nn.ModuleList):
                return f"visual.trunk.{name}."
    elif isinstance(tower, HFTextEncoder):
        for name, child in tower.transformer.named_modules():
            if isinstance(child, nn.ModuleList):
                return f"text.transformer.{name}."
    elif isinstance(tower, VisionTransformer):
        return "visual.transformer.resblocks."
    elif isinstance(tower, PlainCLIP):
        return "transformer.resblocks."
    elif isinstance(tower, TextTransformer):
        return "text.transformer.resblocks."
    raise ConfigError(f"part 'top-K': the blocks of a {type(tower).__name__} are not known; use all or heads")
