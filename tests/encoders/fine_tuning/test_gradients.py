import pytest
import torch
from torch import Tensor

from lmmrec_core.encoders.fine_tuning.gradients import (
    Passes,
    first_logits,
    itc_backward,
    itm_backward,
    mlm_backward,
    refuse_batch_norm,
)
from lmmrec_core.encoders.fine_tuning.losses import IGNORED, cosine_logits, hard_negatives, itc, itm, mlm
from lmmrec_core.encoders.fine_tuning.masking import mask_words
from lmmrec_core.encoders.fine_tuning.pairs import PairBatch
from lmmrec_core.errors import ConfigError, TrainingError
from tests.encoders.fine_tuning.toys import MASK, VOCABULARY, FusingToy, ToyTowers, factor_pairs, whole_batch

BATCH = whole_batch(factor_pairs(), 37)
CHUNKS = [None, 1, 7, 37, 100]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradients(encoder: ToyTowers) -> dict[str, Tensor]:
    found = {n: p.grad.clone() for n, p in encoder.module.named_parameters() if p.grad is not None}
    encoder.module.zero_grad()
    return found


def relative_error(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Norm of the difference over the norm, all parameters as one vector."""
    assert found.keys() == expected.keys()
    difference = torch.cat([(found[n] - expected[n]).flatten() for n in expected])
    return float(difference.norm() / torch.cat([expected[n].flatten() for n in expected]).norm())


def naive_itc(encoder: ToyTowers) -> tuple[float, dict[str, Tensor]]:
    loss = torch.stack([itc(*term) for term in encoder.contrast(BATCH.pixels, BATCH.tokens)]).mean()
    loss.backward()
    return loss.item(), gradients(encoder)


@pytest.mark.parametrize("terms", [1, 2])
@pytest.mark.parametrize("chunk", CHUNKS)
def test_cached_contrast_equals_the_naive_one(chunk, terms):
    encoder = ToyTowers(terms=terms)
    expected_loss, expected = naive_itc(encoder)
    loss, logits = itc_backward(encoder, BATCH, Passes(chunk=chunk))
    found = gradients(encoder)
    assert loss == pytest.approx(expected_loss, abs=1e-5)
    assert relative_error(found, expected) < 1e-5
    assert found["logit_scale"].item() == pytest.approx(expected["logit_scale"].item(), rel=1e-4)
    first = encoder.contrast(BATCH.pixels, BATCH.tokens)[0]
    torch.testing.assert_close(logits, cosine_logits(*first).detach(), atol=1e-5, rtol=1e-5)


def test_cached_contrast_is_exact_in_float64():
    encoder = ToyTowers(terms=2)
    encoder.module.double()
    batch = PairBatch(BATCH.pixels.double(), BATCH.tokens, BATCH.image_group, BATCH.text_group)
    encoder.text_rows = lambda tokens: encoder.module.words(tokens["input_ids"]).mean(dim=1)
    torch.stack([itc(*term) for term in encoder.contrast(batch.pixels, batch.tokens)]).mean().backward()
    expected = gradients(encoder)
    itc_backward(encoder, batch, Passes(chunk=5))
    assert relative_error(gradients(encoder), expected) < 1e-10


def test_dropout_is_replayed(monkeypatch):
    """The naive form draws chunk by chunk, as the cached one does; without replay the error would be large."""
    encoder = ToyTowers(dropout=0.4)
    encoder.module.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        pieces = [encoder.contrast(*BATCH.take(rows, rows, "cpu"))[0] for rows in torch.arange(37).split(7)]
        after = torch.get_rng_state()
        itc(torch.cat([p[0] for p in pieces]), torch.cat([p[1] for p in pieces]), pieces[0][2]).backward()
        expected = gradients(encoder)
        torch.manual_seed(1)
        itc_backward(encoder, BATCH, Passes(chunk=7))
        assert relative_error(gradients(encoder), expected) < 1e-5
        assert torch.equal(torch.get_rng_state(), after)  # the next draw is a new one
        monkeypatch.setattr("lmmrec_core.encoders.fine_tuning.gradients._GeneratorStates.restore", lambda self: None)
        torch.manual_seed(1)
        itc_backward(encoder, BATCH, Passes(chunk=7))
        assert relative_error(gradients(encoder), expected) > 0.05


def test_batch_norm_that_learns_statistics_is_refused():
    encoder = ToyTowers(batch_norm=True)
    expected_loss, expected = naive_itc(encoder)
    loss, _ = itc_backward(encoder, BATCH, Passes(chunk=7))
    assert loss == pytest.approx(expected_loss, abs=1e-5) and relative_error(gradients(encoder), expected) < 1e-5
    encoder.module.train()
    with pytest.raises(TrainingError, match="batch-norm 'norm' is in training mode"):
        itc_backward(encoder, BATCH, Passes(chunk=7))
    encoder.module.norm.eval()
    refuse_batch_norm(encoder.module)


def test_chunks_bound_what_an_encoder_sees_at_a_time():
    class Watching(FusingToy):
        seen: list[int]

        def image_rows(self, pixels: Tensor) -> Tensor:
            self.seen.append(len(pixels))
            return super().image_rows(pixels)

    encoder = Watching()
    encoder.seen = []
    passes = Passes(chunk=6)
    _, logits = itc_backward(encoder, BATCH, passes)
    itm_backward(encoder, BATCH, logits, 1.0, generator(), passes)
    mlm_backward(encoder, BATCH, 1.0, generator(), passes)
    first_logits(encoder, BATCH, passes)
    assert max(encoder.seen) == 6


@pytest.mark.parametrize("chunk", CHUNKS)
def test_matching_in_chunks_equals_the_naive_one(chunk):
    encoder = FusingToy()
    logits = first_logits(encoder, BATCH, Passes())
    text_for, image_for = hard_negatives(logits, torch.eye(37, dtype=torch.bool), generator(3))
    own = torch.arange(37)
    images, texts = torch.cat([own, own, image_for]), torch.cat([own, text_for, own])
    sequence = encoder.fused(*BATCH.take(images, texts, "cpu"))
    loss = itm(encoder.match_logits(sequence), torch.arange(111) < 37)
    (0.5 * loss).backward()
    expected = gradients(encoder)
    found = itm_backward(encoder, BATCH, logits, 0.5, generator(3), Passes(chunk=chunk))
    assert found == pytest.approx(loss.item(), abs=1e-5)
    assert relative_error(gradients(encoder), expected) < 1e-5


def test_matching_sees_one_match_in_three_and_no_wrong_negative():
    """Of a picture that all show there is no negative; two that show the same are not each other's."""
    seen: list[tuple[Tensor, Tensor]] = []

    class Watching(FusingToy):
        def fused(self, pixels, tokens):
            seen.append((pixels, tokens["input_ids"]))
            return super().fused(pixels, tokens)

    encoder = Watching()
    itm_backward(encoder, BATCH, first_logits(encoder, BATCH, Passes()), 1.0, generator(), Passes())
    assert len(seen[0][0]) == 3 * 37
    one_picture = PairBatch(BATCH.pixels, BATCH.tokens, torch.zeros(37, dtype=torch.int64), BATCH.text_group)
    seen.clear()
    loss = itm_backward(encoder, one_picture, torch.zeros(37, 37), 1.0, generator(), Passes())
    assert len(seen[0][0]) == 37 and loss > 0
    groups = BATCH.image_group.clone()
    groups[5] = groups[4]
    twins = PairBatch(BATCH.pixels, BATCH.tokens, groups, BATCH.text_group)
    logits = torch.zeros(37, 37)
    logits[4, 5] = logits[5, 4] = 50.0  # the twins are each other's hardest
    seen.clear()
    itm_backward(encoder, twins, logits, 1.0, generator(), Passes())
    pixels, ids = seen[0]
    length = BATCH.tokens["input_ids"].shape[1]
    pairs = {(tuple(p.flatten().tolist()), tuple(t.tolist())) for p, t in zip(pixels, ids[:, :length], strict=True)}
    for image, text in ((4, 5), (5, 4)):
        twin = (tuple(BATCH.pixels[image].flatten().tolist()), tuple(BATCH.tokens["input_ids"][text].tolist()))
        assert twin not in pairs


@pytest.mark.parametrize("chunk", CHUNKS)
def test_masked_words_in_chunks_equal_the_naive_form(chunk):
    encoder = FusingToy()
    ids = BATCH.tokens["input_ids"]
    hidden, labels = mask_words(
        ids, BATCH.tokens["attention_mask"].bool(), encoder.word_starts(ids), mask_token=MASK,
        special_tokens=encoder.special_tokens, vocabulary_size=VOCABULARY, generator=generator(5),
    )  # fmt: skip
    sequence = encoder.fused(BATCH.pixels, {**BATCH.tokens, "input_ids": hidden})
    masked = labels != IGNORED
    loss = mlm(encoder.word_logits(sequence, masked), labels[masked])
    (0.25 * loss).backward()
    expected = gradients(encoder)
    found = mlm_backward(encoder, BATCH, 0.25, generator(5), Passes(chunk=chunk))
    assert found == pytest.approx(loss.item(), abs=1e-5)
    assert relative_error(gradients(encoder), expected) < 1e-5


def test_masked_words_need_the_named_tokens():
    bare = PairBatch(BATCH.pixels, {"input_ids": BATCH.tokens["input_ids"]}, BATCH.image_group, BATCH.text_group)
    with pytest.raises(ConfigError, match="no 'attention_mask'"):
        mlm_backward(FusingToy(), bare, 1.0, generator(), Passes())


def test_half_precision_is_near_and_leaves_in_float32():
    encoder = FusingToy()
    expected_loss, expected = naive_itc(encoder)
    for chunk in (None, 7):
        loss, logits = itc_backward(encoder, BATCH, Passes(precision="bf16", chunk=chunk))
        assert logits.dtype == torch.float32 and loss != expected_loss
        assert loss == pytest.approx(expected_loss, rel=0.02)
        found = gradients(encoder)
        assert all(gradient.dtype == torch.float32 for gradient in found.values())
        assert relative_error(found, expected) < 0.05
    passes = Passes(precision="bf16", chunk=7)
    assert itm_backward(encoder, BATCH, logits, 1.0, generator(), passes) == pytest.approx(0.69, abs=0.1)
    assert mlm_backward(encoder, BATCH, 1.0, generator(), passes) == pytest.approx(3.2, abs=0.3)
