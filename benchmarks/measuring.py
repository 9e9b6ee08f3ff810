"""What the benchmarks of encoder training share: made-up items, a process of its own per measurement, peak memory."""

import ctypes
import gc
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import psutil
import torch
from torch import Tensor

from lmmrec_core.encoders.clip.official import ClipB16
from lmmrec_core.encoders.clip.settings import CLIPSettings
from lmmrec_core.encoders.clip.small import ClipSmall
from lmmrec_core.encoders.clip.tiny import TINY, ClipTiny
from lmmrec_core.encoders.vlmo.encoder import Built
from lmmrec_core.encoders.vlmo.initial import build_network
from lmmrec_core.encoders.vlmo.presets import VLMoBasePlus, VLMoTiny
from lmmrec_core.encoders.vlmo.settings import VLMoSettings
from lmmrec_core.encoders.vlmo.tokens import WholeWords
from lmmrec_core.flow import Modality
from lmmrec_core.process import peak_memory, reset_peak_memory
from lmmrec_core.seeds import numpy_stream, torch_stream

SEED = 1
WORDS = 100  # a text: more than any context holds, so that every text has the full length that FLOP counts assume
_SLACK = 32 * 2**20  # bytes; a peak further above the resident set was not reset
_MMAP_THRESHOLD = -3  # glibc, malloc.h


def _vlmo_base_plus() -> VLMoBasePlus:
    """Random weights; words are numbered by hash among as many ids as the published tokeniser has."""
    shape = VLMoSettings.base_plus()
    network = build_network(shape, torch_stream(SEED, "benchmarks/vlmo"))
    tokeniser = WholeWords(size=shape.vocabulary)
    return VLMoBasePlus(built=Built(shape, network, tokeniser, {"source": "random", "seed": SEED}))


ENCODERS: dict[str, Callable[[], Any]] = {
    **{name: partial(ClipTiny, CLIPSettings(model=name, seed=SEED)) for name in TINY},
    "clip-small": lambda: ClipSmall(CLIPSettings(seed=SEED)),
    "clip-b16": lambda: ClipB16(CLIPSettings(seed=SEED)),  # ViT-B-16-quickgelu
    "vlmo-tiny": lambda: VLMoTiny(VLMoTiny.Settings(seed=SEED)),
    "vlmo-base-plus": _vlmo_base_plus,
}


class MadeUpItems:
    """Items with noise for pictures and random words for texts: a ``roles.ItemEncoder``.

    Pictures stay uint8 in the computer's memory and become standardised pixels chunk by chunk, on ``device``.
    """

    def __init__(self, encoder: Any, n_items: int, device: str) -> None:
        self.encoder, self.module, self.device = encoder, encoder.module.to(device).eval(), device
        size = encoder.image.size if hasattr(encoder, "image") else encoder.settings.image_size
        stream, random = torch_stream(SEED, "benchmarks/pictures"), numpy_stream(SEED, "benchmarks/texts")
        self.pictures = torch.randint(256, (n_items, 3, size, size), dtype=torch.uint8, generator=stream)
        words = ["".join(letters) for letters in random.choice(list("abcdefghijklmnopqrstuvwxyz"), (500, 5))]
        texts = [" ".join(random.choice(words, WORDS)) for _ in range(n_items)]
        self.tokens: Mapping[str, Tensor] = encoder.preprocess_texts(texts)

    def rows(self, items: Tensor) -> dict[Modality, Tensor]:
        pixels = self.pictures[items].to(self.device).float().div_(127.5).sub_(1)
        tokens = {name: value[items].to(self.device) for name, value in self.tokens.items()}
        return {"visual": self.encoder.image_vectors(pixels), "textual": self.encoder.text_vectors(tokens)}

    def part(self, name: str) -> frozenset[str]:
        names: frozenset[str] = self.encoder.part(name)
        return names

    def widths(self) -> dict[Modality, int]:
        """Length of a row of each modality."""
        return {modality: self.encoder.dim(modality) for modality in ("visual", "textual")}


def in_own_process(device: str, function: Callable[..., Any], *given: Any) -> Any:
    """What ``function`` returns in a fresh process: memory and threads of one measurement do not reach the next."""
    # a fork has the imports already; a process that uses CUDA may not be forked
    how = "fork" if sys.platform == "linux" and device == "cpu" else "spawn"
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(how)) as pool:
        return pool.submit(function, *given).result()


class PeakMemory:
    """Bytes above what was held when this value was made: resident set of the process, or allocated on the GPU."""

    def __init__(self, device: str) -> None:
        self.cuda = device.startswith("cuda")
        gc.collect()
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.held = torch.cuda.memory_allocated()
            return
        return_freed_memory()
        reset_peak_memory()
        self.held = peak_memory()
        if self.held > psutil.Process().memory_info().rss + _SLACK:
            raise SystemExit("this system does not let a process reset its peak memory; measure on Linux or with CUDA")

    def above(self) -> int:
        if self.cuda:
            return torch.cuda.max_memory_allocated() - self.held
        return peak_memory() - self.held


def return_freed_memory() -> None:
    """From here on large arrays go back to the system when freed, so that the resident set is what is in use.

    Not for a process whose time is measured: new arrays cost more.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # glibc; its threshold otherwise grows with the arrays that were freed
        library.mallopt(_MMAP_THRESHOLD, 65_536)
        library.malloc_trim(0)


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of the values."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def free_memory(device: str) -> int:
    """Bytes that could still be taken."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def device_name(device: str) -> str:
    return f"cuda: {torch.cuda.get_device_name()}" if device.startswith("cuda") else "cpu"
