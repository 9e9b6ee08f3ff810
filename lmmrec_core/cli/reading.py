"""Options of how a catalogue of the user's own is read: what was given, what of it means something, what was used."""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lmmrec_core.data import SOURCES
from lmmrec_core.data.assemble import NoContentError
from lmmrec_core.errors import ConfigError, nearest, unknown
from lmmrec_core.flow import MODALITIES, Catalogue, Modality
from lmmrec_core.names import BASELINE, MODALITY_SETS, SPLIT_RULES
from lmmrec_core.study.cases import reads_content
from lmmrec_core.study.datasets import Dataset
from lmmrec_core.study.track import DatasetSettings, TrackSettings, is_multimodal

CORE, SPLIT_SEED = 5, 2026  # where none was given
OF_CONTENT = ("encoder", "paradigm", "modalities", "control")
_OF_FORMAT = ("interactions", "min_rating", *MODALITIES, "missing_image", "missing_text", "unreadable")
OF_READING = (*_OF_FORMAT, "k_core", "split", "split_seed")
_THINGS: dict[Modality, str] = {"visual": "pictures", "textual": "texts"}


@dataclass(frozen=True)
class Content:
    """What is read of items: the modalities asked for, and those whose ready features go before pictures or texts."""

    modalities: tuple[Modality, ...] = MODALITIES
    ready: tuple[Modality, ...] = MODALITIES
    encoded: bool = True  # else pictures and texts are not looked into, and nobody is dropped for lacking them


def given(arguments: argparse.Namespace, names: Iterable[str]) -> list[str]:
    """The options among ``names`` that were given, as they are written."""
    values = ((name, getattr(arguments, name, None)) for name in names)
    return [f"--{name.replace('_', '-')}" for name, value in values if value not in (None, "", [], False)]


def refuse(arguments: argparse.Namespace, names: Iterable[str], why: str) -> None:
    """Raises ConfigError for the first option of ``names`` that was given, saying why it would have no effect."""
    for option in given(arguments, names):
        raise ConfigError(f"{option} {why}")


def refuse_data(arguments: argparse.Namespace, track: TrackSettings) -> None:
    """Raises ConfigError for a folder of data that a track of ours does not read; encoders of others may."""
    if arguments.data and track.is_drawn and not arguments.track.endswith((".yaml", ".yml")):
        raise ConfigError(
            f"--data has no effect: the data of track {track.name!r} are drawn here; leave it out (make: DATA=), or "
            "name another track with --track"
        )


def asked_modalities(arguments: argparse.Namespace) -> str:
    """The modalities asked for, V&T if none were. Raises ConfigError for others."""
    asked = arguments.modalities or "V&T"
    known = [name for name in MODALITY_SETS if name != "none"]
    if asked not in known:
        close = nearest(asked, known)
        hint = f"did you mean {close!r}? " if close else ""
        raise ConfigError(f"--modalities {asked!r}: {hint}write V&T, V or T (quote 'V&T' in a shell)")
    return str(asked)


def content_asked(arguments: argparse.Namespace, track: TrackSettings, encoder: str) -> Content:
    """What a model reads of the items. Raises ConfigError for content options of a model that reads none."""
    if not reads_content(arguments.model):
        refuse(arguments, OF_CONTENT, f"has no effect: model {arguments.model!r} reads no content; leave it out")
        return Content((), ())
    modalities = MODALITY_SETS[asked_modalities(arguments)]
    return Content(modalities, ready_modalities(track, encoder, modalities))


def ready_modalities(track: TrackSettings, encoder: str, modalities: tuple[Modality, ...]) -> tuple[Modality, ...]:
    """The modalities for which an encoder takes the features that a catalogue brings, if it brings any.

    Raises ConfigError for an encoder that has nothing for one of the modalities.
    """
    entry = track.encoder(encoder)
    if is_multimodal(entry):
        return ()
    for modality in modalities:
        if entry.get(modality) is None:
            raise ConfigError(
                f"encoder {encoder!r} names none for {_THINGS[modality]}; add `{modality}:` to it, or use --modalities "
                + ("T" if modality == "visual" else "V")
            )
    return modalities if encoder == BASELINE else tuple(m for m in modalities if entry[m] == "ready")


def options_of(arguments: argparse.Namespace, source: str, content: Content) -> dict[str, Any]:
    """The settings that a format is read with. Raises ConfigError for an option that means nothing to the format."""
    known = SOURCES[source].Settings.model_fields
    asked = {name: value for name in _OF_FORMAT if (value := getattr(arguments, name, None)) not in (None, "")}
    for name in asked:
        if name not in known:
            raise ConfigError(
                f"--{name.replace('_', '-')} has no effect: the folder is of format {source!r} "
                f"({SOURCES[source].marks}), which has no such choice; leave it out"
            )
    read = {m for m in MODALITIES if m in content.modalities or asked.get(f"missing_{_WORDS[m]}") == "drop"}
    if "unreadable" in asked and "visual" not in read:
        raise ConfigError("--unreadable has no effect: no pictures are read; leave it out")
    for modality in MODALITIES:
        if modality in asked and modality not in read:
            raise ConfigError(f"--{modality} has no effect: no {modality} features are read; leave it out")
    if "content" in known:
        asked["content"] = [m for m in MODALITIES if m in read]
    if "ready" in known:
        asked["ready"] = list(content.ready)
    if "missing_image" in known and not content.encoded:
        asked = {"missing_image": "keep", "missing_text": "keep", **asked}
    return asked


_WORDS: dict[Modality, str] = {"visual": "image", "textual": "text"}


def check_content(arguments: argparse.Namespace, catalogue: Catalogue, content: Content) -> None:
    """Raises NoContentError for a modality that is not there, ConfigError for options on content that is not read."""
    for modality in content.modalities:
        if modality in catalogue.ready_features:
            refuse(
                arguments, ["missing_image", "unreadable"] if modality == "visual" else ["missing_text"],
                f"has no effect: the catalogue brings ready {modality} features, a row for every item; leave it out",
            )  # fmt: skip
        elif not any(catalogue.images if modality == "visual" else catalogue.texts):
            other = "T" if modality == "visual" else "V"
            broken = catalogue.counts.get("images_unreadable") if modality == "visual" else None
            why = f"none of its {broken} pictures can be read" if broken else f"there are no {_THINGS[modality]}"
            raise NoContentError(
                f"{catalogue.name}: {why}, and there are no ready {modality} features; add some, or use "
                f"--modalities {other}, or a model that reads no content",
                modality,
            )


def dataset_settings(
    arguments: argparse.Namespace, name: str, source: str, options: dict[str, Any], labelled: bool
) -> DatasetSettings:
    """How the catalogue is filtered and split. Raises ConfigError for an option that would have no effect."""
    if arguments.split and arguments.split not in SPLIT_RULES:
        raise unknown("split rule", arguments.split, SPLIT_RULES, "--split")
    rule = arguments.split or ("given" if labelled else "mmrec")
    core, seed = arguments.k_core, arguments.split_seed
    if core is not None and core < 1:
        raise ConfigError(f"--k-core {core}: give 1 or more; 1 keeps all")
    if rule == "given" and core not in (None, 1):
        raise ConfigError(
            f"--k-core {core}: the catalogue brings its own split, which stays as it is, and a core would take rows "
            "out of it; leave --k-core out, or draw another split with --split mmrec"
        )
    if seed is not None and rule in ("given", "global_time"):
        raise ConfigError(f"--split-seed {seed} has no effect: split rule {rule!r} draws nothing; leave it out")
    if seed is not None and seed < 0:
        raise ConfigError(f"--split-seed {seed}: give a whole number from 0")
    drawn = None if rule in ("given", "global_time") else SPLIT_SEED if seed is None else seed
    return DatasetSettings.build(
        {
            "title": name, "source": source, "path": name, "options": options,
            "k_core": None if rule == "given" or core == 1 else core or CORE, "split": {"rule": rule, "seed": drawn},
        },
        "catalogue options",
    )  # fmt: skip


def what_was_used(dataset: Dataset, settings: DatasetSettings) -> dict[str, str]:
    """What a catalogue became on the way to training, line by line."""
    catalogue, split = dataset.catalogue, dataset.split
    counts = catalogue.counts
    lost = [f"{counts[key]} {words}" for key, words in _LOST.items() if counts.get(key)]
    for key in counts:
        if key.startswith("interactions_dropped_"):
            reason = key.removeprefix("interactions_dropped_")
            parts = {what: counts.get(f"{what}_dropped_{reason}", 0) for what in ("interactions", "users", "items")}
            if any(parts.values()):
                told = ", ".join(f"{number} {what}" for what, number in parts.items() if number)
                lost.append(f"{told} {reason.replace('_', ' ')}")
    left = len(catalogue.user) - len(split.train) - len(split.valid) - len(split.test)
    if left:
        lost.append(f"{left} interactions held out of users or items that train has not")
    drawn = "" if split.seed is None else f", seed {split.seed}"
    return {
        "catalogue": f"{dataset.name}, format {settings.source}: {catalogue.n_users} users, {catalogue.n_items} items",
        "rows": f"{counts.get('rows_read', len(catalogue.user))} read, {len(catalogue.user)} kept",
        "dropped": "; ".join(lost) or "nothing",
        "core": "none" if settings.k_core is None else str(settings.k_core),
        "split": f"{split.rule}{drawn}: {len(split.train)} train, {len(split.valid)} valid, {len(split.test)} test",
    }


_LOST = {"rows_below_min_rating": "rows below min_rating", "rows_merged": "rows merged with others of the same pair"}


def content_used(case: Mapping[str, Any], track: TrackSettings) -> dict[str, str]:
    """The content and the encoder of a case, line by line."""
    if case["encoder"] == "none":
        return {"modalities": f"none, {case['model']} reads no content", "encoder": "none"}
    entry = track.encoder(case["encoder"])
    if is_multimodal(entry):
        made = f"{entry['encoder']}, {case['paradigm']}"
    else:
        named = {m: entry[m] for m in MODALITIES if entry.get(m) is not None}
        named = {m: member if isinstance(member, str) else member["encoder"] for m, member in named.items()}
        told = {m: "ready features of the catalogue" if member == "ready" else member for m, member in named.items()}
        made = "; ".join(f"{modality}: {member}" for modality, member in told.items())
    control = "" if case["control"] == "none" else f", {case['control']}"
    return {"modalities": f"{case['modalities']}{control}", "encoder": f"{case['encoder']} ({made})"}
