"""Who receives the gradient of the recommendation loss: one class per reading of the paper's Algorithm 1."""

from lmmrec_core.errors import ConfigError
from lmmrec_core.roles import ItemEncoder
from lmmrec_core.training.joint.e0 import RecomputedFeatures
from lmmrec_core.training.joint.e1 import FreeFeatures
from lmmrec_core.training.joint.e2 import Window
from lmmrec_core.training.joint.hooks import FeatureTraining
from lmmrec_core.training.joint.settings import EndToEndSettings


def end_to_end(settings: EndToEndSettings, encoder: ItemEncoder | None) -> FeatureTraining:
    """What to pass to ``loop.train`` as ``features``. Raises ConfigError without an encoder, except for reading e1.

    The encoder must be the one whose features the recommender is built from; under e2 and e3 its weights change.
    """
    if settings.reading == "e1":
        return FreeFeatures()
    if encoder is None:
        raise ConfigError(
            f"reading {settings.reading!r} needs an encoder that computes rows of items (roles.ItemEncoder); "
            "pass one, or use reading 'e1'"
        )
    return RecomputedFeatures(encoder, settings) if settings.reading == "e0" else Window(encoder, settings)
