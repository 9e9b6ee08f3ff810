"""Negatives that are truly negative: items of the training part that the user has no training row with."""

import torch
from jaxtyping import Int
from torch import Tensor

from lmmrec_core.errors import TrainingError


class NegativeSampler:
    """Uniform over {items that occur in training} minus the user's training items.

    All rows are drawn at once, their keys ``user * n_items + item`` looked up by binary search, and only rejected
    rows drawn again: the same distribution as drawing row by row. Items without a training row are never drawn.
    """

    def __init__(self, user: Int[Tensor, "edge"], item: Int[Tensor, "edge"], n_items: int) -> None:
        """Raises TrainingError naming the user when one has every candidate as a training item."""
        if not len(user):
            raise TrainingError("the training part has no interactions, so nothing can be sampled; check the split")
        self.n_items = n_items
        self.candidates = torch.unique(item)  # sorted
        self.keys = torch.unique(user * n_items + item)  # sorted, each pair once
        per_user = torch.bincount(self.keys.div(n_items, rounding_mode="floor"))
        full = (per_user >= len(self.candidates)).nonzero()
        if len(full):
            raise TrainingError(
                f"user {{user}} has all {len(self.candidates)} items of the training part, so no negative can be "
                "drawn; remove such users from the data or use a recommender without negatives",
                user=int(full[0]),
            )

    def sample(self, user: Int[Tensor, "batch"], generator: torch.Generator) -> Int[Tensor, "batch"]:
        """One negative item for each entry of ``user``."""
        negative = self._draw(len(user), generator)
        pending = self._is_positive(user, negative).nonzero().flatten()
        while len(pending):
            redrawn = self._draw(len(pending), generator)
            negative[pending] = redrawn
            pending = pending[self._is_positive(user[pending], redrawn)]
        return negative

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        return self.candidates[
            torch.randint(len(self.candidates), (count,), generator=generator, device=generator.device)
        ]

    def _is_positive(self, user: Tensor, item: Tensor) -> Tensor:
        wanted = user * self.n_items + item
        place = torch.searchsorted(self.keys, wanted).clamp_(max=len(self.keys) - 1)
        return self.keys[place] == wanted
