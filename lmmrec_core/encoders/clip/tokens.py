"""Texts → token numbers, for three kinds of text tower: those that read byte pairs, word pieces, or whole words."""

import hashlib
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from open_clip.tokenizer import SimpleTokenizer, default_bpe
from torch import Tensor

from lmmrec_core.digests import digest, file_sha256
from lmmrec_core.encoders.features.unread import TokenCounts, count_pieces, count_tokens
from lmmrec_core.encoders.light.networks import split_words
from lmmrec_core.errors import ConfigError, FeatureError

RELEASE_CHARACTERS = 77  # the paper group's code (GLA-IR/LMM4REC) cuts texts there, before it tokenises them
PADDING, UNKNOWN = 0, 1


class Tokens(Protocol):
    """Texts → ``input_ids`` int64 [item, length], for some towers with ``attention_mask`` of the same shape."""

    max_length: int

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]: ...

    def counts(self, texts: Sequence[str]) -> TokenCounts: ...

    def spec(self) -> Mapping[str, Any]: ...


class OpenClipTokens:
    """open_clip's tokeniser of a model: CLIP's byte pairs, or a tokeniser of another library that open_clip wraps.

    A text that is too long is cut before its end token, which stays last. Every row has the context's full length.
    """

    def __init__(self, tokenizer: Callable[..., Tensor], max_length: int, context_length: int) -> None:
        self.tokenizer, self.max_length, self.context_length = tokenizer, max_length, context_length

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        ids = self.tokenizer(list(texts), context_length=self.max_length)
        return {"input_ids": torch.nn.functional.pad(ids, (0, self.context_length - self.max_length))}

    def counts(self, texts: Sequence[str]) -> TokenCounts:
        if isinstance(self.tokenizer, SimpleTokenizer):  # byte pairs know every text
            return count_tokens((self.tokenizer.encode(text) for text in texts), self.max_length - 2)
        inner: Any = getattr(self.tokenizer, "tokenizer", None)
        counts = hasattr(inner, "num_special_tokens_to_add")
        return count_pieces(inner, texts, self.max_length) if counts else TokenCounts()

    def spec(self) -> Mapping[str, Any]:
        inner: Any = getattr(self.tokenizer, "tokenizer", None)  # another library's, if open_clip wraps one
        if isinstance(self.tokenizer, SimpleTokenizer):
            content = file_sha256(Path(default_bpe()))
        elif hasattr(inner, "backend_tokenizer"):
            content = hashlib.sha256(inner.backend_tokenizer.to_str().encode()).hexdigest()
        elif hasattr(inner, "get_vocab"):
            content = digest(sorted(inner.get_vocab().items()), 64)
        else:
            raise ConfigError(
                f"tokeniser {type(self.tokenizer).__name__}: its vocabulary cannot be read, so features would have no "
                "key; choose a model with another tokeniser"
            )
        return {"tokenizer": type(self.tokenizer).__name__, "tokenizer_sha256": content}


class WordPieces:
    """The tokeniser in a sentence model's folder; rows are padded to the longest text of the chunk."""

    def __init__(self, folder: Path, max_length: int) -> None:
        from transformers import AutoTokenizer

        self.max_length = max_length
        self.tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        self.sha256 = file_sha256(folder / "tokenizer.json", FeatureError)

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        encoded = self.tokenizer(
            list(texts), padding="longest", truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        return {key: encoded[key] for key in ("input_ids", "attention_mask")}

    def counts(self, texts: Sequence[str]) -> TokenCounts:
        return count_pieces(self.tokenizer, texts, self.max_length)

    def spec(self) -> Mapping[str, Any]:
        return {"tokenizer": "word pieces", "tokenizer_sha256": self.sha256}


class WordNumbers:
    """Whole words as numbers: 0 is padding, 1 an unknown word, then come the words, and last the start and end tokens.

    The end token has the largest number, by which CLIP's text tower finds it. Without a vocabulary a word's number is
    its CRC-32 modulo the free places: that needs no training text, but two words may share a number.
    """

    def __init__(self, vocabulary: Sequence[str], size: int, max_length: int, context_length: int) -> None:
        free = size - 4  # padding, unknown, start, end
        if free < max(1, len(vocabulary)):
            raise ConfigError(
                f"vocabulary of {len(vocabulary)} words does not fit a text tower of vocab_size {size}; "
                f"give vocab_size {len(vocabulary) + 4} or more"
            )
        self.max_length, self.context_length, self.size = max_length, context_length, size
        self.numbers = {word: number for number, word in enumerate(vocabulary, start=UNKNOWN + 1)}

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        rows = torch.full((len(texts), self.context_length), PADDING, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            words = [self._number(word) for word in self._split(text)[: self.max_length - 2]]
            row[: len(words) + 2] = torch.tensor([self.size - 2, *words, self.size - 1])
        return {"input_ids": rows}

    def counts(self, texts: Sequence[str]) -> TokenCounts:
        rows = ([self._number(word) for word in self._split(text)] for text in texts)
        return count_tokens(rows, self.max_length - 2, UNKNOWN)

    def _split(self, text: str) -> list[str]:
        """Words as the light encoders split them; without a vocabulary digits count as words too."""
        return split_words(text) if self.numbers else re.findall(r"\w+", text.lower())

    def _number(self, word: str) -> int:
        if self.numbers:
            return self.numbers.get(word, UNKNOWN)
        return UNKNOWN + 1 + zlib.crc32(word.encode()) % (self.size - 4)

    def spec(self) -> Mapping[str, Any]:
        kind = "words" if self.numbers else "words by CRC-32"
        return {"tokenizer": kind, "vocabulary": digest(list(self.numbers)), "vocab_size": self.size}
