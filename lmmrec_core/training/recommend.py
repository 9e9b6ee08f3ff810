"""Scores → top-k lists: seen items masked, ties by item number."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lmmrec_core.errors import TrainingError
from lmmrec_core.flow import IntArray, Split
from lmmrec_core.roles import Scorer


def top_k(
    scorer: Scorer, users: IntArray, split: Split, *, k: int = 50, mask_valid: bool = False, chunk: int = 256
) -> IntArray:
    """The ``k`` best items [user, k] of each of ``users``, best first; -1 fills rows with fewer candidates.

    Candidates are all items except the user's training items (and, with ``mask_valid``, validation items): on test,
    validation items stay in the list by default, as in MMRec. Equal scores rank by lower item number, so
    the list is a function of the scores alone. ``chunk`` users are scored at a time.

    Raises TrainingError when the score of a candidate is not finite.
    """
    hidden = [split.rows("train")] + ([split.rows("valid")] if mask_valid else [])
    lists = np.full((len(users), k), -1, dtype=np.int64)
    width = min(k, split.n_items)
    for start in range(0, len(users), chunk):
        some = users[start : start + chunk]
        with torch.no_grad():
            scores = scorer(torch.from_numpy(np.ascontiguousarray(some, dtype=np.int64))).contiguous()
            row, column = (
                torch.cat(cells).to(scores.device)
                for cells in zip(*(_cells(some, indptr, items) for indptr, items in hidden), strict=True)
            )
            _refuse_not_finite(scores, row, column, some)
            seen = scores[row, column]
            scores[row, column] = -torch.inf
            values, best = best_first(scores, width)
            scores[row, column] = seen  # the tensor may be the scorer's own
        best[values == -torch.inf] = -1
        lists[start : start + len(some), :width] = best.cpu().numpy()
    return lists


def _refuse_not_finite(scores: Float[Tensor, "user item"], row: Tensor, column: Tensor, users: IntArray) -> None:
    """Raises TrainingError if a score is not finite, except in the cells [row, column], which are no candidates."""
    if bool(torch.stack(scores.aminmax()).isfinite().all()):  # both are NaN if any score is
        return
    bad = ~scores.isfinite()
    bad[row, column] = False
    if bool(bad.any()):
        user, item = (int(place) for place in bad.nonzero()[0])
        raise TrainingError(
            f"scores of user {{user}} are not finite ({float(scores[user, item])}), so no ranking exists; "
            "lower learning_rate or check the features",
            user=int(users[user]),
        )


def best_first(scores: Float[Tensor, "user item"], k: int) -> tuple[Float[Tensor, "user k"], Int[Tensor, "user k"]]:
    """Values and item numbers of the ``k`` largest scores of each row; equal scores by lower item number."""
    n_items = scores.shape[1]
    values, items = scores.topk(min(k + 1, n_items), dim=1)
    if k < n_items:
        # topk leaves open which of several equal items it takes: if the last place is contested, choose again
        tied = (values[:, k - 1] == values[:, k]) & (values[:, k] > -torch.inf) & ~values[:, 0].isnan()
        contested = tied.nonzero().flatten()
        values, items = values[:, :k], items[:, :k]
        if len(contested):
            items = items.clone()
            items[contested] = _lowest_of_equal(scores[contested], values[contested, -1:], k)
    items = items.sort(dim=1).values
    values, order = scores.gather(1, items).sort(dim=1, descending=True, stable=True)
    return values, items.gather(1, order)


def _lowest_of_equal(scores: Tensor, threshold: Tensor, k: int) -> Tensor:
    """Items above the threshold, then the lowest numbered ones at it: exactly ``k`` a row, ascending."""
    above, equal = scores > threshold, scores == threshold
    room = k - above.sum(1, keepdim=True)
    chosen = above | (equal & (equal.cumsum(1) <= room))
    return chosen.nonzero()[:, 1].view(len(scores), k)


def _cells(users: IntArray, indptr: IntArray, items: IntArray) -> tuple[Tensor, Tensor]:
    """Row in the chunk and column of every item in the users' CSR rows."""
    lengths = indptr[users + 1] - indptr[users]
    row = np.repeat(np.arange(len(users)), lengths)
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + indptr[users][row]
    return torch.from_numpy(row), torch.from_numpy(items[place])
