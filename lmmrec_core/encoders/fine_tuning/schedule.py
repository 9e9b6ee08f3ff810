"""Which parameters are trained, at which rate and decay: groups, warm-up, clipping, the clamp of the scale."""

import fnmatch
import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings
from lmmrec_core.errors import ConfigError
from lmmrec_core.roles import TrainableEncoder

MAX_LOG_SCALE = math.log(100)
_EXEMPT = re.compile(r"pos_embed|position|cls_token|class_embed|token_type|scale")
_LOG_SCALE = re.compile(r"(^|\.)logit(_\w+)?_scale$")


def trainable(encoder: TrainableEncoder, settings: FineTuneSettings) -> dict[str, nn.Parameter]:
    """The parameters of ``settings.part`` without ``settings.frozen``, by name, in the order of the module.

    Raises ConfigError if none is left, or for a part or pattern without parameters.
    """
    names = named(encoder, settings.part).difference(*(named(encoder, part) for part in settings.frozen))
    if not names:
        raise ConfigError(
            f"{encoder.name}: frozen = {list(settings.frozen)} leaves nothing of part {settings.part!r}; "
            "take something out of frozen"
        )
    return {name: parameter for name, parameter in encoder.module.named_parameters() if name in names}


def named(encoder: TrainableEncoder, part: str) -> frozenset[str]:
    """The parameters in a part of the encoder or, if ``part`` contains a "*", those whose names match it.

    Raises ConfigError if there are none, or the encoder names what its module does not have.
    """
    own = [name for name, _ in encoder.module.named_parameters()]
    names = frozenset(fnmatch.filter(own, part)) if "*" in part else encoder.part(part)
    if lost := sorted(names.difference(own)):
        raise ConfigError(f"{encoder.name}: part {part!r} names {lost[0]!r}, which is no parameter; correct part()")
    if not names:
        raise ConfigError(f"{encoder.name}: part {part!r} has no parameters; choose another part or pattern")
    return names


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: not to scalars, vectors, positions, class and type rows, and scales."""
    return parameter.ndim > 1 and not _EXEMPT.search(name)


def learning_rates(encoder: TrainableEncoder, names: Mapping[str, Any], settings: FineTuneSettings) -> dict[str, float]:
    """The peak rate of each parameter: that of the smallest part in ``part_learning_rates`` which contains it.

    Raises ConfigError for an entry that contains none of the trained parameters.
    """
    rates = dict.fromkeys(names, settings.learning_rate)
    parts = {part: named(encoder, part) for part in settings.part_learning_rates}
    for part in sorted(parts, key=lambda part: (-len(parts[part]), part)):
        if not parts[part] & rates.keys():
            raise ConfigError(f"part_learning_rates: {part!r} has none of the parameters that are trained; remove it")
        rates |= dict.fromkeys(parts[part] & rates.keys(), settings.part_learning_rates[part])
    return rates


def parameter_groups(
    encoder: TrainableEncoder, parameters: Mapping[str, nn.Parameter], settings: FineTuneSettings
) -> list[dict[str, Any]]:
    """The parameters in groups of equal rate and decay, for an optimiser; ``names`` has the names of ``params``."""
    rates = learning_rates(encoder, parameters, settings)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in parameters.items():
        decay = settings.weight_decay if decays(name, parameter) else 0.0
        group = groups.setdefault(
            (rates[name], decay), {"params": [], "names": [], "lr": rates[name], "weight_decay": decay}
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def factor(step: int, steps: int, warm_up: float) -> float:
    """What the peak rate is multiplied by at ``step`` (from 0) of ``steps``: linear up, then linear down.

    This is VLMo's schedule (microsoft/unilm, vlmo). Only the step after the last one would have rate 0.
    """
    rising = round(warm_up * steps)
    return (step + 1) / rising if step < rising else (steps - step) / (steps - rising)


class Stepper:
    """AdamW or Adam over the groups, with the schedule, clipping, and the clamp of the logit scales."""

    def __init__(
        self, encoder: TrainableEncoder, parameters: Mapping[str, nn.Parameter], settings: FineTuneSettings, steps: int
    ) -> None:
        self.settings, self.steps = settings, steps
        self.parameters = list(parameters.values())
        self.scales = [parameter for name, parameter in parameters.items() if _LOG_SCALE.search(name)]
        groups = parameter_groups(encoder, parameters, settings)
        self.peaks = [group["lr"] for group in groups]
        kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
        self.optimiser: torch.optim.Optimizer = kind(groups, betas=settings.betas, eps=settings.eps)
        self.done = 0

    @property
    def scale(self) -> float:
        """What the peak rates were multiplied by in the last step."""
        return factor(max(0, self.done - 1), self.steps, self.settings.warm_up)

    @property
    def has_gradient(self) -> bool:
        return any(parameter.grad is not None for parameter in self.parameters)

    def zero(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)

    def step(self) -> float:
        """One update from the accumulated gradients; returns the gradient's norm before clipping.

        If the norm is not finite, nothing is updated. Log scales are clamped to [0, ln 100], as in CLIP's training.
        """
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.settings.clip))
        if not math.isfinite(norm):
            return norm
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor(self.done, self.steps, self.settings.warm_up)
        self.optimiser.step()
        with torch.no_grad():
            for log_scale in self.scales:
                log_scale.clamp_(0.0, MAX_LOG_SCALE)
        self.done += 1
        return norm

    def state(self) -> dict[str, Any]:
        return {"optimiser": self.optimiser.state_dict(), "done": self.done}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.optimiser.load_state_dict(dict(state["optimiser"]))
        self.done = state["done"]
