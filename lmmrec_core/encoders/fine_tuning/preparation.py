"""Before and after fine-tuning: whether settings, encoder and pairs fit; the module's state, set and put back."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from lmmrec_core.encoders.fine_tuning.gradients import BATCH_NORMS
from lmmrec_core.encoders.fine_tuning.pairs import TrainingPairs
from lmmrec_core.encoders.fine_tuning.roles import FusingEncoder
from lmmrec_core.encoders.fine_tuning.schedule import trainable
from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings
from lmmrec_core.errors import ConfigError
from lmmrec_core.roles import TrainableEncoder
from lmmrec_core.seeds import derive, true_fp32


def check(encoder: TrainableEncoder, pairs: TrainingPairs, settings: FineTuneSettings) -> None:
    """Raises ConfigError if settings, encoder and pairs do not fit together."""
    fused = [objective for objective in settings.objectives if objective != "itc"]
    if fused and not isinstance(encoder, FusingEncoder):
        raise ConfigError(
            f"{encoder.name} does not read picture and text together, so it has no {' or '.join(fused)}; "
            "set objectives to itc"
        )
    if settings.items != pairs.items:
        raise ConfigError(
            f"the pairs are of items = {pairs.items!r}, the settings say {settings.items!r}; "
            f"collect the pairs with items={settings.items!r}"
        )
    if settings.augment == "crop" and (pairs.pixels.ndim != 4 or pairs.pixels.shape[1] != 3):
        raise ConfigError(
            f"augment = 'crop' needs pictures [pair, 3, height, width], {encoder.name} reads "
            f"{list(pairs.pixels.shape)}; set augment to 'none'"
        )
    if settings.gradient_checkpointing and _checkpointing_switch(encoder) is None:
        raise ConfigError(
            f"{encoder.name} cannot recompute activations (no set_grad_checkpointing); "
            "set gradient_checkpointing to false, or set micro_batch"
        )
    if torch.device(settings.device).type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {settings.device!r} is not available; set device to cpu")


@contextmanager
def prepared(encoder: TrainableEncoder, settings: FineTuneSettings) -> Iterator[None]:
    """Within the block: module on its device, only the chosen part trainable, global generators seeded."""
    module = encoder.module
    chosen = trainable(encoder, settings)
    before = {name: parameter.requires_grad for name, parameter in module.named_parameters()}
    home = next(iter(chosen.values())).device
    device = torch.device(settings.device)
    switch = _checkpointing_switch(encoder) if settings.gradient_checkpointing else None
    with ExitStack() as stack:
        cuda = [device] if device.type == "cuda" else []
        stack.enter_context(torch.random.fork_rng(devices=cuda))
        stack.enter_context(true_fp32())
        try:
            torch.manual_seed(derive(settings.seed, "tune/global"))  # dropout draws from the global generators
            for name, parameter in module.named_parameters():
                parameter.requires_grad_(name in chosen)
            if switch is not None:
                switch(True)
            module.to(device)
            yield
        finally:
            for name, parameter in module.named_parameters():
                parameter.requires_grad_(before[name])
                parameter.grad = None
            if switch is not None:
                switch(False)
            module.to(home).eval()


def training_mode(module: nn.Module, stochastic: bool) -> None:
    """Put ``module`` into training mode if ``stochastic``, else into evaluation mode; batch-norm always evaluates.

    Batch-norm in training mode would make a pair's rows depend on the rest of its batch.
    """
    module.train(stochastic)
    for layer in module.modules():
        if isinstance(layer, BATCH_NORMS):
            layer.eval()


def _checkpointing_switch(encoder: TrainableEncoder) -> Callable[[bool], None] | None:
    """``set_grad_checkpointing`` of the encoder or its module (open_clip's and timm's name), or None."""
    for owner in (encoder, encoder.module):
        switch: Callable[[bool], None] | None = getattr(owner, "set_grad_checkpointing", None)
        if callable(switch):
            return switch
    return None
