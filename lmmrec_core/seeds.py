"""One seed, many independent streams.

A run is reproducible when each random decision draws from its own named stream: adding a draw to
one (say, negatives) must not shift another (say, initial weights). Streams are derived from the
seed and the name only, so they are the same on every machine and in every process.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # torch takes seconds to import; readers of results never need it
    import torch


def derive(seed: int, name: str) -> int:
    """A 63-bit seed for the stream ``name`` of ``seed`` (first 8 bytes of a SHA-256)."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_stream(seed: int, name: str) -> np.random.Generator:
    """A NumPy generator of its own for ``name``, for instance ``"split"`` or ``"bootstrap"``."""
    return np.random.default_rng(derive(seed, name))


def torch_stream(seed: int, name: str, device: str = "cpu") -> "torch.Generator":
    """A torch generator of its own for ``name``, for instance ``"init"`` or ``"negatives"``."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, name))


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order on every machine, however many cores or processes: small networks come out alike."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def true_fp32() -> Iterator[None]:
    """Products and convolutions of fp32 values in fp32 on a GPU too, and the same ones each time.

    torch's default lets cuDNN round the factors of a convolution to TF32, which keeps 10 bits of 23. On an H200 that
    put an error of 3e-4 into a convolution of ViT-B/16's first layer's size, and into its gradient.
    """
    import torch

    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul
