"""Cross-modal retrieval: whether a picture finds its text among all items, and a text its picture."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from lmmrec_core.errors import FeatureError

_KS = (1, 10, 50)
SCORE_K = 10
TIE = 1e-6  # cosines closer than this, which float32 cannot tell apart, are ties
_CELLS = 2**24  # similarities in memory at a time: 64 MiB


@dataclass(frozen=True)
class Retrieval:
    """Recall at k and median rank, in both directions."""

    queries: int
    candidates: int
    image_to_text: Mapping[str, float]  # "recall@1", "recall@10", "recall@50", "median_rank" (from 1)
    text_to_image: Mapping[str, float]

    @property
    def score(self) -> float:
        """Mean Recall@10 of the two directions, which decides when fine-tuning stops."""
        name = f"recall@{SCORE_K}"
        return (self.image_to_text[name] + self.text_to_image[name]) / 2

    def plain(self) -> dict[str, Any]:
        """The same in plain JSON values; ``Retrieval(**plain)`` is the inverse."""
        return asdict(self)


def retrieve(
    image: Float[Tensor, "item dim"],
    text: Float[Tensor, "item dim"],
    image_group: Int[Tensor, "item"],
    text_group: Int[Tensor, "item"],
    rows: Int[Tensor, "query"] | None = None,
) -> Retrieval:
    """Let each of ``rows`` (default: every item) query all items by cosine.

    Items that share the query's picture or text (equal groups) are correct too. The rank is that of the best correct
    item, counted among the wrong ones; ties with wrong items count against it. At most 2²⁴ similarities are in memory.
    Raises FeatureError for vectors that are not finite.
    """
    for name, vectors in (("image", image), ("text", text)):
        if not torch.isfinite(vectors).all():
            raise FeatureError(f"retrieval: {name} vectors are not finite; check the encoder's weights and the content")
    rows = torch.arange(len(image), device=image.device) if rows is None else rows
    left, right = functional.normalize(image.float(), dim=1), functional.normalize(text.float(), dim=1)
    return Retrieval(
        queries=len(rows),
        candidates=len(image),
        image_to_text=_summary(_ranks(left, right, image_group, text_group, rows)),
        text_to_image=_summary(_ranks(right, left, image_group, text_group, rows)),
    )


def _ranks(
    query: Tensor, candidate: Tensor, image_group: Tensor, text_group: Tensor, rows: Tensor
) -> Int[Tensor, "query"]:
    """Rank (from 1) of the best correct candidate: 1 + the number of wrong candidates that are at least as similar."""
    found = []
    for part in rows.split(max(1, _CELLS // len(candidate))):
        cosines = query[part] @ candidate.T
        correct = (image_group[part][:, None] == image_group) | (text_group[part][:, None] == text_group)
        best = cosines.masked_fill(~correct, -torch.inf).amax(dim=1, keepdim=True)
        found.append(1 + ((cosines >= best - TIE) & ~correct).sum(dim=1))
    return torch.cat(found)


def _summary(ranks: Tensor) -> dict[str, float]:
    values = {f"recall@{k}": float((ranks <= k).double().mean()) for k in _KS}
    return values | {"median_rank": float(ranks.double().quantile(0.5))}
