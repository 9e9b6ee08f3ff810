"""Adam with the two meanings of a cleared gradient: skip, or zero-fill as before PyTorch 2 (recommenders spec 1.5)."""

from typing import Any

import torch
from torch import Tensor, nn

from lmmrec_core.training.momentum import coast


class Optimiser:
    """Adam (betas 0.9 and 0.999, eps 1e-8, coupled weight decay) over the parameters of a model.

    With ``model.zero_fill_gradients`` a parameter that once received a gradient and now gets none is updated with a
    gradient of zeros and so keeps moving on its momentum; without, it stands still. Feature matrices trained as free
    parameters (``model.free_features``, encoders spec 5.2) are always zero-filled and never decay.

    Parameters that a zero-filling model reads at the first batch of an epoch only (``model.resting_parameters()``)
    make their steps without gradient all at once in ``settle``, which the loop calls at the end of an epoch.
    """

    def __init__(self, model: nn.Module, learning_rate: float, weight_decay: float) -> None:
        self.zero_fill = bool(getattr(model, "zero_fill_gradients", False))
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        fused = all(parameter.device.type in ("cpu", "cuda") for parameter in self.parameters)
        features: Any = getattr(model, "free_features", None)
        self.free = {id(parameter) for parameter in features.parameters()} if features is not None else set()
        groups: list[dict[str, Any]] = [
            {"params": [parameter for parameter in self.parameters if id(parameter) not in self.free]}
        ]
        if features is not None:
            groups.append({"params": list(features.parameters()), "weight_decay": 0.0})
        self.adam = torch.optim.Adam(groups, lr=learning_rate, weight_decay=weight_decay, fused=fused)
        self._zeros: dict[int, Tensor] = {}
        resting = getattr(model, "resting_parameters", None) if self.zero_fill and not weight_decay else None
        self.resting = {id(parameter) for parameter in resting()} if resting is not None else set()
        self._idle: dict[
            int, list[float]
        ] = {}  # learning rates of the steps that a resting parameter still has to make

    def set_learning_rate(self, learning_rate: float) -> None:
        for group in self.adam.param_groups:
            group["lr"] = learning_rate

    def step(self, loss: Tensor) -> None:
        """Gradients of ``loss``, then one update."""
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        if self.zero_fill or self.free:
            for place, parameter in enumerate(self.parameters):
                filled = self.zero_fill or id(parameter) in self.free
                if filled and parameter.grad is None and parameter in self.adam.state:
                    if id(parameter) in self.resting:
                        self._idle.setdefault(place, []).append(self.adam.param_groups[0]["lr"])
                        continue
                    if place not in self._zeros:
                        self._zeros[place] = torch.zeros_like(parameter)
                    parameter.grad = self._zeros[place]
        self.adam.step()

    def settle(self) -> None:
        """Make the steps that resting parameters still have to make."""
        for place, rates in self._idle.items():
            coast(self.parameters[place], self.adam.state[self.parameters[place]], rates)
        self._idle = {}

    def state_dict(self) -> dict[str, Any]:
        self.settle()
        return self.adam.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.adam.load_state_dict(state)
