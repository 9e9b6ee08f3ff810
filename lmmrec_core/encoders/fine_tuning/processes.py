"""Several processes that tune one encoder together, one GPU each, started by ``torchrun`` or ``accelerate launch``.

Each holds the whole encoder, reads the same batches in the same order, and encodes its share of a batch's pairs. Rows
and gradients are added up over the processes, so each makes the update that one process alone would make.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from lmmrec_core.errors import TrainingError
from lmmrec_core.process import is_launched

_Value = TypeVar("_Value")
_PATIENCE = timedelta(hours=24)  # one evaluates or decodes while the others wait; a launcher ends those of a dead one


@dataclass(frozen=True)
class Processes:
    """How many processes tune together, and which of them this is; by default it is alone, and nothing is sent."""

    rank: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> "Processes":
        """Those of torch's default process group, if there is one."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this is the process that evaluates, writes and speaks."""
        return self.rank == 0

    def share(self, total: int) -> Tensor:
        """This process's part of the numbers 0 … total - 1, in order; empty if there are fewer than processes."""
        return torch.arange(total).tensor_split(self.count)[self.rank]

    def sum_(self, values: Tensor) -> Tensor:
        """Add up ``values`` over the processes, in place."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def whole(self, rows: Tensor, total: int) -> Tensor:
        """[total, dim] of which each process has the ``rows`` [share, dim]; the bits of all rows stay."""
        if self.count == 1:
            return rows
        found = rows.new_zeros(total, *rows.shape[1:])
        found[self.share(total).to(rows.device)] = rows
        return self.sum_(found)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of the processes; one that a process lacks is zero, one that all lack stays None."""
        if self.count == 1:
            return
        every = list(parameters)
        have = self.sum_(torch.tensor([float(p.grad is not None) for p in every], device=every[0].device)).tolist()
        taking = [parameter for parameter, number in zip(every, have, strict=True) if number]
        for parameter in taking:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in taking if parameter.grad is not None]
        if gradients:
            vector_to_parameters(self.sum_(parameters_to_vector(gradients)), gradients)

    def told(self, value: _Value) -> _Value:
        """What the first process says, in all of them; each waits for it."""
        if self.count == 1:
            return value
        said = [value]
        distributed.broadcast_object_list(said, src=0)
        return said[0]

    def any_of(self, number: int) -> int:
        """The largest ``number`` of all processes; each waits for the others."""
        if self.count == 1:
            return number
        said: list[int] = [0] * self.count
        distributed.all_gather_object(said, number)
        return max(said)

    def wait(self) -> None:
        """Until all processes are here."""
        self.any_of(0)

    def require_same(self, what: str, value: str) -> None:
        """Raises TrainingError, in all processes, if one of them has another ``value``."""
        if self.any_of(int(value != self.told(value))):
            raise TrainingError(
                f"the {self.count} processes that tune together have another {what}: start them all with one command, "
                "on one folder that all see (LMMREC_HOME)"
            )


@contextmanager
def together() -> Iterator[Processes]:
    """The processes that a launcher started, joined within the block; each has the GPU of its number on its machine.

    Raises TrainingError if a machine has fewer GPUs than processes.
    """
    if not is_launched() or distributed.is_initialized():
        yield Processes.here()
        return
    number = int(os.environ["LOCAL_RANK"])
    if cuda := torch.cuda.is_available():
        if number >= torch.cuda.device_count():
            raise TrainingError(
                f"process {number} of this machine has no GPU: {torch.cuda.device_count()} are visible; "
                "start one process for each"
            )
        torch.cuda.set_device(number)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield Processes.here()
    finally:
        distributed.destroy_process_group()
