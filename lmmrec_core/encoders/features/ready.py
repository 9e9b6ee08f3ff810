"""Features that a catalogue brings, checked like computed ones."""

from typing import Literal

import numpy as np

from lmmrec_core.encoders.features.content import check_matrix, make_features
from lmmrec_core.encoders.features.missing import fill_missing
from lmmrec_core.errors import FeatureError, unknown
from lmmrec_core.flow import MODALITIES, BoolArray, Catalogue, Features, Float32Array, Modality
from lmmrec_core.names import MISSING_RULES, MissingRule


def ready_features(catalogue: Catalogue, missing: MissingRule | Literal["error"] = "error") -> Features:
    """The ``ready_features`` of a catalogue as Features, with rows in the order of its items.

    ``missing="error"`` refuses any row with NaN or infinity. Under ``"mean"`` and ``"zero"`` a row that is NaN
    throughout means "no record for this item": the rule fills it, and it is counted and flagged. A row that is NaN in
    part is an error under every rule.

    Raises FeatureError naming the item and its row, or if the catalogue brings no features.
    """
    if missing not in ("error", *MISSING_RULES):
        raise unknown("missing rule", missing, ("error", *MISSING_RULES))
    where = f"catalogue {catalogue.name!r}"
    if not catalogue.ready_features:
        raise FeatureError(f"{where} brings no features; name an encoder for its pictures or texts")
    for modality in catalogue.ready_features:
        if modality not in MODALITIES:
            raise unknown("modality", modality, MODALITIES, where)
    matrices: dict[Modality, Float32Array] = {}
    present: dict[Modality, BoolArray] = {}
    for modality in MODALITIES:
        if modality not in catalogue.ready_features:
            continue
        rows = np.asarray(catalogue.ready_features[modality])
        absent = np.zeros(catalogue.n_items, dtype=np.bool_)
        if missing != "error" and rows.shape[:1] == absent.shape and rows.ndim == 2 and rows.dtype.kind == "f":
            absent = np.asarray(np.isnan(rows).all(axis=1))
            rows = np.where(absent[:, None], 0, rows)
        checked = check_matrix(rows, modality, catalogue.item_ids, where)
        present[modality] = ~absent
        if absent.any():
            checked = fill_missing(checked, ~absent, missing, modality, catalogue.item_ids)
        matrices[modality] = checked
    card = {
        "catalogue": catalogue.name,
        "origin": "brought by the catalogue",
        "missing": missing,
        "modalities": {
            modality: {
                "encoder": "ready",
                "items": catalogue.n_items,
                "dim": matrix.shape[1],
                "missing": int((~present[modality]).sum()),
            }
            for modality, matrix in matrices.items()
        },
    }
    return make_features(matrices, present, card)
