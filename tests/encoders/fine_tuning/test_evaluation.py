import pytest
import torch

from lmmrec_core.encoders.fine_tuning.evaluation import Standing, standing_of
from lmmrec_core.encoders.fine_tuning.gradients import Passes
from lmmrec_core.encoders.fine_tuning.losses import itc
from lmmrec_core.encoders.fine_tuning.retrieval import retrieve
from lmmrec_core.errors import FeatureError
from tests.encoders.fine_tuning.toys import ToyTowers, factor_pairs, whole_batch

PAIRS = factor_pairs()


def test_it_equals_encoding_everything_at_once():
    encoder = ToyTowers(terms=2)
    batch, held = whole_batch(PAIRS), torch.from_numpy(PAIRS.held_out_rows)
    with torch.no_grad():
        terms = encoder.contrast(batch.pixels, batch.tokens)
        losses = [itc(image[held], text[held], scale) for image, text, scale in terms]
    own = torch.arange(len(PAIRS))
    standing = standing_of(encoder, PAIRS, Passes(chunk=7))
    assert standing.held_out == retrieve(terms[0][0], terms[0][1], own, own, held)
    assert standing.everything == retrieve(terms[0][0], terms[0][1], own, own)
    assert standing.loss == pytest.approx(float(sum(losses)) / 2, abs=1e-6)


def test_it_is_without_dropout_and_leaves_no_gradient():
    encoder = ToyTowers(dropout=0.5)
    encoder.module.train()
    assert standing_of(encoder, PAIRS, Passes()) == standing_of(ToyTowers(), PAIRS, Passes())
    assert not encoder.module.training and all(p.grad is None for p in encoder.module.parameters())


def test_equals_are_told_apart_by_their_loss():
    standing = standing_of(ToyTowers(), PAIRS, Passes())
    lower = Standing(standing.held_out, standing.everything, standing.loss - 0.1)
    better = standing_of(ToyTowers(seed=3), PAIRS, Passes())
    assert lower.rank > standing.rank
    assert (better.rank > standing.rank) == (better.held_out.score > standing.held_out.score)
    assert Standing.of(standing.plain()) == standing


def test_vectors_that_are_not_numbers_are_refused():
    encoder = ToyTowers()
    with torch.no_grad():
        encoder.module.text_head.weight[0, 0] = float("inf")
    with pytest.raises(FeatureError, match="text vectors are not finite"):
        standing_of(encoder, PAIRS, Passes())
