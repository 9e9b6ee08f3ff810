"""``lmmrec results``: pack stored runs into two files a data set, unpack, count, export and merge them."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from lmmrec_core.errors import unknown
from lmmrec_core.results.crate import METADATA, write_crate
from lmmrec_core.results.merging import merge
from lmmrec_core.results.packing import pack, packable, unpack
from lmmrec_core.study.study import Study

_SHOWN = 10  # files that a message names


def results(arguments: argparse.Namespace) -> int:
    """Do what the task asks. Raises LmmrecError for an unknown track or data set, and for damaged runs."""
    study = Study.open(arguments.track)
    if arguments.task == "status":
        return _status(study, arguments.json)
    if arguments.task == "crate":
        return _crate(study, arguments.out)
    if arguments.task == "merge":
        return _merge(study, arguments.folders)
    store, track = study.workspace.store, study.track.name
    stored = packable(store, track)
    if arguments.dataset and arguments.dataset not in (*study.datasets, *stored):
        raise unknown("data set", arguments.dataset, {*study.datasets, *stored}, f"track {track}")
    names = [arguments.dataset] if arguments.dataset else stored
    if not names:
        print(f"{track}: no run is stored, so there is nothing to {arguments.task}")
    total = 0
    for name in names:
        if arguments.task == "unpack":
            print(f"{track}/{name}: {len(unpack(store, track, name))} run folders written")
            continue
        packed = pack(store, track, name)
        total += packed.size
        print(f"{track}/{name}: {packed.runs} runs packed, {packed.added} of them new, {packed.size / 1e6:.2f} MB")
    if len(names) > 1 and arguments.task == "pack":
        print(f"{track}: {total / 1e6:.2f} MB in all")
    return 0


def _crate(study: Study, out: str | None) -> int:
    from lmmrec_core.study.stored import check_stored

    store, track = study.workspace.store, study.track
    target = Path(f"{track.name}-crate" if out is None else out)
    made = write_crate(
        store, track.name, track.title, track.description.strip(), target,
        lambda file: check_stored(file, store.root / track.name),
    )  # fmt: skip
    print(f"{target}: {made.files} files and {METADATA}, which says what made them")
    if made.unknown:
        told = ", ".join(map(str, made.unknown[:_SHOWN])) + (", ..." if len(made.unknown) > _SHOWN else "")
        print(f"{len(made.unknown)} of them are no results, copied as they are, unchecked: {told}", file=sys.stderr)
    return 0


def _merge(study: Study, folders: list[str]) -> int:
    from lmmrec_core.study.stored import check_stored

    done = merge(study.workspace.store, study.track.name, [Path(folder) for folder in folders], check_stored)
    print(f"{done.added} runs added, {done.same} were here with the same values; {done.others} other files added")
    for files, what in ((done.kept, "stay as they are here"), (done.unknown, "are no results, and were not copied")):
        if files:
            told = ", ".join(map(str, files[:_SHOWN])) + (", ..." if len(files) > _SHOWN else "")
            print(f"{len(files)} files {what}: {told}", file=sys.stderr)
    return 0


def _status(study: Study, as_json: bool) -> int:
    found = study.status()
    if not study.cases():  # a catalogue of the user's own is in no grid
        store, track = study.workspace.store, study.track.name
        names = packable(store, track)
        found = {**found, "stored": {name: len(store.find_records(track=track, dataset=name)) for name in names}}
    if as_json:
        print(json.dumps(found, indent=1))
        return 0
    if "stored" in found:
        told = ", ".join(f"{name} {runs}" for name, runs in found["stored"].items()) or "none"
        print(f"{study.track.title}: the track plans no cases. Stored runs: {told}")
        return 0
    print(f"{study.track.title}, seeds {', '.join(map(str, found['seeds']))}")
    print(_table(found))
    told = f"{found['commit'] or 'none'}{', with changes that are not committed' if found['dirty'] else ''}"
    print(f"commit of the code: {told}")
    for commit, runs in found["commits"].items():
        print(f"  {runs} runs by {commit}")
    return 0


def _table(found: dict[str, Any]) -> str:
    frame = pd.DataFrame({**found["datasets"], "total": found["total"]}).T
    hours = frame.pop("training hours").map("{:.2f}".format)
    return frame.astype(int).assign(**{"training hours": hours}).to_string()
