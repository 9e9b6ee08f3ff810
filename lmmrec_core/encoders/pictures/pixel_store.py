"""Preprocessed pictures of a catalogue in a quarter of the memory, without loss.

A picture that was resized as bytes and then normalised has at most 256 values per channel: a byte each, and a table.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_CODES = 256


class PixelStore:
    """float32 [item, channel, height, width], zeros until put; kept as bytes while every channel fits a table.

    From the first picture on that does not fit, for instance one resized after normalising, they are kept as float32.
    """

    def __init__(self, n_items: int) -> None:
        self.n_items = n_items
        self._there = torch.zeros(n_items, dtype=torch.bool)
        self._codes = torch.empty(0, dtype=torch.uint8)
        self._tables: list[tuple[Tensor, Tensor]] = []  # of each channel: its values, ascending, and their codes
        self._plain: Tensor | None = None

    @property
    def bytes(self) -> int:
        """Memory that the pictures take, in bytes."""
        kept = self._codes if self._plain is None else self._plain
        return kept.numel() * kept.element_size()

    def put(self, items: Int[Tensor, "some"], values: Float[Tensor, "some *shape"]) -> None:
        """Keep the pictures of ``items``; put each item once only."""
        values = values.detach().float().cpu()
        if self._plain is None and not self._codes.numel():
            if values.ndim != 4:
                self._plain = torch.zeros(self.n_items, *values.shape[1:])
            else:
                self._codes = torch.zeros(self.n_items, *values.shape[1:], dtype=torch.uint8)
                nothing = torch.empty(0), torch.empty(0, dtype=torch.uint8)
                self._tables = [nothing] * values.shape[1]
        if self._plain is None and not self._widen(values):
            self._plain, self._codes = self.rows(torch.arange(self.n_items)), torch.empty(0, dtype=torch.uint8)
        self._there[items] = True
        if self._plain is not None:
            self._plain[items] = values
            return
        for channel, (table, codes) in enumerate(self._tables):
            self._codes[items, channel] = codes[_places(table, values[:, channel])]

    def rows(self, items: Int[Tensor, "some"]) -> Float[Tensor, "some *shape"]:
        """The pictures of ``items``, as they were put."""
        if self._plain is not None:
            return self._plain[items]
        codes, there = self._codes[items], self._there[items]
        by_code = [table[torch.argsort(numbers)] for table, numbers in self._tables]
        if not all(map(len, by_code)):  # nothing was put yet
            return torch.zeros(codes.shape)
        rows = torch.stack([table[codes[:, c].long()] for c, table in enumerate(by_code)], dim=1)
        return rows if bool(there.all()) else rows * there[:, None, None, None]

    def _widen(self, values: Tensor) -> bool:
        """Give new values the next codes, those that are there keep theirs; False if a channel has too many."""
        wider = []
        for channel, (table, codes) in enumerate(self._tables):
            mine = torch.unique(values[:, channel])
            new = mine[~torch.isin(mine, table)]
            merged, order = torch.cat([table, new]).sort()
            if len(merged) > _CODES:
                return False
            numbers = torch.cat([codes, torch.arange(len(table), len(merged)).to(torch.uint8)])
            wider.append((merged, numbers[order]))
        self._tables = wider
        return True


def _places(table: Tensor, values: Tensor) -> Tensor:
    """The place of each value in ``table``."""
    return torch.searchsorted(table, values.contiguous())
