"""Whole-word masking for MLM, as in VLMo's pre-training: all pieces of a drawn word are hidden together."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lmmrec_core.encoders.fine_tuning.losses import IGNORED

RATE = 0.15
MASKED, RANDOM = 0.8, 0.1  # of the drawn pieces: [MASK], another word; the rest stay as they are


def mask_words(
    input_ids: Int[Tensor, "pair text"],
    real: Bool[Tensor, "pair text"],
    starts: Bool[Tensor, "pair text"],
    *,
    mask_token: int,
    special_tokens: frozenset[int],
    vocabulary_size: int,
    generator: torch.Generator,
    rate: float = RATE,
) -> tuple[Int[Tensor, "pair text"], Int[Tensor, "pair text"]]:
    """Ids with words hidden, and labels: the old id of each piece that was drawn, −100 elsewhere.

    ``real`` is False on padding; ``starts`` is True for a piece that begins a word. In each text max(1, round(rate ×
    pieces)) pieces are wanted. Words are taken in random order as long as they fit; if none fits, the first is taken
    although it is too long. Of the drawn pieces 80 % become ``mask_token``, 10 % a random ordinary id, and 10 % stay.
    Special tokens are neither drawn nor put in. The random draws depend on the shape alone, not on the content.
    """
    special = torch.zeros(vocabulary_size, dtype=torch.bool)
    special[sorted(special_tokens)] = True
    words = real & ~special[input_ids]
    chosen = words & _drawn(words, starts, torch.rand(input_ids.shape, generator=generator), rate)
    kind = torch.rand(input_ids.shape, generator=generator)
    ordinary = torch.nonzero(~special).squeeze(1)
    other = ordinary[torch.randint(len(ordinary), input_ids.shape, generator=generator)]
    hidden = torch.where(kind < MASKED, mask_token, torch.where(kind < MASKED + RANDOM, other, input_ids))
    return torch.where(chosen, hidden, input_ids), torch.where(chosen, input_ids, IGNORED)


def _drawn(words: Tensor, starts: Tensor, keys: Tensor, rate: float) -> Tensor:
    """Bool [pair, text]: the pieces of the drawn words. ``keys`` [pair, text] in [0, 1) orders the words."""
    after_gap = torch.ones_like(words)
    after_gap[:, 1:] = ~words[:, :-1]
    number = ((words & (starts | after_gap)).long().cumsum(dim=1) - 1).clamp(min=0)  # word of each piece
    length = torch.zeros_like(number).scatter_add_(1, number, words.long())  # pieces of each word, 0 beyond the last
    order = keys.masked_fill(length == 0, 2.0).argsort(dim=1, stable=True)
    ordered = length.gather(1, order)
    wanted = (rate * words.sum(dim=1)).round().long().clamp(min=1)
    taken = torch.zeros_like(wanted)
    fits = torch.zeros_like(words)
    for place in range(words.shape[1]):
        size = ordered[:, place]
        fits[:, place] = (size > 0) & (taken + size <= wanted)
        taken += size * fits[:, place]
        if bool((taken == wanted).all()):
            break
    fits[:, 0] |= (taken == 0) & (ordered[:, 0] > 0)
    selected = torch.zeros_like(fits).scatter_(1, order, fits)
    return selected.gather(1, number)
