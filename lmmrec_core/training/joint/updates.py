"""The optimiser of an encoder that is trained with a recommender, and the record of its updates."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from lmmrec_core.checkpoints import State
from lmmrec_core.errors import TrainingError
from lmmrec_core.training.joint.chunks import decay_groups

MIN_UPDATES = 2  # an encoder that was updated less often before the kept state is not called trained
EPS = 1e-5  # share of the gradient's root mean square; rounding errors of fp32 sums are smaller

_COLUMNS = ("update", "epoch", "step", "feature_gradient", "gradient", "mean_step")


class EncoderUpdates:
    """AdamW (betas 0.9 and 0.999) on the gradient in units of its own size: g / rms(g), over all trained parameters.

    AdamW's step does not depend on the scale of g as long as g is large beside eps. The gradient of a recommendation
    loss to an encoder need not be: at the size of Amazon Baby, LATTICE's is below 1e-8 in most coordinates, and with
    the usual eps its first update would move them by a tenth of the learning rate. So the gradient is divided by its
    root mean square first, and eps is a share of that. A far smaller eps would do as well, but then coordinates that
    a loss cannot see would move by whole learning rates on rounding errors. Nothing is clipped: all gradients have
    one size. Over the first ``warm_up`` updates the rate rises to ``learning_rate`` in equal steps.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], learning_rate: float, weight_decay: float, warm_up: int = 0
    ) -> None:
        self.parameters, self.learning_rate, self.warm_up = list(parameters.values()), learning_rate, warm_up
        self.adam = torch.optim.AdamW(decay_groups(parameters, weight_decay), lr=learning_rate, eps=EPS)
        self.done = 0
        self.record: dict[str, list[float]] = {column: [] for column in _COLUMNS}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.adam.zero_grad(set_to_none=True)

    def step(self, epoch: int, step: int, feature_gradient: float) -> None:
        """One update from the gradients of the parameters, which are forgotten afterwards.

        ``epoch`` and ``step`` (of the recommender, over all epochs) count from 1; ``feature_gradient`` is the norm of
        the gradient to the features. Without any gradient it is no update. Raises TrainingError for one that is not
        finite.
        """
        given = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if not given:
            return
        norm = float(torch.stack(torch._foreach_norm(given)).norm())
        if not math.isfinite(norm):
            raise TrainingError(
                f"the encoder's gradient has norm {norm} in epoch {epoch}; lower encoder_learning_rate "
                f"(now {self.learning_rate:g}) or the recommender's learning_rate"
            )
        if norm:
            torch._foreach_div_(given, norm / math.sqrt(sum(gradient.numel() for gradient in given)))
        for group in self.adam.param_groups:
            group["lr"] = self.learning_rate * min(1.0, (self.done + 1) / max(1, self.warm_up))
        self.adam.step()
        self.zero_grad()
        self.done += 1
        if recorded(self.done):
            entry = (self.done, epoch, step, feature_gradient, norm, self.mean_step())
            for column, value in zip(_COLUMNS, entry, strict=True):
                self.record[column].append(value if isinstance(value, int) else float(f"{value:.3g}"))

    @torch.no_grad()
    def mean_step(self) -> float:
        """Mean of the last step's absolute value, in learning rates, over what has ever had a gradient; no decay."""
        total, count = 0.0, 0
        for group in self.adam.param_groups:
            first, second = group["betas"]
            for state in (self.adam.state[parameter] for parameter in group["params"] if parameter in self.adam.state):
                steps, square = float(state["step"]), state["exp_avg_sq"]
                mean = state["exp_avg"] / (1 - first**steps)
                sizes = mean.abs() / ((square / (1 - second**steps)).sqrt() + group["eps"])
                total, count = total + float(sizes.sum()), count + int((square > 0).sum())
        return total / max(1, count)

    def state(self) -> State:
        """Everything that changes but the parameters."""
        return {"adam": self.adam.state_dict(), "done": self.done, "record": self.record}

    def restore(self, state: State) -> None:
        """Go on from ``state``."""
        self.adam.load_state_dict(state["adam"])
        self.done = state["done"]
        self.record = {column: list(values) for column, values in state["record"].items()}


def recorded(update: int) -> bool:
    """Whether an update, counted from 1, is written down: all up to 16, then eight in each doubling."""
    return update % max(1, 2 ** (update.bit_length() - 4)) == 0
