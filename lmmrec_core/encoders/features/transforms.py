"""Features → Features: choice of modalities, and controls that destroy or preserve chosen properties.

The stored features have none of them: whoever uses features applies them. Each is recorded in
``card["transforms"]`` and changes the digest.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lmmrec_core.encoders.features.content import make_features
from lmmrec_core.errors import FeatureError, unknown
from lmmrec_core.flow import MODALITIES, BoolArray, Features, Float32Array, FloatArray, IntArray, Modality
from lmmrec_core.names import CONTROLS, SHUFFLED_ALONE
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


def given_twice(features: Features, modality: Modality) -> Features:
    """The rows of one modality in the place of the other's too: the weights of two, what one says.

    Raises ConfigError for a modality that the features do not have.
    """
    (wanted,) = _known(features, [modality])
    return make_features(
        dict.fromkeys(MODALITIES, features.matrices[wanted]),
        dict.fromkeys(MODALITIES, features.present[wanted]),
        _noted(features, {"transform": "twice", "modalities": [wanted]}),
    )


def apply_control(
    features: Features, control: str, seed: int, modalities: Iterable[Modality] | None = None
) -> Features:
    """Destroy what the features say about items and keep what they are as numbers; ``modalities``: by default all.

    Sizes stay, so a recommender has as many weights as with the content itself. ``shuffled``: rows move to other items
    by one permutation, the same for all given modalities. The set of vectors stays, and the pairing of picture and
    text; the link to items is lost. ``shuffled-V`` and ``shuffled-T`` move the rows of one modality and leave the
    other, which breaks the pairing too. ``noise``: Gaussian rows with each column's mean and standard deviation.
    ``zero``: zeros; their cosines are undefined, and whoever takes cosines must count them as 0. ``projected``: each
    modality times a Gaussian matrix [dim, dim] with variance 1/dim, which keeps what the rows say up to distortion
    (Johnson and Lindenstrauss) and loses the coordinates that the encoder gave it.

    Raises ConfigError for an unknown control or modality, FeatureError for ``shuffled-V`` or ``shuffled-T`` without
    that modality.
    """
    if control not in ("none", *CONTROLS):
        raise unknown("control", control, ("none", *CONTROLS))
    wanted = _known(features, features.matrices if modalities is None else modalities)
    if control == "none":
        return features
    present = dict(features.present)
    change: Callable[[Modality, Float32Array], Float32Array]
    if control.startswith("shuffled"):
        orders = shuffled_order(control, seed, len(next(iter(features.matrices.values()))), wanted)
        wanted = list(orders)
        present.update({modality: features.present[modality][order] for modality, order in orders.items()})

        def change(modality: Modality, matrix: Float32Array) -> Float32Array:
            return matrix[orders[modality]]

    elif control == "projected":

        def change(modality: Modality, matrix: Float32Array) -> Float32Array:
            dim = matrix.shape[1]
            projection = numpy_stream(seed, f"projection/{modality}").standard_normal((dim, dim)) / np.sqrt(dim)
            return (matrix.astype(np.float64) @ projection).astype(np.float32)

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


def shuffled_order(control: str, seed: int, n_items: int, modalities: Sequence[Modality]) -> dict[Modality, IntArray]:
    """Modality → whose content each item gets [item], for the modalities that a control of the shuffled kind moves.

    Raises FeatureError if the one modality to move is not among ``modalities``.
    """
    moved = [SHUFFLED_ALONE[control]] if control in SHUFFLED_ALONE else list(modalities)
    if missing := [modality for modality in moved if modality not in modalities]:
        raise FeatureError(f"control {control!r} moves the {missing[0]} rows, which are not in use; use V&T")
    order = numpy_stream(seed, "control").permutation(n_items)
    return dict.fromkeys(moved, order)


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
