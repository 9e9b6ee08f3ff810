"""Adam with the two meanings of a cleared gradient: skip the parameter, or fill in zeros as PyTorch did before 2.0."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lmmrec_core.checkpoints import State
from lmmrec_core.roles import TrainableRecommender
from lmmrec_core.training.momentum import coast


class Optimiser:
    """Adam (betas 0.9 and 0.999, eps 1e-8, coupled weight decay) over the parameters of a model.

    With ``model.zero_fill_gradients`` a parameter that once received a gradient and now gets none is updated with a
    gradient of zeros and so keeps moving on its momentum; without, it stands still. ``free``, feature matrices trained
    as parameters of the model, are always zero-filled and never decay.

    Parameters that a zero-filling model reads at the first batch of an epoch only (``model.resting_parameters()``)
    make their steps without gradient all at once in ``settle``, which the loop calls at the end of an epoch.
    """

    def __init__(
        self,
        model: TrainableRecommender,
        learning_rate: float,
        weight_decay: float,
        free: Sequence[nn.Parameter] = (),
    ) -> None:
        self.zero_fill = model.zero_fill_gradients
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        fused = all(parameter.device.type in ("cpu", "cuda") for parameter in self.parameters)
        self.free = {id(parameter) for parameter in free}
        groups: list[dict[str, object]] = [
            {"params": [parameter for parameter in self.parameters if id(parameter) not in self.free]}
        ]
        if free:
            groups.append({"params": list(free), "weight_decay": 0.0})
        self.adam = torch.optim.Adam(groups, lr=learning_rate, weight_decay=weight_decay, fused=fused)
        self._zeros: dict[int, Tensor] = {}
        resting = model.resting_parameters() if self.zero_fill and not weight_decay else ()
        self.resting = {id(parameter) for parameter in resting}
        self._idle: dict[int, list[float]] = {}  # resting parameter → learning rates of the steps it still has to make

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

    def state_dict(self) -> State:
        self.settle()
        return self.adam.state_dict()

    def load_state_dict(self, state: State) -> None:
        self.adam.load_state_dict(state)
