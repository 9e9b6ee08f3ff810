"""Features → Features: controls that destroy or preserve chosen properties, selection, scaling.

None is part of the stored features: each is applied by the consumer, recorded in ``card["transforms"]``, and
gives another digest (encoders spec 6.1). To combine, take controls first and ``l2_normalise`` last.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np

from lmmrec_core.encoders.features.content import make_features
from lmmrec_core.errors import ConfigError, FeatureError, unknown
from lmmrec_core.flow import MODALITIES, BoolArray, Features, Float32Array, FloatArray, Modality
from lmmrec_core.seeds import numpy_stream

Control = Literal["none", "shuffled", "noise", "zero"]
CONTROLS: tuple[Control, ...] = ("none", "shuffled", "noise", "zero")


def select(features: Features, modalities: Iterable[Modality]) -> Features:
    """Only the given modalities. Raises ConfigError for a modality the features do not have."""
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
    """Destroy what the features say about items, keep what they are as numbers; ``modalities`` default to all.

    ``shuffled``: rows move to other items by one permutation, the same for all given modalities: the set of
    vectors and the pairing of picture and text stay, the link to items goes. (Give one modality alone to
    break the pairing too.) ``noise``: Gaussian rows with each column's mean and standard deviation.
    ``zero``: zeros; cosines of such rows are undefined, and every consumer must treat them as 0.

    Raises ConfigError for an unknown control or modality.
    """
    if control not in CONTROLS:
        raise unknown("control", control, CONTROLS)
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


def l2_normalise(features: Features, modalities: Iterable[Modality] | None = None) -> Features:
    """Every row to length 1; a row of zeros stays zeros (question 31: the default for every encoder)."""
    wanted = _known(features, features.matrices if modalities is None else modalities)

    def change(modality: Modality, matrix: Float32Array) -> Float32Array:
        wide = matrix.astype(np.float64)
        length = np.linalg.norm(wide, axis=1, keepdims=True)
        return np.divide(wide, length, out=np.zeros_like(wide), where=length > 0).astype(np.float32)

    return _changed(features, wanted, change, {"transform": "l2_normalise", "modalities": wanted})


def rotate(features: Features, modality: Modality, seed: int) -> Features:
    """One modality times a random orthogonal matrix (encoders spec 7.6).

    Lengths, cosines and neighbours inside the modality stay; a shared space with the other modality goes.
    """
    wanted = _known(features, [modality])

    def change(modality: Modality, matrix: Float32Array) -> Float32Array:
        dim = matrix.shape[1]
        return (matrix.astype(np.float64) @ _orthonormal(dim, dim, seed, f"rotation/{modality}")).astype(np.float32)

    return _changed(features, wanted, change, {"transform": "rotate", "seed": seed, "modalities": wanted})


def project(features: Features, modality: Modality, dim: int, seed: int) -> Features:
    """One modality onto a random subspace of ``dim`` dimensions (encoders spec 7.6, the dimension control).

    The columns are orthonormal, scaled by √(old dim / new dim), so that squared lengths keep their expectation.
    Raises ConfigError unless 1 ≤ ``dim`` ≤ the old dimension.
    """
    wanted = _known(features, [modality])
    old = features.matrices[modality].shape[1]
    if not 1 <= dim <= old:
        raise ConfigError(f"project: dim is {dim}; give 1 to {old}, the dimension of the {modality} features")

    def change(modality: Modality, matrix: Float32Array) -> Float32Array:
        basis = _orthonormal(old, dim, seed, f"projection/{modality}") * np.sqrt(old / dim)
        return (matrix.astype(np.float64) @ basis).astype(np.float32)

    return _changed(features, wanted, change, {"transform": "project", "dim": dim, "seed": seed, "modalities": wanted})


def pca(features: Features, modality: Modality, dim: int, centred: bool = True) -> Features:
    """One modality in its first ``dim`` principal components over the items (encoders spec 7.6, the dimension control).

    Nothing is whitened. ``centred=False`` neither removes the mean nor looks for directions around it: the best
    ``dim`` dimensions for the inner products as they are, so cosines of rows in a narrow cone stay in it. Signs are
    fixed: the largest entry of a direction is positive. Raises ConfigError unless 1 ≤ ``dim`` ≤ min(items, dims).
    """
    wanted = _known(features, [modality])
    most = min(features.matrices[modality].shape)
    if not 1 <= dim <= most:
        raise ConfigError(f"pca: dim is {dim}; give 1 to {most}, the lesser of items and dims of {modality} features")

    def change(modality: Modality, matrix: Float32Array) -> Float32Array:
        rows = matrix.astype(np.float64)
        rows -= rows.mean(axis=0) * centred
        directions = np.linalg.svd(rows, full_matrices=False)[2][:dim]
        largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
        return (rows @ (directions * np.where(largest < 0, -1.0, 1.0)).T).astype(np.float32)

    note = {"transform": "pca", "dim": dim, "centred": centred, "modalities": wanted}
    return _changed(features, wanted, change, note)


def _orthonormal(rows: int, columns: int, seed: int, stream: str) -> FloatArray:
    """[rows, columns] with orthonormal columns, uniform over all such (QR of Gaussians, signs fixed)."""
    q, r = np.linalg.qr(numpy_stream(seed, stream).standard_normal((rows, columns)))
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
