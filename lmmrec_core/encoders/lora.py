"""Low-rank adaptation of an encoder's blocks: W + (alpha / rank) B A, and W itself does not move (LoRA).

Hu et al. 2021, arXiv 2106.09685. A is drawn uniformly within ±1/sqrt(in) and B is zero, as in the library peft, so
nothing changes at first. The layers of peft are not used. They replace a module's ``forward``, but torch's fused
attention reads ``in_proj_weight`` and ``out_proj.weight`` itself, and VLMo reads ``qkv.weight`` (its bias has no part
for keys), so the adaptation would be bypassed. peft's own layer for fused attention changes W before and after every
call, which moves W by rounding errors, and in version 0.21 it adds the output map's adaptation twice. A
parametrisation of the weight is seen by every reader, once, and leaves W alone.
"""

import re

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lmmrec_core.errors import ConfigError
from lmmrec_core.seeds import torch_stream

RANK, ALPHA = 8, 16.0
_IN_A_BLOCK = re.compile(r"(?:^|\.)(?:resblocks|blocks|layers?|block)\.\d+\.")


class LowRank(nn.Module):
    """weight [out, in] → weight + scale · B A, with A ``lora_A`` [rank, in] and B ``lora_B`` [out, rank]."""

    def __init__(self, weight: Tensor, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.shape
        bound = columns**-0.5
        first = torch.empty(rank, columns).uniform_(-bound, bound, generator=generator)
        self.scale = alpha / rank
        self.lora_A = nn.Parameter(first.to(weight))
        self.lora_B = nn.Parameter(torch.zeros(rows, rank).to(weight))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.lora_B @ self.lora_A)


def lora_targets(module: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    """Name → (owner, attribute) of the weights to adapt: every linear map of a transformer block.

    That is, the input and output maps of attention, fused or not, and both maps of each MLP.
    """
    targets: dict[str, tuple[nn.Module, str]] = {}
    for name, part in module.named_modules():
        if not _IN_A_BLOCK.search(f"{name}."):
            continue
        if isinstance(part, nn.MultiheadAttention) and part.in_proj_weight is not None:
            targets[f"{name}.in_proj_weight"] = (part, "in_proj_weight")
        elif isinstance(part, nn.Linear):
            targets[f"{name}.weight"] = (part, "weight")
    return targets


def low_rank_names(module: nn.Module) -> frozenset[str]:
    """Names of the factors that :func:`add_lora` added: the part "lora". Raises ConfigError if there are none."""
    found = frozenset(name for name, _ in module.named_parameters() if name.endswith((".lora_A", ".lora_B")))
    if not found:
        raise ConfigError("part 'lora': the module has no low-rank factors; call add_lora first")
    return found


def merge_lora(module: nn.Module) -> None:
    """Put W + (alpha / rank) B A in the place of W and drop the factors: the module is of its plain kind again."""
    for owner in list(module.modules()):
        if not parametrize.is_parametrized(owner):
            continue
        for name, parts in list(owner.parametrizations.items()):  # type: ignore[union-attr, operator]
            if any(isinstance(part, LowRank) for part in parts):
                parametrize.remove_parametrizations(owner, name, leave_parametrized=True)


def add_lora(module: nn.Module, rank: int = RANK, alpha: float = ALPHA, seed: int = 0) -> frozenset[str]:
    """Add low-rank factors to every target; returns the names of the new parameters.

    The output stays the same until a factor B moves. What is trained is the caller's choice: these names are the part
    "lora", and everything else, W included, is then frozen. Each factor A is drawn from its own stream, by ``seed`` and
    the name of its weight.
    Raises ConfigError for a rank below 1, and for a module that has no transformer blocks or has factors already.
    """
    if rank < 1 or alpha <= 0:
        raise ConfigError(f"LoRA: rank {rank} and alpha {alpha} are not valid; give a rank of 1 or more, alpha above 0")
    if any(isinstance(part, LowRank) for part in module.modules()):
        raise ConfigError("LoRA: the module has low-rank factors already; build the encoder anew")
    targets = lora_targets(module)
    if not targets:
        raise ConfigError("LoRA: the module has no linear map in a transformer block; tune heads or top-K instead")
    for name, (owner, attribute) in targets.items():
        weight = getattr(owner, attribute)
        factors = LowRank(weight.detach(), rank, alpha, torch_stream(seed, f"lora/{name}"))
        parametrize.register_parametrization(owner, attribute, factors.train(owner.training))
    return low_rank_names(module)
