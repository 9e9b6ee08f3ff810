"""What every case of a data set shares: its catalogue, its split and its features, made once and kept."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lmmrec_core.config import digest
from lmmrec_core.data.amazon import AmazonSettings, read_amazon
from lmmrec_core.data.filtering import k_core
from lmmrec_core.data.fingerprint import catalogue_fingerprint
from lmmrec_core.data.folder import FolderSettings, read_folder
from lmmrec_core.data.mmrec import read_mmrec
from lmmrec_core.data.movielens import read_movielens
from lmmrec_core.data.parity import read_parity
from lmmrec_core.data.splitting import make_split
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.encoders.extract import extract, feature_spec
from lmmrec_core.encoders.store import FeatureStore, ready_features
from lmmrec_core.errors import ConfigError, FeatureError, unknown
from lmmrec_core.flow import MODALITIES, Catalogue, Features, Modality, Split
from lmmrec_core.roles import Encoder
from lmmrec_core.study.places import Places, require_below
from lmmrec_core.study.track import DatasetSettings, TrackSettings


@dataclass(frozen=True, eq=False)
class Prepared:
    """A data set ready for training."""

    name: str
    catalogue: Catalogue
    split: Split
    fingerprint: str  # of the catalogue's content


def prepare_dataset(settings: DatasetSettings, name: str, places: Places, data: Path | None) -> Prepared:
    """Read, filter and split one data set.

    Raises ConfigError or DataError naming what is missing and what to give.
    """
    catalogue = _read(settings, name, places, data)
    if settings.k_core is not None:
        catalogue = k_core(catalogue, settings.k_core)
    split = make_split(catalogue, settings.split.rule, settings.split.seed)
    return Prepared(name, catalogue, split, catalogue_fingerprint(catalogue))


def _read(settings: DatasetSettings, name: str, places: Places, data: Path | None) -> Catalogue:
    if settings.source == "controls":
        return _generated(settings, name, places)
    folder = require_below(data, settings.path, name)
    if settings.source == "folder":
        return read_folder(folder, FolderSettings.build(settings.options, f"dataset {name!r}"), name)
    if settings.source == "movielens":
        return read_movielens(folder, settings.options.get("slice_name", "sparse_sessions"), name)
    if settings.source == "amazon":
        return read_amazon(folder, AmazonSettings.build(settings.options, f"dataset {name!r}"), name)
    if settings.options:
        raise ConfigError(f"dataset {name!r}: source {settings.source!r} takes no options; remove {settings.options}")
    return {"mmrec": read_mmrec, "parity": read_parity}[settings.source](folder, name)


def _generated(settings: DatasetSettings, name: str, places: Places) -> Catalogue:
    """A controls data set, drawn once into the cache and then read like any other folder."""
    from lmmrec_core.data.controls import GENERATOR_VERSION, ControlSize, write_controls

    options = dict(settings.options)
    try:
        kind, seed = options.pop("kind"), options.pop("seed")
    except KeyError as key:
        raise ConfigError(f"dataset {name!r}: options need {key}; write options: {{kind: null, seed: 1}}") from None
    size = ControlSize.build(options, f"dataset {name!r}")
    identity = {"kind": kind, "seed": seed, "size": size.model_dump(), "version": GENERATOR_VERSION}
    folder = places.catalogues / f"{kind}-{digest(identity, 10)}"
    if not (folder / "planted.json").is_file():
        _write_beside(folder, lambda partial: write_controls(kind, partial, seed, size))
    return read_folder(folder, FolderSettings(), name)


def _write_beside(folder: Path, write: Any) -> None:
    """Write into a temporary folder and rename it, so that a killed process leaves nothing half made."""
    partial = folder.with_name(f".partial-{folder.name}-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write(partial)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was first, with the same content
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_features(prepared: Prepared, encoder: str, track: TrackSettings, places: Places, progress: bool) -> Features:
    """Features of a catalogue under one of the track's encoders, from the store or computed and stored.

    Raises ConfigError for an encoder the track does not have, FeatureError for features that cannot be used.
    """
    if encoder not in track.encoders:
        raise unknown("encoder", encoder, track.encoders, f"track {track.name!r}")
    members = dict(track.encoders[encoder])
    catalogue = prepared.catalogue
    if _brings_its_own(catalogue, track):
        return ready_features(catalogue, track.missing)
    ready = [m for m in MODALITIES if members.get(m) == "ready"]
    encoders = build_encoders(members, places, progress)
    spec = feature_spec(encoders, catalogue, catalogue_fingerprint=prepared.fingerprint, missing=track.missing)
    store = FeatureStore(places.features)
    features = store.get_or_compute(
        spec,
        lambda: extract(
            encoders, catalogue, missing=track.missing, progress=progress, catalogue_fingerprint=prepared.fingerprint
        ),
    )
    return _with_ready(features, ready_features(catalogue, track.missing), ready) if ready else features


def spec_of(prepared: Prepared, encoder: str, track: TrackSettings, places: Places) -> dict[str, Any]:
    """What determines the features of a catalogue under an encoder: the store's key is its digest."""
    return dict(_spec_of(prepared, encoder, track.model_dump_json(), places))


@lru_cache(maxsize=16)  # building an encoder only to ask for its spec takes a second, and every case asks
def _spec_of(prepared: Prepared, encoder: str, track_json: str, places: Places) -> dict[str, Any]:
    track = TrackSettings.model_validate_json(track_json)
    if encoder not in track.encoders:
        raise unknown("encoder", encoder, track.encoders, f"track {track.name!r}")
    catalogue = prepared.catalogue
    if _brings_its_own(catalogue, track):
        return {"ready": ready_features(catalogue, track.missing).digest}
    members = track.encoders[encoder]
    ready = [m for m in MODALITIES if members.get(m) == "ready"]
    spec = feature_spec(
        build_encoders(members, places, progress=False),
        catalogue,
        catalogue_fingerprint=prepared.fingerprint,
        missing=track.missing,
    )
    return {**spec, "ready": ready_features(catalogue, track.missing).digest} if ready else spec


def _brings_its_own(catalogue: Catalogue, track: TrackSettings) -> bool:
    """A user's catalogue with ready features is used with them."""
    return bool(catalogue.ready_features) and track.name == "user"


def _with_ready(features: Features, own: Features, modalities: list[Modality]) -> Features:
    absent = [m for m in modalities if m not in own.matrices]
    if absent:
        raise FeatureError(f"the catalogue brings no ready {absent[0]} features; add them or name an encoder for them")
    matrices = {**features.matrices, **{m: own.matrices[m] for m in modalities}}
    present = {**features.present, **{m: own.present[m] for m in modalities}}
    return Features(matrices, present, {**features.card, "ready": modalities}, digest([features.digest, own.digest]))


def build_encoders(members: Mapping[str, Any], places: Places, progress: bool) -> dict[Modality, Encoder]:
    """The encoder objects of one entry of the track file.

    ``members`` maps a modality to an encoder's name; the light encoders of the controls take two more
    keys, ``outside_items`` and ``seed``, and are trained once on items outside every catalogue.
    """
    wanted: dict[Modality, str] = {
        m: members[m] for m in ("visual", "textual") if m in members and members[m] != "ready"
    }
    for name in wanted.values():
        if name not in ENCODERS:
            raise unknown("encoder", name, ENCODERS)
    if "light-cnn" in wanted.values() or "light-text" in wanted.values():
        light = _light_encoders(int(members["outside_items"]), int(members["seed"]), places, progress)
        return {m: light[m] for m in wanted}
    return {modality: ENCODERS[name]() for modality, name in wanted.items()}


def _light_encoders(n_items: int, seed: int, places: Places, progress: bool) -> dict[Modality, Encoder]:
    from lmmrec_core.data.controls import GENERATOR_VERSION, write_outside_items
    from lmmrec_core.encoders.light import LIGHT_VERSION, LightCNN, LightText, train_light

    key = digest({"items": n_items, "seed": seed, "generator": GENERATOR_VERSION, "light": LIGHT_VERSION}, 10)
    folder = places.encoders / f"light-{key}"
    if not folder.is_dir():

        def make(partial: Path) -> None:
            write_outside_items(partial / "outside", seed, n_items)
            image, text = train_light(partial / "outside", seed, progress=progress)
            image.save(partial / "light-cnn.safetensors")
            text.save(partial / "light-text.safetensors")

        _write_beside(folder, make)
    return {
        "visual": LightCNN.load(folder / "light-cnn.safetensors"),
        "textual": LightText.load(folder / "light-text.safetensors"),
    }
