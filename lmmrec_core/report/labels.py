"""Keys of cases → the words of tables and figures. Those of a variant are :attr:`Variant.label`."""

from lmmrec_core.names import DATASET_TITLES, METRIC_TITLES, MODEL_TITLES
from lmmrec_core.questions import Variant


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


def case_label(model: str, variant: Variant) -> str:
    """``"VBPR CLIP-PT"``; a recommender without content has no variant to show."""
    return model_name(model) if variant.encoder == "none" else f"{model_name(model)} {variant.label}"
