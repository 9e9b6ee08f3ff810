import math

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from lmmrec_core.encoders.fine_tuning.losses import (
    cosine_logits,
    hard_negatives,
    itc,
    itm,
    mlm,
    same_content,
)


def rows(n: int, dim: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=generator), torch.randn(n, dim, generator=generator)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_contrast_equals_the_formula_by_hand():
    image, text = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    # cosines: [[1, r], [0, r]] with r = 1/sqrt 2, times the scale 2
    r = math.sqrt(0.5)
    by_row = [math.log(math.exp(2) + math.exp(2 * r)) - 2, math.log(1 + math.exp(2 * r)) - 2 * r]
    by_column = [math.log(math.exp(2) + 1) - 2, math.log(2 * math.exp(2 * r)) - 2 * r]
    expected = (sum(by_row) / 2 + sum(by_column) / 2) / 2
    assert itc(image, text, torch.tensor(2.0)).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [2, 17])
def test_contrast_equals_open_clips(n):
    image, text = rows(n)
    theirs = open_clip.ClipLoss()(
        functional.normalize(image, dim=1), functional.normalize(text, dim=1), torch.tensor(30.0)
    )
    assert itc(image, text, torch.tensor(30.0)).item() == pytest.approx(theirs.item(), abs=1e-6)


@given(n=st.integers(2, 20), seed=st.integers(0, 999), scale=st.floats(1, 100))
@settings(max_examples=25, deadline=None)
def test_contrast_is_blind_to_order_and_to_which_is_the_picture(n, seed, scale):
    image, text = rows(n, seed=seed)
    image, text, scale = image.double(), text.double(), torch.tensor(scale).double()
    order = torch.randperm(n, generator=generator(seed))
    loss = itc(image, text, scale)
    torch.testing.assert_close(itc(text, image, scale), loss, atol=1e-6, rtol=0)
    torch.testing.assert_close(itc(image[order], text[order], scale), loss, atol=1e-6, rtol=0)
    torch.testing.assert_close(itc(3 * image, 0.1 * text, scale), loss, atol=1e-6, rtol=0)


@pytest.mark.parametrize("n", [2, 5, 64])
def test_identical_rows_give_the_log_of_the_batch(n):
    one = torch.ones(n, 4)
    assert itc(one, one, torch.tensor(20.0)).item() == pytest.approx(math.log(n), abs=1e-5)


def test_similarities_are_float32_under_autocast():
    image, text = rows(8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = cosine_logits(image, text, torch.tensor(10.0))
    assert inside.dtype == torch.float32
    assert torch.equal(inside, cosine_logits(image, text, torch.tensor(10.0)))


def test_same_content_is_by_picture_or_by_text():
    same = same_content(torch.tensor([0, 1, 0, 3]), torch.tensor([5, 6, 7, 6]))
    expected = torch.eye(4, dtype=torch.bool)
    expected[0, 2] = expected[2, 0] = expected[1, 3] = expected[3, 1] = True
    assert torch.equal(same, expected)


@given(seed=st.integers(0, 999), n=st.integers(2, 12), size=st.sampled_from([1.0, 1e4]))
@settings(max_examples=50, deadline=None)
def test_negatives_are_never_the_anchor_nor_its_like(seed, n, size):
    draw = generator(seed)
    logits = size * torch.randn(n, n, generator=draw)
    groups = torch.randint(max(2, n // 2), (n,), generator=draw)
    same = same_content(groups, torch.arange(n))
    for chosen in hard_negatives(logits, same, draw):
        for anchor, other in enumerate(chosen.tolist()):
            if same[anchor].all():
                assert other == -1
            else:
                assert 0 <= other < n and not same[anchor, other]


def test_negatives_survive_confident_logits():
    logits = torch.full((6, 6), -1e4) + 2e4 * torch.eye(6)
    weights = functional.softmax(logits, dim=1).fill_diagonal_(0)
    assert weights.sum() == 0  # what the source would draw from
    text_for, image_for = hard_negatives(logits, torch.eye(6, dtype=torch.bool), generator())
    assert (text_for != torch.arange(6)).all() and (image_for != torch.arange(6)).all()


def test_negatives_are_the_hard_ones_in_their_direction():
    logits = torch.zeros(3, 3)
    logits[0, 2] = 50.0  # picture 0 is like text 2; text 0 is like nothing
    draw = generator()
    drawn = [hard_negatives(logits, torch.eye(3, dtype=torch.bool), draw) for _ in range(200)]
    assert {int(text[0]) for text, _ in drawn} == {2}
    assert {int(image[2]) for _, image in drawn} == {0}
    assert {int(image[0]) for _, image in drawn} == {1, 2}


def test_negatives_follow_the_softmax():
    logits = torch.tensor([[9.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    draw = generator()
    share = (
        sum(int(hard_negatives(logits, torch.eye(3, dtype=torch.bool), draw)[0][0]) == 1 for _ in range(3000)) / 3000
    )
    expected = math.e / (math.e + 1)
    assert abs(share - expected) < 3 * math.sqrt(expected * (1 - expected) / 3000)


def test_matching_is_the_mean_and_chunks_add_up():
    scores = torch.randn(9, 2, generator=generator())
    matches = torch.arange(9) < 3
    by_hand = -torch.stack([functional.log_softmax(row, 0)[int(hit)] for row, hit in zip(scores, matches, strict=True)])
    torch.testing.assert_close(itm(scores, matches), by_hand.mean())
    parts = itm(scores[:4], matches[:4], total=9) + itm(scores[4:], matches[4:], total=9)
    torch.testing.assert_close(parts, by_hand.mean())


def test_masked_words_are_averaged():
    logits, labels = torch.randn(3, 7, generator=generator()), torch.tensor([4, 2, 6])
    loss, logs = mlm(logits, labels), functional.log_softmax(logits, dim=1)
    torch.testing.assert_close(loss, -(logs[0, 4] + logs[1, 2] + logs[2, 6]) / 3)
    torch.testing.assert_close(mlm(logits[:1], labels[:1], total=3) + mlm(logits[1:], labels[1:], total=3), loss)


def test_no_masked_word_gives_a_loss_of_zero():
    assert mlm(torch.empty(0, 5), torch.empty(0, dtype=torch.int64)).item() == 0.0
