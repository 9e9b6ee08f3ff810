"""Features → Features: choice of modalities, and controls that destroy or preserve chosen properties.

The stored features have none of them: whoever uses features applies them. Each is recorded in
``card["transforms"]`` and changes the digest.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from lmmrec_core.encoders.features.content import make_features
from lmmrec_core.errors import FeatureError, unknown
from lmmrec_core.flow import MODALITIES, BoolArray, Features, Float32Array, FloatArray, Modality
from lmmrec_core.names import CONTROLS
from lmmrec_core.seeds import numpy_stream


def keep_modalities(features: Features, modalities: Iterable[Modality]) -> Features:
    """Only the given modalities. Raises ConfigError for one that the features do not have."""
    wanted = _known(features, modalities)
    if set(wanted) == set(features.matrices):
        return features
    return make_features(
        {modality: features.matrices[modality] for modality in wanted},
        {modality: features.present[modality] for modality in wanted},
        _noted(features, {"transform": "select", "modalities": wanted}),
    )


def apply_control(
    features: Features, control: str, seed: int, modalities: Iterable[Modality] | None = None
) -> Features:
    """Destroy what the features say about items and keep what they are as numbers; ``modalities``: by default all.

    ``shuffled``: rows move to other items by one permutation, the same for all given modalities. The set of vectors
    stays, and the pairing of picture and text; the link to items is lost. (Give one modality alone to break the
    pairing too.) ``noise``: Gaussian rows with each column's mean and standard deviation. ``zero``: zeros; their
    cosines are undefined, and whoever takes cosines must count them as 0.

    Raises ConfigError for an unknown control or modality.
    """
    if control not in ("none", *CONTROLS):
        raise unknown("control", control, ("none", *CONTROLS))
    wanted = _known(features, features.matrices if modalities is None else modalities)
    if control == "none":
        return features
    present = dict(features.present)
    change: Callable[[Modality, Float32Array], Float32Array]
    if control == "shuffled":
        order = numpy_stream(seed, "control").permutation(len(next(iter(features.matrices.values()))))
        present.update({modality: features.present[modality][order] for modality in wanted})

        def change(modality: Modality, matrix: Float32Array) -> Float32Array:
            return matrix[order]

    elif control == "noise":

        def change(modality: Modality, matrix: Float32Array) -> Float32Array:
            draws = numpy_stream(seed, f"control/{modality}").standard_normal(matrix.shape)
            wide = matrix.astype(np.float64)
            return (wide.mean(axis=0) + draws * wide.std(axis=0)).astype(np.float32)

    else:

        def change(modality: Modality, matrix: Float32Array) -> Float32Array:
            return np.zeros_like(matrix)

    note = {"transform": "control", "control": control, "seed": seed, "modalities": wanted}
    return _changed(features, wanted, change, note, present)


def rotate(features: Features, modality: Modality, seed: int) -> Features:
    """One modality times a random orthogonal matrix.

    Lengths, cosines and neighbours within the modality stay; a space shared with the other modality is lost.
    """
    wanted = _known(features, [modality])

    def change(modality: Modality, matrix: Float32Array) -> Float32Array:
        rotation = _rotation(matrix.shape[1], seed, f"rotation/{modality}")
        return (matrix.astype(np.float64) @ rotation).astype(np.float32)

    return _changed(features, wanted, change, {"transform": "rotate", "seed": seed, "modalities": wanted})


def _rotation(dim: int, seed: int, stream: str) -> FloatArray:
    """An orthogonal matrix [dim, dim], uniform over all of them: QR of Gaussian draws, with the signs fixed."""
    q, r = np.linalg.qr(numpy_stream(seed, stream).standard_normal((dim, dim)))
    return np.asarray(q * np.sign(np.diag(r)), dtype=np.float64)


def _known(features: Features, modalities: Iterable[Modality]) -> list[Modality]:
    wanted = list(modalities)
    for modality in wanted:
        if modality not in features.matrices:
            raise unknown("modality", modality, features.matrices, "features")
    if not wanted:
        raise FeatureError("no modality given; name visual, textual, or both")
    return [modality for modality in MODALITIES if modality in wanted]


def _noted(features: Features, note: Mapping[str, Any]) -> dict[str, Any]:
    return {**features.card, "transforms": [*features.card.get("transforms", []), dict(note)]}


def _changed(
    features: Features,
    modalities: list[Modality],
    change: Callable[[Modality, Float32Array], Float32Array],
    note: Mapping[str, Any],
    present: Mapping[Modality, BoolArray] | None = None,
) -> Features:
    matrices = {m: change(m, rows) if m in modalities else rows for m, rows in features.matrices.items()}
    return make_features(matrices, features.present if present is None else present, _noted(features, note))
