"""Item-item graphs from features: nearest neighbours by cosine, kept sparse.

A graph over n items is a table of ``columns`` [item, k] and ``weights`` [item, k]: entry (a, j) links item a to item
``columns[a, j]``; a column that occurs twice in a row counts with the sum of its weights. No n x n matrix is kept.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from lmmrec_core.errors import TrainingError
from lmmrec_core.recommenders.layers import SparseRows

_BLOCK_ENTRIES = 2**24  # similarities held at once: 64 MB


def nearest_columns(rows: Float[Tensor, "item dim"], k: int) -> Int[Tensor, "item k"]:
    """Columns of the ``k`` largest dot products of each row with all rows (itself among them), block by block.

    Give rows of unit length for cosines. No gradient: that of a top-k selection flows through the kept values only.
    """
    rows = rows.detach()
    k, block = min(k, len(rows)), max(1, _BLOCK_ENTRIES // len(rows))
    return torch.cat([(part @ rows.T).topk(k, dim=1).indices for part in rows.split(block)])


def kept_cosines(rows: Float[Tensor, "item dim"], columns: Int[Tensor, "item k"]) -> Float[Tensor, "item k"]:
    """Dot products of each row with the rows in its ``columns``, differentiable.

    Without gradient block by block: k times the features of a large catalogue are more than most machines have.
    """
    if rows.requires_grad and torch.is_grad_enabled():
        return torch.bmm(functional.embedding(columns, rows), rows[:, :, None]).squeeze(2)
    block = max(1, _BLOCK_ENTRIES // max(1, columns.shape[1] * rows.shape[1]))
    parts = zip(columns.split(block), rows.split(block), strict=True)
    return torch.cat([torch.bmm(functional.embedding(near, rows), part[:, :, None]).squeeze(2) for near, part in parts])


def laplacian(columns: Int[Tensor, "item k"], weights: Float[Tensor, "item k"], what: str) -> Float[Tensor, "item k"]:
    """``r_a^(-1/2) K_ab r_b^(-1/2)`` with r the row sums of K; rows that sum to zero become zero, never NaN.

    A row sums to zero when the item's features are all zero: it then has no links. Raises TrainingError naming the
    item when a row sum is negative; the released code would go on with NaN.
    """
    total = weights.sum(1)
    if bool((total < 0).any()):
        item = int((total < 0).nonzero()[0])
        found = float(total[item].detach())
        raise TrainingError(
            f"{what}: the kept similarities of item {{item}} sum to {found:.3g}, so the graph cannot be "
            "normalised; set clip_negatives=true or a smaller k",
            item=item,
        )
    positive = total > 0
    scale = torch.where(positive, total, 1.0).rsqrt() * positive
    return weights * scale[:, None] * scale[columns]


class ItemGraph:
    """The operator ``x → G x`` [item, dim]; differentiable in x and, until it is fixed, in the weights."""

    def __init__(self, columns: Int[Tensor, "item k"], weights: Float[Tensor, "item k"]) -> None:
        self.columns, self.weights = columns, weights
        self.transposed: SparseRows | None = None

    def fixed(self) -> "ItemGraph":
        """The same graph without gradient to its weights, with its transpose at hand for fast backward passes."""
        graph = ItemGraph(self.columns, self.weights.detach())
        n_items, k = self.columns.shape
        row = torch.arange(n_items, device=self.columns.device).repeat_interleave(k)
        graph.transposed = SparseRows(self.columns.flatten(), row, graph.weights.flatten(), (n_items, n_items))
        return graph

    def times(self, dense: Float[Tensor, "item dim"]) -> Float[Tensor, "item dim"]:
        """``G dense``."""
        if self.transposed is not None:
            return _Fixed.apply(dense, self)
        return functional.embedding_bag(self.columns, dense, mode="sum", per_sample_weights=self.weights)


class _Fixed(torch.autograd.Function):
    """``G x`` whose gradient is the product with the stored transpose."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, graph: ItemGraph) -> Tensor:
        ctx.transposed = graph.transposed
        return functional.embedding_bag(graph.columns, dense, mode="sum", per_sample_weights=graph.weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.transposed.times(gradients[0].contiguous()), None
