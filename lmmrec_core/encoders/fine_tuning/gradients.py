"""Gradients of a batch's objectives, in chunks, so that the memory for activations does not grow with the batch.

The contrast couples all pairs of a batch. Gradient caching (Gao et al. 2021, arXiv 2101.06983) still needs the
activations of one chunk only: encode all chunks without gradient, differentiate the loss with respect to the rows, then
encode each chunk again and push its rows' gradient through. Matching and masked words are sums over pairs, so their
gradient is simply the sum over chunks.

Of several processes each takes its share of the pairs. The losses returned are those of the whole batch; the gradients
left in the parameters are a process's part of the whole, still to be added up.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lmmrec_core.encoders.fine_tuning.losses import (
    IGNORED,
    cosine_logits,
    full,
    hard_negatives,
    itc,
    itm,
    mlm,
    same_content,
)
from lmmrec_core.encoders.fine_tuning.masking import mask_words
from lmmrec_core.encoders.fine_tuning.pairs import PairBatch
from lmmrec_core.encoders.fine_tuning.processes import Processes
from lmmrec_core.encoders.fine_tuning.roles import FusingEncoder
from lmmrec_core.errors import ConfigError, TrainingError
from lmmrec_core.roles import TrainableEncoder

Terms = list[tuple[Tensor, Tensor, Tensor]]  # per contrastive term: image rows, text rows, scale
BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)


@dataclass(frozen=True)
class Passes:
    """How an encoder is run: on which device, in which precision, with the activations of how many pairs at a time,
    and among which processes a batch is shared."""

    device: str = "cpu"
    precision: str = "fp32"
    chunk: int | None = None  # None: the whole batch, or this process's share of it
    processes: Processes = field(default_factory=Processes)

    @contextmanager
    def towers(self) -> Iterator[None]:
        """The towers' precision. Each pass needs its own context: autocast caches weights cast without gradient."""
        kind = torch.device(self.device).type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            yield

    def pieces(self, count: int, divisor: int = 1) -> tuple[Tensor, ...]:
        """This process's share of 0 … count - 1 in pieces of the chunk's size divided by ``divisor``; maybe none."""
        share = self.processes.share(count)
        size = len(share) if self.chunk is None else max(1, self.chunk // divisor)
        return share.split(size) if len(share) else ()


def refuse_batch_norm(module: nn.Module) -> None:
    """Raises TrainingError for batch-norm in training mode: what it returns would depend on the chunks."""
    for name, layer in module.named_modules():
        if isinstance(layer, BATCH_NORMS) and layer.training:
            raise TrainingError(
                f"batch-norm {name!r} is in training mode: a pair's rows would depend on the others in its chunk; "
                "put it into evaluation mode"
            )


def contrast(encoder: TrainableEncoder, batch: PairBatch, rows: Tensor, passes: Passes) -> Terms:
    """The contrastive terms of some pairs of a batch, in float32."""
    with passes.towers():
        terms = encoder.contrast(*batch.take(rows, rows, passes.device))
    return [(full(image), full(text), full(scale)) for image, text, scale in terms]


def itc_backward(encoder: TrainableEncoder, batch: PairBatch, passes: Passes) -> tuple[float, Tensor]:
    """Add the gradient of the contrast, the mean over the encoder's terms, to the parameters.

    Returns the loss and the logits [pair, pair] of the first term, without gradient. Chunks do not change the result:
    dropout draws are replayed. Raises TrainingError for batch-norm in training mode.
    """
    refuse_batch_norm(encoder.module)
    pieces = passes.pieces(len(batch))
    if passes.processes.count == len(pieces) == 1:
        terms = contrast(encoder, batch, pieces[0], passes)
        loss = _mean_itc(terms)
        _backward(loss)
        return loss.item(), cosine_logits(*terms[0]).detach()
    states, cached = [], []
    with torch.no_grad():
        for piece in pieces:
            states.append(_GeneratorStates(passes.device))
            cached.append(contrast(encoder, batch, piece, passes))
        after = _GeneratorStates(passes.device)
        leaves = [
            (image.requires_grad_(), text.requires_grad_(), scale.clone().requires_grad_())
            for image, text, scale in _whole_terms(encoder, batch, cached, passes)
        ]
    loss = _mean_itc(leaves)
    loss.backward()
    for piece, state in zip(pieces, states, strict=True):
        state.restore()
        surrogate = torch.zeros((), device=passes.device)
        for term, leaf in zip(contrast(encoder, batch, piece, passes), leaves, strict=True):
            for rows, cache in zip(term[:2], leaf[:2], strict=True):
                assert cache.grad is not None
                surrogate = surrogate + (rows * cache.grad[piece.to(rows.device)]).sum()
            if piece[0] == 0:  # all chunks and processes share one scale, so its gradient counts once
                assert leaf[2].grad is not None
                surrogate = surrogate + term[2] * leaf[2].grad
        _backward(surrogate)
    after.restore()
    return loss.item(), cosine_logits(*leaves[0]).detach()


def _backward(loss: Tensor) -> None:
    if loss.requires_grad:  # the trained part may have no say in this objective
        loss.backward()


def _mean_itc(terms: Terms) -> Tensor:
    return torch.stack([itc(*term) for term in terms]).mean()


def _whole_terms(encoder: TrainableEncoder, batch: PairBatch, parts: list[Terms], passes: Passes) -> Terms:
    """The terms of the whole batch, from those of this process's pieces."""
    if not parts:  # a batch of fewer pairs than processes: one pair is encoded for the shapes, and not used
        one = contrast(encoder, batch, torch.zeros(1, dtype=torch.int64), passes)
        parts = [[(image[:0], text[:0], scale) for image, text, scale in one]]
    whole: Terms = []
    for term in zip(*parts, strict=True):
        image, text = (passes.processes.whole(torch.cat([part[side] for part in term]), len(batch)) for side in (0, 1))
        whole.append((image, text, term[0][2]))
    return whole


class _GeneratorStates:
    """The present states of the global generators, from which dropout draws."""

    def __init__(self, device: str) -> None:
        self.device = device if torch.device(device).type == "cuda" else None
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state(self.device) if self.device else None

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, self.device or "cuda")


def first_logits(encoder: TrainableEncoder, batch: PairBatch, passes: Passes) -> Tensor:
    """The logits from which negatives are drawn if the contrast itself is not an objective."""
    with torch.no_grad():
        parts = [contrast(encoder, batch, piece, passes) for piece in passes.pieces(len(batch))]
        return cosine_logits(*_whole_terms(encoder, batch, parts, passes)[0])


def itm_backward(
    encoder: FusingEncoder, batch: PairBatch, logits: Tensor, weight: float, generator: torch.Generator, passes: Passes
) -> float:
    """Add the gradient of ``weight`` × matching loss over each pair and one hard negative per picture and per text.

    A third of the fused rows match (more if the batch has no negative for some). A pair gives three fused rows, so
    pieces are a third of the chunk. Returns the loss without its weight.
    """
    same = same_content(batch.image_group, batch.text_group)
    text_for, image_for = passes.processes.told(hard_negatives(logits.cpu(), same, generator))
    total = len(batch) + int((text_for >= 0).sum() + (image_for >= 0).sum())

    def share(rows: Tensor) -> Tensor:
        lone_image, lone_text = rows[text_for[rows] >= 0], rows[image_for[rows] >= 0]
        images = torch.cat([rows, lone_image, image_for[lone_text]])
        texts = torch.cat([rows, text_for[lone_image], lone_text])
        with passes.towers():
            scores = encoder.match_logits(encoder.fused(*batch.take(images, texts, passes.device)))
        matches = torch.arange(len(images), device=scores.device) < len(rows)
        return itm(scores, matches, total)

    return _accumulate(share, passes.pieces(len(batch), 3), weight, passes.processes)


def mlm_backward(
    encoder: FusingEncoder, batch: PairBatch, weight: float, generator: torch.Generator, passes: Passes
) -> float:
    """Add the gradient of ``weight`` × masked-word loss; returns the loss without its weight.

    Raises ConfigError for tokens without ``input_ids`` and ``attention_mask``.
    """
    for name in ("input_ids", "attention_mask"):
        if name not in batch.tokens:
            raise ConfigError(
                f"{encoder.name}: its tokens have no {name!r}, which mlm needs; take mlm out of objectives"
            )
    ids = batch.tokens["input_ids"]
    hidden, labels = mask_words(
        ids,
        batch.tokens["attention_mask"].bool(),
        encoder.word_starts(ids),
        mask_token=encoder.mask_token,
        special_tokens=encoder.special_tokens,
        vocabulary_size=encoder.vocabulary_size,
        generator=generator,
    )
    masked = PairBatch(batch.pixels, {**batch.tokens, "input_ids": hidden}, batch.image_group, batch.text_group)
    total = int((labels != IGNORED).sum())

    def share(rows: Tensor) -> Tensor:
        with passes.towers():
            sequence = encoder.fused(*masked.take(rows, rows, passes.device))
            words = encoder.word_logits(sequence, labels[rows] != IGNORED)
        own = labels[rows]
        return mlm(words, own[own != IGNORED].to(words.device), total)

    return _accumulate(share, passes.pieces(len(batch)), weight, passes.processes)


def _accumulate(
    share: Callable[[Tensor], Tensor], pieces: tuple[Tensor, ...], weight: float, processes: Processes
) -> float:
    total = 0.0
    for piece in pieces:
        loss = share(piece)
        _backward(weight * loss)
        total += loss.item()
    return float(processes.sum_(torch.tensor(total, dtype=torch.float64)))
