"""Paradigm ETE: joins an encoder to the training of a recommender, and keeps the encoder and features that come out."""

import shlex
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from lmmrec_core.data.fingerprint import catalogue_fingerprint
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.encoders.extract import extract
from lmmrec_core.encoders.features.content import make_features
from lmmrec_core.encoders.features.item_rows import CatalogueRows, ItemContent, item_content
from lmmrec_core.encoders.features.store import FeatureStore
from lmmrec_core.encoders.features.transforms import shuffled_order
from lmmrec_core.encoders.lora import add_lora, merge_lora
from lmmrec_core.encoders.weights import state_digest
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import Features, Result
from lmmrec_core.names import TRACKS
from lmmrec_core.roles import ContentRecommender, CutEncoder, Recommender
from lmmrec_core.study.cases import Case
from lmmrec_core.study.datasets import Dataset
from lmmrec_core.study.diagnostics import diagnostics_of
from lmmrec_core.study.features import load_features
from lmmrec_core.study.own.new_content import new_content
from lmmrec_core.study.preview.selection import CHOSEN_BY
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.weights.making import trained_encoder
from lmmrec_core.study.weights.pictures import pictures_of
from lmmrec_core.study.weights.recipes import read_entry
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.joint.end_to_end import end_to_end
from lmmrec_core.training.joint.hooks import FeatureTraining
from lmmrec_core.training.joint.settings import EndToEndSettings


@dataclass(frozen=True, eq=False)
class Attached:
    """What the training loop needs to train features, and the encoder whose weights move; None if none does."""

    features: FeatureTraining
    encoder: Any = None


def check_encoder(workspace: Workspace, case: Case, settings: EndToEndSettings) -> None:
    """Raises ConfigError if the case's encoder has no such part, or cannot be cut below it, before anything is read."""
    if not settings.trains_encoder:
        return
    encoder = trained_encoder(workspace.quiet(), case.encoder, "ETE", workspace.dataset(case.dataset))
    if settings.part == "lora":
        add_lora(encoder.module, seed=case.seed)
    encoder.part(settings.part)
    if settings.boundary != "encode":
        if not isinstance(encoder, CutEncoder):
            raise ConfigError(f"encoder {encoder.name!r} cannot be cut; set end_to_end.boundary: encode")
        with torch.no_grad():
            encoder.below("textual", encoder.preprocess_texts(["a"]), settings.part)


def attach_encoder(workspace: Workspace, case: Case, settings: EndToEndSettings, features: Features | None) -> Attached:
    """The case's encoder, to be trained with the recommender from the weights of PT, or of FT if ``settings`` say so.

    ``features`` are those that it gives then, which the recommender is built from. Raises ConfigError for a case
    without content, or settings that do not fit the encoder.
    """
    if features is None:
        raise ConfigError(f"model {case.model!r} reads no content, so there is no encoder to train; use paradigm none")
    if settings.reading == "e1":
        return Attached(end_to_end(settings, None))
    dataset = workspace.dataset(case.dataset)
    start = settings.features_from("ETE")
    encoder = trained_encoder(workspace.quiet(), case.encoder, start, dataset, case.seed)
    content = _content(workspace, dataset, case.encoder, start, case.seed if start == "FT" else None)
    if case.control != "none":
        used = list(features.matrices)
        content = content.moved(shuffled_order(case.control, case.seed, dataset.catalogue.n_items, used))
    if settings.part == "lora":
        add_lora(encoder.module, seed=case.seed)
    features_of_items = end_to_end(settings, CatalogueRows(encoder, content, features))
    return Attached(features_of_items, None if settings.reading == "e0" else encoder)


@lru_cache(maxsize=4)  # a worker does many cases of one data set and encoder
def _content(workspace: Workspace, dataset: Dataset, name: str, start: str, seed: int | None) -> ItemContent:
    """Pictures and texts as the encoder reads them."""
    quiet = workspace.quiet()
    encoder = trained_encoder(quiet, name, start, dataset, seed)
    features = load_features(quiet, dataset, name, start, seed)
    pictures = pictures_of(quiet, dataset, encoder) if "visual" in features.matrices else None
    return item_content(encoder, dataset.catalogue, features, progress=False, pictures=pictures)


def keep_trained(
    workspace: Workspace, run: str, case: Case, model: Recommender, start: Features, encoder: Any
) -> dict[str, str]:
    """Store the features of a trained recommender's kept state, and the encoder that computes them, in the cache.

    Returns the features' ``key`` in the store and ``digest``; and where an encoder was trained its ``encoder`` (the
    name of its kind) and ``weights`` (their digest), by which :func:`trained_encoder_of` finds it.

    ``run``: key of the run, part of theirs: under ETE every recommender and seed ends with features of its own.
    ``start``: those it began with. With both modalities as they are, the track's first seed is diagnosed too, as
    paradigm ``ETE+<recommender>``. Raises FeatureError if they cannot be written.
    """
    assert isinstance(model, ContentRecommender)  # attach_encoder trained it as one
    spec = {
        "stage": "ete", "run": run, "recommender": case.model, "seed": case.seed, "encoder": case.encoder,
        "parent": start.digest,
    }  # fmt: skip
    matrices = {modality: model.features[modality].detach().cpu().numpy() for modality in start.matrices}
    features = make_features(matrices, dict(start.present), {**start.card, "trained": spec})
    store = FeatureStore(workspace.features)
    key = store.key(spec)
    store.save(key, features, spec)
    plain = case.modalities == "V&T" and case.control == "none" and case.paradigm == "ETE" and not case.split
    if plain and case.seed == workspace.track.seeds[0] and features.digest != start.digest:
        dataset = workspace.dataset(case.dataset)
        diagnostics_of(workspace, dataset, features, case.encoder, paradigm=f"ETE+{case.model}")
    return {"key": key, "digest": features.digest} | _keep_encoder(workspace, run, case, encoder, spec)


def _keep_encoder(workspace: Workspace, run: str, case: Case, encoder: Any, spec: dict[str, Any]) -> dict[str, str]:
    if not hasattr(encoder, "save"):  # none was trained, or one of another package that cannot be kept
        return {}
    merge_lora(encoder.module)
    encoder.stage, encoder.note = "ete", {**encoder.note, "ete": spec}
    name = read_entry(workspace.track, case.encoder).encoder
    if workspace.keep_encoders is not False:
        encoder.save(_weights_file(workspace, name, run))
    return {"encoder": name, "weights": state_digest(encoder.module)}


def why_not_kept(case: Case, settings: EndToEndSettings | None, track: TrackSettings) -> str | None:
    """Why a run leaves no encoder to keep, in words; None if it leaves one. ``settings``: its own under ETE."""
    if settings is None or not settings.trains_encoder:
        return "this run trains no encoder (paradigm ETE does)"
    name = read_entry(track, case.encoder).encoder
    return None if can_be_kept(name) else f"encoder {name!r} has no method `save`"


def can_be_kept(name: str) -> bool:
    """Whether an encoder can be written to a file; one of another package need not."""
    return name not in ENCODERS.guests or hasattr(ENCODERS[name], "save")


def holds_encoder(workspace: Workspace, record: Mapping[str, Any]) -> bool:
    """Whether the encoder of an end-to-end run is in the cache, by its name: it is not read."""
    return _named_file(workspace, record) is not None


def _named_file(workspace: Workspace, record: Mapping[str, Any]) -> Path | None:
    """The file that holds the encoder of a run; None if it is not there, or the run trained none."""
    kept = (record.get("features") or {}).get("trained") or {}
    path = _weights_file(workspace, kept.get("encoder", ""), str(record.get("key")))
    return path if "weights" in kept and path.is_file() else None


def _weights_file(workspace: Workspace, name: str, run: str) -> Path:
    return workspace.encoders / f"{name}-ETE-{run}.safetensors"


def encoder_file(workspace: Workspace, result: Result) -> Path | None:
    """Where the encoder of an end-to-end run is kept, if it is there; None too for a run that trained none.

    One that is not what the run kept is told by a warning, and counts as none.
    """
    if (path := _named_file(workspace, result.record)) is None:
        return None
    try:
        trained_encoder_of(workspace, result)
    except FeatureError as error:
        warnings.warn(str(error), stacklevel=2)
        return None
    return path


def trained_encoder_of(workspace: Workspace, result: Result) -> Any:
    """The encoder that an end-to-end run ended with, in evaluation mode, so that new pictures and texts can be encoded.

    Its rows of a catalogue item are those that the run's recommender was kept with. It lies in the cache of the
    machine that trained it. Raises ConfigError for a run that trained no encoder, FeatureError for weights that are
    not in this cache, or not those of the run.
    """
    kept = (result.record.get("features") or {}).get("trained") or {}
    key = str(result.record.get("key"))
    if "weights" not in kept:
        raise ConfigError(f"run {key} trained no encoder; choose one of paradigm ETE, reading e2 or e3")
    path = _weights_file(workspace, kept["encoder"], key)
    if not path.is_file():
        raise FeatureError(
            f"run {key}: its trained encoder, {path}, is not in the cache. It stays on the machine that trained it, "
            f"unless that was told --no-keep-encoder: copy the file from there, or {_again(result)}"
        )
    try:
        encoder = ENCODERS[kept["encoder"]].load(path)
    except FeatureError as error:
        why = str(error).removeprefix(f"{path}: ").partition("; ")[0]  # the cure is another here
        raise FeatureError(f"{path}: {why}; {_again(result)}") from None
    if state_digest(encoder.module) != kept["weights"]:
        raise FeatureError(f"{path}: not the weights that run {key} ended with; {_again(result)}")
    return encoder


def _again(result: Result) -> str:
    """How a kept encoder is made again, over a damaged one too."""
    case = result.case
    if case["track"] == "user":
        return "run the case again with --keep-encoder, which trains it again, to the same result"
    ours = case["track"] in TRACKS
    chosen = " ".join(f"--{name} {shlex.quote(str(case[name]))}" for name in CHOSEN_BY)
    command = f"lmmrec reproduce --track {case['track'] if ours else 'FILE.yaml'} {chosen} --seeds {case['seed']}"
    file = "" if ours else f" (FILE.yaml: that of track {case['track']})"
    return f"`{command} --keep-encoder`{file} trains it again, to the same result"


def encode_new(workspace: Workspace, result: Result, folder: Path) -> tuple[tuple[str, ...], Features]:
    """(item ids, features) of a folder with ``items.csv``, by the encoder that an end-to-end run ended with.

    Items without a picture or text have the mean row of the others. Raises as :func:`trained_encoder_of`, DataError for
    a folder that cannot be read, FeatureError for content that cannot be used.
    """
    encoder = trained_encoder_of(workspace, result)
    with new_content(folder, encoder.modalities, (), workspace.progress) as catalogue:
        has = {"visual": any(catalogue.images), "textual": any(text.strip() for text in catalogue.texts)}
        encoders = {modality: encoder for modality in encoder.modalities if has[modality]}
        if not encoders:
            raise FeatureError(f"{folder}: no item has a picture or a text, so there is nothing to encode")
        return catalogue.item_ids, extract(
            encoders, catalogue, catalogue_fingerprint=catalogue_fingerprint(catalogue), progress=workspace.progress,
            device=workspace.device,
        )  # fmt: skip
