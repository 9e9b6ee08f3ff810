"""The block of VLMo: shared attention, then the expert of a modality (Bao et al. 2022, arXiv 2111.02358)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmmrec_core.encoders.vlmo.settings import VLMoSettings

#: Rows; up to so many, on the CPU, all scores and word logits are computed, so that the small encoders keep their bits.
SHORT = 128
ExpertKind = Literal["text", "imag", "vl"]  # as the published weights name the experts


def at_least_fp32(x: Tensor) -> Tensor:
    """Half-precision values as float32; float32 and float64 stay as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth: each row of ``x`` [item, …] is zero with probability ``rate``, else divided by ``1 - rate``.

    In evaluation it is the identity. Like dropout it draws from torch's default generator, so whatever saves and
    restores that generator (activation checkpointing, gradient caching) replays both.
    """
    if not training or rate == 0:
        return x
    kept = torch.rand((len(x), *[1] * (x.ndim - 1)), device=x.device) >= rate
    return x * kept.to(x.dtype) / (1 - rate)


class Attention(nn.Module):
    """Multi-head self-attention with query and value bias, but no key bias.

    A key bias would add one constant to all scores of a query, and the softmax would remove it again.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width, bias=False)  # rows: queries, keys, values
        self.q_bias = nn.Parameter(torch.empty(width))
        self.v_bias = nn.Parameter(torch.empty(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """``x`` and the result: [item, row, width]; ``real`` bool [item, row]: False on padding, unseen by all."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        parts = functional.linear(x, self.qkv.weight, bias).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each [item, head, row, width / heads]
        if x.device.type != "cpu" or x.shape[1] > SHORT:
            found = fused_attention(query, key, value, real, self.scale)
        else:
            found = plain_attention(query, key, value, real, self.scale)
        mixed: Tensor = self.proj(found.transpose(1, 2).flatten(2))
        return mixed


def plain_attention(query: Tensor, key: Tensor, value: Tensor, real: Tensor | None, scale: float) -> Tensor:
    """softmax(scale · Q K') V over [item, head, row, dim], with all scores in memory, in fp32 even under bf16."""
    with torch.autocast(query.device.type, enabled=False):
        scores = (at_least_fp32(query) * scale) @ at_least_fp32(key).transpose(-2, -1)
        if real is not None:
            scores = scores.masked_fill(~real[:, None, None, :], float("-inf"))
        weights = scores.softmax(dim=-1).to(value.dtype)
    return weights @ value


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, real: Tensor | None, scale: float, multiple: int | None = None
) -> Tensor:
    """The same to rounding, by kernels that compute scores block by block, in fp32, and never keep them all.

    ``multiple``: ``dim`` is filled up with zeros to a multiple of it, which changes no score. On a GPU, the default
    there, it is 8: VLMo Base Plus has 34, and for that there would be no such kernel.
    """
    dim = query.shape[-1]
    short = -dim % (multiple or (8 if query.is_cuda else 1))
    if short:
        query, key, value = (functional.pad(part, (0, short)) for part in (query, key, value))
    mask = None if real is None else real[:, None, None, :]
    return functional.scaled_dot_product_attention(query, key, value, mask, scale=scale)[..., :dim]


class Expert(nn.Module):
    """Two linear maps with the exact (erf) GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Attention over all rows, then one expert per modality.

    Each of the two, called f, is applied as ``x + DP(f(norm(x)))`` in the pre-norm form and ``norm(x + DP(f(x)))`` in
    the post-norm form, where DP is :func:`drop_path`.
    """

    def __init__(self, settings: VLMoSettings, index: int) -> None:
        super().__init__()
        width, hidden = settings.width, settings.width * settings.mlp_ratio
        self.pre_norm = settings.norm == "pre"
        self.drop_rate = settings.drop_rates[index]
        self.has_vl = index >= settings.first_vl
        self.norm1 = nn.LayerNorm(width, settings.eps)
        self.attn = Attention(width, settings.heads)
        for kind in ("text", "imag", "vl") if self.has_vl else ("text", "imag"):
            self.add_module(f"norm2_{kind}", nn.LayerNorm(width, settings.eps))
            self.add_module(f"mlp_{kind}", Expert(width, hidden))

    def forward(self, x: Tensor, kind: ExpertKind, real: Tensor | None, text_length: int = 0) -> Tensor:
        """``x`` [item, row, width] through attention and the expert ``kind``.

        For kind "vl" a block without a vision-language expert sends the first ``text_length`` rows through the text
        expert and the others through the image expert.
        """
        x = self._add(x, lambda rows: self.attn(rows, real), self.norm1)
        if kind == "vl" and not self.has_vl:
            text, image = x[:, :text_length], x[:, text_length:]
            return torch.cat([self._expert(text, "text"), self._expert(image, "imag")], dim=1)
        return self._expert(x, kind)

    def _expert(self, x: Tensor, kind: ExpertKind) -> Tensor:
        return self._add(x, self.get_submodule(f"mlp_{kind}"), self.get_submodule(f"norm2_{kind}"))

    def _add(self, x: Tensor, branch: Callable[[Tensor], Tensor], norm: Callable[[Tensor], Tensor]) -> Tensor:
        if self.pre_norm:
            return x + drop_path(branch(norm(x)), self.drop_rate, self.training)
        return norm(x + drop_path(branch(x), self.drop_rate, self.training))
