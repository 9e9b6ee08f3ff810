"""Making a Features value: the checks that every feature matrix passes, and the digest of its content."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lmmrec_core.errors import FeatureError, unknown
from lmmrec_core.flow import MODALITIES, BoolArray, Features, Float32Array, Modality


def content_digest(matrices: Mapping[Modality, Float32Array]) -> str:
    """SHA-256 over (modality, shape, raw bytes) of the matrices, in the order of the modalities' names.

    What is derived from features, such as a graph of items, is keyed by it and never by a data set's name.
    """
    running = hashlib.sha256()
    for modality in sorted(matrices):
        matrix = np.ascontiguousarray(matrices[modality], dtype="<f4")
        running.update(f"{modality}|{matrix.shape[0]}x{matrix.shape[1]}|".encode())
        running.update(matrix.data)
    return running.hexdigest()


def check_matrix(matrix: npt.ArrayLike, modality: Modality, item_ids: Sequence[str], where: str) -> Float32Array:
    """``matrix`` as contiguous float32 [item, dim] with one finite row per item.

    Raises FeatureError naming ``where``, the modality, and the first item whose row is not finite.
    """
    if modality not in MODALITIES:
        raise unknown("modality", modality, MODALITIES, where)
    values = np.asarray(matrix)
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise FeatureError(
            f"{where}: {modality} features have shape {values.shape} and type {values.dtype}; "
            "give a matrix of numbers, one row per item"
        )
    if values.shape[0] != len(item_ids):
        raise FeatureError(
            f"{where}: {modality} features have {values.shape[0]} rows for {len(item_ids)} items; "
            "give one row per item, in the order of the items"
        )
    if values.shape[1] == 0:
        raise FeatureError(f"{where}: {modality} features have no columns; compute them again")
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(values, dtype=np.float32)
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        first = int(broken[0])
        raise FeatureError(
            f"{where}: {modality} features of item {item_ids[first]!r} (row {first}) hold NaN or infinity, as do "
            f"{len(broken) - 1} other rows; correct them, or give these items no features and a missing rule"
        )
    return rows


def make_features(
    matrices: Mapping[Modality, Float32Array],
    present: Mapping[Modality, BoolArray],
    card: Mapping[str, Any],
) -> Features:
    """A Features value with its digest; modalities in the order visual, textual."""
    ordered = [modality for modality in MODALITIES if modality in matrices]
    kept = {modality: matrices[modality] for modality in ordered}
    return Features(kept, {modality: present[modality] for modality in ordered}, dict(card), content_digest(kept))
