"""Results made by a rule from the name of each case: numbers that any code must turn into the same comparisons."""

from zlib import crc32

import numpy as np
import pandas as pd

from lmmrec_core.flow import Result
from lmmrec_core.names import CONTROLS, LMM_ENCODERS, PAPER_MODELS, PARADIGMS, SHUFFLED_ALONE

SIDE = ("model", "encoder", "paradigm", "modalities", "control")
N_USERS = 60
Side = tuple[str, str, str, str, str]


def made_results(metric: str = "ndcg@20", seeds: tuple[int, ...] = (1, 2)) -> list[Result]:
    """Every side of every planned pair on data set "null", except that MMGCN has no VLMo-FT; 40 persons, 60 users."""
    return [made_result(side, seed, metric) for side in sides() for seed in seeds]


def sides() -> list[Side]:
    found: list[Side] = [(model, "none", "none", "none", "none") for model in ("bpr", "lightgcn")]
    for model in PAPER_MODELS:
        found += [(model, "baseline", "none", modalities, "none") for modalities in ("V&T", "V", "T")]
        found += [(model, "baseline", "none", "V&T", control) for control in CONTROLS]
        found += [(model, encoder, paradigm, "V&T", "none") for encoder in LMM_ENCODERS for paradigm in PARADIGMS]
        found += [(model, "clip", "ETE", modalities, "none") for modalities in ("V", "T")]
        found += [(model, "clip", "ETE", "V&T", control) for control in SHUFFLED_ALONE]
    found.remove(("mmgcn", "vlmo", "FT", "V&T", "none"))
    return found


def made_result(side: Side, seed: int, metric: str) -> Result:
    """Values of a generator that the case's name seeds; every case has a mean of its own."""
    draw = np.random.default_rng(crc32(" ".join(side).encode()))
    level = draw.random(N_USERS) * (0.3 + 0.2 * draw.random())
    values = level + 0.01 * np.random.default_rng(seed).random(N_USERS)
    frame = pd.DataFrame(
        {metric: values, "group": np.arange(N_USERS) % 40}, index=pd.Index(range(N_USERS), name="user")
    )
    case = {"track": "controls", "dataset": "null", **dict(zip(SIDE, side, strict=True)), "seed": seed}
    return Result(case, frame, {}, {"key": "-".join([*side, str(seed)]), "schema": 1, "data": {"split": "s"}})
