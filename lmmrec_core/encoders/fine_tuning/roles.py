"""What matching (ITM) and masked words (MLM) need of an encoder beyond contrast."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from lmmrec_core.roles import TrainableEncoder


@runtime_checkable
class FusingEncoder(TrainableEncoder, Protocol):
    """An encoder that also reads picture and text together. Texts come as ``input_ids`` and ``attention_mask``."""

    vocabulary_size: int
    mask_token: int
    special_tokens: frozenset[int]  # ids that are never masked and never put in place of a word

    def fused(self, pixels: Tensor, tokens: Mapping[str, Tensor]) -> Tensor:
        """One pass over both → [pair, text + image, dim], the text positions first."""
        ...

    def match_logits(self, sequence: Tensor) -> Tensor:
        """A fused sequence → logits [pair, 2]; column 1 says that picture and text belong together."""
        ...

    def word_logits(self, sequence: Tensor, masked: Tensor) -> Tensor:
        """A fused sequence and ``masked`` bool [pair, text] → logits [masked position, vocabulary], row by row.

        ``masked`` is on the CPU. A vocabulary is long, and most positions are not masked.
        """
        ...

    def word_starts(self, input_ids: Tensor) -> Tensor:
        """Ids [pair, text] → bool [pair, text]: True if a piece begins a word."""
        ...
