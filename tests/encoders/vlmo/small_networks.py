"""Small VLMo networks and inputs for tests, and forms of the equations that share no code with the package."""

import copy

import torch
from torch import Tensor

from lmmrec_core.encoders.vlmo.encoder import VLMo
from lmmrec_core.encoders.vlmo.initial import build_network
from lmmrec_core.encoders.vlmo.model import VLMoNetwork
from lmmrec_core.encoders.vlmo.settings import VLMoSettings


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def loud(settings: VLMoSettings, seed: int = 0) -> VLMoNetwork:
    """A network in float64 whose every weight (norms and biases too) is far from its initial value."""
    network = build_network(settings, generator(seed)).double()
    stream = generator(seed + 1000)
    with torch.no_grad():
        for value in network.parameters():
            value += 0.15 * torch.randn(value.shape, generator=stream, dtype=value.dtype)
    return network


def with_vector(encoder: VLMo, vector: str) -> VLMo:
    """The same weights, shared and not copied, with another vector as the feature."""
    other = copy.copy(encoder)
    other.settings = encoder.settings.model_copy(update={"vector": vector})
    return other


def tiny(**changes) -> VLMoSettings:
    sizes = {"width": 24, "depth": 5, "heads": 3, "first_vl": 3, "max_text_length": 12, "vocabulary": 40}
    return VLMoSettings.tiny(**{**sizes, **changes})


def inputs(settings: VLMoSettings, pairs: int = 3, length: int = 9, seed: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, ids and mask; the second text is four tokens shorter."""
    stream = generator(seed)
    pixels = torch.randn(pairs, 3, settings.image_size, settings.image_size, generator=stream, dtype=torch.float64)
    ids = torch.randint(5, settings.vocabulary, (pairs, length), generator=stream)
    real = torch.ones_like(ids, dtype=torch.bool)
    real[1, length - 4 :] = False
    return pixels, ids.masked_fill(~real, 0), real


def naive_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    mean = x.sum(-1, keepdim=True) / x.shape[-1]
    variance = ((x - mean) ** 2).sum(-1, keepdim=True) / x.shape[-1]
    return (x - mean) / (variance + eps) ** 0.5 * weight + bias


def naive_attention(x: Tensor, state: dict[str, Tensor], prefix: str, heads: int, real: Tensor) -> Tensor:
    """One head and one item at a time; masked keys are left out of the sum rather than given a low score."""
    width = x.shape[-1]
    size = width // heads
    query_map, key_map, value_map = (state[f"{prefix}.qkv.weight"][i * width : (i + 1) * width] for i in range(3))
    out = torch.zeros_like(x)
    for item in range(len(x)):
        rows, keys = x[item], x[item][real[item]]
        query = torch.einsum("od,rd->ro", query_map, rows) + state[f"{prefix}.q_bias"]
        key = torch.einsum("od,rd->ro", key_map, keys)
        value = torch.einsum("od,rd->ro", value_map, keys) + state[f"{prefix}.v_bias"]
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = torch.einsum("rd,kd->rk", query[:, part], key[:, part]) / size**0.5
            weights = scores.exp() / scores.exp().sum(1, keepdim=True)
            out[item, :, part] = torch.einsum("rk,kd->rd", weights, value[:, part])
    return torch.einsum("od,nrd->nro", state[f"{prefix}.proj.weight"], out) + state[f"{prefix}.proj.bias"]


def naive_expert(x: Tensor, state: dict[str, Tensor], prefix: str) -> Tensor:
    hidden = torch.einsum("od,nrd->nro", state[f"{prefix}.fc1.weight"], x) + state[f"{prefix}.fc1.bias"]
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    return torch.einsum("od,nrd->nro", state[f"{prefix}.fc2.weight"], hidden) + state[f"{prefix}.fc2.bias"]


def naive_block(
    x: Tensor, state: dict[str, Tensor], index: int, settings: VLMoSettings, kinds: list[str], real: Tensor
) -> Tensor:
    """``kinds`` names the expert of every row."""
    block = f"transformer.blocks.{index}"

    def norm(rows: Tensor, name: str) -> Tensor:
        return naive_norm(rows, state[f"{block}.{name}.weight"], state[f"{block}.{name}.bias"], settings.eps)

    if settings.norm == "pre":
        x = x + naive_attention(norm(x, "norm1"), state, f"{block}.attn", settings.heads, real)
    else:
        x = norm(x + naive_attention(x, state, f"{block}.attn", settings.heads, real), "norm1")
    rows = []
    for row, kind in enumerate(kinds):
        one = x[:, row : row + 1]
        if settings.norm == "pre":
            rows.append(one + naive_expert(norm(one, f"norm2_{kind}"), state, f"{block}.mlp_{kind}"))
        else:
            rows.append(norm(one + naive_expert(one, state, f"{block}.mlp_{kind}"), f"norm2_{kind}"))
    return torch.cat(rows, dim=1)


def naive_text(ids: Tensor, state: dict[str, Tensor]) -> Tensor:
    words = state["text_embeddings.word_embeddings.weight"][ids]
    places = state["text_embeddings.position_embeddings.weight"][: ids.shape[1]]
    summed = words + places + state["text_embeddings.token_type_embeddings.weight"][0]
    weight, bias = (state[f"text_embeddings.LayerNorm.{name}"] for name in ("weight", "bias"))
    return naive_norm(summed, weight, bias, 1e-12) + state["token_type_embeddings.weight"][0]


def naive_image(pixels: Tensor, state: dict[str, Tensor], patch: int) -> Tensor:
    weight, bias = (state[f"transformer.patch_embed.proj.{name}"] for name in ("weight", "bias"))
    side = pixels.shape[-1] // patch
    rows = [state["transformer.cls_token"][0, 0].expand(len(pixels), -1)]
    for top in range(side):
        for left in range(side):
            cell = pixels[:, :, top * patch : (top + 1) * patch, left * patch : (left + 1) * patch]
            rows.append(torch.einsum("nchw,ochw->no", cell, weight) + bias)
    return torch.stack(rows, dim=1) + state["transformer.pos_embed"] + state["token_type_embeddings.weight"][1]


def naive_final(x: Tensor, state: dict[str, Tensor], settings: VLMoSettings) -> Tensor:
    if settings.norm == "post":
        return x
    return naive_norm(x, state["transformer.norm.weight"], state["transformer.norm.bias"], settings.eps)
