"""Paradigm ETE: joins an encoder to the training of a recommender, and keeps the features that come out."""

from functools import lru_cache

from lmmrec_core.encoders.features.content import make_features
from lmmrec_core.encoders.features.item_rows import CatalogueRows, ItemContent, item_content
from lmmrec_core.encoders.features.store import FeatureStore
from lmmrec_core.encoders.features.transforms import shuffled_order
from lmmrec_core.encoders.lora import add_lora
from lmmrec_core.errors import ConfigError
from lmmrec_core.flow import Features
from lmmrec_core.roles import ContentRecommender, Recommender
from lmmrec_core.study.cases import Case
from lmmrec_core.study.datasets import Dataset
from lmmrec_core.study.diagnostics import diagnostics_of
from lmmrec_core.study.features import load_features
from lmmrec_core.study.weights.making import trained_encoder
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.joint.end_to_end import end_to_end
from lmmrec_core.training.joint.hooks import FeatureTraining
from lmmrec_core.training.joint.settings import EndToEndSettings


def attach_encoder(
    workspace: Workspace, case: Case, settings: EndToEndSettings, features: Features | None
) -> FeatureTraining:
    """What the training loop needs to train the case's encoder too, starting from the weights of PT.

    ``features`` are those of PT that the recommender is built from. Raises ConfigError for a case without content, or
    settings that do not fit the encoder.
    """
    if features is None:
        raise ConfigError(f"model {case.model!r} reads no content, so there is no encoder to train; use paradigm none")
    if settings.reading == "e1":
        return end_to_end(settings, None)
    dataset = workspace.dataset(case.dataset)
    encoder = trained_encoder(workspace.quiet(), case.encoder, "ETE", dataset)
    content = _content(workspace, dataset, case.encoder)
    if case.control != "none":
        used = list(features.matrices)
        content = content.moved(shuffled_order(case.control, case.seed, dataset.catalogue.n_items, used))
    if settings.part == "lora":
        add_lora(encoder.module, seed=case.seed)
    return end_to_end(settings, CatalogueRows(encoder, content, features))


@lru_cache(maxsize=4)  # a worker does many cases of one data set and encoder
def _content(workspace: Workspace, dataset: Dataset, name: str) -> ItemContent:
    """Pictures and texts as the encoder reads them."""
    quiet = workspace.quiet()
    encoder = trained_encoder(quiet, name, "ETE", dataset)
    return item_content(encoder, dataset.catalogue, load_features(quiet, dataset, name, "ETE"), progress=False)


def keep_trained_features(
    workspace: Workspace, run: str, case: Case, model: Recommender, start: Features
) -> dict[str, str]:
    """Store the features of a trained recommender's best epoch; returns their ``key`` in the store and ``digest``.

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
    plain = case.modalities == "V&T" and case.control == "none"
    if plain and case.seed == workspace.track.seeds[0] and features.digest != start.digest:
        dataset = workspace.dataset(case.dataset)
        diagnostics_of(workspace, dataset, features, case.encoder, paradigm=f"ETE+{case.model}")
    return {"key": key, "digest": features.digest}
