"""Joins an encoder to the training of a recommender: paradigm ETE (encoders spec 5.2)."""

from functools import lru_cache
from typing import Any

from lmmrec_core.encoders.features.item_rows import CatalogueRows, ItemContent, item_content
from lmmrec_core.encoders.lora import add_lora
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import Features
from lmmrec_core.study.cases import Case
from lmmrec_core.study.datasets import Prepared
from lmmrec_core.study.features import load_features
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.weights import trained_encoder
from lmmrec_core.study.workspace import Places
from lmmrec_core.training.joint.end_to_end import end_to_end
from lmmrec_core.training.joint.hooks import FeatureTraining
from lmmrec_core.training.joint.settings import EndToEndSettings


def attach_encoder(
    case: Case,
    settings: EndToEndSettings,
    features: Features | None,
    prepared: Prepared,
    track: TrackSettings,
    places: Places,
) -> FeatureTraining:
    """What the training loop needs to train the case's encoder too, starting from the weights of PT.

    ``features`` are those of PT that the recommender is built from. Raises ConfigError for a case without content, or
    settings that do not fit the encoder.
    """
    if features is None:
        raise ConfigError(f"model {case.model!r} reads no content, so there is no encoder to train; use paradigm none")
    if settings.reading == "e1":
        return end_to_end(settings, None)
    encoder = trained_encoder(prepared, case.encoder, track, places, "ETE", progress=False)
    content = _content(prepared, case.encoder, track.model_dump_json(), places)
    if settings.part == "lora":
        add_lora(encoder.module, seed=case.seed)
    return end_to_end(settings, CatalogueRows(encoder, content, features))


@lru_cache(maxsize=4)  # a worker does many cases of one data set and encoder
def _content(prepared: Prepared, name: str, track_json: str, places: Places) -> ItemContent:
    track = TrackSettings.model_validate_json(track_json)
    encoder: Any = trained_encoder(prepared, name, track, places, "ETE", progress=False)
    features = load_features(prepared, name, track, places, progress=False, paradigm="ETE")
    return item_content(encoder, prepared.catalogue, features, progress=False)
