"""What each command does: read arguments, call the study, print."""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from lmmrec_core.config import parse_assignments, read_yaml
from lmmrec_core.errors import ConfigError, DataError, unknown
from lmmrec_core.names import MODALITY_SETS, TRACKS
from lmmrec_core.study.cases import Case
from lmmrec_core.study.study import Study
from lmmrec_core.study.track import DatasetSettings, TrackSettings, read_track
from lmmrec_core.study.workspace import default_places


def data(arguments: argparse.Namespace) -> int:
    """``lmmrec data``: statistics of tracks, or of one catalogue folder."""
    if arguments.folder:
        from lmmrec_core.study.datasets import prepare_dataset
        from lmmrec_core.study.statistics import statistics_of

        track, name = user_track(arguments, arguments.folder)
        prepared = prepare_dataset(track.dataset(name), name, default_places(), Path(arguments.folder).parent)
        _print_mapping(statistics_of(prepared.catalogue, prepared.split))
        return 0
    for track_name in [arguments.track] if arguments.track else TRACKS:
        study = Study.open(track_name, data=arguments.data if track_name != "controls" else "")
        if study.data is not None or track_name == "controls":
            _prepare_all(study)
        frame = study.statistics()
        columns = [
            c for c in ("dataset", "users", "items", "interactions", "density", "per_user", "per_item") if c in frame
        ]
        print(f"{study.track.title}: {study.track.description.strip()}")
        print(frame[columns].to_string(index=True, na_rep="not prepared here"), end="\n\n")
    return 0


def _prepare_all(study: Study) -> None:
    from lmmrec_core.study.datasets import prepare_dataset
    from lmmrec_core.study.statistics import store_statistics

    for name in study.datasets:
        settings = study.track.dataset(name)
        if settings.path and study.data is not None and not (study.data / settings.path).is_dir():
            print(f"{name}: {settings.path} is not under {study.data}; left out", file=sys.stderr)
            continue
        store_statistics(prepare_dataset(settings, name, study.places, study.data), study.track, study.places)


def features(arguments: argparse.Namespace) -> int:
    """``lmmrec features``: extract and show cards."""
    from lmmrec_core.study.datasets import prepare_dataset
    from lmmrec_core.study.features import load_features

    if arguments.catalogue:
        track, name = user_track(arguments, arguments.catalogue)
        names, root = [name], Path(arguments.catalogue).resolve().parent
    else:
        study = Study.open(arguments.track, data=arguments.data)
        track, names, root = study.track, list(study.datasets), study.data  # type: ignore[assignment]
    for name in names:
        prepared = prepare_dataset(track.dataset(name), name, default_places(), root)
        found = load_features(prepared, arguments.encoder, track, default_places(), progress=sys.stderr.isatty())
        shapes = {modality: list(matrix.shape) for modality, matrix in found.matrices.items()}
        absent = {modality: int((~present).sum()) for modality, present in found.present.items()}
        _print_mapping({"dataset": name, "digest": found.digest, "shapes": shapes, "items without": absent})
    return 0


def run(arguments: argparse.Namespace) -> int:
    """``lmmrec run``: one case on a catalogue of the user's own."""
    from lmmrec_core.recommenders import RECOMMENDERS
    from lmmrec_core.study.datasets import prepare_dataset
    from lmmrec_core.study.run import plan, resolve, run_case

    track, name = user_track(arguments, arguments.data)
    overrides = parse_assignments(arguments.set)
    own = {key: value for key, value in overrides.items() if not key.startswith("end_to_end.")}
    resolve(track, arguments.model, own)  # refuse a misspelt name before anything is read
    uses_features = RECOMMENDERS[arguments.model].uses_features
    track, encoder = _with_own_encoder(track, arguments.encoder)
    places = default_places()
    progress = not arguments.quiet
    prepared = prepare_dataset(track.dataset(name), name, places, Path(arguments.data).resolve().parent)
    modalities = _modalities(arguments.modalities, prepared.catalogue.ready_features) if uses_features else "none"
    case = Case.build(
        {
            "track": track.name, "dataset": name, "model": arguments.model, "seed": arguments.seed,
            "encoder": encoder if uses_features else "none", "modalities": modalities,
            "paradigm": _paradigm(track, encoder, arguments.paradigm) if uses_features else "none",
            "control": arguments.control if uses_features else "none",
        },
        "lmmrec run",
    )  # fmt: skip
    result = run_case(plan(case, track, prepared, places, overrides), track, prepared, places, progress)
    if arguments.json:
        print(json.dumps(dict(result.record), indent=1))
        return 0
    means = pd.Series(result.record["metrics"]["test"])
    print(f"{case.model} on {name}, seed {case.seed}: test metrics, mean over {len(result.per_user)} users")
    print(means.to_string(float_format="{:.4f}".format))
    return 0


def _with_own_encoder(track: TrackSettings, asked: str) -> tuple[TrackSettings, str]:
    """The track, with the entry of a YAML file as its encoder ``own`` where a file was named."""
    if not asked.endswith((".yaml", ".yml")):
        if asked not in track.encoders:
            raise unknown("encoder", asked, track.encoders, "--encoder (or the name of a .yaml file)")
        return track, asked
    return track.model_copy(update={"encoders": {**track.encoders, "own": read_yaml(Path(asked))}}), "own"


def _paradigm(track: TrackSettings, encoder: str, asked: str) -> str:
    """Encoders named one by one have none; one of both modalities is pre-trained unless something else is asked."""
    if "encoder" in track.encoders[encoder]:
        return asked or "PT"
    if asked:
        raise ConfigError(f"--paradigm {asked} needs one encoder of both modalities; {encoder} names one for each")
    return "none"


def _modalities(asked: str, ready: object) -> str:
    if asked not in MODALITY_SETS or asked == "none":
        raise ConfigError(f"--modalities {asked!r}: write one of V&T, V, T (quote V&T in a shell)")
    if ready and asked == "V&T" and len(ready) == 1:  # type: ignore[arg-type]
        return "V" if "visual" in ready else "T"  # type: ignore[operator]
    return asked


def reproduce(arguments: argparse.Namespace) -> int:
    """``lmmrec reproduce``: the grid, or one question of it."""
    from lmmrec_core.study.runnable import split_runnable

    study = Study.open(arguments.track, seeds=_whole(arguments.seeds), data=arguments.data)
    runnable, others = split_runnable(study.cases(arguments.rq), study.track)
    waiting = f"{len(others)} cannot yet (--dry-run says why)"
    print(f"{study.track.title}: {len(runnable)} cases can run, {waiting}.")
    if arguments.dry_run:
        print(study.not_run(arguments.rq).groupby("reason").size().to_string())
        return 0
    outcome = study.run_missing(arguments.rq, jobs=arguments.jobs, progress=True)
    print(f"{outcome.done_before} were stored before, {outcome.computed} computed now, {len(outcome.failures)} failed.")
    for case, text in outcome.failures:
        print(f"failed: {case.dataset}/{case.slug}: {text}", file=sys.stderr)
    return 1 if outcome.failures else 0


def import_mmrec(arguments: argparse.Namespace) -> int:
    """``lmmrec import-mmrec``."""
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
    """``lmmrec export-mmrec``."""
    from lmmrec_core.data.mmrec import write_mmrec
    from lmmrec_core.encoders.features.store import ready_features
    from lmmrec_core.study.datasets import prepare_dataset
    from lmmrec_core.study.features import load_features

    _refuse_existing(arguments.target)
    track, name = user_track(arguments, arguments.source)
    places = default_places()
    prepared = prepare_dataset(track.dataset(name), name, places, Path(arguments.source).resolve().parent)
    found = ready_features(prepared.catalogue) if prepared.catalogue.ready_features else None
    if arguments.encoder:
        found = load_features(prepared, arguments.encoder, track, places, progress=sys.stderr.isatty())
    write_mmrec(prepared.catalogue, prepared.split, found, Path(arguments.target))
    print(f"{arguments.target}: {len(prepared.split.train)} train, {len(prepared.split.valid)} valid, "
          f"{len(prepared.split.test)} test rows")  # fmt: skip
    return 0


def user_track(arguments: argparse.Namespace, folder: str) -> tuple[TrackSettings, str]:
    """The ``user`` track with one data set: the given folder, its format recognised by the files in it."""
    path = Path(folder).resolve()
    if not path.is_dir():
        raise DataError(f"{folder}: no such folder; give one with interactions.csv and items.csv, or an MMRec folder")
    has_split = False
    if (path / arguments.interactions).is_file():
        source = "folder"
        with (path / arguments.interactions).open(encoding="utf-8-sig") as lines:
            has_split = "split" in lines.readline().strip().split(",")
        options = {"interactions": arguments.interactions, "min_rating": arguments.min_rating}
    elif (path / "interactions.npz").is_file():
        source, options, has_split = "parity", {}, True
    elif list(path.glob("*.inter")) or list(path.glob("*.inter.gz")):
        source, options, has_split = "mmrec", {}, True
    else:
        raise DataError(
            f"{folder}: neither {arguments.interactions} nor *.inter nor interactions.npz in it; "
            "see the data chapter for the catalogue format"
        )
    rule = arguments.split or ("given" if has_split else "mmrec")
    dataset = DatasetSettings.build(
        {
            "title": path.name, "source": source, "path": path.name, "options": options,
            "k_core": None if (has_split and rule == "given") or arguments.k_core <= 1 else arguments.k_core,
            "split": {"rule": rule, "seed": None if rule in ("given", "global_time") else arguments.split_seed},
        },
        "catalogue options",
    )  # fmt: skip
    track = read_track("user")
    return track.model_copy(update={"datasets": {path.name: dataset}}), path.name


def _refuse_existing(target: str) -> None:
    if Path(target).exists() and (not Path(target).is_dir() or any(Path(target).iterdir())):
        raise DataError(f"{target}: exists and is not empty; give a new folder, nothing is overwritten")


def _whole(seeds: list[str]) -> list[int]:
    words = [word for text in seeds for word in text.replace(",", " ").split()]
    for word in words:
        if not word.isdigit():
            raise ConfigError(f"--seeds {word!r} is not a whole number; write for instance --seeds 1 2 3")
    return [int(word) for word in words]


def _print_mapping(values: object) -> None:
    for key, value in dict(values).items():  # type: ignore[call-overload]
        print(f"{key:>16}  {value}")
