"""Keys of cases → the words of tables and figures.

The key of an encoder says which part it plays (``clip``: the encoder with two towers); :class:`Labels` says what
stands there in a track. Printed numbers are the paper's encoders' (:data:`PAPER_LABELS`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lmmrec_core.names import DATASET_TITLES, ENCODER_TITLES, METRIC_TITLES, MODEL_TITLES
from lmmrec_core.questions import Pair, Variant


def model_name(key: str) -> str:
    """``"slmrec"`` → ``"SLMRec"``; a key that is not known stays as it is."""
    return MODEL_TITLES.get(key, key)


def dataset_name(key: str) -> str:
    """``"baby"`` → ``"Amazon Baby"``; other keys are capitalised, ``_`` and ``-`` become blanks."""
    readable = key.replace("_", " ").replace("-", " ")
    return DATASET_TITLES.get(key, readable[:1].upper() + readable[1:])


def metric_name(key: str) -> str:
    """``"ndcg@20"`` → ``"NDCG@20"``."""
    kind, separator, k = key.partition("@")
    return METRIC_TITLES.get(kind, kind) + separator + k


@dataclass(frozen=True)
class Labels:
    """What tables and figures call the encoders: key → title, for instance ``{"clip": "CLIP-small"}``.

    A key without a title is shown as it is.
    """

    encoders: Mapping[str, str]

    def variant(self, variant: Variant) -> str:
        """``"CLIP-small-PT"``."""
        return variant.named(self.encoders)

    def case(self, model: str, variant: Variant) -> str:
        """``"VBPR CLIP-small-PT"``; a recommender without content has no variant to show."""
        return model_name(model) if variant.encoder == "none" else f"{model_name(model)} {self.variant(variant)}"

    def features(self, encoder: str, paradigm: str) -> str:
        """``"clip"``, ``"ETE+vbpr"`` (features of a joint training) → ``"CLIP-small-ETE with VBPR"``."""
        paradigm, _, model = paradigm.partition("+")
        name = self.variant(Variant(encoder, paradigm, "V&T"))
        return f"{name} with {model_name(model)}" if model else name

    def pair(self, model: str, pair: Pair) -> str:
        """``"VBPR: CLIP-small-PT / baseline"``, of something measured."""
        return f"{model_name(model)}: {' / '.join(pair.words(self.encoders))}"

    def printed_and_measured(self, model: str, pair: Pair) -> str:
        """The pair of a row that holds the paper's numbers beside ours; in two lines where the encoders differ."""
        printed, measured = str(pair), " / ".join(pair.words(self.encoders))
        both = printed if printed == measured else f"{printed} (paper),\n{measured} (here)"
        return f"{model_name(model)}: {both}"


PAPER_LABELS = Labels(ENCODER_TITLES)
