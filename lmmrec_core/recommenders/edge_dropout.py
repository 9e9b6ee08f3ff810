"""Random subsets of a graph's edges, drawn and normalised on the graph's device, without sorting again.

MMGCL needs one for every batch.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from lmmrec_core.process import host_waits
from lmmrec_core.recommenders.layers import BipartiteGraph, SparseRows


class EdgeSubsets(nn.Module):
    """Graphs made of some edges of ``graph``, which must be ``BipartiteGraph.symmetric``.

    ``user`` and ``item`` int32 [edge] name the edges in the order of the masks: by user, then by item. Both orders of
    the edges, by user and by item, are kept, so that a subset needs running sums only.
    """

    user: Tensor
    item: Tensor
    by_item: Tensor

    def __init__(self, graph: BipartiteGraph) -> None:
        super().__init__()
        self.graph = graph
        starts, item = graph.user_rows.indptr, graph.user_rows.columns
        numbers = torch.arange(graph.n_users, dtype=torch.int32, device=item.device)
        self.register_buffer("user", numbers.repeat_interleave(starts.diff()), persistent=False)
        self.register_buffer("item", item, persistent=False)
        self.register_buffer("by_item", torch.argsort(item, stable=True), persistent=False)

    def subgraph(self, kept: Bool[Tensor, "edge"], count: int | None = None) -> BipartiteGraph:
        """SYM of the kept edges alone: degrees are counted anew, nodes that lost all edges are isolated.

        ``count``: how many they are, if that is known, so that a host need not wait for a GPU to count them.
        """
        whole = self.graph.user_rows, self.graph.item_rows
        kept_by_item = kept.index_select(0, self.by_item)
        user_starts, item_starts = _starts(whole[0].indptr, kept), _starts(whole[1].indptr, kept_by_item)
        of_user, of_item = (
            starts.diff().to(rows.weights.dtype).rsqrt()
            for starts, rows in zip((user_starts, item_starts), whole, strict=True)
        )
        weights = of_user.index_select(0, self.user) * of_item.index_select(0, self.item)  # read at kept edges only
        first = _places(kept, count)
        second = self.by_item.index_select(0, _places(kept_by_item, count))
        users, items = (
            SparseRows.in_order(starts, columns.index_select(0, order), weights.index_select(0, order), rows.shape)
            for starts, columns, order, rows in (
                (user_starts, self.item, first, whole[0]),
                (item_starts, self.user, second, whole[1]),
            )
        )
        return BipartiteGraph.of_rows(users, items)

    def drop(self, rate: float, generator: torch.Generator) -> BipartiteGraph:
        """The graph without a share ``rate`` of its edges, all subsets of ``kept_count`` edges equally likely."""
        edges, device = len(self.user), self.user.device
        order = torch.randperm(edges, generator=generator_on(device, generator), device=device)
        kept, count = torch.zeros(edges, dtype=torch.bool, device=device), kept_count(edges, rate)
        return self.subgraph(kept.index_fill_(0, order[:count], True), count)


def _places(kept: Bool[Tensor, "edge"], count: int | None) -> Int[Tensor, "kept"]:
    """The numbers of the kept edges, ascending."""
    if count is None or not host_waits(kept.device):
        return kept.nonzero().flatten()
    return torch.argsort((~kept).to(torch.uint8), stable=True)[:count]


def kept_count(edges: int, rate: float) -> int:
    """``floor(edges (1 - rate))``, in floating point as released (so 0 of 10 edges at rate 0.9)."""
    return int(edges * (1 - rate))


def generator_on(device: torch.device, generator: torch.Generator) -> torch.Generator:
    """``generator`` itself if it is on ``device``, otherwise a new one there, seeded by a draw from it."""
    if generator.device.type == device.type:
        return generator
    seed = int(torch.randint(2**63 - 1, (1,), generator=generator, device=generator.device))
    return torch.Generator(device).manual_seed(seed)


def _starts(indptr: Int[Tensor, "start"], kept: Bool[Tensor, "edge"]) -> Int[Tensor, "start"]:
    """Where the rows start once only the kept entries remain."""
    before = torch.zeros(len(kept) + 1, dtype=torch.int32, device=kept.device)
    torch.cumsum(kept, 0, dtype=torch.int32, out=before[1:])
    return before.index_select(0, indptr)
