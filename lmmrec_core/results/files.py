"""Writing a folder so that it is there complete or not at all, and the tables inside it."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lmmrec_core.errors import ResultError
from lmmrec_core.flow import IntArray

PARTIAL = ".partial-"
_ABANDONED = 24 * 3600  # seconds after which the temporary folder of a killed process is removed
_LISTS = {"hit_ranks": pa.list_(pa.int16()), "hit_items": pa.list_(pa.int32())}


def write_folder(target: Path, files: Mapping[str, bytes]) -> bool:
    """Write ``files`` into a temporary folder beside ``target``, flush them to disk, rename it to ``target``.

    False when another process has made ``target`` meanwhile: theirs stays, ours is removed. Raises
    ResultError when the disk is full or does not allow writing; no half-written folder is left then.
    """
    partial: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target.parent)
        partial = Path(tempfile.mkdtemp(prefix=f"{PARTIAL}{target.name}-", dir=target.parent))
        partial.chmod(0o755)  # mkdtemp makes it private; results are meant to be read
        for name, content in files.items():
            with (partial / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        _flush_folder(partial)
        partial.rename(target)
        _flush_folder(target.parent)
    except OSError as error:
        if target.is_dir():
            return False
        raise ResultError(
            f"{target}: could not be saved ({error.strerror or error}); nothing was left behind. "
            f"Free {sum(map(len, files.values())) / 2**20:.1f} MiB or allow writing there, then run again"
        ) from None
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    return True


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(folder: Path) -> None:
    for entry in folder.glob(f"{PARTIAL}*"):
        try:
            old = time.time() - entry.stat().st_mtime > _ABANDONED
        except FileNotFoundError:  # its owner has just renamed or removed it
            continue
        if old and entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)


def sha256(content: bytes) -> str:
    """Hex digest of the bytes of a file."""
    return hashlib.sha256(content).hexdigest()


def table_bytes(per_user: pd.DataFrame) -> bytes:
    """Per-user frame → parquet bytes; floats keep every bit, lists keep their integer width."""
    columns = {"user": pa.array(per_user.index.to_numpy(dtype=np.int64))}
    for name in per_user.columns:
        columns[name] = pa.array(per_user[name].to_numpy(), type=_LISTS.get(name))
    return _parquet(pa.table(columns))


def lists_bytes(users: IntArray, top_items: IntArray) -> bytes:
    """Ranked lists [user, k] → parquet bytes with the columns ``user`` and ``items``."""
    flat = pa.array(np.ascontiguousarray(top_items, dtype=np.int32).ravel())
    items = pa.FixedSizeListArray.from_arrays(flat, top_items.shape[1])
    return _parquet(pa.table({"user": pa.array(np.asarray(users, dtype=np.int64)), "items": items}))


def read_table(content: bytes, columns: list[str] | None = None) -> pd.DataFrame:
    """The inverse of :func:`table_bytes`. Raises OSError or ValueError (pyarrow's own) for other bytes."""
    wanted = None if columns is None else ["user", *columns]
    frame = pq.read_table(pa.BufferReader(content), columns=wanted).to_pandas()
    return frame.set_index("user")


def read_lists(content: bytes) -> tuple[IntArray, IntArray]:
    """The inverse of :func:`lists_bytes`: users [user] and items [user, k]."""
    table = pq.read_table(pa.BufferReader(content)).combine_chunks()
    users = table["user"].to_numpy().astype(np.int64)
    flat = pa.concat_arrays([chunk.flatten() for chunk in table["items"].chunks]).to_numpy().astype(np.int64)
    return users, flat.reshape(len(users), -1)


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()
