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
        self._tables: list[Tensor] = []  # ascending values of each channel
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
                self._tables = [torch.unique(values[:, channel]) for channel in range(values.shape[1])]
        if self._plain is None and (max(map(len, self._tables)) > _CODES or not self._widen(values)):
            self._plain, self._codes = self.rows(torch.arange(self.n_items)), torch.empty(0, dtype=torch.uint8)
        self._there[items] = True
        if self._plain is not None:
            self._plain[items] = values
            return
        for channel, table in enumerate(self._tables):
            self._codes[items, channel] = _places(table, values[:, channel]).to(torch.uint8)

    def rows(self, items: Int[Tensor, "some"]) -> Float[Tensor, "some *shape"]:
        """The pictures of ``items``, as they were put."""
        if self._plain is not None:
            return self._plain[items]
        codes, there = self._codes[items], self._there[items]
        rows = torch.stack([table[codes[:, c].long()] for c, table in enumerate(self._tables)], dim=1)
        return rows if bool(there.all()) else rows * there[:, None, None, None]

    def _widen(self, values: Tensor) -> bool:
        """Take new values into the tables and renumber their codes; False if a channel has too many."""
        wider = []
        for channel, table in enumerate(self._tables):
            mine = values[:, channel]
            if torch.equal(table[_places(table, mine)], mine):
                wider.append(table)
                continue
            wider.append(torch.unique(torch.cat([table, mine.flatten()])))
            if len(wider[-1]) > _CODES:
                return False
        for channel, (old, new) in enumerate(zip(self._tables, wider, strict=True)):
            if new is not old:
                moved = torch.searchsorted(new, old).to(torch.uint8)
                self._codes[:, channel] = moved[self._codes[:, channel].long()]
        self._tables = wider
        return True


def _places(table: Tensor, values: Tensor) -> Tensor:
    """The place of each value in ``table``; any place for a value that is not there."""
    return torch.searchsorted(table, values.contiguous()).clamp_(max=len(table) - 1)
