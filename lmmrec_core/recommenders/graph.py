"""The training graph as PyTorch Geometric knows it, for recommenders written with its layers."""

from typing import TYPE_CHECKING

import torch

from lmmrec_core.roles import TrainingData

if TYPE_CHECKING:  # takes seconds to import, and our own recommenders do without it
    from torch_geometric.data import HeteroData


def training_graph(data: TrainingData) -> "HeteroData":
    """Users, items and training edges as a ``torch_geometric.data.HeteroData``.

    Edge types are ``("user", "rates", "item")``, ``edge_index`` int64 [2, edge] in the order of ``data``, and its
    reverse ``("item", "rated_by", "user")``. Item nodes carry the features under the name of their modality,
    ``graph["item"].visual`` float32 [item, dim]. ``to_homogeneous()`` stacks users, then items. Never valid or test
    rows.
    """
    from torch_geometric.data import HeteroData

    graph = HeteroData()
    graph["user"].num_nodes, graph["item"].num_nodes = data.n_users, data.n_items
    for modality, matrix in data.features.items():
        graph["item"][modality] = matrix
    graph["user", "rates", "item"].edge_index = torch.stack([data.user, data.item])
    graph["item", "rated_by", "user"].edge_index = torch.stack([data.item, data.user])
    return graph
