"""Which rows of the feature gradient are sent on into the encoder, and what that costs."""

from collections.abc import Mapping, Sequence
from statistics import median

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lmmrec_core.flow import Modality

WHAT = {
    "window": "exact gradient of the mean loss of each window, at current features",
    "bank": "only the batch's items are encoded and receive gradient; other features are up to one epoch old",
    "top": "current features; only the rows with the largest gradient are sent into the encoder (biased)",
    "sampled": "current features; rows are drawn by gradient norm and weighted by 1 / probability (unbiased, noisier)",
}


def row_norms(gradients: Mapping[Modality, Tensor]) -> Float[Tensor, "item"]:
    """Norm of each item's gradient, the modalities side by side."""
    return torch.stack([gradient.square().sum(1) for gradient in gradients.values()]).sum(0).sqrt()


def largest(norms: Float[Tensor, "item"], k: int) -> Int[Tensor, "kept"]:
    """The ``k`` items with the largest norm, ascending; none whose norm is zero."""
    kept = torch.zeros_like(norms, dtype=torch.bool)
    kept[torch.sort(norms, descending=True, stable=True).indices[:k]] = True
    return (kept & (norms > 0)).nonzero().flatten()


def sampled(
    norms: Float[Tensor, "item"], k: int, generator: torch.Generator
) -> tuple[Int[Tensor, "kept"], Float[Tensor, "kept"]]:
    """Items kept with probability ``p_i = min(1, k n_i / sum of n)``, independently, and their weights ``1 / p_i``.

    At most ``k`` are expected. The generator lives on the CPU, so that draws do not depend on the device.
    """
    total = norms.sum()
    chance = (k * norms / total).clamp(max=1) if bool(total > 0) else torch.zeros_like(norms)
    draw = torch.rand(len(norms), generator=generator).to(norms.device)
    kept = (draw < chance).nonzero().flatten()
    return kept, 1 / chance[kept]


def agreement(exact: Float[Tensor, "weight"], approximate: Float[Tensor, "weight"]) -> tuple[float, float]:
    """Cosine of the two gradients, and ``|approximate - exact| / |exact|``; (1, 0) when both are zero."""
    sizes = exact.double().norm(), approximate.double().norm()
    if not sizes[0] or not sizes[1]:
        return (1.0, 0.0) if sizes[0] == sizes[1] else (0.0, 1.0 if sizes[0] else float("inf"))
    cosine = float(torch.dot(exact.double(), approximate.double()) / sizes[0] / sizes[1])
    return cosine, float((approximate.double() - exact.double()).norm() / sizes[0])


def agreement_notes(measured: Sequence[tuple[int, float, float]]) -> dict[str, object]:
    """All measurements (epoch, cosine, relative error), and our rule for accepting an approximation."""
    medians = [median(c for number, c, _ in measured if number == epoch) for epoch in {entry[0] for entry in measured}]
    return {
        "against_exact": [
            {"epoch": epoch, "cosine": cosine, "relative_error": error} for epoch, cosine, error in measured
        ],
        "median_cosine_above_0.95_in_every_epoch": bool(medians) and min(medians) > 0.95,
    }


def chosen_window(index: int, n_windows: int, measured: int) -> bool:
    """Whether window ``index`` is one of ``measured`` spread evenly over an epoch."""
    return index * measured // n_windows > (index - 1) * measured // n_windows if measured else False
