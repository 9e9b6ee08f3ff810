"""What stops a training and chooses settings: a measure on the validation part that can tell one epoch from another.

It is Recall@20. In a catalogue so small that every user has at most 20 items left to rank, that is 1 whatever the
order, so the first epoch and the first point of a search would be kept; NDCG@20 takes its place there.
"""

import warnings
from collections.abc import Callable

import numpy as np

from lmmrec_core.flow import IntArray, Part, Split
from lmmrec_core.metrics.evaluate import mean_ndcg, mean_recall
from lmmrec_core.roles import Scorer
from lmmrec_core.training.recommend import top_k

CUTOFF = 20


def stopping_metric(split: Split) -> str:
    """``recall``, or ``ndcg`` if no user of the validation part has more than ``CUTOFF`` candidates."""
    return "ndcg" if candidates(split).max(initial=0) <= CUTOFF else "recall"


def candidates(split: Split) -> IntArray:
    """Items left to rank, for each user with a validation row: those that are not among the training rows."""
    return split.n_items - np.bincount(split.train.user, minlength=split.n_users)[users_with(split, "valid")]


def validation(split: Split) -> Callable[[Scorer], float]:
    """The score that stops a training and chooses settings, of a frozen scorer; higher is better.

    Warns if it cannot be Recall@20, and if no measure can tell two rankings apart.
    """
    if stopping_metric(split) == "recall":
        return lambda scorer: recall_20(scorer, split, "valid")
    left = candidates(split)
    held = np.bincount(split.valid.user, minlength=split.n_users)[users_with(split, "valid")]
    told = (
        f"at most {left.max(initial=0)} items are left to rank for a user, so Recall@{CUTOFF} is 1 whatever the order"
    )
    if (held >= left).all():
        warnings.warn(f"{told}, and so is every measure: the first epoch is kept; use more items", stacklevel=2)
    else:
        warnings.warn(f"{told}; training stops, and settings are chosen, by NDCG@{CUTOFF} instead", stacklevel=2)
    return lambda scorer: ndcg_20(scorer, split, "valid")


def warn_if_saturated(scores: list[float], what: str) -> None:
    """Warn if all of several validation scores are the largest possible: nothing was chosen among them."""
    if len(scores) > 1 and min(scores) == 1.0:
        warnings.warn(
            f"the validation score of {what} was 1 in all {len(scores)} validations, so the first was kept; such a "
            "small or easy validation part says nothing of when to stop",
            stacklevel=2,
        )


def recall_20(scorer: Scorer, split: Split, part: Part, mask_valid: bool = False) -> float:
    """Recall@20 on a part, mean over the users with a row in it; ``mask_valid`` as in the ranking protocol."""
    users = users_with(split, part)
    lists = top_k(scorer, users, split, k=CUTOFF, mask_valid=mask_valid)
    return mean_recall(lists, users, split, part, k=CUTOFF)


def ndcg_20(scorer: Scorer, split: Split, part: Part) -> float:
    """NDCG@20 on a part, mean over the users with a row in it."""
    users = users_with(split, part)
    return mean_ndcg(top_k(scorer, users, split, k=CUTOFF), users, split, part, k=CUTOFF)


def users_with(split: Split, part: Part) -> IntArray:
    """The users with a row in a part, ascending."""
    return np.unique(split.part(part).user)
