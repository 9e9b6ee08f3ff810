"""Values of a run record → plain JSON values, and the key of a run's identity."""

import math
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import PurePath
from typing import Any

import numpy as np

from lmmrec_core.digests import digest
from lmmrec_core.errors import ResultError


def key_of(identity: Mapping[str, Any]) -> str:
    """16 hex digits of everything that determines a run; the order of keys does not matter.

    Raises ResultError for a value that JSON cannot hold exactly.
    """
    return digest(plain_values(identity, "identity"))


def plain_values(value: Any, where: str = "record") -> Any:
    """Mappings, sequences and NumPy values → what ``json`` writes and reads back unchanged.

    Raises ResultError naming the place of a value that is not finite or of another kind: a record
    holds no NaN, no object that only prints, and no path of a machine.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ResultError(f"{where} is {value}, not a finite number; nothing was saved")
        return value
    if isinstance(value, Mapping):
        named = {str(name): plain_values(inner, f"{where}.{name}") for name, inner in value.items()}
        if len(named) != len(value):
            raise ResultError(f"{where} has two keys with the same text; rename one")
        return named
    if isinstance(value, list | tuple):
        return [plain_values(inner, f"{where}[{place}]") for place, inner in enumerate(value)]
    if isinstance(value, set | frozenset):
        return sorted((plain_values(inner, where) for inner in value), key=repr)
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, PurePath):
        raise ResultError(f"{where} is a path of this machine ({value}); a record names content, not places")
    raise ResultError(f"{where} is of type {type(value).__name__}, which a record cannot hold; convert it first")
