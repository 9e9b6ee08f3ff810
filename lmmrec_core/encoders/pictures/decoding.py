"""Picture files → bytes of one size, written row by row into a file, by several processes where that pays."""

import errno
import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL.Image import Image
from tqdm import tqdm

from lmmrec_core.encoders.pictures.reading import read_picture
from lmmrec_core.encoders.pictures.rule import ImageRule
from lmmrec_core.errors import FeatureError
from lmmrec_core.process import end_when_asked, end_with_parent, free_cores, without_script

_PART = 32  # pictures that a process takes at a time
_FEW = 1000  # pictures that one process has decoded by the time others have started
ByteRow = npt.NDArray[np.uint8]


class PictureFile(NamedTuple):
    """One picture to decode."""

    item_id: str
    path: Path


class Decoded(NamedTuple):
    """What is known of a picture that was decoded: a digest of its own pixels, or why it cannot be read."""

    digest: str = ""  # of size and RGB pixels before resizing: equal pictures have equal ones
    fault: str = ""


def decode(
    rule: ImageRule, files: Sequence[PictureFile], put: Callable[[int, ByteRow], object], progress: bool, name: str
) -> list[Decoded]:
    """Hand row by row to ``put``, in this process; an unreadable picture has none."""
    found = []
    for row, file in enumerate(tqdm(files, desc=f"{name}: pictures", unit="picture", disable=not progress)):
        known, pixels = decode_one(rule, file)
        if pixels is not None:
            put(row, pixels)
        found.append(known)
    return found


def decode_one(rule: ImageRule, file: PictureFile) -> tuple[Decoded, ByteRow | None]:
    """What is known of a picture, and its bytes if it can be read."""
    try:
        picture = read_picture(file.path, file.item_id)
    except FeatureError as error:
        return Decoded(fault=str(error)), None
    return Decoded(picture_digest(picture)), rule.resized([picture])[0].numpy()


def picture_digest(picture: Image) -> str:
    """A digest of size and pixels of an RGB picture."""
    running = hashlib.sha256(f"{picture.size}".encode())
    running.update(picture.tobytes())
    return running.hexdigest()


def decode_into(
    target: Path,
    offset: int,
    rule: ImageRule,
    files: Sequence[PictureFile],
    *,
    processes: int | None = None,
    progress: bool = True,
    name: str = "",
) -> list[Decoded]:
    """Write the rows of ``files`` into ``target``, one after another from byte ``offset`` on.

    ``processes`` None: as many as there are free cores, one for few pictures. Rows do not depend on their number.
    Raises OSError where writing fails, FeatureError if a process was killed.
    """
    if processes is None:
        processes = free_cores() if len(files) >= _FEW else 1
    starts = range(0, len(files), _PART)
    parts = [(target, offset, rule, start, tuple(files[start : start + _PART])) for start in starts]
    found: list[Decoded] = [Decoded()] * len(files)
    bar = tqdm(total=len(files), desc=f"{name}: pictures", unit="picture", disable=not progress)
    with bar:
        for start, rows in _carried_out(parts, min(processes, len(parts))):
            found[start : start + len(rows)] = rows
            bar.update(len(rows))
    return found


_Part = tuple[Path, int, ImageRule, int, tuple[PictureFile, ...]]


def _carried_out(parts: list[_Part], processes: int) -> Iterator[tuple[int, list[Decoded]]]:
    """(first row, what became of its pictures) of each part, as they come."""
    if processes < 2:
        yield from map(_decode_part, parts)
        return
    context = multiprocessing.get_context("spawn")  # a forked torch hangs once it has used threads
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start)
    try:
        with without_script():  # a process is started where a part is submitted, none later
            futures = [pool.submit(_decode_part, part) for part in parts]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise FeatureError(
            "a process that decoded pictures was killed, perhaps for want of memory; close other programs, or take "
            "the largest pictures out of the catalogue, then run the same command again"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start() -> None:
    end_when_asked()
    end_with_parent(0.0)


def _decode_part(part: _Part) -> tuple[int, list[Decoded]]:
    target, offset, rule, first, files = part
    size = 3 * rule.size**2
    with target.open("r+b", buffering=0) as file:

        def put(row: int, pixels: ByteRow) -> None:
            content, place = memoryview(pixels.tobytes()), offset + (first + row) * size
            while content:  # a disk that fills up takes a part first, and raises at the next
                file.seek(place)
                written = file.write(content) or 0
                content, place = content[written:], place + written

        return first, decode(rule, files, put, False, "")


def reserve(file_number: int, size: int) -> None:
    """Take ``size`` bytes on the disk for an open file now. Raises OSError if they are not there.

    Writing to a mapped file for which the disk has no room would kill the process. A new file is zeros then, and its
    position 0.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file_number, 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that cannot do it
                raise
    block, left = bytes(1 << 20), size
    os.lseek(file_number, 0, os.SEEK_SET)
    while left > 0:
        left -= os.write(file_number, block[: min(left, len(block))])
    os.lseek(file_number, 0, os.SEEK_SET)  # where the caller writes next
