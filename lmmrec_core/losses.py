"""Losses and regularisers: pure functions on tensors, shared by the recommenders and the training of encoders.

A base module, because neither of these stages may import the other.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def bpr(positive: Float[Tensor, "batch"], negative: Float[Tensor, "batch"], eps: float = 1e-10) -> Float[Tensor, ""]:
    """``-mean ln(eps + sigmoid(positive - negative))``; MMRec has eps 1e-10, MMGCL 1e-5."""
    return -torch.log(eps + torch.sigmoid(positive - negative)).mean()


def bpr_logsigmoid(positive: Float[Tensor, "batch"], negative: Float[Tensor, "batch"]) -> Float[Tensor, ""]:
    """``-mean logsigmoid(positive - negative)``: the same without a floor, finite for any finite scores."""
    return -functional.logsigmoid(positive - negative).mean()


def reg_norm(*blocks: Tensor) -> Float[Tensor, ""]:
    """Sum of the blocks' Frobenius norms, **not squared**, over the row count of the last block (MMRec)."""
    total: Tensor = _Norm.apply(blocks[0])
    for block in blocks[1:]:
        total = total + _Norm.apply(block)
    return total / blocks[-1].shape[0]


class _Norm(torch.autograd.Function):
    """Frobenius norm whose gradient is one scaled copy of the block (zero for a block of zeros)."""

    @staticmethod
    def forward(ctx: Any, block: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(block)
        ctx.save_for_backward(block, norm)
        return norm

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        block, norm = ctx.saved_tensors
        return block * torch.where(norm > 0, gradients[0] / norm, 0.0)


def reg_squared(*blocks: Tensor, count: int) -> Float[Tensor, ""]:
    """Sum of the blocks' squared Frobenius norms over ``2 count``."""
    total = blocks[0].square().sum()
    for block in blocks[1:]:
        total = total + block.square().sum()
    return total / (2 * count)


def info_nce(
    query: Float[Tensor, "batch dim"], key: Float[Tensor, "batch dim"], temperature: float
) -> Float[Tensor, ""]:
    """In-batch contrast, row direction only: row b of ``key`` is the match of row b of ``query``, the others are not.

    Rows are used as they come; normalise them first if cosines are meant. Equal to ``cross_entropy`` of the logits
    ``query @ key.T / temperature`` with the diagonal as classes, at half the passes over the batch × batch matrix.
    """
    return _InBatch.apply(query / temperature, key)


class _InBatch(torch.autograd.Function):
    """Mean of ``log sum_j exp(q_b . k_j) - q_b . k_b``.

    With P the row softmax, ``dq = (P k - k) / B`` and ``dk = (P' q - q) / B``.
    P is kept as exponentials and row sums; the sums divide the narrow matrices instead.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor) -> Tensor:
        logits = query @ key.T
        match = logits.diagonal().clone()
        top = logits.amax(1, keepdim=True)
        exponentials = logits.sub_(top).exp_()
        total = exponentials.sum(1, keepdim=True)
        ctx.save_for_backward(query, key, exponentials, total)
        return (total.log() + top).squeeze(1).sub_(match).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        query, key, exponentials, total = ctx.saved_tensors
        scale = gradients[0] / len(query)
        to_query = (exponentials @ key).div_(total).sub_(key).mul_(scale) if ctx.needs_input_grad[0] else None
        to_key = (exponentials.T @ (query / total)).sub_(query).mul_(scale) if ctx.needs_input_grad[1] else None
        return to_query, to_key
