"""The three losses of picture-text training: contrast (ITC), matching (ITM), masked words (MLM); encoders spec 5.1.

All are computed in float32 at least, whatever precision the towers ran in. ``total`` lets a batch be processed in
chunks: a chunk's loss is its share of the mean over the whole batch, so that the shares add up to it.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

IGNORED = -100  # the label of a position that was not masked
_FLOOR = 1e-8  # keeps every allowed negative drawable when confident logits underflow in the softmax


def full(values: Tensor) -> Tensor:
    """Float32 for half precisions; float64 stays."""
    return values if values.dtype == torch.float64 else values.float()


def cosine_logits(
    image: Float[Tensor, "pair dim"], text: Float[Tensor, "pair dim"], scale: Float[Tensor, ""]
) -> Float[Tensor, "pair pair"]:
    """``scale`` × cosine of image row i and text row j, in float32 also under autocast."""
    with torch.autocast(image.device.type, enabled=False):
        left, right = (functional.normalize(full(rows), dim=-1) for rows in (image, text))
        return full(scale) * left @ right.T


def itc_of_logits(logits: Float[Tensor, "pair pair"]) -> Float[Tensor, ""]:
    """``1/2 [CE(logits, diag) + CE(logits', diag)]``: each image must find its text, each text its image."""
    own = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


def itc(
    image: Float[Tensor, "pair dim"], text: Float[Tensor, "pair dim"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE over the pairs of a batch; rows are normalised here (Radford et al. 2021; encoders spec 5.1).

    Identical rows give ln(pairs). Items with equal content are not treated apart, as in CLIP's own loss.
    """
    return itc_of_logits(cosine_logits(image, text, scale))


def same_content(image_group: Int[Tensor, "pair"], text_group: Int[Tensor, "pair"]) -> Bool[Tensor, "pair pair"]:
    """Pairs that share their picture or their text; a pair always shares with itself."""
    return (image_group[:, None] == image_group[None]) | (text_group[:, None] == text_group[None])


def hard_negatives(
    logits: Float[Tensor, "pair pair"], same: Bool[Tensor, "pair pair"], generator: torch.Generator
) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"]]:
    """For each image a text that is not its own, for each text such an image; −1 where the batch has none.

    Drawn with probability softmax(logits) along the row (for texts: the column) plus 1e-8; pairs in ``same`` are
    never drawn. VLMo's source has neither the floor nor the exclusion of equal content (encoders spec 5.1).
    """
    excluded = same | torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    drawn = []
    for scores, barred in ((logits, excluded), (logits.T, excluded.T)):
        weights = (functional.softmax(full(scores.detach()), dim=1) + _FLOOR).masked_fill(barred, 0.0)
        none = barred.all(dim=1)
        weights[none] = 1.0  # any weights: the draw is thrown away
        choice = torch.multinomial(weights, 1, generator=generator).squeeze(1)
        drawn.append(choice.masked_fill(none, -1))
    return drawn[0], drawn[1]


def itm(scores: Float[Tensor, "row 2"], matches: Bool[Tensor, "row"], total: int | None = None) -> Float[Tensor, ""]:
    """Cross-entropy of "belongs together" (column 1), summed over rows and divided by ``total`` (default: the rows)."""
    summed = functional.cross_entropy(full(scores), matches.long(), reduction="sum")
    return summed / (len(scores) if total is None else total)


def mlm(
    logits: Float[Tensor, "pair text vocabulary"], labels: Int[Tensor, "pair text"], total: int | None = None
) -> Float[Tensor, ""]:
    """Cross-entropy of the masked pieces, summed and divided by ``total`` (default: the masked ones; none gives 0)."""
    masked = labels != IGNORED
    summed = functional.cross_entropy(full(logits[masked]), labels[masked], reduction="sum")
    return summed / max(1, int(masked.sum()) if total is None else total)
