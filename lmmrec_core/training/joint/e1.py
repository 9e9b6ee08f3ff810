"""Reading E1 of the paper's Algorithm 1: the feature matrices themselves are trained."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from lmmrec_core.flow import Modality
from lmmrec_core.roles import TrainableRecommender
from lmmrec_core.training.joint.chunks import relative_change
from lmmrec_core.training.joint.hooks import FeatureTraining, content_of, refuse_own_tables


class FreeFeatures(FeatureTraining):
    """V and T, as the encoder made them, become parameters of the recommender: its submodule ``free_features``.

    They share the recommender's Adam and learning rate, without weight decay and with zero-filled gradients (see
    ``optimiser.Optimiser``). Rows that never get a gradient, those of cold items, stay as they were. The encoder is
    not used again. LATTICE, FREEDOM and BM3 with ``trainable_features`` are this reading already.
    """

    def start(self, model: TrainableRecommender, seed: int) -> None:
        self.model = content_of(model, "e1")
        refuse_own_tables(self.model, "e1")
        self.first: dict[Modality, Tensor] = {m: matrix.detach().clone() for m, matrix in self.model.features.items()}
        self.free = nn.ParameterDict({m: nn.Parameter(matrix.clone()) for m, matrix in self.first.items()})
        model.register_module("free_features", self.free)
        self.model.features.update({m: self.free[m] for m in self.first})

    def free_parameters(self) -> Sequence[nn.Parameter]:
        return list(self.free.parameters())

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """The matrices came back with the recommender's weights."""
        self.model.features.update({modality: self.free[modality].detach() for modality in self.first})

    def notes(self) -> dict[str, object]:
        return {
            "reading": "e1",
            "gradient": "exact, to the feature matrices; the encoder is not trained",
            "trained_parameters": sum(matrix.numel() for matrix in self.first.values()),
            "feature_change": {m: relative_change(self.free[m], first) for m, first in self.first.items()},
        }
