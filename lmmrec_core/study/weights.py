"""Weights of a track's multi-modal encoders: made once from their recipe, kept in the cache, described in results."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from lmmrec_core.digests import digest
from lmmrec_core.disk import write_file
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.encoders.fine_tuning.loop import tune
from lmmrec_core.encoders.fine_tuning.pairs import TrainingPairs, collect_pairs
from lmmrec_core.encoders.fine_tuning.settings import TuneSettings
from lmmrec_core.encoders.light.levels import learn_levels
from lmmrec_core.encoders.light.networks import build_vocabulary
from lmmrec_core.encoders.light.training import read_outside
from lmmrec_core.encoders.weights import state_digest
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import Catalogue
from lmmrec_core.seeds import one_thread
from lmmrec_core.study.datasets import Prepared
from lmmrec_core.study.device import device_of
from lmmrec_core.study.encoder_records import read_encoder_records, write_encoder_record
from lmmrec_core.study.outside import outside_folder, outside_items
from lmmrec_core.study.recipes import MultimodalSettings, Recipe, recipe_of, resolved_settings
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.workspace import Places

_FROM_SCRATCH = {"clip-tiny": "vocabulary", "vlmo-tiny": "words"}  # the setting that lists the words it knows


def trained_encoder(
    prepared: Prepared, name: str, track: TrackSettings, places: Places, paradigm: str, progress: bool
) -> Any:
    """The encoder of an entry with the weights that a paradigm starts its recommender from: FT's own, else PT's.

    A new object every time; its weights come from the cache where they were made before. Training that is interrupted
    goes on at the next call. How the weights came to be is written below ``results``.

    Raises ConfigError for an entry that cannot be built, FeatureError for weights or pictures that cannot be used or
    items that are in a catalogue, TrainingError for a training that fails.
    """
    items = {"fingerprint": prepared.fingerprint, "order": digest(list(prepared.catalogue.item_ids))}
    recipe = recipe_of(track, name, paradigm, places, prepared.data, items)
    if recipe.stage == "PT" and recipe.entry.pretrain is None:
        return _new(recipe.entry, prepared.data)
    path = places.encoders / f"{recipe.entry.encoder}-{recipe.stage}-{recipe.key}.safetensors"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        make = _pretrained if recipe.stage == "PT" else _fine_tuned
        with one_thread() if recipe.entry.encoder in _FROM_SCRATCH else nullcontext():
            encoder, record = make(recipe, path, prepared, name, track, places, progress)
        record = {**record, "recipe": recipe.key, "weights": state_digest(encoder.module)}
        write_file(_note_of(path), json.dumps(record), FeatureError)
        encoder.save(path)
        path.with_suffix(".pt").unlink(missing_ok=True)
    dataset = None if recipe.stage == "PT" else prepared.name
    _publish(path, name, recipe.stage, dataset, track, places)
    return ENCODERS[recipe.entry.encoder].load(path)


def _publish(path: Path, name: str, stage: str, dataset: str | None, track: TrackSettings, places: Places) -> None:
    """Write the record beside the results of this working copy, from the note kept with the weights."""
    if not _note_of(path).is_file():
        return
    record = json.loads(_note_of(path).read_text(encoding="utf-8"))
    weights = record.pop("weights")
    mine = (dataset, name, stage)
    stored = [
        r for r in read_encoder_records(track, places.results) if (r["dataset"], r["encoder"], r["stage"]) == mine
    ]
    if not stored or stored[0]["weights"] != weights:  # the newest counts, so weights in use again are written again
        write_encoder_record(places, track.name, dataset, name, stage, weights, record)


def _note_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _new(entry: MultimodalSettings, data: Path | None, more: Mapping[str, Any] | None = None) -> Any:
    cls: Any = ENCODERS[entry.encoder]
    values = {**resolved_settings(entry, data), **(more or {})}
    return cls(cls.Settings.build(values, f"encoder {entry.encoder!r}, settings"))


def _pretrained(
    recipe: Recipe, path: Path, prepared: Prepared, name: str, track: TrackSettings, places: Places, progress: bool
) -> tuple[Any, dict[str, Any]]:
    """Weights of ours on items outside every catalogue (encoders spec 4.6)."""
    entry = recipe.entry
    assert entry.pretrain is not None
    outside, disjoint = outside_items(entry.pretrain, track, places, prepared.data)
    more: dict[str, Any] = {}
    words = _FROM_SCRATCH.get(entry.encoder)
    if words is not None and words not in entry.settings:
        more[words] = build_vocabulary(outside.texts)
    encoder = _new(entry, prepared.data, more)
    if entry.pretrain.how == "cca":
        return encoder, {**_aligned(encoder, outside, progress), "outside": disjoint}
    pairs = collect_pairs(outside, encoder, progress=progress)
    if _has_grid_stem(encoder):
        encoder.fit_stem(torch.from_numpy(pairs.pixels[pairs.train_rows]))
    record: dict[str, Any] = {"outside": disjoint}
    if entry.pretrain.level_epochs:
        labels = read_outside(outside_folder(entry.pretrain, places))
        seed = int(entry.pretrain.seed or 0)
        record["levels"] = learn_levels(encoder, pairs, labels, entry.pretrain.level_epochs, seed, progress)
    settings = _tune_settings(entry.pretrain.tune, track, f"encoders, {name}, pretrain, tune")
    return encoder, {**record, **_tuned(encoder, pairs, settings, path, "pt", progress)}


def _fine_tuned(
    recipe: Recipe, path: Path, prepared: Prepared, name: str, track: TrackSettings, places: Places, progress: bool
) -> tuple[Any, dict[str, Any]]:
    """PT's weights tuned on the pictures and texts of the catalogue (encoders spec 5.1)."""
    encoder = trained_encoder(prepared, name, track, places, "PT", progress)
    parent = state_digest(encoder.module)
    settings = _tune_settings(recipe.entry.fine_tune, track, f"encoders, {name}, fine_tune")
    pairs = collect_pairs(
        prepared.catalogue, encoder, items=settings.items, split=prepared.split, unreadable="missing", progress=progress
    )
    record = _tuned(encoder, pairs, settings, path, "ft", progress)
    return encoder, {**record, "parent": parent}


def _tune_settings(declared: Mapping[str, Any], track: TrackSettings, where: str) -> TuneSettings:
    return TuneSettings.build({"device": device_of(track), **declared}, where)


def _tuned(
    encoder: Any, pairs: TrainingPairs, settings: TuneSettings, path: Path, stage: str, progress: bool
) -> dict[str, Any]:
    done = tune(encoder, pairs, settings, checkpoint=path.with_suffix(".pt"), identity=path.stem, progress=progress)
    plain = done.plain()
    encoder.stage = stage
    encoder.note = {
        **encoder.note,
        stage: {
            "settings": plain["settings"], "pairs": plain["pairs"], "best_epoch": done.best_epoch, "steps": done.steps
        },
    }  # fmt: skip
    return {"tuning": plain}


def _aligned(encoder: Any, outside: Catalogue, progress: bool) -> dict[str, Any]:
    from lmmrec_core.encoders.clip.small import ClipSmall, align
    from lmmrec_core.encoders.fine_tuning.outside import pairs_of

    if not isinstance(encoder, ClipSmall):
        raise ConfigError(f"pretrain, how: cca sets the heads of clip-small, not of {encoder.name}; write how: tune")
    pairs = pairs_of(outside)
    align(encoder, pairs.item_ids, pairs.images, pairs.texts, progress=progress)
    return {"alignment": dict(encoder.note)}


def _has_grid_stem(encoder: Any) -> bool:
    return getattr(encoder.settings, "stem", None) == "grid"
