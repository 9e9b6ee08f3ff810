"""A score taken apart: what the id, the picture and the text of an item add to it, exactly.

In a recommender whose item vector is ``q_i = e_i + M f_i + c``, f = [text ; vision], a score is a sum:

    p_u · q_i = p_u · e_i  +  p_u · M_V v_i  +  p_u · M_T t_i  +  p_u · c

e_i is what only training gives the item: its id vector and, if the model has one, its bias. The last term is the same
for every item and moves none.
"""

import numpy as np
import pandas as pd
import torch

from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.flow import MODALITIES, Features, FloatArray
from lmmrec_core.recommenders.layers import features_normalised
from lmmrec_core.study.own.kept import KeptModel

BY_ID, CONSTANT = "id", "constant"


def score_parts(kept: KeptModel, features: Features, users: np.ndarray) -> dict[str, FloatArray]:
    """``id``, each modality that the model reads, ``constant`` → float64 [user, item]; together they are the scores.

    ``features`` are those that the model was trained with. Raises ConfigError for a model in which an item's vector is
    no function of its content, FeatureError for features of other items or of another width.
    """
    if "map.matrix" not in kept.tensors:
        raise ConfigError(f"the scores of {kept.name} cannot be taken apart: {kept.note['content']['no_new_items']}")
    people = kept.tensors["user"].double().numpy()[users]
    rest = kept.tensors["item"].double().numpy().copy()
    matrix, offset = (kept.tensors[f"map.{name}"].double().numpy() for name in ("matrix", "offset"))
    parts: dict[str, FloatArray] = {}
    start = 0
    for modality in reversed(kept.modalities):  # text first, as the model reads them
        rows = _rows(kept, features, modality)
        stop = start + rows.shape[1]
        if len(rows) != len(rest) or stop > matrix.shape[1]:
            raise FeatureError(
                f"{kept.name}: {modality} features are {rows.shape}, the model has {len(rest)} items and reads rows of "
                f"{matrix.shape[1]} numbers in all; give the features it was trained with"
            )
        added = rows @ matrix[:, start:stop].T
        parts[modality], rest, start = people @ added.T, rest - added, stop
    rest = rest - offset
    in_order: dict[str, FloatArray] = {m: parts[m] for m in MODALITIES if m in parts}
    return {BY_ID: people @ rest.T, **in_order, CONSTANT: np.tile((people @ offset)[:, None], len(rest))}


def above_average(parts: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """The parts without ``constant``, each less its mean over all items: what lifts an item above the average one."""
    return {name: part - part.mean(axis=1, keepdims=True) for name, part in parts.items() if name != CONSTANT}


def parts_frame(lifted: dict[str, FloatArray], row: int, items: np.ndarray) -> pd.DataFrame:
    """One line per item: its parts for one user, and their sum as ``score``."""
    frame = pd.DataFrame({name: part[row, items] for name, part in lifted.items()})
    return frame.assign(score=frame.sum(axis=1))


def _rows(kept: KeptModel, features: Features, modality: str) -> FloatArray:
    if modality not in features.matrices:
        raise FeatureError(f"{kept.name} reads {modality} features, which are not among those given")
    rows = torch.from_numpy(features.matrices[modality].copy())  # type: ignore[index]
    return np.asarray((features_normalised(rows) if kept.note["content"]["unit_rows"] else rows).double().numpy())
