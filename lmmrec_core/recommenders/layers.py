"""Propagation over fixed sparse matrices, initial values, and row operations shared by the recommenders.

A sparse matrix is kept row by row (CSR) and multiplied as a weighted bag of rows, which on a CPU is several times
faster than the general sparse product and than gathering and scattering edges (``benchmarks/propagation.json``). Its
transpose is kept beside it, so that the gradient of a product is again a product. All of this equals the dense form up
to summation order (tested).
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lmmrec_core.process import host_waits

_Made = TypeVar("_Made")
_LEAST_NORM = 1e-12


class SparseRows(nn.Module):
    """A constant sparse matrix [row, column] in CSR form; its tensors move with the model but are not saved."""

    indptr: Tensor
    columns: Tensor
    weights: Tensor

    def __init__(
        self,
        rows: Int[Tensor, "edge"],
        columns: Int[Tensor, "edge"],
        weights: Float[Tensor, "edge"],
        shape: tuple[int, int],
    ) -> None:
        super().__init__()
        self.shape = shape
        order = torch.argsort(rows * shape[1] + columns)
        indptr = torch.zeros(shape[0] + 1, dtype=torch.int64, device=rows.device)
        indptr[1:] = torch.cumsum(torch.bincount(rows, minlength=shape[0]), 0)
        self.register_buffer("indptr", indptr.to(torch.int32), persistent=False)
        self.register_buffer("columns", columns[order].to(torch.int32), persistent=False)
        self.register_buffer("weights", weights[order], persistent=False)

    @classmethod
    def in_order(
        cls,
        indptr: Int[Tensor, "start"],
        columns: Int[Tensor, "edge"],
        weights: Float[Tensor, "edge"],
        shape: tuple[int, int],
    ) -> "SparseRows":
        """From int32 tensors that are in CSR form already, without sorting."""
        matrix = cls.__new__(cls)
        nn.Module.__init__(matrix)
        matrix.shape = shape
        for name, values in (("indptr", indptr), ("columns", columns), ("weights", weights)):
            matrix.register_buffer(name, values, persistent=False)
        return matrix

    def times(self, dense: Float[Tensor, "column dim"]) -> Float[Tensor, "row dim"]:
        """Matrix times ``dense``, without gradient bookkeeping of its own."""
        if not len(self.columns):
            return dense.new_zeros(self.shape[0], dense.shape[1])
        return functional.embedding_bag(
            self.columns, dense, self.indptr, mode="sum", per_sample_weights=self.weights, include_last_offset=True
        )


class _Product(torch.autograd.Function):
    """``matrix @ dense`` with the gradient ``transposed @ gradient``."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: SparseRows, transposed: SparseRows) -> Tensor:
        ctx.transposed = transposed
        return matrix.times(dense)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transposed.times(gradients[0].contiguous()), None, None


def sparse_product(
    matrix: SparseRows, transposed: SparseRows, dense: Float[Tensor, "column dim"]
) -> Float[Tensor, "row dim"]:
    """``matrix @ dense``, differentiable in ``dense``."""
    return _Product.apply(dense, matrix, transposed)


class BipartiteGraph(nn.Module):
    """A linear operator G on stacked nodes [users; items] whose only links join users and items.

    ``G = [[diag(self_user), user_rows], [item_rows, diag(self_item)]]``; built by the three class methods, which
    name their operators. Nodes without a link are isolated, never NaN.
    """

    self_user: Tensor | None
    self_item: Tensor | None

    def __init__(
        self,
        user: Int[Tensor, "edge"],
        item: Int[Tensor, "edge"],
        n_users: int,
        n_items: int,
        to_user: Float[Tensor, "edge"],
        to_item: Float[Tensor, "edge"] | None = None,
        self_user: Float[Tensor, "user"] | None = None,
        self_item: Float[Tensor, "item"] | None = None,
    ) -> None:
        """``to_user`` and ``to_item`` weigh the edges item → user and user → item; one is enough when equal."""
        super().__init__()
        self.n_users, self.n_items = n_users, n_items
        self.user_rows = SparseRows(user, item, to_user, (n_users, n_items))
        self.user_rows_t = SparseRows(item, user, to_user, (n_items, n_users))
        if to_item is None:  # symmetric: the transposes are the blocks themselves
            self.item_rows, self.item_rows_t = self.user_rows_t, self.user_rows
        else:
            self.item_rows = SparseRows(item, user, to_item, (n_items, n_users))
            self.item_rows_t = SparseRows(user, item, to_item, (n_users, n_items))
        self.register_buffer("self_user", None if self_user is None else self_user[:, None], persistent=False)
        self.register_buffer("self_item", None if self_item is None else self_item[:, None], persistent=False)

    @classmethod
    def symmetric(
        cls, user: Int[Tensor, "edge"], item: Int[Tensor, "edge"], n_users: int, n_items: int
    ) -> "BipartiteGraph":
        """SYM: ``D^(-1/2) A D^(-1/2)`` (LightGCN, MMGCL, SLMRec, FREEDOM, BM3)."""
        weight = _degrees(user, n_users)[user].rsqrt() * _degrees(item, n_items)[item].rsqrt()
        return cls(user, item, n_users, n_items, weight)

    @classmethod
    def of_rows(cls, user_rows: SparseRows, item_rows: SparseRows) -> "BipartiteGraph":
        """From its two blocks without self loops, each the transpose of the other."""
        graph = cls.__new__(cls)
        nn.Module.__init__(graph)
        graph.n_users, graph.n_items = user_rows.shape
        graph.user_rows, graph.item_rows = graph.item_rows_t, graph.user_rows_t = user_rows, item_rows
        graph.self_user = graph.self_item = None
        return graph

    @classmethod
    def random_walk(
        cls, user: Int[Tensor, "edge"], item: Int[Tensor, "edge"], n_users: int, n_items: int
    ) -> "BipartiteGraph":
        """RWSELF: ``(D + Id)^(-1) (A + Id)``, rows sum to 1 (LATTICE)."""
        of_user, of_item = 1 / (_degrees(user, n_users) + 1), 1 / (_degrees(item, n_items) + 1)
        return cls(user, item, n_users, n_items, of_user[user], of_item[item], of_user, of_item)

    @classmethod
    def mean(cls, user: Int[Tensor, "edge"], item: Int[Tensor, "edge"], n_users: int, n_items: int) -> "BipartiteGraph":
        """MEAN: ``D^(-1) A``; rows without a neighbour are zero (MMGCN)."""
        of_user, of_item = 1 / _degrees(user, n_users)[user], 1 / _degrees(item, n_items)[item]
        return cls(user, item, n_users, n_items, of_user, of_item)

    def propagate(
        self, users: Float[Tensor, "user dim"], items: Float[Tensor, "item dim"]
    ) -> tuple[Float[Tensor, "user dim"], Float[Tensor, "item dim"]]:
        """``G [users; items]``, split again; differentiable in both."""
        return _Propagation.apply(users, items, self, 1, False)

    def average(
        self, users: Float[Tensor, "user dim"], items: Float[Tensor, "item dim"], layers: int
    ) -> tuple[Float[Tensor, "user dim"], Float[Tensor, "item dim"]]:
        """LGC: the mean of ``G^l [users; items]`` over l = 0 … ``layers``, split again; differentiable in both."""
        return _Propagation.apply(users, items, self, layers, True)

    def step(self, users: Tensor, items: Tensor, transposed: bool = False) -> tuple[Tensor, Tensor]:
        """One product with G, or with its transpose, without gradient bookkeeping."""
        to_user = self.item_rows_t if transposed else self.user_rows
        to_item = self.user_rows_t if transposed else self.item_rows
        new_users, new_items = to_user.times(items), to_item.times(users)
        if self.self_user is not None and self.self_item is not None:
            new_users.addcmul_(users, self.self_user)
            new_items.addcmul_(items, self.self_item)
        return new_users, new_items


class _Propagation(torch.autograd.Function):
    """``G^L x`` or the layer mean; the gradient is the same polynomial of the transpose of G."""

    @staticmethod
    def forward(
        ctx: Any, users: Tensor, items: Tensor, graph: BipartiteGraph, layers: int, mean: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.graph, ctx.layers, ctx.mean = graph, layers, mean
        return _polynomial(graph, users, items, layers, mean, transposed=False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        of_users, of_items = (gradient.contiguous() for gradient in gradients)
        users, items = _polynomial(ctx.graph, of_users, of_items, ctx.layers, ctx.mean, transposed=True)
        return users, items, None, None, None


def _polynomial(
    graph: BipartiteGraph, users: Tensor, items: Tensor, layers: int, mean: bool, transposed: bool
) -> tuple[Tensor, Tensor]:
    new_users, new_items = users, items
    for _ in range(layers):
        new_users, new_items = graph.step(new_users, new_items, transposed)
        if mean:  # Horner: x + G (x + G (x + ...))
            new_users.add_(users)
            new_items.add_(items)
    if not layers:
        return users.clone(), items.clone()
    return (new_users.div_(layers + 1), new_items.div_(layers + 1)) if mean else (new_users, new_items)


def _degrees(index: Int[Tensor, "edge"], size: int) -> Float[Tensor, "node"]:
    return torch.bincount(index, minlength=size).float()


class Kept(Generic[_Made]):
    """A result kept while the tensors it was made of stay as they are; with gradient, made anew at every call."""

    def __init__(self) -> None:
        self._made_of: tuple[tuple[Tensor, int], ...] = ()
        self._result: _Made | None = None

    def get(self, sources: Sequence[Tensor], make: Callable[[], _Made]) -> _Made:
        """``make()``, or its last result if ``sources`` are the same tensors and were not written to since."""
        if any(source.requires_grad for source in sources):
            return make()
        made_of = tuple((source, source._version) for source in sources)
        if (
            self._result is None
            or len(made_of) != len(self._made_of)
            or any(
                now is not then or version != old
                for (now, version), (then, old) in zip(made_of, self._made_of, strict=True)
            )
        ):
            self._made_of, self._result = made_of, make()
        return self._result


def distinct_numbers(numbers: Int[Tensor, "batch"]) -> tuple[Int[Tensor, "some"], Int[Tensor, "batch"]]:
    """The distinct numbers, ascending, and the place of each number among them; where the host would wait, all of them.

    To map each once is cheaper on a CPU.
    """
    if host_waits(numbers.device):
        return numbers, torch.arange(len(numbers), device=numbers.device)
    values, place = torch.unique(numbers, return_inverse=True)
    return values, place


def rows_normalised(rows: Float[Tensor, "row dim"]) -> Float[Tensor, "row dim"]:
    """Each row over ``max(its L2 norm, 1e-12)``: an all-zero row stays zero."""
    return functional.normalize(rows, dim=-1, eps=_LEAST_NORM)


def features_normalised(rows: Float[Tensor, "row dim"]) -> Float[Tensor, "row dim"]:
    """:func:`rows_normalised` for features, which may have any scale that float32 holds.

    A row whose norm overflows or stays below 1e-12 is first divided by its largest magnitude; all others, and all-zero
    rows, are left as they are.
    """
    norm = torch.linalg.vector_norm(rows.detach(), dim=-1, keepdim=True)
    extreme = ~(norm.isfinite() & (norm >= _LEAST_NORM))
    if host_waits(rows.device) or bool(extreme.any()):  # dividing the others by 1 leaves them as they are
        largest = rows.detach().abs().amax(dim=-1, keepdim=True)
        rows = rows / largest.where(extreme & (largest > 0), 1)
    return rows_normalised(rows)


def pair_scores(left: Float[Tensor, "batch dim"], right: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch"]:
    """Dot product row by row."""
    return (left * right).sum(-1)


def table(rows: int, dim: int, generator: torch.Generator, values: str = "xavier_uniform") -> nn.Parameter:
    """An embedding table [rows, dim]: "xavier_uniform", "xavier_normal" or "normal" (std 0.1)."""
    weight = torch.empty(rows, dim)
    if values == "normal":
        nn.init.normal_(weight, std=0.1, generator=generator)
    elif values == "xavier_normal":
        nn.init.xavier_normal_(weight, generator=generator)
    else:
        nn.init.xavier_uniform_(weight, generator=generator)
    return nn.Parameter(weight)


def linear(
    inputs: int, outputs: int, generator: torch.Generator, values: str = "default", zero_bias: bool = False
) -> nn.Linear:
    """A linear map; weight "default", "xavier_uniform" or "xavier_normal", bias default or zero."""
    layer = torch.nn.utils.skip_init(nn.Linear, inputs, outputs)
    bound = inputs**-0.5
    with torch.no_grad():
        if values == "default":
            layer.weight.uniform_(-bound, bound, generator=generator)
        elif values == "xavier_normal":
            nn.init.xavier_normal_(layer.weight, generator=generator)
        else:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        if zero_bias:
            layer.bias.zero_()
        else:
            layer.bias.uniform_(-bound, bound, generator=generator)
    return layer
