"""Many Adam steps with a gradient of zeros in one pass: how a parameter coasts on its momentum.

A zero-filled parameter (see ``optimiser``) that nobody reads between two of its gradients need not be written at
every step. With moments m and v, bias corrections c1 and c2 and learning rate lr, the j-th of n such steps moves it by
``a_j m / (b_j sqrt(v) + eps)``, where ``a_j = lr_j beta1^j / c1`` and ``b_j = sqrt(beta2^j / c2)``. The b_j of
neighbouring steps are all but equal, so the sum over j is ``1 / (b sqrt(v) + eps)`` times a short power series in
``r = b sqrt(v) / (b sqrt(v) + eps)`` (b the weighted mean of the b_j): exact to rounding, one pass instead of n.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_SPREAD = 0.03  # largest relative distance of a b_j from the mean of its group
_TERMS = 5  # of the series; what is left out is below _SPREAD ** _TERMS = 2.4e-8
_CHUNK = 2**18  # entries at a time, so that temporaries stay in the cache


def coast(
    parameter: Tensor,
    state: dict[str, Tensor],
    rates: Sequence[float],
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> None:
    """Move ``parameter`` and its Adam ``state`` (step, exp_avg, exp_avg_sq) by ``len(rates)`` steps without gradient.

    In place. ``rates`` are the learning rates of the steps, in order.
    """
    done, (beta1, beta2) = int(state["step"].item()), betas
    groups = _groups(done, rates, betas)
    flat = [tensor.detach().view(-1) for tensor in (parameter, state["exp_avg"], state["exp_avg_sq"])]
    with torch.no_grad():
        for value, mean, square in zip(*(tensor.split(_CHUNK) for tensor in flat), strict=True):
            root = square.sqrt()
            factor: Tensor | None = None
            for level, weights in groups:
                scaled = root * level
                below = scaled + eps
                ratio = scaled.div_(below)
                series = torch.full_like(ratio, weights[-1])
                for weight in reversed(weights[:-1]):
                    series.mul_(ratio).add_(weight)
                series.div_(below)
                factor = series if factor is None else factor.add_(series)
            if factor is not None:
                value.addcmul_(mean, factor, value=-1)
            mean.mul_(beta1 ** len(rates))
            square.mul_(beta2 ** len(rates))
    state["step"] += len(rates)


def _groups(done: int, rates: Sequence[float], betas: tuple[float, float]) -> list[tuple[float, list[float]]]:
    """Runs of steps with nearly equal b: (b of the group, coefficients of the series in r)."""
    beta1, beta2 = betas
    steps = []
    for place, rate in enumerate(rates, start=1):
        a = rate * beta1**place / (1 - beta1 ** (done + place))
        steps.append((a, (beta2**place / (1 - beta2 ** (done + place))) ** 0.5))
    groups: list[tuple[float, list[float]]] = []
    while steps:
        size = 1
        while size < len(steps) and abs(steps[size][1] / steps[0][1] - 1) < _SPREAD:
            size += 1
        chosen, steps = steps[:size], steps[size:]
        total = sum(a for a, _ in chosen)
        level = sum(a * b for a, b in chosen) / total if total else chosen[0][1]
        # 1 / (b_j q + eps) = 1 / (b q + eps) * sum over k of (-delta_j r)^k, delta_j = b_j / b - 1
        groups.append((level, [sum(a * (1 - b / level) ** k for a, b in chosen) for k in range(_TERMS)]))
    return groups
