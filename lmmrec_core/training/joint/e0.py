"""Reading E0 of the paper's Algorithm 1: features computed again each epoch, and nobody trains the encoder.

This is the letter of the algorithm, and what the paper group's release does (GLA-IR/LMM4REC
``common/abstract_recommender.py``, ``common/trainer.py``).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from lmmrec_core.checkpoints import State
from lmmrec_core.errors import unknown
from lmmrec_core.flow import Modality
from lmmrec_core.roles import ItemEncoder, TrainableRecommender
from lmmrec_core.seeds import derive
from lmmrec_core.training.joint.chunks import Chunk, ChunkedEncoder
from lmmrec_core.training.joint.hooks import FeatureTraining, content_of, refuse_own_tables
from lmmrec_core.training.joint.settings import EndToEndSettings

# what a refresh does in the released model classes (GLA-IR/LMM4REC ``models/*_ete.py``)
_EFFECTS = {
    model: effect
    for effect, models in {
        "none: the model keeps the copy made at construction": ("vbpr",),
        "none: the model keeps the copies made at construction": ("lattice",),
        "read as they are": ("mmgcn",),
        "read without the normalisation done at construction": ("mmgcl", "slmrec"),
    }.items()
    for model in models
}


class RecomputedFeatures(FeatureTraining):
    """After the batches of every epoch the features are computed again, without gradient, and put into the model.

    The release has the encoder's weights in its optimiser, where they never get a gradient and so never move; leaving
    them out is the same. Arm "letter": nothing else changes, so results equal those of fixed features up to rounding.
    Arm "released": VBPR and LATTICE do not see the new features, MMGCL and SLMRec read them unnormalised. With
    ``stochastic`` the encoder is in train mode, as in the release. The release's larger ``embedding_dim`` is a setting
    of the recommender. Raises ConfigError for a model without features, and for arm "released" of a model that the
    release does not have.
    """

    def __init__(self, encoder: ItemEncoder, settings: EndToEndSettings) -> None:
        self.source, self.settings = encoder, settings
        self.refreshes = 0
        self.current: dict[Modality, Tensor] = {}  # what the last refresh put into the model

    def start(self, model: TrainableRecommender, seed: int) -> None:
        self.model, self.seed = content_of(model, "e0"), seed
        self.effect = "read as they are"
        if self.settings.arm == "released":
            if model.name not in _EFFECTS:
                raise unknown("model of the release", model.name, _EFFECTS, "reading 'e0', arm 'released'")
            self.effect = _EFFECTS[model.name]
        self.unread = self.effect.startswith("none")
        if not self.unread:
            refuse_own_tables(self.model, "e0")
        self.encoder = ChunkedEncoder(self.source, self.model.features, self.settings.precision)
        self.encoder.check(self.settings.chunk, self.settings.stochastic)

    def end_epoch(self, evaluated: bool) -> None:
        if self.unread:
            return
        self.refreshes += 1
        fresh = {modality: torch.empty_like(matrix) for modality, matrix in self.model.features.items()}
        items = torch.arange(len(next(iter(fresh.values()))))
        for place, part in enumerate(items.split(self.settings.chunk)):
            seed = derive(self.seed, f"train/encoder/{self.refreshes}/{place}") if self.settings.stochastic else None
            self.encoder.fill(Chunk(part, seed), fresh)
        self.encoder.require_finite()
        self._give(fresh)

    def weights(self) -> dict[str, Tensor]:
        return {f"features.{modality}": matrix for modality, matrix in self.current.items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        if weights:
            self._give({modality: weights[f"features.{modality}"] for modality in self.model.features})
        self.source.module.eval()

    def state(self) -> State:
        return {"refreshes": self.refreshes, "weights": self.weights()}

    def restore(self, state: State) -> None:
        self.refreshes = state["refreshes"]
        self.load_weights(state["weights"])

    def notes(self) -> dict[str, object]:
        return {
            "reading": "e0",
            "gradient": "none: the encoder is not trained",
            "settings": self.settings.model_dump(mode="json"),
            "trained_parameters": 0,
            "refreshes": self.refreshes,
            "effect": self.effect,
            "not_repeated": "the release doubles embedding_dim for LATTICE and MMGCL: a setting of the recommender",
        }

    def _give(self, features: Mapping[Modality, Tensor]) -> None:
        """New tensors, so that nothing computed from the old ones is taken for current."""
        self.current = {m: matrix.to(self.model.features[m].device) for m, matrix in features.items()}
        self.model.features.update(self.current)
        if "without" in self.effect:
            self.model.unit_rows = False
