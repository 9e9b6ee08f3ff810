"""Made-up runs of side tracks: a level for each cell, users with values of their own."""

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from lmmrec_core.flow import Result

BASE = {"encoder": "baseline", "paradigm": "none", "modalities": "V&T", "control": "none", "arm": "none", "split": 0}
PT = {**BASE, "encoder": "clip", "paradigm": "PT"}


def made_run(
    level: float, seed: int = 1, users: int = 80, more: Mapping[str, Any] | None = None, **case: Any
) -> Result:
    """A run whose metrics are ``level`` on average; ``more``: columns of its frame."""
    fields = {"track": "films", "dataset": "ml-sparse", "model": "vbpr", **BASE, **case, "seed": seed}
    shape = np.random.default_rng(7).random(users) - 0.5  # users are the same in every run
    noise = np.random.default_rng(crc32(repr(sorted(fields.items())).encode())).random(users) - 0.5
    values = level + 0.02 * (shape - shape.mean()) + 0.01 * (noise - noise.mean()) + 1e-4 * seed
    frame = pd.DataFrame(dict.fromkeys(("recall@20", "ndcg@20"), values), index=pd.RangeIndex(users, name="user"))
    overall = {"coverage@20": 0.5, "exposure_gini@20": 0.25, "novelty@20": 6.0, "cold_recall@20": level / 2,
               "head_recall@20": 2 * level}  # fmt: skip
    record = {"key": f"{crc32(repr(fields).encode()):016x}", "case": fields, "data": {"split": str(fields["split"])},
              "training": None, "settings": {}, "features": None, "cost": {"seconds": 1.0}}  # fmt: skip
    return Result(fields, frame.assign(**(more or {})), overall, record)


def receipt_of(results: list[Result]) -> pd.DataFrame:
    known = {"split": "", "split seed": "", "in tables": "yes"}
    return pd.DataFrame([{**run.case, **known, "key": run.record["key"]} for run in results])
