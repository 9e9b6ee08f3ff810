"""What each command does: read its arguments, call the study, print. Imported when a command runs."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import pandas as pd

from lmmrec_core.cli.calibrate import renew_listings
from lmmrec_core.cli.own_catalogue import encoder_name, user_track, user_workspace, whatever_is_there
from lmmrec_core.cli.reading import OF_READING, asked_modalities, content_asked, content_used, refuse, what_was_used
from lmmrec_core.config import parse_assignments
from lmmrec_core.errors import ConfigError, DataError
from lmmrec_core.names import BASELINE, MODALITY_SETS, SEEDLESS_MODELS, TRACKS
from lmmrec_core.study.cases import Case, left_out, split_runnable
from lmmrec_core.study.study import Study
from lmmrec_core.study.workspace import Workspace


def data(arguments: argparse.Namespace) -> int:
    """``lmmrec data``: statistics of tracks, or of one catalogue folder, or all that is wrong with it."""
    if arguments.folder:
        refuse(arguments, ("track", "data"), "has no effect with a folder of your own; leave it out")
        return _check_folder(arguments)
    refuse(arguments, OF_READING, "is for a catalogue of your own; name its folder")
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
    from lmmrec_core.encoders.pictures.unreadable import unreadable_pictures, unreadable_told
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
        faults += [unreadable_told(list(broken.values()), path.name)] if broken else []
    if faults:
        raise DataError("\n".join(faults))
    found = dataset_statistics(workspace.dataset(name))
    counts = {key: number for key, number in found.pop("counts").items() if number}
    there = {modalities: word for word, modalities in MODALITY_SETS.items()}[content.modalities]
    used = what_was_used(workspace.dataset(name), workspace.track.dataset(name))
    _print_mapping({**found, **counts, **used, "modalities": there})
    return 0


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
    """``lmmrec features``: extract features and print their cards."""
    from lmmrec_core.study.features import load_features

    encoder = arguments.encoder or BASELINE
    if arguments.catalogue:
        refuse(arguments, ("track", "data"), "has no effect with --catalogue; leave it out")
        workspace, name, _ = whatever_is_there(arguments, arguments.catalogue)
        names = [name]
        encoder = encoder_name(encoder)
    else:
        refuse(arguments, OF_READING, "is for a catalogue of your own; name it with --catalogue")
        workspace = Workspace.open(arguments.track or "controls", arguments.data)
        names = list(workspace.track.datasets)
    workspace = workspace if sys.stderr.isatty() else workspace.quiet()
    for name in names:
        paradigm = workspace.track.paradigms(encoder)[0]
        found = load_features(workspace, workspace.dataset(name), encoder, paradigm)
        shapes = {modality: list(matrix.shape) for modality, matrix in found.matrices.items()}
        absent = {modality: int((~present).sum()) for modality, present in found.present.items()}
        _print_mapping({"dataset": name, "digest": found.digest, "shapes": shapes, "items without": absent})
    return 0


def run(arguments: argparse.Namespace) -> int:
    """``lmmrec run``: one case on the user's own catalogue."""
    from lmmrec_core.study.inputs import prepare_weights
    from lmmrec_core.study.run import plan, resolve, run_case

    overrides = parse_assignments(arguments.set)
    own = {key: value for key, value in overrides.items() if not key.startswith("end_to_end.")}
    resolve(Workspace.open("user"), arguments.model, own)  # refuse a misspelt name before anything is read
    _refuse_idle_settings(arguments.model, own)
    track = user_track(arguments)
    content = content_asked(arguments, track, encoder_name(arguments.encoder or BASELINE))
    workspace, name = user_workspace(arguments, arguments.data, content)
    workspace = workspace.quiet() if arguments.quiet else workspace
    cell = {"track": workspace.track.name, "dataset": name, "model": arguments.model, "seed": arguments.seed}
    case = Case.build({**cell, **(_content_fields(workspace, arguments) if content.modalities else {})}, "lmmrec run")
    if not (arguments.json and arguments.quiet):
        _tell_what_was_used(case, workspace, sys.stderr if arguments.json else sys.stdout)
    prepare_weights([case], workspace)
    result = run_case(plan(case, workspace, overrides), workspace)
    if arguments.json:
        print(json.dumps(dict(result.record), indent=1))
        return 0
    means = pd.Series(result.record["metrics"]["test"])
    print(f"{case.model} on {name}, seed {case.seed}: test metrics, mean over {len(result.per_user)} users")
    print(means.to_string(float_format="{:.4f}".format))
    return 0


def _refuse_idle_settings(model: str, overrides: Mapping[str, object]) -> None:
    """Raises ConfigError for a setting of training, where nothing is trained."""
    from lmmrec_core.recommenders import RECOMMENDERS

    if hasattr(RECOMMENDERS[model], "loss"):
        return
    own = RECOMMENDERS[model].Settings.model_fields
    if idle := [key for key in overrides if key not in own]:
        listed = ", ".join(own) or "none"
        raise ConfigError(f"--set {idle[0]} has no effect: model {model!r} is not trained; its settings: {listed}")


def _tell_what_was_used(case: Case, workspace: Workspace, stream: TextIO) -> None:
    """Print, before anything is trained, what a run reads."""
    settings = workspace.track.dataset(case.dataset)
    used = what_was_used(workspace.dataset(case.dataset), settings) | content_used(case.model_dump(), workspace.track)
    if case.model in SEEDLESS_MODELS:
        used["seed"] = f"{case.seed}, but {case.model} draws nothing: every seed gives the same lists"
    for key, value in used.items():
        print(f"{key:>16}  {value}", file=stream, flush=True)


def _content_fields(workspace: Workspace, arguments: argparse.Namespace) -> dict[str, str]:
    """The fields of a case that say what content it reads."""
    encoder = encoder_name(arguments.encoder or BASELINE)
    paradigms = workspace.track.paradigms(encoder)
    if arguments.paradigm and paradigms == ("none",):
        raise ConfigError(
            f"--paradigm {arguments.paradigm} needs one encoder of both modalities; {encoder} names one for each"
        )
    return {
        "encoder": encoder,
        "paradigm": arguments.paradigm or paradigms[0],
        "modalities": asked_modalities(arguments),
        "control": arguments.control or "none",
    }


def reproduce(arguments: argparse.Namespace) -> int:
    """``lmmrec reproduce``: the grid, or one question of it."""
    study = Study.open(arguments.track or "controls", seeds=_whole(arguments.seeds) or None, data=arguments.data)
    runnable, others = split_runnable(study.cases(arguments.rq), study.track)
    thinned = sum(left_out(case, study.track) is not None for case in others)
    rest = f"{thinned} are left out by the track, {len(others) - thinned} cannot yet (--dry-run says why)"
    print(f"{study.track.title}: {len(runnable)} cases can run, {rest}.")
    if arguments.dry_run:
        print(study.not_run(arguments.rq).groupby("reason").size().to_string())
        _tell_uncommitted(study)
        return 0
    outcome = study.run_missing(arguments.rq, jobs=arguments.jobs, progress=True)
    _tell_uncommitted(study)
    print(f"{outcome.done_before} were stored before, {outcome.computed} computed now, {len(outcome.failures)} failed.")
    for case, text in outcome.failures:
        print(f"failed: {case.dataset}/{case.slug}: {text}", file=sys.stderr)
    if study.track.name in TRACKS:
        renew_listings(study)
    return 1 if outcome.failures else 0


def _tell_uncommitted(study: Study) -> None:
    if note := study.uncommitted().replace("*", ""):
        print(note, file=sys.stderr)


def import_mmrec(arguments: argparse.Namespace) -> int:
    """``lmmrec import-mmrec``: write the catalogue folder of a data set in the MMRec layout."""
    from lmmrec_core.data.folder import write_folder
    from lmmrec_core.data.mmrec import read_mmrec

    _refuse_existing(arguments.target)
    catalogue = read_mmrec(Path(arguments.source))
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

    _refuse_existing(arguments.target)
    workspace, name, _ = whatever_is_there(arguments, arguments.source, encoded=bool(arguments.encoder))
    dataset = workspace.dataset(name)
    found = ready_features(dataset.catalogue) if dataset.catalogue.ready_features else None
    if arguments.encoder:
        encoder = encoder_name(arguments.encoder)
        found = load_features(workspace, dataset, encoder, workspace.track.paradigms(encoder)[0])
    split = dataset.split
    write_mmrec(dataset.catalogue, split, found, Path(arguments.target))
    print(f"{arguments.target}: {len(split.train)} train, {len(split.valid)} valid, {len(split.test)} test rows")
    return 0


def _refuse_existing(target: str) -> None:
    if Path(target).exists() and (not Path(target).is_dir() or any(Path(target).iterdir())):
        raise DataError(f"{target}: exists and is not empty; give a new folder, nothing is overwritten")


def _whole(seeds: list[str]) -> list[int]:
    words = [word for text in seeds for word in text.replace(",", " ").split()]
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= 18):
            raise ConfigError(f"--seeds {word[:40]!r} is not a whole number; write for instance --seeds 1 2 3")
    return [int(word) for word in words]


def _print_mapping(values: Mapping[str, object]) -> None:
    for key, value in values.items():
        print(f"{key:>16}  {value}")
