"""What enters the trained part of an encoder, computed once: all below it is frozen."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from lmmrec_core.errors import ConfigError, TrainingError
from lmmrec_core.flow import Modality
from lmmrec_core.roles import ItemEncoder
from lmmrec_core.training.joint.chunks import refuse_batch_statistics, trained_part


@runtime_checkable
class SplitEncoder(ItemEncoder, Protocol):
    """An item encoder that can be cut below its trained part: ``rows(x) == rows_from(boundary(x, part), part)``."""

    def boundary(self, items: Int[Tensor, "chunk"], part: str) -> Mapping[str, Tensor]:
        """Tensors [chunk, ...] that enter ``part`` ("heads" or "top-K"), with masks if lengths differ.

        Every chunk has the same names, and the same shape but for the first axis.
        """
        ...

    def rows_from(self, states: Mapping[str, Tensor], part: str) -> Mapping[Modality, Tensor]:
        """The rest of the way; gradients flow into ``part``."""
        ...


class CachedBoundary:
    """A ``SplitEncoder`` of which only the trained part runs: an ``ItemEncoder`` with the same rows.

    The states of all items are kept on the CPU, with ``half`` in bfloat16. Raises ConfigError for an encoder that
    cannot be cut, TrainingError if the states depend on the trained part or train mode is asked for: what is drawn
    below the boundary was drawn once.
    """

    def __init__(self, encoder: ItemEncoder, part: str, n_items: int, chunk: int, half: bool = False) -> None:
        if not isinstance(encoder, SplitEncoder):
            raise ConfigError(
                f"{type(encoder).__name__} cannot be cut below part {part!r} (no boundary, rows_from); "
                "set boundary='encode'"
            )
        self.encoder, self.part_name, self.module = encoder, part, encoder.module
        self.module.eval()
        refuse_batch_statistics(self.module)
        trained_part(encoder, part)
        self.states: dict[str, Tensor] = {}
        self.types: dict[str, torch.dtype] = {}
        for items in torch.arange(n_items).split(chunk):
            for name, state in encoder.boundary(items, part).items():
                if state.requires_grad:
                    raise TrainingError(
                        f"the encoder's boundary state {name!r} depends on part {part!r}, so it cannot be kept while "
                        "that part is trained; set boundary='encode'"
                    )
                self._keep(name, state, items, n_items, half)

    def rows(self, items: Int[Tensor, "chunk"]) -> Mapping[Modality, Tensor]:
        """As ``roles.ItemEncoder.rows``."""
        if self.module.training:
            raise TrainingError("kept boundary states do not draw: set stochastic=false or boundary='encode'")
        device = next(self.module.parameters()).device
        states = {name: kept[items].to(device, self.types[name]) for name, kept in self.states.items()}
        return self.encoder.rows_from(states, self.part_name)

    def part(self, name: str) -> frozenset[str]:
        """As ``roles.ItemEncoder.part``."""
        return self.encoder.part(name)

    @property
    def size(self) -> int:
        """Bytes kept."""
        return sum(state.numel() * state.element_size() for state in self.states.values())

    def _keep(self, name: str, state: Tensor, items: Tensor, n_items: int, half: bool) -> None:
        if name not in self.states:
            kept = torch.bfloat16 if half and state.is_floating_point() else state.dtype
            self.types[name], self.states[name] = state.dtype, torch.empty(n_items, *state.shape[1:], dtype=kept)
        if state.shape[1:] != self.states[name].shape[1:]:
            raise TrainingError(
                f"the encoder's boundary state {name!r} has shape {tuple(state.shape)} for items from {int(items[0])}, "
                f"others have {tuple(self.states[name].shape[1:])} per item; pad to one length"
            )
        self.states[name][items] = state.to("cpu", self.states[name].dtype)
