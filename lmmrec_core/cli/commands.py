"""What each command does: read its arguments, call the study, print. Imported when a command runs."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from lmmrec_core.cli.options import seed_numbers
from lmmrec_core.cli.own_catalogue import encoder_name, whatever_is_there
from lmmrec_core.cli.reading import OF_READING, refuse, refuse_data, what_was_used
from lmmrec_core.disk import require_new
from lmmrec_core.errors import ConfigError, DataError, unknown
from lmmrec_core.names import BASELINE, MODALITY_SETS, TRACKS
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.study import Study
from lmmrec_core.study.workspace import Workspace


def data(arguments: argparse.Namespace) -> int:
    """``lmmrec data``: statistics of tracks, or of one catalogue folder, or all that is wrong with it."""
    if arguments.folder:
        refuse(arguments, ("track", "data"), "has no effect with a folder of your own; leave it out")
        return _check_folder(arguments)
    refuse(arguments, OF_READING, "is for a catalogue of your own; name its folder")
    if arguments.track:
        refuse_data(arguments, read_track(arguments.track))
    for track_name in [arguments.track] if arguments.track else TRACKS:
        study = Study.open(track_name, data=arguments.data if track_name != "controls" else "")
        if study.workspace.data is not None or track_name == "controls":
            _prepare_all(study)
        frame = study.statistics()
        columns = [
            c for c in ("dataset", "users", "items", "interactions", "density", "per_user", "per_item") if c in frame
        ]
        print(f"{study.track.title}: {study.track.description.strip()}")
        print(frame[columns].to_string(index=True, na_rep="not prepared here"), end="\n\n")
    return 0


def _check_folder(arguments: argparse.Namespace) -> int:
    """Print what a catalogue becomes. Raises DataError with all faults that can be found, those of pictures too."""
    from lmmrec_core.data.folder import FolderSettings, named_pictures
    from lmmrec_core.encoders.pictures.unreadable import UnreadablePictures, unreadable_pictures
    from lmmrec_core.study.datasets import dataset_statistics

    faults: list[str] = []
    path = Path(arguments.folder).resolve()
    try:
        workspace, name, content = whatever_is_there(arguments, arguments.folder)
        catalogue = workspace.dataset(name).catalogue
        pictures = list(zip(catalogue.item_ids, catalogue.images, strict=True))
    except DataError as error:
        faults.append(str(error))
        asked = {"interactions": arguments.interactions} if arguments.interactions else {}
        pictures = list(named_pictures(path, FolderSettings.build(asked, str(path))))
    if not arguments.unreadable:
        broken = unreadable_pictures(pictures, sys.stderr.isatty())
        faults += [str(UnreadablePictures(list(broken.values()), path.name))] if broken else []
    if faults:
        raise DataError("\n".join(faults))
    there = {modalities: word for word, modalities in MODALITY_SETS.items()}[content.modalities]
    used = what_was_used(workspace.dataset(name), workspace.track.dataset(name))
    _print_mapping({**used, "modalities": there, **_not_told_yet(dataset_statistics(workspace.dataset(name)))})
    return 0


def _not_told_yet(statistics: Mapping[str, Any]) -> dict[str, str]:
    """What :func:`what_was_used` leaves out of the statistics: who is behind the users, further counts, and shape."""
    counts = {key: number for key, number in statistics["counts"].items() if number}
    told = {key for key in counts if key.startswith("rows_") or "_dropped_" in key}
    shape = {key: f"{statistics[key]:.4g}" for key in ("density", "per_user", "per_item", "gini_items")}
    persons = {} if statistics["persons"] is None else {"persons": str(statistics["persons"])}
    return persons | {key: str(number) for key, number in counts.items() if key not in told} | shape


def _prepare_all(study: Study) -> None:
    from lmmrec_core.study.datasets import store_statistics

    workspace = study.workspace
    for name in study.datasets:
        path = study.track.dataset(name).path
        if path and workspace.data is not None and not (workspace.data / path).is_dir():
            print(f"{name}: {path} is not under {workspace.data}; left out", file=sys.stderr)
            continue
        store_statistics(workspace.dataset(name), study.track, workspace.results)


def features(arguments: argparse.Namespace) -> int:
    """``lmmrec features``: extract features and print their cards. Several processes of a launcher tune together."""
    from lmmrec_core.encoders.fine_tuning.processes import together
    from lmmrec_core.study.features import load_features
    from lmmrec_core.study.weights.making import trained_encoder

    encoder = arguments.encoder or BASELINE
    if arguments.catalogue:
        refuse(arguments, ("track", "data", "dataset"), "has no effect with --catalogue; leave it out")
        workspace, name, _ = whatever_is_there(arguments, arguments.catalogue)
        _tell_what_was_dropped(workspace, name)
        names = [name]
        encoder = encoder_name(encoder)
    else:
        refuse(arguments, OF_READING, "is for a catalogue of your own; name it with --catalogue")
        workspace = Workspace.open(arguments.track or "controls", arguments.data)
        refuse_data(arguments, workspace.track)
        names = [*workspace.track.datasets]
        if arguments.dataset:
            names = [_known("data set", arguments.dataset, names)]
    known = workspace.track.paradigms(encoder)
    paradigm = _known("paradigm", arguments.paradigm, known) if arguments.paradigm else known[0]
    seeds: list[int | None] = [None]
    if paradigm == "FT":
        seeds = [*(seed_numbers(arguments.seeds) or workspace.track.seeds)]
    elif arguments.seeds:
        raise ConfigError("--seeds has no effect without --paradigm FT: other features have none; leave it out")
    with together() as processes:
        if processes.count > 1:
            if "none" in known:
                raise ConfigError(f"encoder {encoder!r} is not trained on pairs; start one process for its features")
            shown = workspace if processes.first else workspace.quiet()
            for name, seed in product(names, seeds):
                trained_encoder(shown, encoder, paradigm, shown.dataset(name), seed)
    if not processes.first:
        return 0
    for name, seed in product(names, seeds):
        found = load_features(workspace, workspace.dataset(name), encoder, paradigm, seed)
        shapes = {modality: list(matrix.shape) for modality, matrix in found.matrices.items()}
        absent = {modality: int((~present).sum()) for modality, present in found.present.items()}
        of = {"dataset": name} if seed is None else {"dataset": name, "seed": seed}
        _print_mapping({**of, "digest": found.digest, "shapes": shapes, "items without": absent})
    return 0


def _known(kind: str, name: str, known: Sequence[str]) -> str:
    if name not in known:
        raise unknown(kind, name, known)
    return name


def import_mmrec(arguments: argparse.Namespace) -> int:
    """``lmmrec import-mmrec``: write the catalogue folder of a data set in the MMRec layout."""
    from lmmrec_core.data.folder import write_folder
    from lmmrec_core.data.mmrec import read_mmrec

    require_new(Path(arguments.target), DataError)
    catalogue = read_mmrec(Path(arguments.source))
    if catalogue.user_group is not None:
        print(
            "the persons behind users (column 'group') have no place in a catalogue folder, and are left out: there, "
            "tests take each user for a person",
            file=sys.stderr,
        )
    write_folder(catalogue, Path(arguments.target))
    print(
        f"{arguments.target}: {catalogue.n_users} users, {catalogue.n_items} items, {len(catalogue.user)} interactions"
    )
    return 0


def export_mmrec(arguments: argparse.Namespace) -> int:
    """``lmmrec export-mmrec``: write a catalogue, its split and its features in the MMRec layout."""
    from lmmrec_core.data.mmrec import write_mmrec
    from lmmrec_core.encoders.features.ready import ready_features
    from lmmrec_core.study.features import load_features

    require_new(Path(arguments.target), DataError)
    workspace, name, _ = whatever_is_there(arguments, arguments.source, encoded=bool(arguments.encoder))
    _tell_what_was_dropped(workspace, name)
    dataset = workspace.dataset(name)
    found = ready_features(dataset.catalogue) if dataset.catalogue.ready_features else None
    if arguments.encoder:
        encoder = encoder_name(arguments.encoder)
        found = load_features(workspace, dataset, encoder, workspace.track.paradigms(encoder)[0])
    split = dataset.split
    write_mmrec(dataset.catalogue, split, found, Path(arguments.target))
    print(f"{arguments.target}: {len(split.train)} train, {len(split.valid)} valid, {len(split.test)} test rows")
    return 0


def _tell_what_was_dropped(workspace: Workspace, name: str) -> None:
    used = what_was_used(workspace.dataset(name), workspace.track.dataset(name))
    print(f"{name}: rows {used['rows']}; core {used['core']}; dropped: {used['dropped']}", file=sys.stderr)


def _print_mapping(values: Mapping[str, object]) -> None:
    for key, value in values.items():
        print(f"{key:>16}  {value}")
