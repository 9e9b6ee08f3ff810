"""Adam with the two meanings of a cleared gradient: skip, or zero-fill as before PyTorch 2 (recommenders spec 1.5)."""

from typing import Any

import torch
from torch import Tensor, nn


class Optimiser:
    """Adam (betas 0.9 and 0.999, eps 1e-8, coupled weight decay) over the parameters of a model.

    With ``model.zero_fill_gradients`` a parameter that once received a gradient and now gets none is updated with a
    gradient of zeros and so keeps moving on its momentum; without, it stands still.
    """

    def __init__(self, model: nn.Module, learning_rate: float, weight_decay: float) -> None:
        self.zero_fill = bool(getattr(model, "zero_fill_gradients", False))
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        fused = all(parameter.device.type in ("cpu", "cuda") for parameter in self.parameters)
        self.adam = torch.optim.Adam(self.parameters, lr=learning_rate, weight_decay=weight_decay, fused=fused)
        self._zeros: dict[int, Tensor] = {}

    def set_learning_rate(self, learning_rate: float) -> None:
        for group in self.adam.param_groups:
            group["lr"] = learning_rate

    def step(self, loss: Tensor) -> None:
        """Gradients of ``loss``, then one update."""
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        if self.zero_fill:
            for place, parameter in enumerate(self.parameters):
                if parameter.grad is None and parameter in self.adam.state:
                    if place not in self._zeros:
                        self._zeros[place] = torch.zeros_like(parameter)
                    parameter.grad = self._zeros[place]
        self.adam.step()

    def state_dict(self) -> dict[str, Any]:
        return self.adam.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.adam.load_state_dict(state)
