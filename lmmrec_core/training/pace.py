"""How long a training goes on and how often it is validated: in epochs, or in optimiser steps.

An epoch of a small data set is a handful of steps, one of a large data set hundreds, and Adam moves by steps. The
study's tracks therefore count in steps; epochs are what the toolboxes count in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MMREC_EPOCHS, _MMREC_PATIENCE = 1000, 20  # enoche/MMRec src/configs/overall.yaml: epochs, stopping_step

#: The settings of the pace come in two units: what is given in one is not given in the other.
PACE_UNITS = {"epochs": "steps", "evaluate_every": "evaluate_steps", "patience": "patience_steps"}


def laid_over(settings: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """``more`` on top: what it gives in epochs takes the place of the same in steps, and the other way round."""
    replaced = {name for pair in PACE_UNITS.items() for name in pair if set(pair) & set(more)}
    return {name: value for name, value in settings.items() if name not in replaced} | dict(more)


@dataclass(frozen=True)
class Pace:
    """Epochs of ``n_batches`` steps: at most ``epochs``, validated every ``evaluate_every``.

    Training stops at the first validation that is ``patience`` or more epochs after the best.
    """

    n_batches: int
    epochs: int
    evaluate_every: int
    patience: int

    def evaluates(self, epoch: int) -> bool:
        """Whether the model is validated after this epoch, counted from 1; after the last one in any case."""
        return epoch % self.evaluate_every == 0 or epoch == self.epochs


def pace_of(
    rows: int,
    batch_size: int,
    *,
    epochs: int | None,
    steps: int | None,
    evaluate_every: int | None,
    evaluate_steps: int | None,
    patience: int | None,
    patience_steps: int | None,
) -> Pace:
    """The pace on ``rows`` training rows; of each pair of arguments at most one is given, else MMRec's holds.

    Steps become whole epochs. The distance of two validations is the number of epochs nearest to ``evaluate_steps``,
    and at least one. ``steps`` and ``patience_steps`` are rounded up. ``patience`` counts validations, and the one
    after them stops, as in MMRec.
    """
    n_batches = -(-rows // batch_size)
    last = -(-steps // n_batches) if steps else epochs or _MMREC_EPOCHS
    every = max(1, round(evaluate_steps / n_batches)) if evaluate_steps else evaluate_every or 1
    if patience_steps:
        waits = -(-patience_steps // n_batches)
    else:
        waits = every * ((_MMREC_PATIENCE if patience is None else patience) + 1)
    return Pace(n_batches, last, every, waits)
