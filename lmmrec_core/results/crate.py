"""The results of a track as an RO-Crate: its files with checksums, and which run made them, by which code, from what.

A crate is a folder with ``ro-crate-metadata.json``, JSON-LD by the specification RO-Crate 1.1
(https://w3id.org/ro/crate/1.1). Each stored run is a ``CreateAction``: its instrument is the code with the versions of
all packages, its objects are catalogue, split and features by digest, its results the files. Equal results give an
equal crate: times are those of the runs.
"""

import json
import mimetypes
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmmrec_core.digests import digest, file_sha256
from lmmrec_core.disk import require_new, whole_folder, write_file
from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.results.checking import Check, check_files, stored_files
from lmmrec_core.results.store import Record, ResultStore

METADATA = "ro-crate-metadata.json"
_SPECIFICATION = "https://w3id.org/ro/crate/1.1"
# the context of version 1.1 is older than this term of schema.org
_CONTEXT = [f"{_SPECIFICATION}/context", {"sha256": "https://schema.org/sha256"}]
_LICENCE = {"@id": "https://spdx.org/licenses/MIT", "@type": "CreativeWork", "name": "MIT License"}
_PAPER = {
    "@id": "https://arxiv.org/abs/2310.20343", "@type": "ScholarlyArticle",
    "name": "Large Multi-modal Encoders for Recommendation",
}  # fmt: skip
_KINDS = {".parquet": "application/vnd.apache.parquet", ".jsonl": "application/jsonl"}
_TERMS = (
    "The results are under the licence of the code. The catalogues that they were measured on have terms of their own "
    "and are not in the crate; they are named by digest."
)

Entity = dict[str, Any]


@dataclass(frozen=True)
class Crate:
    """What :func:`write_crate` wrote."""

    files: int
    unknown: tuple[Path, ...] = ()  # files of no known kind, below the track: no digest says that they are sound


def write_crate(
    store: ResultStore, track: str, title: str, description: str, target: Path, check: Check = lambda file: False
) -> Crate:
    """Copy the stored results of ``track`` into the new folder ``target``, as a crate.

    Every file of a run is held against its record first; ``check`` does so for files that this stage does not know.
    Raises ConfigError where nothing is stored, or ``target`` is not new or lies among the results; ResultError that
    names all damaged files, and for a full disk. Nothing is written then.
    """
    require_new(target, ConfigError)
    if target.resolve().is_relative_to(store.root.resolve()):
        raise ConfigError(f"{target}: lies in {store.root}, where only results may be; name a folder outside")
    if not store.root.joinpath(track).is_dir():
        raise _nothing(store, track)
    files = stored_files(store.root / track)
    unknown = check_files(store, track, files, check)
    records = store.find_records(track=track)
    if not records:
        raise _nothing(store, track)
    with whole_folder(target, needed=sum(file.stat().st_size for file in files)) as partial:
        for file in files:
            copy = partial / file.relative_to(store.root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        inside = [file.relative_to(store.root) for file in files]
        known = {file.relative_to(store.root).as_posix() for file in files if file not in unknown}
        metadata = crate_metadata(records, inside, partial, title, description, known)
        text = json.dumps(metadata, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_file(partial / METADATA, text)
    return Crate(len(files), tuple(file.relative_to(store.root / track) for file in unknown))


def _nothing(store: ResultStore, track: str) -> ConfigError:
    return ConfigError(f"track {track!r} has no stored results below {store.root}; run `lmmrec reproduce` first")


def crate_metadata(
    records: Sequence[Record],
    files: Iterable[Path],
    folder: Path,
    title: str,
    description: str,
    known: Collection[str],
) -> Mapping[str, Any]:
    """The content of the metadata file for ``files``, relative to ``folder``, where they are read.

    ``known``: names of those that a run may have made; the others are parts of the crate and no more.
    """
    made_of: dict[str, Entity] = {}  # code, packages and data by id
    parts = [_file(file, folder) for file in files]
    actions = [_action(record, known, made_of) for record in records]
    root: Entity = {
        "@id": "./", "@type": "Dataset", "name": f"Results of the track {title}",
        "description": f"{description} {_TERMS}",
        "datePublished": max(record.created for record in records), "license": _id(_LICENCE), "isBasedOn": _id(_PAPER),
        "hasPart": [_id(part) for part in parts], "mentions": [_id(action) for action in actions],
    }  # fmt: skip
    descriptor: Entity = {
        "@id": METADATA, "@type": "CreativeWork", "conformsTo": {"@id": _SPECIFICATION}, "about": {"@id": "./"},
    }  # fmt: skip
    return {"@context": _CONTEXT, "@graph": [descriptor, root, _LICENCE, _PAPER, *parts, *actions, *made_of.values()]}


def _file(file: Path, folder: Path) -> Entity:
    kind = _KINDS.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return {
        "@id": file.as_posix(), "@type": "File", "name": file.name, "encodingFormat": kind,
        "contentSize": str((folder / file).stat().st_size), "sha256": file_sha256(folder / file, ResultError),
    }  # fmt: skip


def _action(record: Record, files: Collection[str], made_of: dict[str, Entity]) -> Entity:
    """One run; what it was made by and from is added to ``made_of``."""
    data, case = record.data, record.case
    code = _code(data["provenance"], made_of)
    inputs = [_digest(made_of, "catalogue", data["data"]["catalogue"], str(case["dataset"]))]
    inputs.append(_digest(made_of, "split", data["data"]["split"], f"{case['dataset']}, rule {data['data']['rule']}"))
    if data["features"]:
        inputs.append(_digest(made_of, "features", data["features"]["digest"], f"{case['encoder']} {case['paradigm']}"))
    name = record.path.name
    inside = f"{case['track']}/{case['dataset']}"
    results = [file for file in sorted(files) if file.startswith((f"{inside}/{name}/", f"{inside}."))]
    own = [file for file in results if file.startswith(f"{inside}/{name}/")]
    return {
        "@id": f"#run-{record.key}", "@type": "CreateAction", "name": name, "identifier": record.key,
        "description": ", ".join(f"{field} {case[field]}" for field in case), "endTime": record.created,
        "instrument": _id(code), "object": [_id(entity) for entity in inputs],
        "result": [{"@id": file} for file in own or results],
    }  # fmt: skip


def _code(made: Mapping[str, Any], made_of: dict[str, Entity]) -> Entity:
    versions, machine = made.get("versions", {}), made.get("machine", {})
    commit = str(made.get("commit") or "unknown")
    state = f"{commit}{', with changes that were not committed' if made.get('dirty') else ''}"
    packages = []
    for name, number in versions.items():
        if name != "lmmrec":
            package = {"@id": f"#{name}-{number}", "@type": "SoftwareApplication"}
            package |= {"name": name, "softwareVersion": str(number)}
            packages.append(made_of.setdefault(package["@id"], package))
    entity: Entity = {
        "@id": f"#code-{digest([state, versions, machine])}", "@type": "SoftwareApplication", "name": "lmmrec",
        "softwareVersion": f"{versions.get('lmmrec', 'unknown')}, commit {state}", "license": _id(_LICENCE),
        "softwareRequirements": [_id(package) for package in packages],
        "operatingSystem": str(machine.get("system", "unknown")),
        "processorRequirements": f"{machine.get('cpu', 'unknown')}, {machine.get('cpus', '?')} CPUs, "
        f"trained on {machine.get('device', 'unknown')}",
    }  # fmt: skip
    return made_of.setdefault(str(entity["@id"]), entity)


def _digest(made_of: dict[str, Entity], what: str, found: str, name: str) -> Entity:
    entity = {"@id": f"#{what}-{found}", "@type": "CreativeWork", "name": f"{what} of {name}", "identifier": found}
    return made_of.setdefault(str(entity["@id"]), entity)


def _id(entity: Mapping[str, Any]) -> dict[str, str]:
    return {"@id": str(entity["@id"])}
