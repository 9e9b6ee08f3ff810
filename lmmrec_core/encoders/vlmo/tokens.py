"""Texts → token ids: BERT's WordPiece, which VLMo reads, and numbered whole words for the tiny network."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from lmmrec_core.digests import digest, file_sha256
from lmmrec_core.encoders.features.unread import TokenCounts, count_pieces, count_tokens
from lmmrec_core.encoders.light.networks import split_words
from lmmrec_core.encoders.weights import package_file
from lmmrec_core.errors import FeatureError


class Tokeniser(Protocol):
    """Texts → ``input_ids`` and ``attention_mask``: a class token, the words, an end token, then padding."""

    vocabulary_size: int
    mask_token: int
    special_tokens: frozenset[int]  # never masked, never predicted
    framing: frozenset[int]  # padding, class and end token: they stand for no word

    def encode(self, texts: Sequence[str], max_length: int) -> dict[str, Tensor]:
        """int64 [item, length]; texts are cut on the right to ``max_length`` ids, class and end token included."""
        ...

    def counts(self, texts: Sequence[str], max_length: int) -> TokenCounts:
        """What of these texts :meth:`encode` gives, and what it cuts."""
        ...

    def word_starts(self, input_ids: Tensor) -> Tensor:
        """Ids → bool, both [item, length]: True if a piece begins a word; special tokens are words of their own."""
        ...

    def spec(self) -> dict[str, Any]:
        """What determines the ids, in plain JSON values; :func:`rebuild_tokeniser` reads it back."""
        ...


class WordPiece:
    """BERT uncased, from a MiniLM folder: lower case, accents removed; [CLS] is 101, [SEP] 102, [MASK] 103."""

    mask_token = 103
    special_tokens = frozenset({0, 100, 101, 102, 103})  # padding, unknown, class, end, mask
    framing = frozenset({0, 101, 102})

    def __init__(self, folder: Path | None = None) -> None:
        from transformers import AutoTokenizer

        from lmmrec_core.encoders.minilm import PACKAGE  # its vocabulary is that of BERT base uncased

        where = package_file(PACKAGE, lambda package: package.get_model_path()) if folder is None else folder
        if not (where / "tokenizer.json").is_file():
            raise FeatureError(f"{where}: no tokenizer.json; give the folder of a BERT uncased tokeniser")
        self.sha256 = file_sha256(where / "tokenizer.json", FeatureError)
        self._tokenizer = AutoTokenizer.from_pretrained(str(where), local_files_only=True)
        self.vocabulary_size = len(self._tokenizer)
        framed = self._tokenizer("a")["input_ids"]
        if (framed[0], framed[-1], self._tokenizer.mask_token_id, self._tokenizer.pad_token_id) != (101, 102, 103, 0):
            raise FeatureError(f"{where}: its special tokens are not BERT's (101, 102, 103, 0); give BERT uncased")
        pieces = self._tokenizer.convert_ids_to_tokens(list(range(self.vocabulary_size)))
        self._starts = torch.tensor([not piece.startswith("##") for piece in pieces])

    def encode(self, texts: Sequence[str], max_length: int) -> dict[str, Tensor]:
        if not texts:
            return _pad([])
        made = self._tokenizer(list(texts), truncation=True, max_length=max_length, return_token_type_ids=False)
        return _pad(made["input_ids"])

    def counts(self, texts: Sequence[str], max_length: int) -> TokenCounts:
        return count_pieces(self._tokenizer, texts, max_length)

    def word_starts(self, input_ids: Tensor) -> Tensor:
        return self._starts.to(input_ids.device)[input_ids]

    def spec(self) -> dict[str, Any]:
        return {"kind": "wordpiece", "sha256": self.sha256}


class WholeWords:
    """One id per word: 0 is padding, 1 unknown, 2 class, 3 end, 4 mask; then come the words.

    With ``words`` (:func:`~lmmrec_core.encoders.light.networks.build_vocabulary`) each of them has its own id, and any
    other word is unknown. Without, a word's id is its hash among ``size`` ids, and two words may share one.
    """

    mask_token = 4
    special_tokens = frozenset(range(5))
    framing = frozenset({0, 2, 3})
    FIRST, UNKNOWN, CLASS, END = 5, 1, 2, 3

    def __init__(self, words: Sequence[str] | None = None, size: int = 1024) -> None:
        self.words = None if words is None else tuple(words)
        self.vocabulary_size = size if self.words is None else len(self.words) + self.FIRST
        if self.vocabulary_size <= self.FIRST:
            raise FeatureError(f"a vocabulary of {self.vocabulary_size} ids leaves none for words; give some words")
        self._numbers = {word: number for number, word in enumerate(self.words or (), start=self.FIRST)}

    def encode(self, texts: Sequence[str], max_length: int) -> dict[str, Tensor]:
        rows = []
        for text in texts:
            ids = [self._number(word) for word in split_words(text)] or [self.UNKNOWN]
            rows.append([self.CLASS, *ids[: max_length - 2], self.END])
        return _pad(rows)

    def counts(self, texts: Sequence[str], max_length: int) -> TokenCounts:
        rows = ([self._number(word) for word in split_words(text)] or [self.UNKNOWN] for text in texts)
        return count_tokens(rows, max_length - 2, self.UNKNOWN)

    def word_starts(self, input_ids: Tensor) -> Tensor:
        return torch.ones_like(input_ids, dtype=torch.bool)

    def spec(self) -> dict[str, Any]:
        words = None if self.words is None else list(self.words)
        return {"kind": "words", "size": self.vocabulary_size, "words": words}

    def _number(self, word: str) -> int:
        if self.words is not None:
            return self._numbers.get(word, self.UNKNOWN)
        number = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        return self.FIRST + number % (self.vocabulary_size - self.FIRST)


def rebuild_tokeniser(spec: Mapping[str, Any], folder: Path | None = None) -> WordPiece | WholeWords:
    """The tokeniser that made ``spec``. Raises FeatureError if the files installed, or in ``folder``, are others."""
    if spec["kind"] == "words":
        return WholeWords(spec["words"], spec["size"])
    tokeniser = WordPiece(folder)
    if tokeniser.sha256 != spec["sha256"]:
        raise FeatureError(
            f"the weights were trained with tokeniser {spec['sha256'][:16]}…, found {tokeniser.sha256[:16]}…; "
            "give the folder with the first one's tokenizer.json"
        )
    return tokeniser


def text_spec(tokeniser: Tokeniser, max_length: int) -> dict[str, Any]:
    """How texts become ids, for the key of a feature file, where a list of words is replaced by its digest."""
    spec = tokeniser.spec()
    if spec.get("words") is not None:
        spec["words"] = digest(spec["words"])
    return {"tokeniser": spec, "max_length": max_length, "truncation": "right", "unit": "tokens"}


def _pad(rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    length = max((len(row) for row in rows), default=0)
    ids = torch.zeros((len(rows), length), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
        mask[number, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}
