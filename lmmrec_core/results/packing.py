"""Run folders → the archive of a data set, and back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lmmrec_core.digests import bytes_sha256
from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.flow import Result
from lmmrec_core.results.archive import RECORDS, Archive
from lmmrec_core.results.files import table_bytes
from lmmrec_core.results.store import PER_USER, RECORD, Record, ResultStore, record_bytes, write_run


@dataclass(frozen=True)
class Packed:
    """What :func:`pack` wrote."""

    runs: int
    added: int  # those that were not in the archive before
    size: int  # bytes of both files


def packable(store: ResultStore, track: str) -> list[str]:
    """The data sets of a track that have stored runs, in folders or packed, sound or not."""
    packed = (file.name.removesuffix(RECORDS) for file in store.root.glob(f"{track}/[!.]*{RECORDS}"))
    return sorted({*(path.parent.name for path in store.folders(track, "*")), *packed})


def pack(store: ResultStore, track: str, dataset: str) -> Packed:
    """Write all stored runs of a data set into its archive; run folders stay, and so do runs packed before.

    Columns of metrics are left out where ``store.measure`` gives every bit of them again. Raises ResultError naming
    each damaged run, and then nothing is written; ConfigError where nothing is stored.
    """
    archive = Archive(store.root, track, dataset)
    before = set(archive.runs())
    paths = sorted({*store.folders(track, dataset), *(archive.folder / name for name in before)})
    if not paths:
        raise ConfigError(f"{track}/{dataset}: no run is stored there, so there is nothing to pack; run some first")
    runs: list[tuple[str, Any, pd.DataFrame, tuple[str, ...]]] = []
    damage = []
    for path in paths:
        try:
            result = store.load(path)
        except ResultError as error:
            damage.append(str(error))
            continue
        runs.append((path.name, result.record, result.per_user, _measurable(store, result)))
    if damage:
        raise ResultError("nothing was packed, these runs are damaged:\n" + "\n".join(damage))
    return Packed(len(runs), len({path.name for path in paths} - before), archive.write(runs))


def unpack(store: ResultStore, track: str, dataset: str) -> list[Path]:
    """Write the folders of packed runs that have none; ranked lists were not packed. Returns the new folders.

    Raises ResultError for a damaged archive, or where this pyarrow writes other bytes than the record names.
    """
    made = []
    for record in store.find_records(track=track, dataset=dataset):
        if record.archived is not None:
            write_run(record.path, unpacked_files(store, record))
            made.append(record.path)
    return made


def unpacked_files(store: ResultStore, record: Record) -> dict[str, bytes]:
    """The files of a packed run's folder, by name. Raises ResultError as :func:`unpack`."""
    content = table_bytes(store.load_record(record).per_user)
    if bytes_sha256(content) != record.data["files"][PER_USER]:
        made = record.data["provenance"].get("versions", {}).get("pyarrow", "another version")
        raise ResultError(
            f"{record.path.name}: this machine writes other bytes than the record names (the run was made with pyarrow "
            f"{made}); install that, or leave the run packed: it is read all the same"
        )
    return {PER_USER: content, RECORD: record_bytes(record.data)}


def _measurable(store: ResultStore, result: Result) -> tuple[str, ...]:
    """The metrics that the kept hits give again, bit by bit."""
    return tuple(name for name in result.per_user.columns if "@" in name and _same_bits(store, result, name))


def _same_bits(store: ResultStore, result: Result, name: str) -> bool:
    if store.measure is None:
        return False
    try:
        again = store.measure(result, name).to_numpy()
    except (KeyError, ResultError):  # no such metric, or beyond the kept ranks
        return False
    stored = result.per_user[name].to_numpy()
    return again.dtype == stored.dtype and np.array_equal(again.view(np.uint64), stored.view(np.uint64))
