"""Interactions of the controls: who takes what, drawn from known preferences.

An item's utility for a user is ``sharpness × taste · latent + bias``. Tastes have length 1 and latents are
standardised, so sharpness alone says how much taste counts against chance (the Gumbel noise of a softmax choice, with
standard deviation 1.28). The biases are solved for: expected popularity follows a given skew whatever the items'
latents, so popularity says nothing about content.
"""

from dataclasses import dataclass

import numpy as np

from lmmrec_core.flow import FloatArray, IntArray

FEWEST_PER_ITEM = 5  # as a 5-core needs
_ROUNDS = 60  # of the bias solver, which then meets the popularities within a percent
_DAY = 86_400
_START = 1_356_998_400  # 2013-01-01 UTC
_SPAN = 540 * _DAY
_GAP = 9 * _DAY  # mean time between two interactions of a user


@dataclass(frozen=True)
class Preferences:
    """The planted truth: ``utility = taste @ latent.T × sharpness + bias`` [user, item]."""

    taste: FloatArray  # [user, dim], rows of length 1
    latent: FloatArray  # [item, dim], columns of mean 0 and variance 1 in expectation
    bias: FloatArray  # [item]
    sharpness: float

    def utility(self) -> FloatArray:
        return self.sharpness * np.einsum("ud,id->ui", self.taste, self.latent) + self.bias


def make_preferences(
    latent: FloatArray,
    parts: tuple[int, ...],
    users: int,
    sharpness: float,
    skew: float,
    stream: np.random.Generator,
    shares: tuple[float, ...] | None = None,
) -> Preferences:
    """Tastes for ``users`` and the biases that give popularity its Zipf-like ``skew``.

    ``parts`` are the widths of the latent's parts (their sum is dim); ``shares``, of sum 1, how much every user cares
    for each (of the variance of taste · latent), None for all equally.
    """
    pieces = []
    for width in parts:
        piece = stream.normal(size=(users, width))
        pieces.append(piece / np.linalg.norm(piece, axis=1, keepdims=True))
    if shares is None:
        taste = np.concatenate(pieces, axis=1) / np.sqrt(len(parts))
    else:
        taste = np.concatenate([np.sqrt(share) * piece for share, piece in zip(shares, pieces, strict=True)], axis=1)
    n_items = len(latent)
    # the offset flattens the head, as in real catalogues of this size, and keeps the tail above five interactions
    popular = 1.0 / (stream.permutation(n_items) + 1 + n_items / 35) ** skew
    bias = _solve_bias(sharpness * np.einsum("ud,id->ui", taste, latent), popular / popular.sum())
    return Preferences(taste, latent, bias, sharpness)


def _solve_bias(appeal: FloatArray, share: FloatArray) -> FloatArray:
    """Biases [item] that make the mean softmax choice of the users equal ``share`` (iterative proportional fitting)."""
    weight = np.exp(appeal - appeal.max(axis=1, keepdims=True))
    factor = share.copy()
    for _ in range(_ROUNDS):
        chosen = weight * factor
        factor *= share / (chosen / chosen.sum(axis=1, keepdims=True)).mean(axis=0)
    # nine decimals, since the last bits of a sum differ between machines
    return np.round(np.log(factor / factor.mean()), 9)


def draw_activity(users: int, fewest: int, most: int, stream: np.random.Generator) -> IntArray:
    """Interactions per user [user]: ``fewest`` plus a geometric number, at most ``most`` (6 to 15: mean near 9)."""
    extra = stream.geometric(1 / (1 + (most - fewest) / 2.5), size=users) - 1
    return np.asarray(np.minimum(fewest + extra, most), dtype=np.int64)


def draw_interactions(
    preferences: Preferences, activity: IntArray, stream: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Distinct pairs ``user``, ``item`` [edge]: each user takes ``activity`` items without replacement.

    Gumbel top-n: adding Gumbel noise to the utilities and taking the n highest is softmax sampling without
    replacement. Items below :data:`FEWEST_PER_ITEM` then replace the least wanted choice of users who nearly took them.
    """
    noisy = np.round(preferences.utility() + stream.gumbel(size=(len(activity), len(preferences.latent))), 9)
    order = np.argsort(-noisy, axis=1, kind="stable")
    taken = np.zeros(noisy.shape, dtype=bool)
    for row, count in enumerate(activity):
        taken[row, order[row, :count]] = True
    _lift_rare(taken, noisy)
    user, item = np.nonzero(taken)
    return user.astype(np.int64), item.astype(np.int64)


def _lift_rare(taken: np.ndarray, noisy: FloatArray) -> None:
    """Swap choices, in place, until every item has :data:`FEWEST_PER_ITEM` users; activities do not change.

    ControlSize demands more interactions than that, so there is always an item that can spare one.
    """
    count = taken.sum(axis=0)
    for rare in np.flatnonzero(count < FEWEST_PER_ITEM):
        while count[rare] < FEWEST_PER_ITEM:
            spare = taken & (count > FEWEST_PER_ITEM)
            weakest = np.where(spare, noisy, np.inf)
            given_up = weakest.argmin(axis=1)
            loss = weakest.min(axis=1) - noisy[:, rare]
            loss[taken[:, rare]] = np.inf
            user = int(loss.argmin())
            taken[user, given_up[user]], taken[user, rare] = False, True
            count[given_up[user]] -= 1
            count[rare] += 1


def draw_times(user: IntArray, stream: np.random.Generator) -> IntArray:
    """Seconds since 1970 [edge]: users start on different days, and their interactions follow in random order."""
    n_users = int(user.max()) + 1
    start = _START + stream.integers(_SPAN, size=n_users)
    # pairs come sorted by item; independent uniform times within a user's season shuffle them
    season = np.bincount(user, minlength=n_users) * _GAP
    return start[user] + np.floor(stream.uniform(size=len(user)) * season[user]).astype(np.int64)
