"""The three losses of picture-text training: contrast (ITC), matching (ITM), masked words (MLM).

They are those of VLMo (Bao et al. 2022, arXiv 2111.02358, section 3.3); CLIP has the first. All are computed in
float32 at least, whatever the precision of the towers. With ``total`` a batch can be processed in chunks: the loss of a
chunk is its share of the mean over the whole batch.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

IGNORED = -100  # the label of a position that was not masked
_FLOOR = 1e-8  # keeps every allowed negative drawable when confident logits underflow in the softmax


def full(values: Tensor) -> Tensor:
    """Half-precision values as float32; float64 stays as it is."""
    return values if values.dtype == torch.float64 else values.float()


def cosine_logits(
    image: Float[Tensor, "pair dim"], text: Float[Tensor, "pair dim"], scale: Float[Tensor, ""]
) -> Float[Tensor, "pair pair"]:
    """``scale`` × cosine of image row i and text row j, in float32 even under autocast."""
    with torch.autocast(image.device.type, enabled=False):
        left, right = (functional.normalize(full(rows), dim=-1) for rows in (image, text))
        return full(scale) * left @ right.T


def itc(
    image: Float[Tensor, "pair dim"], text: Float[Tensor, "pair dim"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE over the pairs of a batch (Radford et al. 2021, figure 3); rows are normalised here.

    With ``logits = scale × cosines`` it is ``1/2 [CE(logits, diag) + CE(logits', diag)]``: each image must find its
    text, each text its image. As in CLIP, items of equal content are not treated specially. Identical rows give
    ln(pairs).
    """
    logits = cosine_logits(image, text, scale)
    own = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


def same_content(image_group: Int[Tensor, "pair"], text_group: Int[Tensor, "pair"]) -> Bool[Tensor, "pair pair"]:
    """Pairs that share their picture or their text; a pair always shares with itself."""
    return (image_group[:, None] == image_group[None]) | (text_group[:, None] == text_group[None])


def hard_negatives(
    logits: Float[Tensor, "pair pair"], same: Bool[Tensor, "pair pair"], generator: torch.Generator
) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"]]:
    """For each image a text that is not its own, and for each text such an image; −1 if the batch has none.

    They are drawn in proportion to softmax(logits) along the row (for texts: the column) plus 1e-8, never among
    ``same``. VLMo's source (microsoft/unilm, vlmo) has neither that floor nor the exclusion of equal content.
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
    """Cross-entropy of "belongs together" (column 1): the sum over rows, divided by ``total`` (default: the rows)."""
    summed = functional.cross_entropy(full(scores), matches.long(), reduction="sum")
    return summed / (len(scores) if total is None else total)


def mlm(
    logits: Float[Tensor, "masked vocabulary"], labels: Int[Tensor, "masked"], total: int | None = None
) -> Float[Tensor, ""]:
    """Cross-entropy of masked pieces: their sum, divided by ``total`` (default: their number); 0 if there are none."""
    summed = functional.cross_entropy(full(logits), labels, reduction="sum")
    return summed / max(1, len(labels) if total is None else total)
