"""The stated rule for an item without a picture or text.

``mean`` (default): the mean vector of the items that have one (enoche/MMRec: its preprocessing notebooks).
``zero``: zeros, for models that read them as "nothing is known". Either way the item is counted and flagged.
"""

from collections.abc import Sequence

import numpy as np

from lmmrec_core.errors import FeatureError, unknown
from lmmrec_core.flow import BoolArray, Float32Array, Modality
from lmmrec_core.names import MISSING_RULES


def check_rule(rule: str) -> None:
    """Raises ConfigError for a rule that is not in :data:`~lmmrec_core.names.MISSING_RULES`."""
    if rule not in MISSING_RULES:
        raise unknown("missing rule", rule, MISSING_RULES)


def fill_missing(
    matrix: Float32Array, present: BoolArray, rule: str, modality: Modality, item_ids: Sequence[str]
) -> Float32Array:
    """``matrix`` [item, dim] with the rows of absent items (``present`` [item] is False) replaced by the rule.

    Raises ConfigError for an unknown rule, FeatureError if no item has the modality: there is no mean, and zeros for
    all items would silently pass for features.
    """
    check_rule(rule)
    if not present.any():
        raise FeatureError(
            f"none of the {len(item_ids)} items has {modality} content (the first is {item_ids[0]!r}); "
            f"add it to the catalogue, or leave the {modality} modality out"
            if item_ids
            else f"the catalogue has no items; {modality} features need at least one"
        )
    filled = matrix.copy()
    if rule == "mean":
        filled[~present] = matrix[present].mean(axis=0, dtype=np.float64)
    else:
        filled[~present] = 0.0
    return filled
