"""Features of a catalogue under one of a track's encoders: from the store, or computed and stored."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from lmmrec_core.digests import digest
from lmmrec_core.disk import whole_folder
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.encoders.extract import extract, feature_spec
from lmmrec_core.encoders.features.store import FeatureStore, ready_features
from lmmrec_core.encoders.precision import Precision, with_precision
from lmmrec_core.errors import ConfigError, FeatureError, unknown
from lmmrec_core.flow import MODALITIES, Catalogue, Features, Modality
from lmmrec_core.roles import Encoder
from lmmrec_core.seeds import one_thread
from lmmrec_core.study.datasets import Prepared
from lmmrec_core.study.device import device_of
from lmmrec_core.study.recipes import is_multimodal, read_entry, recipe_of
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.weights import trained_encoder
from lmmrec_core.study.workspace import Places


def load_features(
    prepared: Prepared, encoder: str, track: TrackSettings, places: Places, progress: bool, paradigm: str = "none"
) -> Features:
    """Features under one of the track's encoders; for paradigm ETE those that it starts from, of PT.

    Raises ConfigError for an encoder the track does not have, FeatureError for features that cannot be used.
    """
    members = _entry(encoder, track)
    catalogue = prepared.catalogue
    precision: Precision = "fp32"
    if _brings_its_own(catalogue, track, encoder):
        return ready_features(catalogue, track.missing)
    if is_multimodal(members):
        precision = read_entry(track, encoder).precision
        both = trained_encoder(prepared, encoder, track, places, paradigm, progress)
        encoders: dict[Modality, Encoder] = {m: both for m in both.modalities}
    else:
        encoders = build_encoders(members, places, progress)
    ready = [m for m in MODALITIES if members.get(m) == "ready"]
    spec = feature_spec(
        encoders, catalogue, catalogue_fingerprint=prepared.fingerprint, missing=track.missing, precision=precision
    )
    device = device_of(track)
    features = FeatureStore(places.features).get_or_compute(
        spec,
        lambda: extract(
            encoders,
            catalogue,
            missing=track.missing,
            progress=progress,
            catalogue_fingerprint=prepared.fingerprint,
            precision=precision,
            device=device,
            batch_size=32 if device == "cpu" else 256,
        ),
    )
    return _with_ready(features, ready_features(catalogue, track.missing), ready) if ready else features


def make_shared_weights(prepared: Prepared, encoder: str, track: TrackSettings, places: Places, progress: bool) -> None:
    """Train what all data sets of a track share of an encoder: before features are made in several processes at once.

    Raises as :func:`load_features`.
    """
    members = _entry(encoder, track)
    if _brings_its_own(prepared.catalogue, track, encoder):
        return
    if is_multimodal(members):
        trained_encoder(prepared, encoder, track, places, "PT", progress)
    else:
        build_encoders(members, places, progress)


def spec_of(
    prepared: Prepared, encoder: str, track: TrackSettings, places: Places, paradigm: str = "none"
) -> dict[str, Any]:
    """What determines the features of a catalogue under an encoder, known before any of its weights is trained."""
    return dict(_spec_of(prepared, encoder, track.model_dump_json(), places, paradigm))


@lru_cache(maxsize=32)  # building an encoder only to ask for its spec takes a second, and every case asks
def _spec_of(prepared: Prepared, encoder: str, track_json: str, places: Places, paradigm: str) -> dict[str, Any]:
    track = TrackSettings.model_validate_json(track_json)
    members = _entry(encoder, track)
    catalogue = prepared.catalogue
    if _brings_its_own(catalogue, track, encoder):
        return {"ready": ready_features(catalogue, track.missing).digest}
    if is_multimodal(members):
        items = {"fingerprint": prepared.fingerprint, "order": digest(list(catalogue.item_ids))}
        recipe = recipe_of(track, encoder, paradigm, places, prepared.data, items)
        spec = {"recipe": dict(recipe.values), "items": items, "missing": track.missing}
        return with_precision(spec, recipe.entry.precision)
    ready = [m for m in MODALITIES if members.get(m) == "ready"]
    spec = feature_spec(
        build_encoders(members, places, progress=False),
        catalogue,
        catalogue_fingerprint=prepared.fingerprint,
        missing=track.missing,
    )
    return {**spec, "ready": ready_features(catalogue, track.missing).digest} if ready else spec


def _entry(encoder: str, track: TrackSettings) -> dict[str, Any]:
    if encoder not in track.encoders:
        raise unknown("encoder", encoder, track.encoders, f"track {track.name!r}")
    return dict(track.encoders[encoder])


def _brings_its_own(catalogue: Catalogue, track: TrackSettings, encoder: str) -> bool:
    """A user's catalogue with ready features is used with them, unless another encoder is asked for."""
    return bool(catalogue.ready_features) and track.name == "user" and encoder == "baseline"


def _with_ready(features: Features, own: Features, modalities: list[Modality]) -> Features:
    absent = [m for m in modalities if m not in own.matrices]
    if absent:
        raise FeatureError(f"the catalogue brings no ready {absent[0]} features; add them or name an encoder for them")
    matrices = {**features.matrices, **{m: own.matrices[m] for m in modalities}}
    present = {**features.present, **{m: own.present[m] for m in modalities}}
    return Features(matrices, present, {**features.card, "ready": modalities}, digest([features.digest, own.digest]))


def build_encoders(members: Mapping[str, Any], places: Places, progress: bool) -> dict[Modality, Encoder]:
    """The encoder objects of an entry that names one for each modality.

    ``members`` maps a modality to an encoder's name, or to ``{encoder: NAME, settings: {…}}``; the light encoders of
    the controls take two more keys, ``outside_items`` and ``seed``, and are trained once on items outside every
    catalogue. Raises ConfigError for an unknown name or setting.
    """
    wanted: dict[Modality, Any] = {m: members[m] for m in MODALITIES if m in members and members[m] != "ready"}
    if not wanted and not any(m in members for m in MODALITIES):
        raise ConfigError("an entry under encoders names visual, textual, or encoder (one for both)")
    if "light-cnn" in wanted.values() or "light-text" in wanted.values():
        light = _light_encoders(int(members["outside_items"]), int(members["seed"]), places, progress)
        return {m: light[m] for m in wanted}
    return {modality: _member(value, modality) for modality, value in wanted.items()}


def _member(value: Any, modality: Modality) -> Encoder:
    name, settings = (value, None) if isinstance(value, str) else (value.get("encoder"), value.get("settings", {}))
    if name not in ENCODERS:
        raise unknown("encoder", str(name), ENCODERS)
    if settings is None:
        made: Encoder = ENCODERS[name]()
        return made
    cls: Any = ENCODERS[name]
    made = cls(cls.Settings.build(settings, f"encoder {name!r} for {modality}, settings"))
    return made


def _light_encoders(n_items: int, seed: int, places: Places, progress: bool) -> dict[Modality, Encoder]:
    from lmmrec_core.data.controls import GENERATOR_VERSION, write_outside_items
    from lmmrec_core.encoders.light.encoders import LIGHT_VERSION, LightCNN, LightText, train_light

    key = digest({"items": n_items, "seed": seed, "generator": GENERATOR_VERSION, "light": LIGHT_VERSION}, 10)
    folder = places.encoders / f"light-{key}"
    if not folder.is_dir():
        with whole_folder(folder, FeatureError) as partial:
            write_outside_items(partial / "outside", seed, n_items)
            with one_thread():
                image, text = train_light(partial / "outside", seed, progress=progress)
            image.save(partial / "light-cnn.safetensors")
            text.save(partial / "light-text.safetensors")
    return {
        "visual": LightCNN.load(folder / "light-cnn.safetensors"),
        "textual": LightText.load(folder / "light-text.safetensors"),
    }
