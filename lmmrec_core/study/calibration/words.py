"""What a calibration says, in sentences and bars: every number is computed from what is stored."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom, t

from lmmrec_core.questions import ALPHA, MARGIN
from lmmrec_core.report.labels import dataset_name, model_name
from lmmrec_core.report.planted import FOUND, PLANTED_CONTENT, Expectation
from lmmrec_core.significance.rates import Rate
from lmmrec_core.study.calibration import summary as figures
from lmmrec_core.study.calibration.reading import Stored
from lmmrec_core.study.calibration.redone import first_runs
from lmmrec_core.study.calibration.tables import answering_tests, between, in_percent, planted_answers, told

NOT_RUN_YET = "*Not run yet: `make calibrate`.*"
_FEWEST, _FEWEST_PLANTED = 200, 20  # pairs or worlds that a bar asks for, at least
_LOWEST, _HIGHEST = figures.AA_BAND
_BAND = f"{100 * _LOWEST:g} to {100 * _HIGHEST:g} %"
_ASKED = f"{100 * figures.ASKED_POWER:g} %"
_CELL = ["dataset", "model", "cell"]
_LEVEL = 0.95  # of the intervals
_SLIGHTLY = 0.01  # a coverage that misses the level by less is slightly off

#: Cells of the controls that the first listing of pairs did not have. They came into the track when its rate was known:
#: zero content and noise on Redundant and Null so that enough pairs could be tested, CLIP's controls of equal size for
#: the ablation with fixed features. A cell that the track has left out again is in no listing.
_CLIP = ("V", "T", "shuffled", "V shuffled", "T shuffled", "noise", "zero", "projected")
ADDED_CELLS = frozenset(
    [
        *(("complementary", "vbpr", f"CLIP-tiny-PT ({control})") for control in _CLIP),
        *((name, "vbpr", f"baseline ({control})") for name in ("redundant", "null") for control in ("noise", "zero")),
    ]
)


def bar_rows(stored: Stored, metric: str) -> list[dict[str, str]]:
    """What was asked of the tests before they were measured, and whether it holds: asked, rate, interval, answer."""
    stored_pairs, world_pairs = figures.pairs_of(stored, metric), figures.world_pairs(stored, metric)
    null_tests, planted_tests = figures.null_tests(stored, metric), figures.planted_tests(stored, metric)
    pairs, fresh = figures.aa_rate(stored_pairs), figures.rejected(world_pairs)
    null, power = figures.rejected(null_tests), figures.power_of(planted_tests)
    worlds, planted = null_tests["world"].nunique(), planted_tests["world"].nunique()
    by_chance = binom.ppf([0.025, 0.975], null.n, ALPHA) / null.n if null else (0.0, 0.0)
    within = f", {100 * by_chance[0]:.1f} to {100 * by_chance[1]:.1f} % by chance" if null else ""
    on_worlds = {str(model): figures.rejected(part) for model, part in world_pairs.groupby("model", sort=False)}
    rows = [
        (f"A system against itself is called different in {_BAND} of pairs: seeds of the study's stored runs",
         pairs, pairs and _in_band(pairs) + _but(figures.aa_by_model(stored_pairs))),
        ("The same: seeds of runs on fresh null worlds",
         fresh, fresh and _in_band(fresh) + _but({model: rate for model, rate in on_worlds.items() if rate})),
        (f"Where content says nothing, it is called useful or harmful in 5 % of tests{within}", null,
         null and _judged(by_chance[0] <= null.rate <= by_chance[1], worlds >= _FEWEST)),
        (f"The planted effect is found in at least {_ASKED} of worlds",
         power, power and _judged(power.rate >= figures.ASKED_POWER, planted >= _FEWEST_PLANTED) + _reaching(power)),
    ]  # fmt: skip
    return [{"asked": asked, **told(rate), "answer": said or "not run"} for asked, rate, said in rows]


def _judged(holds: bool, enough: bool = True) -> str:
    return ("holds" if holds else "does not hold") + ("" if enough else ", too few yet")


def _in_band(rate: Rate) -> str:
    careful = ", fewer: the test is careful" if rate.rate < _LOWEST else ""
    return _judged(_LOWEST <= rate.rate <= _HIGHEST, rate.n >= _FEWEST) + careful


def _but(by_model: Mapping[str, Rate]) -> str:
    outside = _outside(by_model)
    return f" (all models together); outside: {', '.join(map(model_name, outside))}" if outside else ""


def _outside(by_model: Mapping[str, Rate]) -> dict[str, Rate]:
    return {model: rate for model, rate in by_model.items() if not _LOWEST <= rate.rate <= _HIGHEST}


def _reaching(power: Rate) -> str:
    """How sure a power is that was judged by its point estimate."""
    below = power.low < figures.ASKED_POWER <= power.rate
    return f"; by the rate, whose interval ({between(vars(power))}) reaches below {_ASKED}" if below else ""


def band_in_words(pairs: pd.DataFrame) -> str:
    """Which models' pairs are called different more or less often than the band of all models together allows."""
    pool, by_model = figures.aa_rate(pairs), figures.aa_by_model(pairs)
    if pool is None:
        return ""
    holds = _LOWEST <= pool.rate <= _HIGHEST
    text = f"The band of {_BAND} {_judged(holds)} for all models together"
    outside = [
        f"{model_name(model)} ({round(rate.rate * rate.n)} of {rate.n} pairs, {in_percent(rate.rate)}, 95 % interval "
        f"{between(vars(rate))})"
        for model, rate in _outside(by_model).items()
    ]
    if not outside:
        return f"{text}, and every model lies within it."
    beyond = [model_name(model) for model, rate in by_model.items() if rate.low > _HIGHEST or rate.high < _LOWEST]
    sure = f"The interval of {_and(beyond)} excludes the band" if beyond else "No model's interval excludes the band"
    return f"{text}; outside it {'lie' if len(outside) > 1 else 'lies'} {_and(outside)}. {sure}."


def tails_in_words(pairs: pd.DataFrame, on_worlds: pd.DataFrame) -> str:
    """How often the stricter levels reject pairs of seeds, as multiples of the level; from which cells those are."""
    shown = []
    for level in figures.AA_LEVELS[1:]:
        rate, fresh = figures.aa_rate(pairs, level=level), figures.rejected(on_worlds, level=level)
        if rate is not None:
            times = f"{rate.rate / level:.1f} times as often as it should"
            beside = f" (on the null worlds {in_percent(fresh.rate)})" if fresh else ""
            shown.append(f"at {100 * level:g} % it rejects {in_percent(rate.rate)}{beside}, {times}")
    found = pairs[pairs["p"].notna() & (pairs["p"] < ALPHA)]
    if not shown or found.empty:
        return ""
    most = [
        f"{row['size']} are of {model_name(row['model'])}, {row['cell']}, on {dataset_name(row['dataset'])}"
        for row in found.groupby(_CELL, as_index=False).size().nlargest(3, "size").to_dict("records")
    ]
    return f"In the tails: {_and(shown)}. Of the {len(found)} pairs that are called different at 5 %, {_and(most)}."


def itself_in_words(stored: Stored, metric: str) -> str:
    """Below the rates of stored runs: models outside the band, how the interval was made, and cells added later."""
    pairs = figures.pairs_of(stored, metric)
    pool = figures.aa_rate(pairs)
    if pool is None:
        return NOT_RUN_YET
    sentences = [band_in_words(pairs), tails_in_words(pairs, figures.world_pairs(stored, metric))]
    clusters = figures.aa_clusters(pairs)
    if clusters < figures.FEWEST:
        sentences.append(
            f"These pairs are of {clusters} combinations of model and data set, too few to tell how alike their "
            f"members are. So the interval of all, {between(vars(pool))}, takes the pairs of one cell as a cluster. "
            "It is somewhat too narrow."
        )
    keys = pd.Series([*zip(pairs["dataset"], pairs["model"], pairs["cell"], strict=True)], index=pairs.index)
    added = keys.isin(ADDED_CELLS)
    rest, number = figures.aa_rate(pairs[~added]), int(pairs.loc[added, "p"].notna().sum())
    if number:
        others = f" Of the {rest.n} others {in_percent(rest.rate)} are called different." if rest else ""
        sentences.append(
            f"Of the {pool.n} pairs {number} are of cells of VBPR that were added after a first rate had been seen."
            f"{others}"
        )
    return " ".join([*sentences, _first_rates(metric)])


def _first_rates(metric: str) -> str:
    """The same of the first runs, by the test of that time."""
    then = first_runs("itself")
    rates = [f"{in_percent(count / then['pairs'])} at {100 * level:g} %" for level, count in then[metric].items()]
    return (
        "The test of the first runs took seeds as fixed. "
        f"Of their {then['pairs']} pairs on MovieLens it rejected {_and(rates)}."
    )


def planted_counts(stored: Stored, metric: str) -> pd.DataFrame:
    """The planted answers that count, by expectation and model: expected, model, found, worlds, ``wide``.

    ``wide``: half the 90 % interval of the relative change in the median world, which equivalence needs below 5 %.
    """
    tests, rows = answering_tests(stored, metric), []
    for expected in PLANTED_CONTENT:
        for model, answers in planted_answers(tests, expected).items():
            own = tests[(tests["model"] == model) & (tests["kind"] == expected.dataset)]
            own = own[own["pair"].isin([expected.pair])]
            half = t.isf(ALPHA, own["df"]) * own["se"] / own["mean_b"].abs()
            found = int((answers["answer"] == FOUND).sum())
            rows.append((expected, model, found, len(answers), float(np.median(half))))
    return pd.DataFrame(rows, columns=["expected", "model", "found", "worlds", "wide"])


def planted_in_words(stored: Stored, metric: str) -> str:
    """Which planted answers are seldom found, and why "no difference" is among them."""
    counts = planted_counts(stored, metric)
    if counts.empty:
        return NOT_RUN_YET
    wide = [
        f"{in_percent(row['wide'])} for {model_name(row['model'])}"
        for row in _seldom(counts)
        if row["expected"].effect == "none"
    ]
    why = (
        f" No difference is found only where the 90 % interval of the change lies within ±{100 * MARGIN:g} %. Half of "
        f"that interval is in the median world {_and(wide)}. Where it is more than {100 * MARGIN:g} %, the runs cannot "
        "tell, whatever is true; where it is not much less, only a change near zero will do."
        if wide
        else ""
    )
    return _seldom_in_words(counts) + why


def _seldom(counts: pd.DataFrame) -> list[dict[Any, Any]]:
    return counts[counts["found"] < figures.ASKED_POWER * counts["worlds"]].to_dict("records")


def _seldom_in_words(counts: pd.DataFrame) -> str:
    if counts.empty:
        return ""
    seldom = _seldom(counts)
    if not seldom:
        return f"Every planted answer is found in at least {_ASKED} of worlds."
    told_each = [
        f"{model_name(row['model'])}: {row['expected'].pair} on {dataset_name(row['expected'].dataset)} "
        f"({_planted(row['expected'])}), {row['found']} of {row['worlds']} worlds"
        for row in seldom
    ]
    return f"Planted answers that are found in fewer than {_ASKED} of worlds: {'; '.join(told_each)}."


def _planted(expected: Expectation) -> str:
    within = f", within ±{100 * MARGIN:g} %" if expected.effect == "none" else ""
    return f"{expected.words}{within}"


def coverage_in_words(stored: Stored) -> str:
    """How often simulated intervals hold the truth, in all and in the worst world, and how often tests are wrong.

    The worst of several worlds is so by chance too.
    """
    lowest, whole = figures.lowest_coverage(stored.coverage), figures.coverage_of(stored.coverage)
    if lowest is None or whole is None:
        return NOT_RUN_YET
    text = (
        f"In all, {in_percent(whole.rate)} of the intervals hold the truth ({between(vars(whole))}), {_held(whole)}"
        f"{_by_splits(stored)}. "
        f"In the worst world, the first line, {in_percent(lowest.rate)} do ({between(vars(lowest))})."
    )
    alarms = figures.false_alarms(stored.coverage)
    if alarms:
        text += (
            f" In the worlds without an effect {in_percent(alarms[0])} of tests are false alarms, and "
            f"{in_percent(alarms[1])} in the worst of them; 5 % should be."
        )
    return text


def _by_splits(stored: Stored) -> str:
    """``: 95.0 % on one split and 97.0 % over several``; nothing where worlds are of one kind alone."""
    one = figures.coverage_of(stored.coverage, splits=lambda count: count == 1)
    several = figures.coverage_of(stored.coverage, splits=lambda count: count > 1)
    if one is None or several is None:
        return ""
    return f": {in_percent(one.rate)} on one split and {in_percent(several.rate)} over several"


def _held(whole: Rate) -> str:
    """Where a coverage lies against the level of the intervals, by its own interval."""
    if whole.low <= _LEVEL <= whole.high:
        return f"in line with {100 * _LEVEL:g} %"
    slightly = "slightly " if abs(whole.rate - _LEVEL) < _SLIGHTLY else ""
    return f"{slightly}{'below' if whole.high < _LEVEL else 'above'} {100 * _LEVEL:g} %"


def verdict_in_words(stored: Stored) -> str:
    """The page's end: the headline figures as a Markdown list, with what they hide."""
    said, pairs = figures.summary_of(stored), figures.pairs_of(stored, figures.METRIC)
    itself, fresh = (
        f"{_shown(said, f'{name}_rate')} of {said[f'{name}_pairs']:,} pairs" if said[f"{name}_pairs"] else "not run"
        for name in ("aa", "aa_worlds")
    )
    null = f"{_shown(said, 'null_rate')} of {said['null_tests']:,} tests on {said['null_worlds']:,} worlds"
    whole, alarms = figures.coverage_of(stored.coverage), figures.false_alarms(stored.coverage)
    held = f", {_held(whole)}" if whole else ""
    levels = [f"{in_percent(rate)} at {100 * float(level):g} %" for level, rate in (said["aa_levels"] or {}).items()]
    stricter = f"Of the stored pairs the test rejects {_and(levels)}. " if levels else ""
    rejected = f" False alarms: {in_percent(alarms[0])}, in the worst world {in_percent(alarms[1])}." if alarms else ""
    parts = [
        f"**A system against itself is called different: in the stored runs {itself}, on null worlds {fresh}.** "
        f"{stricter}{band_in_words(pairs)}",
        f"**Content that says nothing is called useful or harmful: {null if said['null_tests'] else 'not run'}.**",
        f"**The planted effect is found: {_shown(said, 'power_complementary')}.** "
        f"{_seldom_in_words(planted_counts(stored, figures.METRIC))}",
        f"**Simulated intervals hold the truth: {_shown(said, 'coverage')}{held}, in the worst of the simulated worlds "
        f"{_shown(said, 'coverage_lowest')}.**{rejected}",
    ]
    return "\n".join(f"- {part.strip()}" for part in parts)


def _shown(said: Mapping[str, Any], name: str) -> str:
    """A rate of the summary with its interval."""
    if said[name] is None:
        return "not run"
    low, high = said[f"{name}_interval"]
    return f"{in_percent(said[name])} ({between({'low': low, 'high': high})})"


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
