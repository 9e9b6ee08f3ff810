"""The headline figures of a calibration, made anew from whatever is stored: ``results/calibration/summary.json``."""

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lmmrec_core.digests import digest
from lmmrec_core.disk import write_file
from lmmrec_core.questions import ALPHA, SHUFFLED
from lmmrec_core.significance.rates import Rate, rate_of
from lmmrec_core.study.calibration.files import FOLDER
from lmmrec_core.study.calibration.listings import Listing
from lmmrec_core.study.calibration.reading import Stored
from lmmrec_core.study.calibration.simulated import BOOK_TEST
from lmmrec_core.study.calibration.world_tests import seeds_against_seeds, worlds_tested

METRIC = "ndcg@20"  # of the headline figures; metrics of one run are one observation seen several ways
FEWEST = 10  # clusters that can tell how alike their members are
AA_BAND, ASKED_POWER = (0.03, 0.07), 0.95  # the bars: a system against itself, and the planted effect
AA_LEVELS = (ALPHA, 0.01, 0.001)  # at which a system against itself is counted
_CELL = ["track", "dataset", "model", "cell"]


def summary_of(stored: Stored) -> dict[str, Any]:
    """The figures as plain JSON values; None for what was not run.

    ``aa_rate`` of ``aa_pairs``: pairs of seeds of one cell of the stored runs that the test finds different at 5 %;
    ``aa_levels``: the same at stricter levels; ``aa_by_model``: pairs, rate and interval of each model at 5 %;
    ``aa_worlds_rate`` of ``aa_worlds_pairs``: the same of the runs on null worlds. ``null_rate`` of
    ``null_tests`` on ``null_worlds``: content against shuffled where content says nothing. ``power_complementary``:
    content found better than shuffled where all of the planted effect is there. ``coverage``: simulated 95 % intervals
    that hold the truth, of all simulated worlds; ``coverage_lowest``: of the world that has fewest. Each has its 95 %
    interval, ``…_interval``. ``mde``: data set → question → median and range of
    the relative change that is found with probability 0.8, ``holm`` at Holm's first step. All on NDCG@20.
    ``computed_from``: digests of the parts, and how many worlds each has.
    """
    figures: dict[str, Any] = {}
    pairs = pairs_of(stored, METRIC)
    figures |= _rate("aa_rate", aa_rate(pairs))
    figures["aa_pairs"] = int(pairs["p"].notna().sum())
    levels = {f"{level:g}": aa_rate(pairs, level=level) for level in AA_LEVELS[1:]}
    figures["aa_levels"] = {level: rate.rate for level, rate in levels.items() if rate} or None
    by_model = aa_by_model(pairs).items()
    figures["aa_by_model"] = {model: {"pairs": rate.n, **_rate("rate", rate)} for model, rate in by_model} or None
    fresh = world_pairs(stored, METRIC)
    figures |= _rate("aa_worlds_rate", rejected(fresh))
    figures["aa_worlds_pairs"] = len(fresh)
    null = null_tests(stored, METRIC)
    figures |= _rate("null_rate", rejected(null))
    figures |= {"null_tests": len(null), "null_worlds": null["world"].nunique()}
    figures |= _rate("power_complementary", power_of(planted_tests(stored, METRIC)))
    figures |= _rate("coverage", coverage_of(stored.coverage))
    figures |= _rate("coverage_lowest", lowest_coverage(stored.coverage))
    figures["mde"] = detectable(stored, METRIC)
    figures["computed_from"] = _sources(stored)
    return figures


def write_summary_of(stored: Stored, results: Path) -> dict[str, Any]:
    """Store the summary unless the same is there, and return it. Raises ResultError when it cannot be written."""
    summary, path = summary_of(stored), results / FOLDER / "summary.json"
    content = (json.dumps(summary, indent=1, allow_nan=False) + "\n").encode()
    if not path.is_file() or path.read_bytes() != content:
        write_file(path, content)
    return summary


def pairs_of(stored: Stored, metric: str) -> pd.DataFrame:
    """The pairs of seeds of all tracks, with the column ``track``; p is NaN where they are not testable."""
    return _together(stored.against_itself.items(), metric)


def cells_in(pairs: pd.DataFrame) -> int:
    """How many cells the pairs are of."""
    return len(pairs.drop_duplicates(_CELL))


def aa_rate(pairs: pd.DataFrame, p: str = "p", level: float = ALPHA) -> Rate | None:
    """How often a system is found different from itself at a level, of the testable pairs.

    The pairs of one model on one data set are a cluster: they share users and what is learnt of the spread over seeds.
    With fewer than :data:`FEWEST` of those, the pairs of a cell are.
    """
    tested = pairs[pairs["p"].notna()]
    if tested.empty:
        return None
    return rate_of((tested[p] < level).tolist(), _clusters(tested, _CELL[:3], _CELL))


def aa_by_model(pairs: pd.DataFrame) -> dict[str, Rate]:
    """:func:`aa_rate` of each model that has testable pairs."""
    rates = {str(model): aa_rate(part) for model, part in pairs.groupby("model", sort=False)}
    return {model: rate for model, rate in rates.items() if rate}


def aa_clusters(pairs: pd.DataFrame) -> int:
    """How many combinations of model and data set the testable pairs are of."""
    return len(pairs[pairs["p"].notna()].drop_duplicates(_CELL[:3]))


def world_pairs(stored: Stored, metric: str) -> pd.DataFrame:
    """The pairs of seeds of the runs on null worlds."""
    return seeds_against_seeds(stored.worlds["null"], metric)


def null_tests(stored: Stored, metric: str) -> pd.DataFrame:
    """Content against shuffled on the null worlds, one row a world and model."""
    return _of_content(worlds_tested(stored.worlds["null"], metric))


def planted_tests(stored: Stored, metric: str) -> pd.DataFrame:
    """Content against shuffled on the complementary worlds with the whole planted effect."""
    tests = _of_content(worlds_tested(stored.worlds["planted"], metric))
    return tests[tests["kind"] == "complementary"]


def power_tests(stored: Stored, metric: str) -> pd.DataFrame:
    """The same for every planted effect, the whole one last."""
    part = _of_content(worlds_tested(stored.worlds["power"], metric))
    frames = [frame for frame in (part, planted_tests(stored, metric)) if len(frame)]
    return pd.concat(frames).sort_values(["content", "world"]) if frames else part


def rejected(tests: pd.DataFrame, p: str = "p", level: float = ALPHA) -> Rate | None:
    """How often a test finds a difference at a level, unadjusted; clusters as in :func:`clusters`."""
    return None if tests.empty else rate_of((tests[p] < level).tolist(), clusters(tests))


def power_of(tests: pd.DataFrame) -> Rate | None:
    """How often content is found better, unadjusted; clusters as in :func:`clusters`."""
    found = (tests["p"] < ALPHA) & (tests["difference"] > 0)
    return None if tests.empty else rate_of(found.tolist(), clusters(tests))


def clusters(tests: pd.DataFrame) -> list[Hashable]:
    """What belongs together in a rate: the tests of a block of worlds, which learn one spread over seeds together.

    Fewer than :data:`FEWEST` clusters cannot tell how alike their members are, and an interval would be as wide as if
    each were one test. With so few blocks, the tests of a world are a cluster.
    """
    return _clusters(tests, ["block"], ["world"])


def _clusters(rows: pd.DataFrame, wide: list[str], narrow: list[str]) -> list[Hashable]:
    """The values of the columns ``wide`` where there are enough of them, else those of ``narrow``."""
    columns = wide if len(rows.drop_duplicates(wide)) >= FEWEST else narrow
    return [tuple(values) for values in rows[columns].to_numpy()]


def coverage_of(
    listing: Listing | None, candidate: str = BOOK_TEST, splits: Callable[[int], bool] = bool
) -> Rate | None:
    """How often the simulated intervals of a candidate hold the truth, over the worlds of so many ``splits``: all."""
    if listing is None:
        return None
    rows = listing.rows[listing.rows["candidate"] == candidate].to_dict("records")
    outcomes = [_covered(row) for row in rows if splits(int(row["splits"]))]
    return rate_of([one for world in outcomes for one in world]) if outcomes else None


def lowest_coverage(listing: Listing | None, candidate: str = BOOK_TEST) -> Rate | None:
    """The same of the one world where fewest intervals hold the truth."""
    if listing is None:
        return None
    rows = listing.rows[listing.rows["candidate"] == candidate]
    return rate_of(_covered(min(rows.to_dict("records"), key=lambda row: float(row["covered"]))))


def false_alarms(listing: Listing | None, candidate: str = BOOK_TEST) -> tuple[float, float] | None:
    """Mean and highest share of rejections over the simulated worlds without an effect; None without any."""
    if listing is None:
        return None
    rows = listing.rows[listing.rows["candidate"] == candidate]
    rates = rows.loc[rows["effect"] == 0, "rejected"]
    return (float(rates.mean()), float(rates.max())) if len(rates) else None


def _covered(row: Mapping[Hashable, Any]) -> list[bool]:
    """Whether each simulated interval of a world holds the truth, in no order."""
    total = int(row["repetitions"])
    within = round(row["covered"] * total)
    return [True] * within + [False] * (total - within)


def detectable(stored: Stored, metric: str) -> dict[str, dict[str, dict[str, Any]]] | None:
    """Data set → question → median, least and most over its pairs of what could be found."""
    rows = _together(stored.detectable.items(), metric)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for (dataset, question), part in rows.groupby(["dataset", "question"], sort=False):
        finite = part[part["mde"] < float("inf")]
        if len(finite):
            found.setdefault(str(dataset), {})[str(question)] = {
                **_range(finite["mde"]), "holm": _range(finite["mde_holm"]), "pairs": len(part),
                "untestable": len(part) - len(finite),
            }  # fmt: skip
    return found or None


def _range(values: pd.Series) -> dict[str, Any]:
    return {"median": float(values.median()), "lowest": float(values.min()), "highest": float(values.max())}


def _of_content(tests: pd.DataFrame) -> pd.DataFrame:
    return tests[tests["pair"].isin([SHUFFLED])]


def _together(listings: Iterable[tuple[str, Listing]], metric: str) -> pd.DataFrame:
    frames = [listing.rows.assign(track=track) for track, listing in listings]
    rows = pd.concat(frames) if frames else pd.DataFrame(columns=[*_CELL, "metric", "question", "p", "mde", "mde_holm"])
    return rows[rows["metric"] == metric]


def _rate(name: str, rate: Rate | None) -> dict[str, float | Sequence[float] | None]:
    if rate is None:
        return {name: None, f"{name}_interval": None}
    return {name: rate.rate, f"{name}_interval": [rate.low, rate.high]}


def _sources(stored: Stored) -> dict[str, Any]:
    """Digest and number of what each part has."""
    found: dict[str, Any] = {
        part: {"worlds": len(known), "digest": digest([line["digest"] for _, line in known])}
        for part, known in stored.worlds.items()
    }
    for part, by_track in (("against-itself", stored.against_itself), ("mde", stored.detectable)):
        found[part] = {track: listing.made["sha256"][:16] for track, listing in by_track.items()}
    found["coverage"] = None if stored.coverage is None else stored.coverage.made["sha256"][:16]
    return found
