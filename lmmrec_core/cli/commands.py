"""What each command does: read its arguments, call the study, print. Imported when a command runs."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from lmmrec_core.cli.calibrate import renew_listings
from lmmrec_core.config import parse_assignments, read_yaml
from lmmrec_core.data import SOURCES, recognise
from lmmrec_core.errors import ConfigError, DataError, unknown
from lmmrec_core.flow import Modality
from lmmrec_core.names import BASELINE, MODALITY_SETS, TRACKS
from lmmrec_core.study.cases import Case, left_out, modalities_at_hand, split_runnable
from lmmrec_core.study.datasets import dataset_of
from lmmrec_core.study.study import Study
from lmmrec_core.study.track import DatasetSettings, TrackSettings, read_track
from lmmrec_core.study.workspace import Workspace


def data(arguments: argparse.Namespace) -> int:
    """``lmmrec data``: statistics of tracks, or of one catalogue folder."""
    if arguments.folder:
        from lmmrec_core.study.datasets import dataset_statistics

        workspace, name = user_workspace(arguments, arguments.folder)
        _print_mapping(dataset_statistics(workspace.dataset(name)))
        return 0
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

    if arguments.catalogue:
        workspace, name = user_workspace(arguments, arguments.catalogue)
        names = [name]
    else:
        workspace = Workspace.open(arguments.track, arguments.data)
        names = list(workspace.track.datasets)
    workspace = workspace if sys.stderr.isatty() else workspace.quiet()
    for name in names:
        paradigm = workspace.track.paradigms(arguments.encoder)[0]
        found = load_features(workspace, workspace.dataset(name), arguments.encoder, paradigm)
        shapes = {modality: list(matrix.shape) for modality, matrix in found.matrices.items()}
        absent = {modality: int((~present).sum()) for modality, present in found.present.items()}
        _print_mapping({"dataset": name, "digest": found.digest, "shapes": shapes, "items without": absent})
    return 0


def run(arguments: argparse.Namespace) -> int:
    """``lmmrec run``: one case on the user's own catalogue."""
    from lmmrec_core.recommenders import RECOMMENDERS
    from lmmrec_core.study.inputs import prepare_weights
    from lmmrec_core.study.run import plan, resolve, run_case

    overrides = parse_assignments(arguments.set)
    own = {key: value for key, value in overrides.items() if not key.startswith("end_to_end.")}
    resolve(Workspace.open("user"), arguments.model, own)  # refuse a misspelt name before anything is read
    workspace, name = user_workspace(arguments, arguments.data)
    workspace = workspace.quiet() if arguments.quiet else workspace
    content = _content_of(workspace, name, arguments) if RECOMMENDERS[arguments.model].uses_features else {}
    cell = {"track": workspace.track.name, "dataset": name, "model": arguments.model, "seed": arguments.seed}
    case = Case.build({**cell, **content}, "lmmrec run")
    prepare_weights([case], workspace)
    result = run_case(plan(case, workspace, overrides), workspace)
    if arguments.json:
        print(json.dumps(dict(result.record), indent=1))
        return 0
    means = pd.Series(result.record["metrics"]["test"])
    print(f"{case.model} on {name}, seed {case.seed}: test metrics, mean over {len(result.per_user)} users")
    print(means.to_string(float_format="{:.4f}".format))
    return 0


def _content_of(workspace: Workspace, name: str, arguments: argparse.Namespace) -> dict[str, str]:
    """The fields of a case that say what content it reads."""
    encoder = "own" if _is_file(arguments.encoder) else arguments.encoder
    paradigms = workspace.track.paradigms(encoder)
    if arguments.paradigm and paradigms == ("none",):
        raise ConfigError(
            f"--paradigm {arguments.paradigm} needs one encoder of both modalities; {encoder} names one for each"
        )
    return {
        "encoder": encoder,
        "paradigm": arguments.paradigm or paradigms[0],
        "modalities": _modalities(arguments.modalities, workspace.dataset(name).catalogue.ready_features),
        "control": arguments.control,
    }


def _is_file(encoder: str) -> bool:
    return encoder.endswith((".yaml", ".yml"))


def _with_own_encoder(track: TrackSettings, asked: str) -> TrackSettings:
    """The track, with the entry of a YAML file as its encoder ``own`` if a file was named."""
    if _is_file(asked):
        return track.model_copy(update={"encoders": {**track.encoders, "own": read_yaml(Path(asked))}})
    if asked not in track.encoders:
        raise unknown("encoder", asked, track.encoders, "--encoder (or the name of a .yaml file)")
    return track


def _modalities(asked: str, ready: Mapping[Modality, object]) -> str:
    if asked not in MODALITY_SETS or asked == "none":
        raise ConfigError(f"--modalities {asked!r}: write V&T, V or T (quote 'V&T' in a shell)")
    return modalities_at_hand(asked, ready)


def reproduce(arguments: argparse.Namespace) -> int:
    """``lmmrec reproduce``: the grid, or one question of it."""
    study = Study.open(arguments.track, seeds=_whole(arguments.seeds), data=arguments.data)
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
    workspace, name = user_workspace(arguments, arguments.source)
    dataset = workspace.dataset(name)
    found = ready_features(dataset.catalogue) if dataset.catalogue.ready_features else None
    if arguments.encoder:
        paradigm = workspace.track.paradigms(arguments.encoder)[0]
        found = load_features(workspace, dataset, arguments.encoder, paradigm)
    split = dataset.split
    write_mmrec(dataset.catalogue, split, found, Path(arguments.target))
    print(f"{arguments.target}: {len(split.train)} train, {len(split.valid)} valid, {len(split.test)} test rows")
    return 0


# The parity folder is compared with runs of enoche/MMRec (src/configs/overall.yaml): epochs, and rows as they come
_TOOLBOX: dict[str, object] = {
    "normalise_features": False,
    "training": {"epochs": 1000, "evaluate_every": 1, "patience": 20, "batch_size": 2048, "learning_rate": 0.001},
}


def user_workspace(arguments: argparse.Namespace, folder: str) -> tuple[Workspace, str]:
    """The ``user`` track with one data set, the given folder. Its format is recognised by its files.

    Raises DataError for a folder that does not exist or has no known format.
    """
    path = Path(folder).resolve()
    source = "folder" if (path / arguments.interactions).is_file() else recognise(path)
    options = _options(arguments, source)
    catalogue = SOURCES[source].read(path, SOURCES[source].Settings.build(options, folder), path.name)
    rule = arguments.split or ("mmrec" if catalogue.label is None else "given")
    settings = DatasetSettings.build(
        {
            "title": path.name, "source": source, "path": path.name, "options": options,
            "k_core": None if rule == "given" or arguments.k_core <= 1 else arguments.k_core,
            "split": {"rule": rule, "seed": None if rule in ("given", "global_time") else arguments.split_seed},
        },
        "catalogue options",
    )  # fmt: skip
    track = _with_own_encoder(read_track("user"), getattr(arguments, "encoder", "") or BASELINE)
    track = track.model_copy(update={"datasets": {path.name: settings}, **(_TOOLBOX if source == "parity" else {})})
    workspace = replace(Workspace.open(track), data=path.parent)
    workspace.hold(dataset_of(catalogue, settings, path.name))
    return workspace, path.name


def _options(arguments: argparse.Namespace, source: str) -> dict[str, object]:
    """The options that this format knows, and those that were given: what means nothing to it is refused."""
    defaults = {"interactions": "interactions.csv", "min_rating": None}
    known = SOURCES[source].Settings.model_fields
    given = {key: getattr(arguments, key) for key in defaults}
    return {key: value for key, value in given.items() if key in known or value != defaults[key]}


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
