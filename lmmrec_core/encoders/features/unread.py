"""How much of the texts a tokeniser reads: tokens it does not know, and texts it cuts, for the card and a warning."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

from lmmrec_core.flow import Catalogue

WARNED_SHARE = 0.1
_CHUNK = 256  # texts tokenised at a time


@dataclass(frozen=True)
class TokenCounts:
    """Counts over texts. Tokens are those that the encoder gets, without the framing ones: start, end, padding."""

    texts: int = 0
    tokens: int = 0
    unknown_tokens: int = 0
    cut_texts: int = 0  # longer than the encoder reads
    unknown_texts: int = 0  # without any known token

    def __add__(self, other: "TokenCounts") -> "TokenCounts":
        return TokenCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@runtime_checkable
class CountsTokens(Protocol):
    """An encoder that can say how much of the texts it reads. It need not: nothing is counted then."""

    def token_counts(self, texts: Sequence[str]) -> TokenCounts:
        """Of the same tokens as ``preprocess_texts`` makes."""
        ...


def count_tokens(texts: Iterable[Sequence[Any]], room: int, unknown: object = None) -> TokenCounts:
    """Counts over ``texts``, each given by its tokens, not cut and without framing; ``room`` of them are read."""
    total = TokenCounts()
    for tokens in texts:
        read = tokens[:room]
        unread = sum(token == unknown for token in read) if unknown is not None else 0
        total += TokenCounts(1, len(read), unread, len(tokens) > room, len(read) == unread)
    return total


def count_pieces(tokenizer: Any, texts: Sequence[str], max_length: int) -> TokenCounts:
    """The same for a tokeniser of transformers that reads ``max_length`` tokens, framing included."""
    made = tokenizer(list(texts), add_special_tokens=False, truncation=False, padding=False, verbose=False)
    return count_tokens(made["input_ids"], max_length - tokenizer.num_special_tokens_to_add(), tokenizer.unk_token_id)


def counts_of(encoder: object, catalogue: Catalogue) -> dict[str, int]:
    """Counts of the catalogue's texts, for the feature card; {} if the encoder does not count.

    Warns if more than ``WARNED_SHARE`` of the tokens are unknown to it, or of the texts too long for it.
    """
    if not isinstance(encoder, CountsTokens):
        return {}
    texts, total = [text for text in catalogue.texts if text.strip()], TokenCounts()
    for start in range(0, len(texts), _CHUNK):
        total += encoder.token_counts(texts[start : start + _CHUNK])
    name = getattr(encoder, "name", type(encoder).__name__)
    told = []
    if total.unknown_tokens > WARNED_SHARE * total.tokens:
        told.append(
            f"does not know {total.unknown_tokens / total.tokens:.0%} of their {total.tokens} tokens, and nothing of "
            f"{total.unknown_texts} of the {total.texts} texts; use an encoder of their language"
        )
    if total.cut_texts > WARNED_SHARE * total.texts:
        told.append(
            f"cuts {total.cut_texts} of the {total.texts}, which are too long for it; put what matters first, or "
            "use one that reads longer texts"
        )
    for what in told:
        warnings.warn(f"{catalogue.name}: texts by {name}: the encoder {what}", stacklevel=3)
    return {f.name: getattr(total, f.name) for f in fields(total)} if total.texts else {}
