"""How the weights of an encoder came to be: one small file beside the results for each set of weights.

``results/<track>/<dataset>/encoders/<encoder>-<paradigm>[-s<seed>]-<weights8>.json``; without the data set for weights
that all of them share. No run's folder can have this name, so the result store does not see them.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from lmmrec_core.disk import CURE, check_schema, read_sealed, write_sealed
from lmmrec_core.errors import ConfigError, ResultError, unknown
from lmmrec_core.names import PARADIGMS
from lmmrec_core.results.plain import plain_values
from lmmrec_core.results.provenance import code_state, provenance
from lmmrec_core.results.store import Record
from lmmrec_core.study.track import TrackSettings

_FOLDER = "encoders"
_SCHEMA = 1
IDENTITY = ("dataset", "encoder", "stage", "weights")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_WEIGHTS = re.compile(r"[0-9a-f]{8,}")
_FILE = re.compile(r".+-[A-Z]+(-s\d+)?-[0-9a-f]{8}\.json")


def write_encoder_record(
    results: Path,
    track_name: str,
    dataset: str | None,
    encoder: str,
    paradigm: str,
    weights: str,
    record: Mapping[str, Any],
    seed: int | None = None,
    made: Mapping[str, Any] | None = None,
) -> Path:
    """Keep how ``weights`` (the digest of a module's state) were made; returns the file, which replaces an older one.

    ``dataset`` None: the weights serve every data set of the track; ``seed`` None: every seed. ``record``: how they
    were made, for instance ``tuning`` (``FineTuning.plain()``) or ``alignment`` (the closed form of clip-small), with
    ``parent`` for weights that others were tuned from. ``made``: the provenance of the weights, by default that of now.

    Raises ConfigError for a name that cannot be a file's, an unknown paradigm or what is no digest, ResultError for a
    record that JSON cannot hold, that has a name of :data:`IDENTITY`, or that cannot be written.
    """
    for what, name in (("track", track_name), ("data set", dataset), ("encoder", encoder)):
        if name is not None and not _NAME.fullmatch(name):
            raise ConfigError(f"{what} {name!r} cannot be part of a file name; use letters, digits and . _ + -")
    if paradigm not in PARADIGMS:
        raise unknown("paradigm", paradigm, PARADIGMS, f"record of encoder {encoder!r}")
    if not _WEIGHTS.fullmatch(weights):
        raise ConfigError(f"encoder {encoder!r}: weights {weights!r} is no digest; pass that of the module's state")
    taken = [name for name in (*IDENTITY, "schema", "seed", "provenance", "digest") if name in record]
    if taken:
        raise ResultError(f"record of encoder {encoder!r} has {', '.join(taken)}, which are set here; leave them out")
    identity: dict[str, Any] = {"dataset": dataset, "encoder": encoder, "stage": paradigm, "weights": weights}
    named = f"{encoder}-{paradigm}"
    if seed is not None:
        identity, named = {**identity, "seed": seed}, f"{named}-s{seed}"
    path = _folder(results, track_name, dataset) / f"{named}-{weights[:8]}.json"
    write_sealed(path, plain_values({"schema": _SCHEMA, **identity, **record, "provenance": made or provenance()}))
    return path


def read_encoder_records(track: TrackSettings, results: Path) -> list[dict[str, Any]]:
    """The newest record of each data set, encoder, paradigm and seed of a track.

    Those of shared weights come first, then the data sets, each with its encoders in the order of the track file, its
    paradigms in the order of training, and its seeds. Raises ResultError for a damaged file, with the cure.
    """
    newest: dict[tuple[str | None, str, str, int], dict[str, Any]] = {}
    for dataset, record in _stored(track, results):
        key = (dataset, str(record["encoder"]), str(record["stage"]), int(record.get("seed", -1)))
        if key not in newest or record["provenance"]["time"] >= newest[key]["provenance"]["time"]:
            newest[key] = record
    datasets, encoders = [None, *track.datasets], list(track.encoders)

    def place(key: tuple[str | None, str, str, int]) -> tuple[int, int, str, int, int]:
        dataset, encoder, paradigm, seed = key
        known = encoders.index(encoder) if encoder in encoders else len(encoders)
        return datasets.index(dataset), known, encoder, PARADIGMS.index(paradigm), seed

    return [newest[key] for key in sorted(newest, key=place)]


def weights_read(run: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Digest of a module's state → what its card says of the weights, for the encoders that a stored run read."""
    encoders = ((run["features"] or {}).get("card") or {}).get("spec", {}).get("encoders", {})
    described = [entry["weights"] for entry in encoders.values() if isinstance(entry.get("weights"), Mapping)]
    return {entry["state_sha256"]: entry for entry in described if "state_sha256" in entry}


def suspect_weights(track: TrackSettings, results: Path) -> frozenset[str]:
    """Digests of the weights that uncommitted code made, or that were tuned from such; older records count too.

    Weights that committed code made as well, to the last bit, are not among them. Raises ResultError as
    :func:`read_encoder_records`.
    """
    records = [record for _, record in _stored(track, results)]
    sound = {str(r["weights"]) for r in records if code_state(r["provenance"]) != "uncommitted"}
    suspect = {str(r["weights"]) for r in records} - sound
    tuned = [(str(r["weights"]), str(r["parent"])) for r in records if "parent" in r]
    while more := {weights for weights, parent in tuned if parent in suspect} - suspect:
        suspect |= more
    return frozenset(suspect)


def judged_by_weights(record: Record, suspect: Collection[str]) -> Record:
    """The record of a run; if it read ``suspect`` weights its provenance says so, as ``code_state`` reads it."""
    if suspect and not weights_read(record.data).keys().isdisjoint(suspect):
        made = {**record.data["provenance"], "weights": "uncommitted"}
        return replace(record, data={**record.data, "provenance": made})
    return record


def _stored(track: TrackSettings, results: Path) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """(data set or None, record) of all files of a track."""
    for dataset in (None, *track.datasets):
        for path in sorted(_folder(results, track.name, dataset).glob("[!.]*.json")):
            if _FILE.fullmatch(path.name):
                state = path.stat()
                record = dict(_read(path, (state.st_ino, state.st_mtime_ns, state.st_size)))
                if record.get("dataset") != dataset:
                    raise ResultError(f"{path}: damaged (it is of data set {record.get('dataset')!r}); {CURE}")
                yield dataset, record


@lru_cache(maxsize=1024)  # every case to be run asks
def _read(path: Path, state: tuple[int, int, int]) -> dict[str, Any]:
    """``state`` tells one content of the file from another."""
    record = read_sealed(path)
    check_schema(record, _SCHEMA, path)
    return record


def _folder(results: Path, track_name: str, dataset: str | None) -> Path:
    parts = (track_name,) if dataset is None else (track_name, dataset)
    return results.joinpath(*parts, _FOLDER)
