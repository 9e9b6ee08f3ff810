"""Item-kNN: co-occurrence of items in users' histories, shrunk; strong, and without any training."""

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from scipy import sparse
from torch import Tensor

from lmmrec_core.config import Settings as BaseSettings
from lmmrec_core.roles import Scorer, TrainingData


class ItemKNN:
    """``s(u, i) = sum over j in u's training items of sim(i, j)``, ``sim(i, j) = co(i, j) / (sqrt(n_i n_j) + shrink)``.

    co counts the users with both items (zero diagonal), n the users with one. With ``neighbours``, only the most
    similar j of each candidate i count (equal ones: lower item number first). The generator is not used.
    """

    name: ClassVar[str] = "itemknn"
    uses_features: ClassVar[bool] = False

    class Settings(BaseSettings):
        """``neighbours`` None means all."""

        shrink: float = Field(default=50.0, ge=0)
        neighbours: int | None = Field(default=None, ge=1)

    def __init__(self, data: TrainingData, settings: Settings, generator: torch.Generator) -> None:
        user, item = data.user.cpu().numpy(), data.item.cpu().numpy()
        shape = (data.n_users, data.n_items)
        self.history = sparse.csr_matrix((np.ones(len(user)), (user, item)), shape=shape)
        self.history.data[:] = 1.0  # a pair counts once
        together = (self.history.T @ self.history).tocoo()
        count = np.asarray(self.history.sum(0)).ravel()
        row, column, co = together.row, together.col, together.data
        off = row != column
        row, column, co = row[off], column[off], co[off]
        similarity = co / (np.sqrt(count[row] * count[column]) + settings.shrink)
        if settings.neighbours is not None:
            order = np.lexsort((column, -similarity, row))
            place = np.arange(len(row)) - np.searchsorted(row[order], row[order])
            kept = order[place < settings.neighbours]
            row, column, similarity = row[kept], column[kept], similarity[kept]
        # transposed: from an item of the history to the candidates it supports
        self.support = sparse.csr_matrix((similarity, (column, row)), shape=(data.n_items, data.n_items))

    def scorer(self) -> Scorer:
        def score(chosen: Int[Tensor, "user"]) -> Float[Tensor, "user item"]:
            scores = (self.history[chosen.cpu().numpy()] @ self.support).toarray()
            return torch.from_numpy(scores).float()

        return score
