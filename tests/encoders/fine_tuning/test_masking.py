from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrec_core.encoders.fine_tuning.losses import IGNORED
from lmmrec_core.encoders.fine_tuning.masking import mask_words
from tests.encoders.fine_tuning.toys import encode_texts

VOCABULARY, MASK, SPECIAL = 1000, 3, frozenset({0, 1, 2, 3})
FIRST_PIECE = 700  # ids from here on go on with a word


def masked(texts: Sequence[Sequence[int]], seed: int = 0, **changes):
    tokens = encode_texts(texts)
    ids = tokens["input_ids"]
    hidden, labels = mask_words(
        ids, tokens["attention_mask"].bool(), ids < FIRST_PIECE, mask_token=MASK, special_tokens=SPECIAL,
        vocabulary_size=VOCABULARY, generator=torch.Generator().manual_seed(seed), **changes,
    )  # fmt: skip
    return ids, hidden, labels


def random_texts(count: int, seed: int = 0, longest: int = 60, piece_share: float = 0.2) -> list[list[int]]:
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=draw).tolist()
    texts = []
    for length in lengths:
        words = torch.randint(4, FIRST_PIECE, (length,), generator=draw)
        pieces = torch.randint(FIRST_PIECE, VOCABULARY, (length,), generator=draw)
        texts.append(torch.where(torch.rand(length, generator=draw) < piece_share, pieces, words).tolist())
    return texts


@given(seed=st.integers(0, 999), share=st.sampled_from([0.0, 0.3, 0.9]))
@settings(max_examples=40, deadline=None)
def test_whole_words_are_drawn_and_specials_never(seed, share):
    ids, hidden, labels = masked(random_texts(6, seed, 20, share), seed)
    chosen = labels != IGNORED
    special = torch.isin(ids, torch.tensor(sorted(SPECIAL)))
    assert not (chosen & special).any()
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(hidden[~chosen], ids[~chosen])
    assert not torch.isin(hidden[chosen], torch.tensor([0, 1, 2])).any()
    follows = (ids[:, 1:] >= FIRST_PIECE) & ~special[:, :-1] & ~special[:, 1:]  # goes on with the piece before it
    assert torch.equal(chosen[:, 1:][follows], chosen[:, :-1][follows])


@given(seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_single_piece_words_meet_the_wanted_count_exactly(seed):
    texts = random_texts(8, seed, 30, piece_share=0.0)
    _, _, labels = masked(texts, seed)
    wanted = [max(1, round(0.15 * len(text))) for text in texts]
    assert (labels != IGNORED).sum(dim=1).tolist() == wanted


def test_long_words_are_passed_over_unless_there_is_nothing_else():
    long = [10, *range(FIRST_PIECE, FIRST_PIECE + 8)]  # nine pieces, more than a tenth of anything here
    for seed in range(20):
        _, _, labels = masked([[*long, 11, 12]], seed)  # 11 pieces: 2 wanted
        assert (labels != IGNORED).nonzero()[:, 1].tolist() == [10, 11]
    _, _, labels = masked([long])
    assert (labels != IGNORED).sum() == 9


def test_rate_and_kinds_over_many_texts():
    ids, hidden, labels = masked(random_texts(10_000, longest=80, piece_share=0.1))
    real = ~torch.isin(ids, torch.tensor(sorted(SPECIAL)))
    chosen = labels != IGNORED
    assert chosen.sum() / real.sum() == pytest.approx(0.15, abs=0.01)
    kept, was = hidden[chosen], ids[chosen]
    assert (kept == MASK).float().mean() == pytest.approx(0.8, abs=0.02)
    assert (kept == was).float().mean() == pytest.approx(0.1, abs=0.02)
    other = kept[(kept != MASK) & (kept != was)]
    assert len(other) / len(kept) == pytest.approx(0.1, abs=0.02)
    assert other.min() < 20 and other.max() > 980  # from the whole vocabulary, pieces included


def test_texts_of_nothing_are_left_alone():
    ids, hidden, labels = masked([[], [7]])
    assert (labels[0] == IGNORED).all() and torch.equal(hidden[0], ids[0])
    assert (labels[1] != IGNORED).sum() == 1


def test_draws_are_a_function_of_the_generator():
    texts = random_texts(20)
    first, again, other = masked(texts, 1), masked(texts, 1), masked(texts, 2)
    assert torch.equal(first[1], again[1]) and torch.equal(first[2], again[2])
    assert not torch.equal(first[2], other[2])
