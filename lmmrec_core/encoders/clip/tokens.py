"""Texts → token numbers, for the three kinds of text tower: byte pairs, word pieces, whole words."""

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
from lmmrec_core.encoders.light.networks import split_words
from lmmrec_core.errors import ConfigError, FeatureError

RELEASE_CHARACTERS = 77  # the paper group's code cuts texts there, before tokenising (encoders spec 2.5)
PADDING, UNKNOWN = 0, 1


class Tokens(Protocol):
    """A tokeniser with its limit: ``input_ids`` int64 [item, length], perhaps ``attention_mask`` beside it."""

    max_length: int

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]: ...

    def spec(self) -> Mapping[str, Any]: ...


class OpenClipTokens:
    """open_clip's own tokeniser of a model: CLIP's byte pairs, or a library's (encoders spec 2.3).

    A longer text is cut so that the end token stays in the last place. Rows have the context's full length.
    """

    def __init__(self, tokenizer: Callable[..., Tensor], max_length: int, context_length: int) -> None:
        self.tokenizer, self.max_length, self.context_length = tokenizer, max_length, context_length

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        ids = self.tokenizer(list(texts), context_length=self.max_length)
        return {"input_ids": torch.nn.functional.pad(ids, (0, self.context_length - self.max_length))}

    def spec(self) -> Mapping[str, Any]:
        inner: Any = getattr(self.tokenizer, "tokenizer", None)  # the library's, where open_clip wraps one
        if isinstance(self.tokenizer, SimpleTokenizer):
            content = file_sha256(Path(default_bpe()))
        elif hasattr(inner, "backend_tokenizer"):
            content = hashlib.sha256(inner.backend_tokenizer.to_str().encode()).hexdigest()
        elif hasattr(inner, "get_vocab"):
            content = digest(sorted(inner.get_vocab().items()), 64)
        else:
            raise ConfigError(f"tokeniser {type(self.tokenizer).__name__}: its vocabulary cannot be read for the spec")
        return {"tokenizer": type(self.tokenizer).__name__, "tokenizer_sha256": content}


class WordPieces:
    """The tokeniser of a sentence model's folder, padded to the longest of the chunk."""

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

    def spec(self) -> Mapping[str, Any]:
        return {"tokenizer": "word pieces", "tokenizer_sha256": self.sha256}


class WordNumbers:
    """Whole words of a small vocabulary: 0 padding, 1 unknown, then words, last but one start, last end.

    The end token is the largest number, as in CLIP, whose text tower looks for it there. Without a
    vocabulary a word's number is its CRC-32 modulo the free places: no training text is needed, and two words may
    share a number.
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

    def _split(self, text: str) -> list[str]:
        """With a vocabulary the words of the light encoders; without, digits count as words too."""
        return split_words(text) if self.numbers else re.findall(r"\w+", text.lower())

    def _number(self, word: str) -> int:
        if self.numbers:
            return self.numbers.get(word, UNKNOWN)
        return UNKNOWN + 1 + zlib.crc32(word.encode()) % (self.size - 4)

    def spec(self) -> Mapping[str, Any]:
        kind = "words" if self.numbers else "words by CRC-32"
        return {"tokenizer": kind, "vocabulary": digest(list(self.numbers)), "vocab_size": self.size}
