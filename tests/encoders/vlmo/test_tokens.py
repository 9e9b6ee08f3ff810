"""Token ids of the two tokenisers."""

import hashlib

import pytest
import torch

from lmmrec_core.encoders import minilm
from lmmrec_core.encoders.vlmo.tokens import WholeWords, WordPiece, rebuild_tokeniser, text_spec
from lmmrec_core.encoders.weights import package_file
from lmmrec_core.errors import FeatureError


@pytest.fixture(scope="module")
def wordpiece():
    return WordPiece()


def test_wordpiece_frames_lowers_strips_and_pads(wordpiece, no_network):
    made = wordpiece.encode(["Héllo WORLD", "a"], 40)
    vocabulary = (package_file(minilm.PACKAGE, lambda package: package.get_model_path()) / "vocab.txt").read_bytes()
    assert hashlib.sha256(vocabulary).hexdigest().startswith("07eced375cec")  # BERT uncased's
    words = vocabulary.decode().split("\n")
    assert made["input_ids"].tolist() == [
        [101, words.index("hello"), words.index("world"), 102],
        [101, words.index("a"), 102, 0],
    ]
    assert made["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert made["input_ids"].dtype == made["attention_mask"].dtype == torch.int64
    assert words[wordpiece.mask_token] == "[MASK]" and wordpiece.vocabulary_size == 30522


def test_truncation_counts_both_special_tokens(wordpiece):
    ids = wordpiece.encode(["word " * 100], 40)["input_ids"]
    assert ids.shape == (1, 40)
    assert ids[0, 0] == 101 and ids[0, -1] == 102 and (ids[0, 1:-1] == ids[0, 1]).all()
    assert wordpiece.encode([], 40)["input_ids"].shape == (0, 0)


def test_pieces_that_continue_a_word_are_known(wordpiece):
    ids = wordpiece.encode(["unbelievably tender", "x"], 40)["input_ids"]
    pieces = wordpiece._tokenizer.convert_ids_to_tokens(ids[0].tolist())
    assert any(piece.startswith("##") for piece in pieces)
    assert wordpiece.word_starts(ids)[0].tolist() == [not piece.startswith("##") for piece in pieces]
    assert wordpiece.word_starts(ids)[1].all()


def test_whole_words_have_own_ids_or_are_unknown():
    tokeniser = WholeWords(("blue", "owl", "small"))
    made = tokeniser.encode(["Small blue fox!", "", "owl owl owl owl"], 5)
    assert made["input_ids"].tolist() == [[2, 7, 5, 1, 3], [2, 1, 3, 0, 0], [2, 6, 6, 6, 3]]
    assert made["attention_mask"].sum(1).tolist() == [5, 3, 5]
    assert tokeniser.vocabulary_size == 8
    assert tokeniser.word_starts(made["input_ids"]).all()
    with pytest.raises(FeatureError, match="leaves none for words"):
        WholeWords(())


def test_hashed_words_are_stable_and_in_range():
    ids = WholeWords(size=50).encode(["one two three one"], 12)["input_ids"][0, 1:-1]
    assert ids[0] == ids[3] and len(ids.unique()) == 3
    assert ((ids >= 5) & (ids < 50)).all()
    expected = 5 + int.from_bytes(hashlib.sha256(b"one").digest()[:8], "big") % 45
    assert ids[0] == expected


def test_tokenisers_are_rebuilt_from_their_spec(wordpiece):
    for tokeniser in (wordpiece, WholeWords(("blue", "owl")), WholeWords(size=30)):
        again = rebuild_tokeniser(tokeniser.spec())
        assert again.spec() == tokeniser.spec()
        text = ["a blue owl"]
        assert torch.equal(again.encode(text, 9)["input_ids"], tokeniser.encode(text, 9)["input_ids"])
    with pytest.raises(FeatureError, match="trained with tokeniser 00000"):
        rebuild_tokeniser({"kind": "wordpiece", "sha256": "0" * 64})


def test_other_folders_must_hold_bert_s_tokeniser(tmp_path):
    with pytest.raises(FeatureError, match=r"no tokenizer\.json"):
        WordPiece(tmp_path)


def test_words_change_the_spec_of_texts():
    one, other = (text_spec(WholeWords(words), 24) for words in (("a", "b"), ("a", "c")))
    assert one != other and len(one["tokeniser"]["words"]) == 16
    assert text_spec(WholeWords(("a", "b")), 25) != one
