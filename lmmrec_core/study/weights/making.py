"""Weights of a track's encoders: made once from their recipe, kept in the cache, described beside the results.

Two kinds are made here. One encoder of both modalities has PT weights, which all data sets share, and FT weights of
each data set and seed. An encoder of one modality may be trained from scratch, on items outside every catalogue. All
others come with their weights.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lmmrec_core import checkpoints
from lmmrec_core.config import Settings
from lmmrec_core.data.controls import GENERATOR_VERSION
from lmmrec_core.digests import digest
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.encoders.fine_tuning.holdout import SHARE
from lmmrec_core.encoders.fine_tuning.loop import fine_tune
from lmmrec_core.encoders.fine_tuning.pairs import TrainingPairs, collect_pairs
from lmmrec_core.encoders.fine_tuning.processes import Processes
from lmmrec_core.encoders.fine_tuning.schedule import trainable
from lmmrec_core.encoders.fine_tuning.settings import FineTuneSettings
from lmmrec_core.encoders.light.levels import learn_levels
from lmmrec_core.encoders.light.networks import build_vocabulary
from lmmrec_core.encoders.light.training import read_outside
from lmmrec_core.encoders.lora import add_lora, merge_lora
from lmmrec_core.encoders.weights import state_digest
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import Modality
from lmmrec_core.process import enough_memory
from lmmrec_core.results.provenance import code_now
from lmmrec_core.roles import AlignsPairs, Encoder, FitsPixels, LearnsLevels, LearnsWords
from lmmrec_core.seeds import one_thread
from lmmrec_core.study.datasets import Dataset
from lmmrec_core.study.memory.demand import demand_of_tuning
from lmmrec_core.study.memory.room import refuse_unfit, room
from lmmrec_core.study.track import is_multimodal
from lmmrec_core.study.weights.notes import is_made, publish_weights, write_weights_note
from lmmrec_core.study.weights.pictures import pictures_of
from lmmrec_core.study.weights.pretraining_items import mispaired, outside_folder, outside_items
from lmmrec_core.study.weights.recipes import (
    MemberSettings,
    MultimodalSettings,
    Recipe,
    naming_entry,
    read_separate,
    recipe_of,
    resolved_settings,
)
from lmmrec_core.study.workspace import Workspace


def make_shared_weights(workspace: Workspace, name: str, dataset: Dataset) -> None:
    """Make the weights of an encoder that all data sets share, if they are not there yet.

    Raises what :func:`trained_encoder` and :func:`one_modality_encoders` raise.
    """
    if is_multimodal(workspace.track.encoder(name)):
        trained_encoder(workspace, name, "PT", dataset)
    for part in _trained_parts(workspace, name):
        if not is_made(part.path):
            started = code_now()
            outside = outside_folder(workspace, part.items, part.seed)
            encoder = part.cls.trained_on(outside, part.seed, workspace.progress)
            record = {"outside": {"items": part.items}, "weights": state_digest(encoder.module)}
            write_weights_note(part.path, record, workspace.device, started)
            encoder.save(part.path)
        publish_weights(workspace, part.path, part.member, "PT", None, None)


def needs_shared_weights(workspace: Workspace, name: str) -> bool:
    """Whether an encoder's features have no identity yet, because the weights that it is known by were not made."""
    return any(not is_made(part.path) for part in _trained_parts(workspace, name))


def one_modality_encoders(workspace: Workspace, name: str) -> dict[Modality, Encoder]:
    """The encoders of an entry that names one for each modality; nothing is trained.

    The entry maps a modality to an encoder's name, or to ``{encoder: NAME, settings: {…}}``, or to ``ready`` (left out
    here). Encoders that are trained from scratch take two more keys of the entry, ``outside_items`` and ``seed``.
    Raises ConfigError for an unknown name or setting, FeatureError for weights that were not made yet.
    """
    trained = {part.modality: part for part in _trained_parts(workspace, name)}
    encoders: dict[Modality, Encoder] = {}
    for modality, member in read_separate(workspace.track, name).members().items():
        if modality not in trained:
            with naming_entry(workspace.track, name, modality):
                encoders[modality] = _member(member, modality)
        elif trained[modality].path.is_file():
            encoders[modality] = trained[modality].cls.load(trained[modality].path)
        else:
            raise FeatureError(f"encoder {name!r}: its {modality} weights were not made yet; run `lmmrec reproduce`")
    return encoders


@dataclass(frozen=True)
class _TrainedPart:
    """One modality of an entry whose encoder is trained from scratch, on drawn items."""

    modality: Modality
    member: str
    cls: LearnsLevels
    items: int
    seed: int
    path: Path


def _trained_parts(workspace: Workspace, name: str) -> list[_TrainedPart]:
    if is_multimodal(workspace.track.encoder(name)):
        return []
    entry = read_separate(workspace.track, name)
    parts: list[_TrainedPart] = []
    for modality, member in entry.members().items():
        cls = ENCODERS[member] if isinstance(member, str) else None
        if not isinstance(cls, LearnsLevels):
            continue
        if entry.outside_items is None or entry.seed is None:
            raise ConfigError(
                f"encoder {member!r} is trained from scratch: its entry {name!r} needs outside_items and seed, for "
                "instance outside_items: 1500, seed: 7"
            )
        items, seed = entry.outside_items, entry.seed
        made_from = {"items": items, "seed": seed, "generator": GENERATOR_VERSION, "version": cls.VERSION}
        path = workspace.encoders / f"{member}-{digest(made_from, 10)}.safetensors"
        parts.append(_TrainedPart(modality, str(member), cls, items, seed, path))
    return parts


def _member(member: MemberSettings | str, modality: Modality) -> Encoder:
    if isinstance(member, str):
        made: Encoder = ENCODERS[member]()
        return made
    cls = ENCODERS[member.encoder]
    made = cls(cls.Settings.build(member.settings, f"encoder {member.encoder!r} for {modality}, settings"))
    return made


def trained_encoder(workspace: Workspace, name: str, paradigm: str, dataset: Dataset, seed: int | None = None) -> Any:
    """An encoder of both modalities with the weights that a paradigm starts its recommender from: FT's own, else PT's.

    A new object every time; its weights come from the cache if they were made before (once the code is committed, not
    those that uncommitted code made). Training that is interrupted continues at the next call. How the weights came to
    be is written below ``results``. ``seed``, that of the run, is needed for FT. Processes that tune together
    (``fine_tuning/processes.py``) all call this; the first writes.

    Raises ConfigError for an entry that cannot be built, FeatureError for weights or pictures that cannot be used or
    items that are in a catalogue, TrainingError for a training that fails.
    """
    recipe = recipe_of(workspace, name, paradigm, dataset, seed)
    if recipe.paradigm == "PT" and recipe.entry.pretrain is None:
        with naming_entry(workspace.track, name, "settings"):
            return _new(recipe.entry, workspace.data)
    path = workspace.encoders / f"{recipe.entry.encoder}-{recipe.paradigm}-{recipe.key}.safetensors"
    cls = ENCODERS[recipe.entry.encoder]
    processes = Processes.here()
    if not processes.told(is_made(path)):
        started = code_now()
        job = _Job(workspace, name, recipe, dataset, path)
        with one_thread() if isinstance(cls, LearnsWords) else nullcontext():
            encoder, record = _pretrained(job) if recipe.paradigm == "PT" else _fine_tuned(job)
        record |= {"recipe": recipe.key, "weights": state_digest(encoder.module)}
        if processes.first:
            write_weights_note(path, record, workspace.device, started)
            encoder.save(path)
    if processes.first:
        checkpoints.remove(path.with_suffix(".pt"))
        place = (None, None) if recipe.paradigm == "PT" else (dataset.name, seed)
        publish_weights(workspace, path, name, recipe.paradigm, *place)
    processes.wait()
    return cls.load(path)


@dataclass(frozen=True, eq=False)
class _Job:
    """Weights to make: of encoder ``name`` by ``recipe``, to be kept at ``path``."""

    workspace: Workspace
    name: str
    recipe: Recipe
    dataset: Dataset
    path: Path


def _new(entry: MultimodalSettings, data: Path | None, more: Mapping[str, Any] | None = None) -> Any:
    cls = ENCODERS[entry.encoder]
    values = {**resolved_settings(entry, data), **(more or {})}
    settings: Settings = cls.Settings.build(values, f"encoder {entry.encoder!r}, settings")
    return cls(settings)


def _pretrained(job: _Job) -> tuple[Any, dict[str, Any]]:
    """Weights of ours on items outside every catalogue."""
    entry, progress = job.recipe.entry, job.workspace.progress
    assert entry.pretrain is not None
    outside, disjoint = outside_items(job.workspace, entry.pretrain)
    share = job.recipe.values["pretrain"].get("held_out", SHARE)
    paired = outside
    if entry.pretrain.mispaired:
        paired = mispaired(outside, entry.pretrain.mispaired, share)
        disjoint["mispaired"] = entry.pretrain.mispaired
    more: dict[str, Any] = {}
    cls = ENCODERS[entry.encoder]
    if isinstance(cls, LearnsWords) and cls.WORDS not in entry.settings:
        more[cls.WORDS] = build_vocabulary(outside.texts)
    with naming_entry(job.workspace.track, job.name, "settings"):
        encoder = _new(entry, job.workspace.data, more)
    record: dict[str, Any] = {"outside": disjoint}
    if entry.pretrain.how == "cca":
        if not isinstance(encoder, AlignsPairs):
            raise ConfigError(f"pretrain, how: cca: encoder {encoder.name!r} has no closed form; write how: tune")
        record["alignment"] = dict(encoder.align(paired, progress))
        if not entry.pretrain.tune:
            return encoder, record
    levels = entry.pretrain.level_epochs  # of an item: its own picture and text
    pairs = collect_pairs(outside if levels else paired, encoder, share=share, progress=progress)
    if isinstance(encoder, FitsPixels):
        encoder.fit_pixels(torch.from_numpy(pairs.pixels[pairs.train_rows]))
    if levels:
        items, seed = int(entry.pretrain.items or 0), int(entry.pretrain.seed or 0)
        labels = read_outside(outside_folder(job.workspace, items, seed))
        record["levels"] = learn_levels(encoder, pairs, labels, levels, seed, progress)
        pairs = pairs if paired is outside else collect_pairs(paired, encoder, share=share, progress=progress)
    settings = _settings(entry.pretrain.tune, job, "pretrain, tune")
    return encoder, {**record, **_tuned(encoder, pairs, settings, job, "pt")}


def _fine_tuned(job: _Job) -> tuple[Any, dict[str, Any]]:
    """PT's weights tuned on the pictures and texts of the catalogue."""
    encoder = trained_encoder(job.workspace, job.name, "PT", job.dataset)
    parent = state_digest(encoder.module)
    values = job.recipe.values
    settings = _settings({**job.recipe.entry.fine_tune, "seed": values["fine_tune"]["seed"]}, job, "fine_tune")
    if settings.part == "lora":
        add_lora(encoder.module, seed=settings.seed)
    trainable(encoder, settings)  # refuses a part that is not there before a picture is read
    pairs = collect_pairs(
        job.dataset.catalogue, encoder, items=settings.items, split=job.dataset.split, unreadable="missing",
        share=values["held_out"], progress=job.workspace.progress,
        pictures=pictures_of(job.workspace, job.dataset, encoder),
    )  # fmt: skip
    record = _tuned(encoder, pairs, settings, job, "ft")
    merge_lora(encoder.module)
    return encoder, {**record, "parent": parent}


def _settings(declared: Mapping[str, Any], job: _Job, where: str) -> FineTuneSettings:
    return FineTuneSettings.build({"device": job.workspace.device, **declared}, f"encoders, {job.name}, {where}")


def _tuned(encoder: Any, pairs: TrainingPairs, settings: FineTuneSettings, job: _Job, stage: str) -> dict[str, Any]:
    checkpoint, identity = job.path.with_suffix(".pt"), job.path.stem
    what = f"training {job.name} on pairs of {job.dataset.name}"
    if (demand := demand_of_tuning(what, job.recipe.entry.encoder, settings)) is not None:
        refuse_unfit(demand, room(settings.device))
    with enough_memory(what, "lower micro_batch (the gradient stays the same), or set gradient_checkpointing"):
        done = fine_tune(
            encoder, pairs, settings, checkpoint=checkpoint, identity=identity, progress=job.workspace.progress
        )
    plain = done.plain()
    encoder.stage = stage
    encoder.note = {
        **encoder.note,
        stage: {
            "settings": plain["settings"], "pairs": plain["pairs"], "best_epoch": done.best_epoch, "steps": done.steps
        },
    }  # fmt: skip
    return {"tuning": plain}
