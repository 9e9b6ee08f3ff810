"""Reading E1 of Algorithm 1: the feature matrices themselves are trained (encoders spec 5.2)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lmmrec_core.flow import Modality
from lmmrec_core.training.joint.hooks import FeatureTraining, refuse_own_tables


class FreeFeatures(FeatureTraining):
    """V and T, as the encoder gave them, become parameters of the recommender: ``model.free_features``.

    They share the recommender's Adam and learning rate, without weight decay and with zero-filled gradients (see
    ``optimiser.Optimiser``); rows that never get a gradient, cold items, stay as they were. The encoder is not used
    again. LATTICE, FREEDOM and BM3 with ``trainable_features`` are this reading already.
    """

    def start(self, model: Any, seed: int) -> None:
        refuse_own_tables(model, "e1")
        self.first: dict[Modality, Tensor] = {m: matrix.detach().clone() for m, matrix in model.features.items()}
        self.model = model
        model.free_features = nn.ParameterDict({m: nn.Parameter(matrix.clone()) for m, matrix in self.first.items()})
        model.features.update(model.free_features.items())

    def load_weights(self, model: Any, weights: Mapping[str, Tensor]) -> None:
        """The matrices came back with the recommender's weights."""
        model.features.update({modality: free.detach() for modality, free in model.free_features.items()})

    def notes(self) -> dict[str, Any]:
        moved = {
            modality: float(
                (self.model.free_features[modality].detach() - first).norm() / first.norm().clamp(min=1e-12)
            )
            for modality, first in self.first.items()
        }
        return {
            "reading": "e1",
            "gradient": "exact, to the feature matrices; the encoder is not trained",
            "trained_parameters": sum(matrix.numel() for matrix in self.first.values()),
            "feature_change": moved,
        }
