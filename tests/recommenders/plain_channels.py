"""MMGCL's and SLMRec's vectors written out: every channel encoded by dense products, then fused."""

import torch
from torch import Tensor
from torch.nn import functional

from lmmrec_core.recommenders.layers import BipartiteGraph
from lmmrec_core.roles import TrainingData
from tests.recommenders.toys import dense_adjacency, written_out

MODALITY_SETS = [("visual", "textual"), ("visual",), ("textual",)]


def only(data: TrainingData, *modalities: str) -> TrainingData:
    features = {modality: data.features[modality] for modality in modalities}
    return TrainingData(data.n_users, data.n_items, data.user, data.item, features)


def symmetric(adjacency: Tensor) -> Tensor:
    degree = adjacency.sum(1)
    root = torch.where(degree > 0, degree.rsqrt(), 0.0)
    return root[:, None] * adjacency * root


def clean(data: TrainingData) -> Tensor:
    """S [node, node] of all training edges."""
    return symmetric(dense_adjacency(data))


def of_edges(graph: BipartiteGraph) -> Tensor:
    """S of the edges that a graph has, whatever its weights."""
    size, adjacency = graph.n_users, torch.zeros(graph.n_users + graph.n_items, graph.n_users + graph.n_items)
    adjacency[:size, size:] = (written_out(graph.user_rows) > 0).float()
    return symmetric(adjacency + adjacency.T)


def inputs(model) -> list[Tensor]:
    """The item table of every channel."""
    given = [model.item]
    for modality, matrix in model.features.items():
        unit = matrix / matrix.norm(dim=1, keepdim=True)
        given.append(unit @ model.maps[modality].weight.T + model.maps[modality].bias)
    return given


def encode(model, step: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """LGC of [P_u; items]: user and item part."""
    power = total = torch.cat([model.user, items])
    for _ in range(model.settings.n_layers):
        power = step @ power
        total = total + power
    users, items = (total / (model.settings.n_layers + 1)).split([model.n_users, model.n_items])
    return users, items


def fuse(model, layer, channels: list[Tensor]) -> Tensor:
    joined = sum(channels) / len(channels) if model.mean else torch.cat(channels, 1)
    return joined @ layer.weight.T + layer.bias


def vectors(model, step: Tensor, given: list[Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """z_u, z_i of one graph."""
    encoded = [encode(model, step, items) for items in (inputs(model) if given is None else given)]
    users, items = ([part[side] for part in encoded] for side in (0, 1))
    return fuse(model, model.read_user, users), fuse(model, model.read_item, items)


def nce(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """Written with exponentials."""
    weights = (query @ key.T / temperature).exp()
    return -(weights.diagonal() / weights.sum(1)).log().mean()


def unit(rows: Tensor) -> Tensor:
    return functional.normalize(rows)


def assert_same(model, loss: Tensor, expected: Tensor) -> None:
    """Loss and the gradients of all parameters."""
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    names, parameters = zip(*model.named_parameters(), strict=True)
    ours = torch.autograd.grad(loss, parameters, allow_unused=True)
    plain = torch.autograd.grad(expected, parameters, allow_unused=True)
    for name, a, b in zip(names, ours, plain, strict=True):
        assert (a is None) == (b is None), name
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
