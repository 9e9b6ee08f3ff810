"""The training graph for PyTorch Geometric: its nodes, edges and features are those of the training data."""

import torch

from lmmrec_core.recommenders.graph import training_graph
from tests.recommenders.toys import VISUAL, dense_adjacency, random_data, toy


def test_the_toy_graph_with_an_isolated_item():
    graph = training_graph(toy({"visual": VISUAL}))
    assert graph.node_types == ["user", "item"]
    assert (graph["user"].num_nodes, graph["item"].num_nodes) == (2, 3)
    assert torch.equal(graph["item"].visual, VISUAL)
    assert graph["user", "rates", "item"].edge_index.tolist() == [[0, 0, 1], [0, 1, 1]]
    assert graph["item", "rated_by", "user"].edge_index.tolist() == [[0, 1, 1], [0, 0, 1]]
    assert graph.validate() and graph.has_isolated_nodes()


def test_stacked_nodes_are_users_then_items():
    data = random_data(6)
    whole = training_graph(data).to_homogeneous()
    adjacency = torch.zeros(whole.num_nodes, whole.num_nodes)
    adjacency[tuple(whole.edge_index)] = 1
    assert torch.equal(adjacency, dense_adjacency(data))
