"""What a tokeniser does not read: counted by hand, told on the card, warned of above a tenth."""

import pytest

from lmmrec_core.encoders.clip.encoder import CLIP
from lmmrec_core.encoders.clip.settings import CLIPSettings
from lmmrec_core.encoders.clip.tokens import OpenClipTokens, WordNumbers
from lmmrec_core.encoders.extract import extract
from lmmrec_core.encoders.features.cards import feature_card
from lmmrec_core.encoders.features.unread import TokenCounts, count_tokens
from lmmrec_core.encoders.vlmo.tokens import WholeWords
from lmmrec_core.names import PRECISIONS
from tests.encoders.toys import MeanColour, catalogue_of


def test_counts_by_hand():
    texts = [["a", "?", "b"], ["?", "?"], [], ["a", "b", "c", "?"]]
    # three tokens are read of each: a ? b, ? ?, nothing, a b c
    assert count_tokens(texts, 3, "?") == TokenCounts(4, 8, 3, cut_texts=1, unknown_texts=2)
    assert count_tokens(texts, 3) == TokenCounts(4, 8, 0, cut_texts=1, unknown_texts=1)  # nothing is unknown


def test_whole_words_count_as_they_are_read():
    words = WholeWords(["jug", "kiln"])
    texts = ["jug kiln", "vase", "jug kiln jug kiln", "!"]
    assert words.counts(texts, max_length=5) == TokenCounts(4, 7, 2, cut_texts=1, unknown_texts=2)
    assert int((words.encode(texts, 5)["input_ids"] == WholeWords.UNKNOWN).sum()) == 2
    numbers = WordNumbers(["jug", "kiln"], size=6, max_length=5, context_length=5)
    assert numbers.counts(texts) == TokenCounts(4, 6, 1, cut_texts=1, unknown_texts=2)


def test_byte_pairs_know_every_text_and_cut_long_ones():
    open_clip = pytest.importorskip("open_clip")
    tokens = OpenClipTokens(open_clip.SimpleTokenizer(context_length=8), 8, 8)
    texts = ["a b c d e f", "a b c d e f g", "瓷器"]
    counts = tokens.counts(texts)
    assert (counts.texts, counts.cut_texts, counts.unknown_tokens, counts.unknown_texts) == (3, 1, 0, 0)
    filled = (tokens(texts)["input_ids"] != 0).sum(dim=1) - 2  # without start and end
    assert counts.tokens == int(filled.sum())


def test_texts_cut_by_characters_are_counted():
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
    }
    encoder = CLIP(CLIPSettings(config=config, seed=1, cut="characters"))
    assert encoder.token_counts(["a " * 38, "a " * 39]).cut_texts == 1  # 76 and 78 characters


def test_word_pieces_do_not_know_chinese():
    minilm = pytest.importorskip("lmmrec_core.encoders.minilm")
    pytest.importorskip(minilm.PACKAGE)
    encoder = minilm.MiniLM(minilm.MiniLMSettings(max_length=8))
    texts = ["a blue jug", "瓷罐窑", "jug " * 6, "jug " * 7]
    counts = encoder.token_counts(texts)
    tokens = encoder.preprocess_texts(texts)
    assert counts.tokens == int(tokens["attention_mask"].sum()) - 2 * 4
    assert counts.unknown_tokens == int((tokens["input_ids"] == encoder.tokenizer.unk_token_id).sum()) > 0
    assert (counts.cut_texts, counts.unknown_texts) == (1, 1)


class Words(MeanColour):
    """The toy encoder, which knows the words in ``known`` and reads four of a text."""

    known = ("jug", "kiln")

    def token_counts(self, texts):
        return count_tokens(([w if w in self.known else "?" for w in text.split()] for text in texts), 4, "?")


def extracted(texts):
    return extract({"textual": Words()}, catalogue_of(texts, [None] * len(texts)), progress=False)


def test_the_card_tells_what_was_not_read(recwarn):
    features = extracted([*["jug kiln"] * 9, "jug vase", "  "])  # one unknown token of twenty, and an empty text
    note = features.card["modalities"]["textual"]
    assert {name: note[name] for name in ("texts", "tokens", "unknown_tokens", "cut_texts", "unknown_texts")} == {
        "texts": 10, "tokens": 20, "unknown_tokens": 1, "cut_texts": 0, "unknown_texts": 0
    }  # fmt: skip
    card = feature_card("k", features.digest, features.card)
    assert "- unknown tokens: 1 of 20; texts without a known one: 0 of 10" in card
    assert "- texts cut because they are too long: 0 of 10" in card
    assert not recwarn.list


def test_a_tenth_is_allowed_and_more_is_warned_of(recwarn):
    extracted([*["jug kiln"] * 8, "vase bowl", "jug kiln"])  # 2 of 20
    extracted(["jug kiln jug kiln jug", *["jug"] * 9])  # 1 of 10 texts is cut
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"toy: .* does not know 15% of their 20 tokens, and nothing of 1 "):
        extracted([*["jug kiln"] * 8, "vase bowl", "jug plate"])
    with pytest.warns(UserWarning, match=r"cuts 2 of the 10, which are too long"):
        extracted([*["jug kiln jug kiln jug"] * 2, *["jug"] * 8])


def test_an_encoder_that_counts_nothing_has_a_card_as_before():
    features = extract({"textual": MeanColour()}, catalogue_of(["a"], [None]), progress=False)
    assert "tokens" not in features.card["modalities"]["textual"]


def test_counting_changes_no_key():
    """What is counted stands beside the spec, which is the key."""
    features = extracted(["jug"])
    assert "tokens" not in str(features.card["spec"]) and features.card["precision"] == PRECISIONS[0]
