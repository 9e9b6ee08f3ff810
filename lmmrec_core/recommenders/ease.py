"""EASE: an item-item regression in closed form, strong and without features (Steck, WWW 2019)."""

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from scipy import sparse
from scipy.linalg import lapack
from torch import Tensor

from lmmrec_core.config import Settings as BaseSettings
from lmmrec_core.errors import ConfigError, TrainingError
from lmmrec_core.roles import Scorer, TrainingData

_BLOCK = 1024  # columns handled at once


class EASE:
    """``s(u, ·) = x_u B``, B the minimiser of ``|X - X B|^2 + reg |B|^2`` with zero diagonal.

    X [user, item] holds the training pairs, 0 or 1. With ``P = (X'X + reg I)^(-1)``: ``B_ij = -P_ij / P_jj`` and
    ``B_jj = 0`` (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", equation 8). An item without a training
    row scores zero for everyone. The generator is not used.

    P is dense and solved for in float64: 12 bytes for each pair of items at the peak and 4 bytes afterwards, that is
    0.6 GB at 7,050 items (Amazon Baby), 4.0 GB at 18,357 (Sports), 19 GB at 40,000; time grows with the cube. Raises
    ConfigError for more than ``max_items`` items.
    """

    name: ClassVar[str] = "ease"
    uses_features: ClassVar[bool] = False

    class Settings(BaseSettings):
        """``reg`` is the ridge on B (lambda of the publication)."""

        reg: float = Field(default=250.0, gt=0)
        max_items: int = Field(default=40000, ge=1)

    def __init__(self, data: TrainingData, settings: Settings, generator: torch.Generator) -> None:
        if data.n_items > settings.max_items:
            raise ConfigError(
                f"ease: a matrix of {data.n_items} x {data.n_items} items needs about "
                f"{12e-9 * data.n_items**2:.1f} GB while it is solved, and max_items is {settings.max_items}; "
                "raise max_items if so much memory is free, filter the catalogue, or use itemknn"
            )
        user, item = data.user.cpu().numpy(), data.item.cpu().numpy()
        shape = (data.n_users, data.n_items)
        self.history = sparse.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape=shape)
        self.history.data[:] = 1.0  # a pair counts once
        self.weights = item_weights(self.history, settings.reg)  # B

    def scorer(self) -> Scorer:
        def score(chosen: Int[Tensor, "user"]) -> Float[Tensor, "user item"]:
            return torch.from_numpy(self.history[chosen.cpu().numpy()] @ self.weights)

        return score


def item_weights(history: sparse.csr_matrix, reg: float) -> np.ndarray:
    """B [item, item] float32 of ``history`` [user, item]. Raises TrainingError when the inverse does not exist."""
    n_items = history.shape[1]
    by_item = history.astype(np.float64).tocsc()
    gram = np.empty((n_items, n_items), order="F")  # LAPACK works in place on columns
    for start in range(0, n_items, _BLOCK):
        gram[:, start : start + _BLOCK] = (by_item.T @ by_item[:, start : start + _BLOCK]).toarray()
    failed = int(reg <= gram.diagonal().max() * n_items * np.finfo(float).eps)  # drowned by rounding
    gram.T.flat[:: n_items + 1] += reg
    if not failed:
        root, failed = lapack.dpotrf(gram, lower=1, overwrite_a=1, clean=0)
    if not failed:
        inverse, failed = lapack.dpotri(root, lower=1, overwrite_c=1)  # the lower triangle of P
    if failed:
        raise TrainingError(f"ease: X'X + reg I cannot be inverted at reg {reg:g} in float64; use a larger reg")
    scale = -1 / inverse.diagonal()
    weights = np.empty((n_items, n_items), np.float32)
    for start in range(0, n_items, _BLOCK):
        part = slice(start, start + _BLOCK)
        below = inverse[start:, part].copy()  # rows from the diagonal block down
        block = np.tril(below[: below.shape[1]])
        below[: below.shape[1]] = block + np.tril(block, -1).T
        weights[start:, part] = below * scale[part]
        weights[part, start:] = below.T * scale[start:]
    np.fill_diagonal(weights, 0.0)
    return weights
