"""The pictures of a catalogue as bytes, decoded once for all that read them by one rule.

A picture is resized as the encoder's rule says and kept as bytes; the affine step to pixels is made where they are
used, on a GPU too. In a file ``NAME.npy``, uint8 [row, size, size, 3], they are mapped and not read; ``NAME.json``,
written after it, holds what is known of each picture and the digest of the file. Without that, or with another digest,
the pictures are decoded again.
"""

import io
import tempfile
import warnings
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lmmrec_core.digests import digest, file_sha256
from lmmrec_core.disk import held_in_turn, read_sealed, whole_file, write_sealed
from lmmrec_core.encoders.pictures.decoding import Decoded, PictureFile, decode, decode_into, decode_one, reserve
from lmmrec_core.encoders.pictures.rule import ImageRule
from lmmrec_core.errors import FeatureError, ResultError
from lmmrec_core.flow import Catalogue, IntArray

Bytes = npt.NDArray[np.uint8]
_SHARE = 0.3  # of a GPU's free memory that pictures may take to stay there
_IN_MEMORY = 4 * 2**30  # bytes; more go to an unnamed file in the temporary folder
_BLOCK = 1024  # rows that move to a GPU at a time


class PictureBytes:
    """Pictures of some items: bytes [row, size, size, 3], each row that of an item with a picture.

    Raises FeatureError where an item is asked for that has none here.
    """

    def __init__(self, rule: ImageRule, kept: Bytes, place: IntArray, known: Sequence[Decoded]) -> None:
        self.rule, self.kept, self.place, self.known = rule, kept, place, tuple(known)
        self._settled: WeakValueDictionary[str, Tensor] = WeakValueDictionary()

    def fault(self, item: int) -> str:
        """Why the picture of an item cannot be read; empty if it can."""
        return self._known(item).fault

    def digest(self, item: int) -> str:
        """Equal for items whose pictures are equal pixel by pixel."""
        return self._known(item).digest

    def _known(self, item: int) -> Decoded:
        if (row := int(self.place[item])) < 0:
            raise FeatureError("item {item} has no picture among those decoded here; leave it out", item=item)
        return self.known[row]

    def pixels(self, items: IntArray, device: torch.device) -> Tensor:
        """float32 [item, 3, size, size] on ``device``, as the encoder's ``preprocess_images`` gives them.

        On a GPU it is bytes that travel: from pinned memory while the host goes on, or not at all after
        :meth:`settle`. Raises FeatureError naming the first item whose picture cannot be read.
        """
        for item in items.tolist():
            if fault := self.fault(item):
                raise FeatureError(fault)
        rows = self.place[items]
        settled = self._settled.get(str(device))
        if settled is not None:
            return self.rule.standardised(settled.index_select(0, torch.from_numpy(rows).to(device)))
        taken = torch.from_numpy(np.asarray(self.kept[rows]))
        if device.type == "cuda":
            taken = taken.pin_memory()
        return self.rule.standardised(taken.to(device, non_blocking=True))

    def settle(self, device: torch.device, free: int | None = None) -> Tensor | None:
        """Put all bytes on a GPU if they take no more than ``_SHARE`` of what is free there (``free``, in bytes).

        They stay as long as what is returned is kept; None if nothing was put there.
        """
        if free is None:
            free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
        if self.kept.nbytes > _SHARE * free:
            return None
        there = self._settled.get(str(device))
        if there is None:
            there = torch.empty(self.kept.shape, dtype=torch.uint8, device=device)
            for start in range(0, len(self.kept), _BLOCK):
                block = torch.from_numpy(np.array(self.kept[start : start + _BLOCK]))
                there[start : start + _BLOCK] = block.to(device)
            self._settled[str(device)] = there
        return there


def picture_bytes(
    rule: ImageRule,
    catalogue: Catalogue,
    items: Sequence[int] | None = None,
    *,
    path: Path | None = None,
    identity: str = "",
    processes: int | None = None,
    folder: Path | None = None,
    progress: bool = True,
) -> PictureBytes:
    """The pictures of ``items`` (default: all that have one) by ``rule``.

    ``path`` (``NAME.npy``): they are kept there under ``identity``, which says what pictures these are, and read from
    there the next time; other processes wait while one decodes. Without, and with a warning where that file cannot be
    written, they are decoded into memory, above 4 GiB into an unnamed file in ``folder`` (default: the system's
    temporary one). ``processes``: see :func:`decode_into`.

    Raises FeatureError naming the folder and the bytes needed if there is no room for these. A picture that cannot be
    read is no error here: :meth:`PictureBytes.pixels` refuses it.
    """
    todo = [i for i, image in enumerate(catalogue.images) if image is not None] if items is None else list(items)
    files = []
    for item in todo:
        image = catalogue.images[item]
        if image is None:
            raise FeatureError(f"item {catalogue.item_ids[item]!r} has no picture; leave it out")
        files.append(PictureFile(catalogue.item_ids[item], image))
    place = np.full(catalogue.n_items, -1, dtype=np.int64)
    place[todo] = np.arange(len(todo))
    found = None
    if path is not None:
        whole = {"identity": identity, "rule": rule.resizing(), "items": digest([file.item_id for file in files])}
        found = _in_file(rule, files, path, whole, processes, progress, catalogue.name)
    kept, known = found or _in_memory(rule, files, folder, progress, catalogue.name)
    return PictureBytes(rule, kept, place, known)


def _shape(rule: ImageRule, files: Sequence[PictureFile]) -> tuple[int, int, int, int]:
    return (len(files), rule.size, rule.size, 3)


def _in_memory(
    rule: ImageRule, files: Sequence[PictureFile], folder: Path | None, progress: bool, name: str
) -> tuple[Bytes, list[Decoded]]:
    kept = room_for(_shape(rule, files), np.uint8, folder)

    def put(row: int, pixels: Bytes) -> None:
        kept[row] = pixels

    return kept, decode(rule, files, put, progress, name)


def room_for(
    shape: tuple[int, ...], kind: type[np.generic], folder: Path | None = None, most: int = _IN_MEMORY
) -> npt.NDArray[Any]:
    """An array to fill: in memory up to ``most`` bytes, else mapped from an unnamed file in ``folder``.

    Raises FeatureError, with the bytes needed, if the disk has no room for it.
    """
    needed = int(np.prod(shape)) * np.dtype(kind).itemsize
    if needed <= most:
        return np.zeros(shape, dtype=kind)
    where = folder or Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryFile(dir=where) as file:  # without a name, so it is gone when the last map of it is
            reserve(file.fileno(), needed)
            return np.memmap(file, dtype=kind, mode="r+", shape=shape)
    except OSError as error:
        raise FeatureError(
            f"{where}: no room for {needed:,} bytes of pictures ({error.strerror or error}); free them, or set TMPDIR "
            "to a folder on a larger disk"
        ) from None


def _in_file(
    rule: ImageRule,
    files: Sequence[PictureFile],
    path: Path,
    whole: dict[str, Any],
    processes: int | None,
    progress: bool,
    name: str,
) -> tuple[Bytes, list[Decoded]] | None:
    """None, with a warning, where the file cannot be written."""
    try:
        with held_in_turn(path.with_suffix(".lock")):
            known = _known(rule, files, path, whole)
            if known is None:
                known = _made(rule, files, path, whole, processes, progress, name)
    except (_NotWritten, ResultError) as error:  # ResultError: the lock
        _warn_once(str(error))
        return None
    return np.load(path, mmap_mode="r", allow_pickle=False), known


class _NotWritten(FeatureError):
    """The disk is full, or does not allow writing."""


@cache
def _warn_once(fault: str) -> None:
    warnings.warn(f"{fault}. Until then pictures are decoded into memory, each time anew", stacklevel=2)


def _made(
    rule: ImageRule,
    files: Sequence[PictureFile],
    path: Path,
    whole: dict[str, Any],
    processes: int | None,
    progress: bool,
    name: str,
) -> list[Decoded]:
    shape, header = _shape(rule, files), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    start = header.tell()
    needed = start + int(np.prod(shape))
    with whole_file(path, _NotWritten, needed) as partial:
        path.with_suffix(".json").unlink(missing_ok=True)  # of bytes that are about to go
        with partial.open("r+b") as file:
            reserve(file.fileno(), needed)  # better to find out before an hour of decoding than after
            file.write(header.getvalue())
        known = decode_into(partial, start, rule, files, processes=processes, progress=progress, name=name)
        found = file_sha256(partial, FeatureError)
    record = {**whole, "sha256": found, "pictures": [list(each) for each in known]}
    write_sealed(path.with_suffix(".json"), {"made": record}, _NotWritten)
    return known


def _known(rule: ImageRule, files: Sequence[PictureFile], path: Path, whole: dict[str, Any]) -> list[Decoded] | None:
    """What is known of the kept pictures; None if they are not there, damaged or others."""
    if not (path.is_file() and path.with_suffix(".json").is_file()):
        return None
    try:
        record = read_sealed(path.with_suffix(".json"), FeatureError)["made"]
        if {name: record[name] for name in whole} != whole:
            raise FeatureError(f"{path}: holds other pictures")
        state = path.stat()
        if _sha256_of(path, state.st_mtime_ns, state.st_size) != record["sha256"]:
            raise FeatureError(f"{path}: damaged (its content has another digest)")
        known = [Decoded(*each) for each in record["pictures"]]
        for file, each in zip(files, known, strict=True):
            if each.fault and not decode_one(rule, file)[0].fault:  # it was for want of memory, say
                raise FeatureError(f"{path}: the picture of item {file.item_id!r} can be read now")
        return known
    except (FeatureError, KeyError, TypeError, ValueError) as error:
        warnings.warn(f"{error}; the pictures are decoded again", stacklevel=2)
        return None


@lru_cache(maxsize=64)
def _sha256_of(path: Path, changed: int, size: int) -> str:
    """The digest of a file, computed once for one state of it."""
    return file_sha256(path, FeatureError)
