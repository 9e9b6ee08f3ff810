"""A stranger's recommender: LightGCN with content, from PyTorch Geometric's layers and without our base class."""

import torch
from torch import nn
from torch.nn.functional import logsigmoid
from torch_geometric.nn import LGConv

from lmmrec_core.config import Settings as BaseSettings
from lmmrec_core.recommenders.base import checked_features
from lmmrec_core.recommenders.graph import training_graph


class PygContent(nn.Module):
    """``x = [P_u; P_i + sum over modalities of W_m f_m]``, the mean of x and its propagation, dot products."""

    name, uses_features = "pyg-content", True
    needs_negatives, zero_fill_gradients, trainable_features, unit_rows = True, False, False, False
    reads_batch_items_only = features_enter_once_per_epoch = False

    class Settings(BaseSettings):
        """``embedding_dim`` is the width of all vectors."""

        embedding_dim: int = 64

    def __init__(self, data, settings, generator):
        super().__init__()
        self.n_users, self.features = data.n_users, checked_features(data, self.name)
        self.register_buffer("edges", training_graph(data).to_homogeneous().edge_index, persistent=False)
        self.table = nn.Parameter(torch.empty(data.n_users + data.n_items, settings.embedding_dim))
        nn.init.xavier_normal_(self.table, generator=generator)
        shapes = {modality: (settings.embedding_dim, matrix.shape[1]) for modality, matrix in self.features.items()}
        self.maps = nn.ParameterDict({modality: nn.Parameter(torch.empty(shape)) for modality, shape in shapes.items()})
        for weight in self.maps.values():
            nn.init.xavier_normal_(weight, generator=generator)
        self.conv = LGConv()

    def begin_epoch(self, epoch, generator):
        pass

    def resting_parameters(self):
        return ()

    def loss(self, batch, generator):
        users, items = self.vectors()
        difference = items[batch.positive] - items[batch.negative]
        return -logsigmoid((users[batch.user] * difference).sum(1)).mean()

    def vectors(self):
        content = sum(matrix @ self.maps[modality].T for modality, matrix in self.features.items())
        nodes = torch.cat([self.table[: self.n_users], self.table[self.n_users :] + content])
        nodes = (nodes + self.conv(nodes, self.edges)) / 2
        return nodes[: self.n_users], nodes[self.n_users :]

    @torch.no_grad()
    def scorer(self):
        users, items = self.vectors()
        return lambda chosen: users[chosen] @ items.T
