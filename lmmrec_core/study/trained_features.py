"""Features that end-to-end training made: kept as a feature file of their own, and diagnosed (encoders spec 5.3)."""

from typing import Any

from lmmrec_core.encoders.features.content import make_features
from lmmrec_core.encoders.features.store import FeatureStore
from lmmrec_core.flow import Features
from lmmrec_core.study.cases import Case
from lmmrec_core.study.datasets import Prepared
from lmmrec_core.study.diagnostics import diagnostics_of
from lmmrec_core.study.track import TrackSettings
from lmmrec_core.study.workspace import Places


def keep_trained_features(
    run: str, case: Case, model: Any, start: Features, prepared: Prepared, track: TrackSettings, places: Places
) -> dict[str, str]:
    """Store the features of a trained recommender's best epoch; gives their ``key`` in the store and ``digest``.

    ``run``: key of the run, part of theirs: under ETE every recommender and seed ends with features of its own.
    ``start``: those it began with. With both modalities as they are, the track's first seed is diagnosed too, as
    stage ``ETE+<recommender>``. Raises FeatureError where they cannot be written.
    """
    spec = {
        "stage": "ete", "run": run, "recommender": case.model, "seed": case.seed, "encoder": case.encoder,
        "parent": start.digest,
    }  # fmt: skip
    matrices = {modality: model.features[modality].detach().cpu().numpy() for modality in start.matrices}
    features = make_features(matrices, dict(start.present), {**start.card, "trained": spec})
    store = FeatureStore(places.features)
    key = store.key(spec)
    store.save(key, features, spec)
    plain = case.modalities == "V&T" and case.control == "none"
    if plain and case.seed == track.seeds[0] and features.digest != start.digest:
        diagnostics_of(prepared, features, case.encoder, track, places, stage=f"ETE+{case.model}")
    return {"key": key, "digest": features.digest}
