"""Coverage where the truth is known: made users and seeds, in a stated list of worlds."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from lmmrec_core.digests import digest
from lmmrec_core.results.provenance import code_now
from lmmrec_core.significance.simulation import CANDIDATES, World, operating_characteristics
from lmmrec_core.study.calibration.listings import MadeFrom, code_of_tests, up_to_date, write_listing

COVERAGE = "coverage"  # the part, and the name of its file
BOOK_TEST, OWN, SEEDS_FIXED = "crossed, moderated", "crossed, own seeds", "users only (seeds fixed)"
REPETITIONS = 1000
FEWER = 200  # repetitions of the candidates that no page uses; the bootstrap takes ten times as long as the book's test

#: Three splits that move systems unlike, in ways that the test does not know of.
UNLIKE: tuple[dict[str, Any], ...] = (
    {"split_cv": 0.06, "split_unlike": 0.5},
    {"split_cv": 0.03, "b_moves": 3.0},
    {"split_cv": 0.03, "b_moves": 3.0, "rival": True},
    {"split_cv": 0.03, "rival": True},
)
#: Every combination of effect and spread over seeds, the other settings changed one at a time, unequal and single
#: seeds; then three splits.
SIMULATED: tuple[World, ...] = (
    *(World(effect=effect, seed_cv=cv) for effect in (0.0, 0.1, 0.3) for cv in (0.0, 0.02, 0.06, 0.12)),
    World(effect=0.1, users_each=1.0, persons=600),
    World(effect=0.1, level=0.3),
    World(effect=0.1, seeds=5),
    World(effect=0.1, further=2),
    World(effect=0.1, unlike=0.0),
    *(World(seeds=seeds, seeds_b=other, level=0.3) for seeds, other in ((5, 3), (3, 1))),
    *(World(effect=effect, splits=3, split_cv=cv, further=2) for effect in (0.0, 0.1) for cv in (0.0, 0.03, 0.06)),
    *(World(splits=3, seeds=5, level=0.3, further=2, **unlike) for unlike in UNLIKE),
)


def calibrate_coverage(results: Path, progress: bool = True, repetitions: int = REPETITIONS) -> int:
    """Simulate every world of the list and store the rates; the number of worlds. What is stored and fits stays."""
    made_from = coverage_made_from(repetitions)
    if up_to_date(results, COVERAGE, made_from):
        return len(SIMULATED)
    started = code_now()
    with tqdm(total=len(SIMULATED), desc="simulated", unit="world", disable=not progress) as bar:
        frames = list(_simulate(repetitions, bar))
    write_listing(results, COVERAGE, pd.concat(frames), made_from, started)
    return len(SIMULATED)


def coverage_made_from(repetitions: int = REPETITIONS) -> MadeFrom:
    """What the listing is made from now: the code of the tests, and the settings of the simulated worlds."""
    settings = [[asdict(world) for world in SIMULATED], list(CANDIDATES), repetitions, min(FEWER, repetitions)]
    return {"code": code_of_tests("study/calibration/simulated.py"), "settings": digest(settings)}


def _simulate(repetitions: int, bar: tqdm) -> Iterator[pd.DataFrame]:
    for number, world in enumerate(SIMULATED):
        shown = (BOOK_TEST, SEEDS_FIXED)
        counts: dict[tuple[str, ...], int]
        if world.splits == 1:
            counts = {shown: repetitions}
            counts[tuple(name for name in CANDIDATES if name not in shown)] = min(FEWER, repetitions)
        else:  # the others do not know several splits
            counts = {(*shown, OWN): repetitions}
        rates = pd.concat(operating_characteristics([world], count, of, seed=number) for of, count in counts.items())
        rates.insert(0, "world", number)
        yield rates
        bar.update()
