"""Keys of cases → the words of the tables: one place for every display name."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lmmrec_core.names import DATASET_TITLES, ENCODER_TITLES, METRIC_TITLES, MODEL_TITLES


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


def variant(case: Mapping[str, Any]) -> str:
    """What distinguishes a case among those of one model: encoder, paradigm, modalities, control.

    ``"baseline"``, ``"CLIP-PT"``, ``"CLIP-ETE (V)"``, ``"baseline (shuffled)"``, ``"baseline (T, noise)"``;
    ``"none"`` for a model without content. Both modalities and no control are the normal case, not named.
    """
    encoder, paradigm = str(case["encoder"]), str(case["paradigm"])
    if encoder == "none":
        return "none"
    name = ENCODER_TITLES.get(encoder, encoder) + ("" if paradigm == "none" else f"-{paradigm}")
    modalities, control = str(case["modalities"]), str(case["control"])
    extra = [modalities] * (modalities != "V&T") + [control] * (control != "none")
    return f"{name} ({', '.join(extra)})" if extra else name


def pair_label(a: str, b: str) -> str:
    """Two variants in few words: ``"CLIP-PT / baseline"``, ``"baseline V&T / V"``, ``"baseline real / shuffled"``."""
    if not (b.startswith(f"{a} (") and b.endswith(")")):
        return f"{a} / {b}"
    other = b[len(a) + 2 : -1]
    return f"{a} {'V&T' if other in ('V', 'T') else 'real'} / {other}"


def variant_of(side: str, model: str) -> str:
    """One side of a comparison (``"vbpr clip PT V&T"``) → its variant (``"CLIP-PT"``); another model → its name.

    A text that is a variant already stays as it is.
    """
    words = side.split()
    if words and words[0] in MODEL_TITLES and words[0] != model:
        return model_name(words[0])
    if not words or words[0] != model:
        return side
    rest = dict.fromkeys(("encoder", "paradigm", "modalities", "control"), "none")
    allowed = {"paradigm": ("PT", "FT", "ETE"), "modalities": ("V&T", "V", "T")}
    for position, word in enumerate(words[1:]):
        kinds = [kind for kind, values in allowed.items() if word in values]
        rest[kinds[0] if kinds else "encoder" if position == 0 else "control"] = word
    return variant(rest)


def with_variants(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The same comparisons with ``a`` and ``b`` as variants, so that they can be looked up by what they compare."""
    if comparisons.empty:
        return comparisons
    models = comparisons["model"].astype(str).tolist()
    sides = {
        side: [variant_of(str(text), model) for text, model in zip(comparisons[side], models, strict=True)]
        for side in ("a", "b")
    }
    return comparisons.assign(**sides)
