"""Pictures that are kept as bytes, to be taken as if they were pixels."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lmmrec_core.encoders.pictures.byte_store import PictureBytes
from lmmrec_core.flow import Float32Array, IntArray


@dataclass(frozen=True, eq=False)
class PickedPictures:
    """Some pictures, which become pixels where they are sent; indexed and sent like a tensor of them."""

    pictures: PictureBytes
    items: IntArray  # of the catalogue, one for each row

    def __getitem__(self, rows: Tensor) -> "PickedPictures":
        return PickedPictures(self.pictures, self.items[rows.numpy()])

    def to(self, device: str | torch.device) -> Tensor:
        """float32 [row, 3, size, size] on ``device``, its rows one after another in memory."""
        return self.pictures.pixels(self.items, torch.device(device)).contiguous()


@dataclass(frozen=True, eq=False)
class BytePixels:
    """The pictures of some items as an array of float32 pixels [row, 3, size, size] that is computed where it is read.

    In that form they take a quarter of the memory.
    """

    pictures: PictureBytes
    items: IntArray

    @property
    def shape(self) -> tuple[int, int, int, int]:
        size = self.pictures.rule.size
        return (len(self.items), 3, size, size)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.items)

    def pick(self, rows: Tensor) -> PickedPictures:
        """Some rows, not computed yet."""
        return PickedPictures(self.pictures, self.items[rows.numpy()])

    def __getitem__(self, rows: IntArray) -> Float32Array:
        picked: Float32Array = self.pick(torch.from_numpy(np.asarray(rows))).to("cpu").numpy()
        return picked
