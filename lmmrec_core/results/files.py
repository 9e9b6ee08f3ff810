"""The tables of a stored run as bytes: values per user and ranked lists."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lmmrec_core.flow import IntArray

_LISTS = {"hit_ranks": pa.list_(pa.int16()), "hit_items": pa.list_(pa.int32()), "valid_ranks": pa.list_(pa.int16())}


def table_bytes(per_user: pd.DataFrame) -> bytes:
    """Per-user frame → parquet bytes; floats keep every bit, lists keep their integer width."""
    return _parquet(table_of(per_user))


def table_of(per_user: pd.DataFrame) -> pa.Table:
    """Per-user frame → Arrow table, with the index as the column ``user``."""
    columns = {"user": pa.array(per_user.index.to_numpy(dtype=np.int64))}
    for name in per_user.columns:
        columns[name] = pa.array(per_user[name].to_numpy(), type=_LISTS.get(name))
    return pa.table(columns)


def lists_bytes(users: IntArray, top_items: IntArray) -> bytes:
    """Ranked lists [user, k] → parquet bytes with the columns ``user`` and ``items``."""
    flat = pa.array(np.ascontiguousarray(top_items, dtype=np.int32).ravel())
    items = pa.FixedSizeListArray.from_arrays(flat, top_items.shape[1])
    return _parquet(pa.table({"user": pa.array(np.asarray(users, dtype=np.int64)), "items": items}))


def read_table(content: bytes) -> pd.DataFrame:
    """The inverse of :func:`table_bytes`. Raises OSError or ValueError (pyarrow's own) for other bytes."""
    return pq.read_table(pa.BufferReader(content)).to_pandas().set_index("user")


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
