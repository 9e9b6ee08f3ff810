"""Features of a data set under one of a track's encoders: what identifies them, and the features from the store."""

from collections.abc import Mapping
from typing import Any

from lmmrec_core.digests import digest
from lmmrec_core.encoders.extract import extract, feature_spec
from lmmrec_core.encoders.features.ready import ready_features
from lmmrec_core.encoders.features.store import FeatureStore
from lmmrec_core.encoders.features.transforms import rotate
from lmmrec_core.encoders.pictures.unreadable import naming_unreadable
from lmmrec_core.encoders.precision import with_precision
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import MODALITIES, Features, Modality
from lmmrec_core.names import BASELINE, Precision
from lmmrec_core.process import enough_memory
from lmmrec_core.roles import Encoder
from lmmrec_core.study.datasets import Dataset
from lmmrec_core.study.memory.demand import EXTRACTED, demand_of_extraction
from lmmrec_core.study.memory.room import refuse_unfit, room
from lmmrec_core.study.track import TrackSettings, is_multimodal
from lmmrec_core.study.weights.making import make_shared_weights, one_modality_encoders, trained_encoder
from lmmrec_core.study.weights.pictures import pictures_of
from lmmrec_core.study.weights.recipes import read_entry, recipe_of
from lmmrec_core.study.workspace import Workspace

_ROTATION = 0  # the seed of all rotations: one that is right for one encoder is for another


def load_features(
    workspace: Workspace, dataset: Dataset, encoder: str, paradigm: str = "none", seed: int | None = None
) -> Features:
    """Features from the store; if they are not there, they are computed, and weights that they need are made first.

    For paradigm ETE they are those of PT, from which it starts; those of FT are of a run's ``seed``. Raises ConfigError
    for an encoder that the track does not have, FeatureError for features that cannot be used.
    """
    track, catalogue = workspace.track, dataset.catalogue
    if _brings_its_own(dataset, track, encoder):
        return ready_features(catalogue, track.missing)
    with naming_unreadable(catalogue, workspace.progress):
        return _computed(workspace, dataset, encoder, paradigm, seed)


def _computed(workspace: Workspace, dataset: Dataset, encoder: str, paradigm: str, seed: int | None) -> Features:
    track, catalogue = workspace.track, dataset.catalogue
    members = track.encoder(encoder)
    precision: Precision = "fp32"
    turned: Modality | None = None
    if is_multimodal(members):
        entry = read_entry(track, encoder)
        precision, turned = entry.precision, entry.rotated
        both = trained_encoder(workspace, encoder, paradigm, dataset, seed)
        encoders: dict[Modality, Encoder] = {modality: both for modality in both.modalities}
        if track.name == "user":  # of a user's catalogue only what the case reads is there
            has = {"visual": any(catalogue.images), "textual": any(catalogue.texts)}
            encoders = {modality: both for modality in encoders if has[modality]} or encoders
    else:
        make_shared_weights(workspace, encoder, dataset)
        encoders = one_modality_encoders(workspace, encoder)
    spec = feature_spec(
        encoders, catalogue, catalogue_fingerprint=dataset.fingerprint, missing=track.missing, precision=precision
    )
    features = FeatureStore(workspace.features).get_or_compute(
        spec, lambda: _extracted(workspace, dataset, encoders, precision)
    )
    if turned is not None:
        if turned not in features.matrices:
            raise ConfigError(
                f"track {track.name!r}, encoders, {encoder}, rotated: {turned!r} is not read here, so nothing would be "
                "turned; leave it out, or use --modalities V&T"
            )
        return rotate(features, turned, _ROTATION)
    ready = _ready(members)
    return _with_ready(features, ready_features(catalogue, track.missing), ready) if ready else features


def _extracted(
    workspace: Workspace, dataset: Dataset, encoders: Mapping[Modality, Encoder], precision: Precision
) -> Features:
    """Raises TrainingError, with what to do, where memory does not suffice or cannot."""
    device, names = workspace.device, [encoder.name for encoder in encoders.values()]
    what = f"features of {dataset.name} by {' and '.join(dict.fromkeys(names))}"
    width = sum(encoder.dim(modality) for modality, encoder in encoders.items())
    refuse_unfit(demand_of_extraction(what, names, dataset.catalogue.n_items, width, device), room(device))
    with enough_memory(what, "set device: cpu in the track file"):
        return extract(
            encoders,
            dataset.catalogue,
            missing=workspace.track.missing,
            progress=workspace.progress,
            catalogue_fingerprint=dataset.fingerprint,
            precision=precision,
            device=device,
            batch_size=EXTRACTED[device != "cpu"],
            pictures=pictures_of(workspace, dataset, encoders["visual"]) if "visual" in encoders else None,
        )


def features_key(
    workspace: Workspace, dataset: Dataset, encoder: str, paradigm: str = "none", seed: int | None = None
) -> str:
    """The key of features in the store, known before multi-modal weights are made; nothing is trained or extracted.

    Raises ConfigError as :func:`load_features`, and FeatureError if the weights that an entry of one-modality encoders
    is known by were not made yet (``weights.making.needs_shared_weights``).
    """
    seed = seed if paradigm == "FT" else None  # the others share their features
    asked = ("features", dataset.name, dataset.fingerprint, encoder, paradigm, str(seed))
    # building an encoder only to ask what it is takes a second
    return workspace.once(
        asked, lambda: FeatureStore(workspace.features).key(_spec(workspace, dataset, encoder, paradigm, seed))
    )


def _spec(workspace: Workspace, dataset: Dataset, encoder: str, paradigm: str, seed: int | None) -> dict[str, Any]:
    """What determines the features. Those of a multi-modal encoder are known by the recipe of its weights."""
    track, catalogue = workspace.track, dataset.catalogue
    members = track.encoder(encoder)
    if _brings_its_own(dataset, track, encoder):
        return {"ready": ready_features(catalogue, track.missing).digest}
    if is_multimodal(members):
        recipe = recipe_of(workspace, encoder, paradigm, dataset, seed)
        spec = {"recipe": dict(recipe.values), "items": dataset.identity, "missing": track.missing}
        if recipe.entry.rotated is not None:
            spec["rotated"] = {"modality": recipe.entry.rotated, "seed": _ROTATION}
        return with_precision(spec, recipe.entry.precision)
    spec = feature_spec(
        one_modality_encoders(workspace, encoder),
        catalogue,
        catalogue_fingerprint=dataset.fingerprint,
        missing=track.missing,
    )
    return {**spec, "ready": ready_features(catalogue, track.missing).digest} if _ready(members) else spec


def _brings_its_own(dataset: Dataset, track: TrackSettings, encoder: str) -> bool:
    """Whether features are the catalogue's own: its entry says so, or it is a user's and has them for all it reads."""
    entry, ready = track.encoder(encoder), dataset.catalogue.ready_features
    if entry and all(member == "ready" for member in entry.values()):
        return True
    wanted = [modality for modality in MODALITIES if modality in entry]
    return track.name == "user" and encoder == BASELINE and bool(wanted) and all(m in ready for m in wanted)


def _ready(members: Mapping[str, Any]) -> list[Modality]:
    return [modality for modality in MODALITIES if members.get(modality) == "ready"]


def _with_ready(features: Features, own: Features, modalities: list[Modality]) -> Features:
    absent = [m for m in modalities if m not in own.matrices]
    if absent:
        raise FeatureError(f"the catalogue brings no ready {absent[0]} features; add them or name an encoder for them")
    both = [(features, m) for m in features.matrices] + [(own, m) for m in modalities]
    both.sort(key=lambda source: MODALITIES.index(source[1]))
    matrices, present = ({m: getattr(f, kind)[m] for f, m in both} for kind in ("matrices", "present"))
    return Features(matrices, present, {**features.card, "ready": modalities}, digest([features.digest, own.digest]))
