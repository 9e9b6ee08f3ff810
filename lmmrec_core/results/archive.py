"""The runs of one data set in two files, small enough for version control.

``<root>/<track>/<dataset>.records.jsonl`` has a header line (how many runs, the SHA-256 of the other lines) and a line
per run, sorted by key: the name of its folder, the columns of its per-user frame, the digest of its rows, its record,
the training history in columns.
``<dataset>.users.parquet`` has the rows, one row group per run. Columns of metrics that follow bit by bit from the kept
hits are not in it; they are measured again when a run is read. Ranked lists (``top50.parquet``) are in neither file.

A run is used only if its rows have the digest of its line. So the files can be replaced one after the other: a new
``users.parquet`` still holds the rows of every run that the older records name.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lmmrec_core.digests import bytes_sha256
from lmmrec_core.disk import read_regular, whole_file, write_file
from lmmrec_core.errors import ResultError
from lmmrec_core.results.files import table_of

RECORDS, USERS = ".records.jsonl", ".users.parquet"
_FORMAT = 1
_KEYS = b"lmmrec.keys"  # in the schema's metadata: the keys of the runs, in the order of the row groups


@dataclass(frozen=True, eq=False)
class ArchivedRun:
    """One line of the records, and how its rows are kept."""

    archive: "Archive"
    folder: str  # the name of its run folder
    record: Mapping[str, Any]  # run.json
    columns: tuple[str, ...]  # of the per-user frame, in order
    measured: tuple[str, ...]  # those of them that are not kept but measured again
    rows: str  # digest of the kept columns, see :func:`rows_digest`

    def kept_rows(self) -> pd.DataFrame:
        """The kept columns, index ``user``. Raises ResultError naming a damaged file and the cure."""
        return self.archive.rows_of(self)


class Archive:
    """The two files of a data set; reading checks them."""

    def __init__(self, root: Path, track: str, dataset: str) -> None:
        self.folder = root / track / dataset  # where its run folders would be
        self.records_file = root / track / f"{dataset}{RECORDS}"
        self.users_file = root / track / f"{dataset}{USERS}"

    def runs(self) -> Mapping[str, ArchivedRun]:
        """Folder name → run; empty where nothing is packed. Raises ResultError naming a damaged file and the cure."""
        if not self.records_file.exists():
            return {}
        return _read_runs(self.records_file, _state(self.records_file))

    def rows_of(self, run: ArchivedRun) -> pd.DataFrame:
        """See :meth:`ArchivedRun.kept_rows`."""
        kept = [name for name in run.columns if name not in run.measured]
        try:
            users = _open_users(self.users_file, _state(self.users_file))
            order = json.loads(users.schema_arrow.metadata[_KEYS])
            table = users.read_row_group(order.index(run.record["key"]), columns=["user", *kept])
            frame = table.to_pandas().set_index("user")[kept]
            found = rows_digest(frame)
        except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError, pa.ArrowException) as error:
            raise self.damaged(self.users_file, f"no rows of the run {run.folder} can be read ({error})") from None
        if found != run.rows:
            raise self.damaged(self.users_file, f"the rows of the run {run.folder} do not match their digest")
        return frame

    def damaged(self, file: Path, what: str) -> ResultError:
        """The error for a damaged file of the archive, with the cure."""
        return ResultError(
            f"{file}: damaged: {what}; restore it from version control, or delete {self.records_file.name} and "
            f"{self.users_file.name} and pack the run folders again (`lmmrec results pack`)"
        )

    def write(self, runs: Iterable[tuple[str, Mapping[str, Any], pd.DataFrame, tuple[str, ...]]]) -> int:
        """Write (folder name, record, per-user frame, columns measured again) of runs; returns bytes of both files.

        The same runs give the same bytes. Raises ResultError when two runs differ in the type of a column.
        """
        ordered = sorted(runs, key=lambda run: str(run[1]["key"]))
        frames = [frame.drop(columns=list(measured)) for _, _, frame, measured in ordered]
        tables = [table_of(frame) for frame in frames]
        keys = [str(record["key"]) for _, record, _, _ in ordered]
        lines = "".join(
            _line({"folder": folder, "columns": list(frame.columns), "measured": list(measured),
                   "rows": rows_digest(kept), **_without_history(record)})
            for (folder, record, frame, measured), kept in zip(ordered, frames, strict=True)
        )  # fmt: skip
        header = {"format": _FORMAT, "runs": len(ordered), "sha256": bytes_sha256(lines.encode())}
        schema = _schema(tables, self.users_file).with_metadata({_KEYS: json.dumps(keys).encode()})
        with whole_file(self.users_file) as partial:
            _write_users(partial, schema, keys, tables)
        write_file(self.records_file, _line(header) + lines)
        return self.users_file.stat().st_size + self.records_file.stat().st_size


def rows_digest(frame: pd.DataFrame) -> str:
    """SHA-256 of users, column names, types and values, the same on every machine and for every version of pyarrow."""
    total = hashlib.sha256()
    _add(total, "user", frame.index.to_numpy(dtype=np.int64))
    for name in frame.columns:
        values = frame[name].to_numpy()
        if values.dtype == object:
            _add(total, f"{name} lengths", np.array([len(each) for each in values], dtype=np.int64))
            values = np.concatenate([np.asarray(each) for each in values])
        _add(total, str(name), values)
    return total.hexdigest()


def _add(total: "hashlib._Hash", name: str, values: "np.ndarray[Any, Any]") -> None:
    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    total.update(f"{name}\0{plain.dtype.str}\0{len(plain)}\0".encode())
    total.update(plain.tobytes())


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"


def _without_history(record: Mapping[str, Any]) -> dict[str, Any]:
    """``record``, with the training history beside it in columns, which saves a fifth of the space."""
    epochs = (record.get("training") or {}).get("history")
    if not epochs or not epochs[0] or any(list(epoch) != list(epochs[0]) for epoch in epochs):
        return {"record": record}
    columns = {name: [epoch[name] for epoch in epochs] for name in epochs[0]}
    return {"record": {**record, "training": {**record["training"], "history": None}}, "history": columns}


def _with_history(line: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`_without_history`; the order of keys stays."""
    record: dict[str, Any] = line["record"]
    if "history" not in line:
        return record
    epochs = [dict(zip(line["history"], values, strict=True)) for values in zip(*line["history"].values(), strict=True)]
    return {**record, "training": {**record["training"], "history": epochs}}


def _schema(tables: list[pa.Table], file: Path) -> pa.Schema:
    try:
        whole = pa.unify_schemas([table.schema for table in tables])
    except pa.ArrowException as error:
        raise ResultError(f"{file}: runs differ in the type of a column ({error}); run the older ones again") from None
    return pa.schema([pa.field("key", pa.string()), *whole])


def _write_users(file: Path, schema: pa.Schema, keys: list[str], tables: list[pa.Table]) -> None:
    options: dict[str, Any] = {
        "compression": "zstd", "compression_level": 15, "use_dictionary": ["key"], "write_statistics": False,
        "write_page_checksum": True,
        "column_encoding": {
            field.name: "DELTA_BINARY_PACKED" for field in schema if pa.types.is_integer(field.type)
        },
    }  # fmt: skip
    with pq.ParquetWriter(file, schema, **options) as writer:
        for key, table in zip(keys, tables, strict=True):
            columns = {name: table[name] for name in table.column_names} | {"key": pa.array([key] * len(table))}
            full = [
                columns[field.name] if field.name in columns else pa.nulls(len(table), field.type) for field in schema
            ]
            writer.write_table(pa.table(full, schema=schema), row_group_size=len(table))


def _state(file: Path) -> tuple[int, int, int]:
    """Tells one content of a file from another. Raises OSError."""
    state = file.stat()
    return state.st_ino, state.st_mtime_ns, state.st_size


@lru_cache(maxsize=64)
def _read_runs(file: Path, state: tuple[int, int, int]) -> Mapping[str, ArchivedRun]:
    archive = Archive(file.parents[1], file.parent.name, file.name.removesuffix(RECORDS))
    try:
        first, _, rest = read_regular(file).partition(b"\n")
        header = json.loads(first)
        if header["format"] != _FORMAT:
            raise ResultError(
                f"{file}: written in format {header['format']}, this version reads {_FORMAT}; use a newer version"
            )
        if bytes_sha256(rest) != header["sha256"]:
            raise archive.damaged(file, "its lines do not match the SHA-256 in its header (cut, or edited by hand?)")
        lines = [json.loads(line) for line in rest.splitlines()]
        if len(lines) != header["runs"]:
            raise archive.damaged(file, f"{len(lines)} runs, its header says {header['runs']}")
        return {
            line["folder"]: ArchivedRun(
                archive,
                line["folder"],
                _with_history(line),
                tuple(line["columns"]),
                tuple(line["measured"]),
                line["rows"],
            )
            for line in lines
        }
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise archive.damaged(file, f"not an archive of records ({error!r})") from None
    except OSError as error:
        raise ResultError(f"{file}: cannot be read ({error.strerror}); allow reading it") from None


@lru_cache(maxsize=8)
def _open_users(file: Path, state: tuple[int, int, int]) -> pq.ParquetFile:
    return pq.ParquetFile(pa.BufferReader(read_regular(file)), page_checksum_verification=True)
