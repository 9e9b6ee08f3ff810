"""Small inputs for the recommender tests: a toy graph worked out by hand, random data, one batch, a matching split."""

import numpy as np
import torch
from torch import Tensor

from lmmrec_core.flow import Interactions, Split
from lmmrec_core.recommenders.layers import SparseRows
from lmmrec_core.roles import Batch, TrainingData

VISUAL = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
USERS = torch.eye(2)
ITEMS = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])


def toy(features: dict[str, Tensor] | None = None) -> TrainingData:
    """Two users, three items; edges u0-i0, u0-i1, u1-i1; item 2 is isolated."""
    return TrainingData(2, 3, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), features or {})


def toy_batch(first: bool = True) -> Batch:
    return Batch(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([2, 0]), first)


def random_data(seed: int, n_users: int = 12, n_items: int = 15, edges: int = 50) -> TrainingData:
    """Distinct random pairs, sorted; a 5-wide visual and a 4-wide textual matrix."""
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randperm(n_users * n_items, generator=generator)[:edges].sort().values
    features = {
        "visual": torch.randn(n_items, 5, generator=generator),
        "textual": torch.randn(n_items, 4, generator=generator),
    }
    return TrainingData(n_users, n_items, pairs // n_items, pairs % n_items, features)


def random_batch(data: TrainingData, seed: int, size: int = 7, first: bool = True) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(data.user), (size,), generator=generator)
    negative = torch.randint(data.n_items, (size,), generator=generator)
    return Batch(data.user[rows], data.item[rows], negative, first)


def split_for(data: TrainingData, held_out: tuple[np.ndarray, np.ndarray] | None = None) -> Split:
    """A split with the data's rows as train and ``held_out`` (user, item) as both valid and test."""
    user, item = held_out if held_out is not None else (np.zeros(0, np.int64), np.zeros(0, np.int64))
    order = np.lexsort((item, user))
    rest = Interactions(user[order].astype(np.int64), item[order].astype(np.int64))
    train = Interactions(data.user.numpy().copy(), data.item.numpy().copy())
    return Split(data.n_users, data.n_items, train, rest, rest, "given", None, "toy")


def fill(model: torch.nn.Module, **values: Tensor) -> None:
    """Overwrite parameters by name (``maps.visual.weight`` as ``maps__visual__weight``)."""
    state = model.state_dict()
    with torch.no_grad():
        for name, value in values.items():
            state[name.replace("__", ".")].copy_(value)


def dense_adjacency(data: TrainingData) -> Tensor:
    """A [N, N], users first."""
    size = data.n_users + data.n_items
    adjacency = torch.zeros(size, size)
    adjacency[data.user, data.n_users + data.item] = 1
    return adjacency + adjacency.T


def written_out(matrix: SparseRows) -> Tensor:
    """The same matrix, dense [row, column]."""
    rows = torch.repeat_interleave(torch.arange(matrix.shape[0]), matrix.indptr.diff().long())
    full = torch.zeros(matrix.shape, dtype=matrix.weights.dtype)
    return full.index_put_((rows, matrix.columns.long()), matrix.weights, accumulate=True)
