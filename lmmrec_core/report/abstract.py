"""The paper's abstract on trial: its claims, and what is printed and measured of each.

A claim of the abstract rests on some of the planned comparisons of a research question. On real data it is judged by
the rule of the verdicts (:mod:`report.rule`), on drawn data by the answers that were planted there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from lmmrec_core.names import PAPER_MODELS
from lmmrec_core.questions import END_TO_END, FINE_TUNED, Pair, question_of
from lmmrec_core.report.changes import claimed_changes
from lmmrec_core.report.html import signed_percent
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name
from lmmrec_core.report.planted import (
    CANNOT_TELL,
    NOT_FOUND,
    PLANTED,
    PLANTED_TRAINING,
    Expectation,
    answered,
    planted_verdict,
)
from lmmrec_core.report.published import DATASETS
from lmmrec_core.report.rule import read_rule
from lmmrec_core.report.verdict import (
    NO_VERDICT,
    evidence_parts,
    judge_all,
    judged_apart,
    judged_verdict,
    median_change,
    plain_number,
    seeds_in_words,
)

NOT_PLANTED = "not planted"
_MOST_NAMED = 2  # missed answers that a cell names


@dataclass(frozen=True)
class AbstractClaim:
    """A claim of the abstract and what bears on it: printed cells, planned ``pairs``, planted answers, a page."""

    name: str
    words: str  # what the abstract says, in our words
    short: str  # the same for a figure
    measured: str  # what is compared
    question: str
    pairs: tuple[Pair, ...]
    page: str  # the notebook of the question
    audited: str  # the claim of ``audit.claims`` that recounts it from the printed tables
    planted: tuple[Expectation, ...] = ()


#: The claims, in the order of the abstract; the last is the reason that it gives for the second.
ABSTRACT = (
    AbstractClaim(
        "shallow", "Encoders trained apart align the modalities only shallowly.", "Trained apart: shallow alignment",
        "both modalities / one", "motivation", question_of("motivation").claimed, "01_motivation", "fails to fuse",
        PLANTED["motivation"],
    ),
    AbstractClaim(
        "pretrained", "Pre-trained multi-modal encoders give more effective representations.",
        "Pre-trained encoders help", "pre-trained / trained apart", "rq1", question_of("rq1").claimed,
        "02_rq1_pretrained", "everywhere",
    ),
    AbstractClaim(
        "fine-tuned", "Fine-tuning them on the catalogue enhances recommendation.", "Fine-tuning helps",
        "fine-tuned / pre-trained", "rq2", FINE_TUNED, "03_rq2_training", "fine-tuning",
        tuple(expected for expected in PLANTED_TRAINING if expected.pair in FINE_TUNED),
    ),
    AbstractClaim(
        "end-to-end", "End-to-end training of the encoders is essential.", "End-to-end training helps",
        "end to end / fine-tuned", "rq2", END_TO_END, "03_rq2_training", "best paradigm",
        tuple(expected for expected in PLANTED_TRAINING if expected.pair in END_TO_END),
    ),
    AbstractClaim(
        "aligned", "Their representations are better aligned.", "Better aligned: two beat one",
        "both modalities / one, CLIP end to end", "rq3", question_of("rq3").claimed, "04_rq3_modalities", "fuses",
        PLANTED["rq3"],
    ),
)  # fmt: skip


@dataclass(frozen=True)
class DrawnLine:
    """A change with its interval, as a figure draws it; NaN where nothing was measured."""

    label: str
    change: float = math.nan
    low: float = math.nan
    high: float = math.nan
    mark: Literal["measured", "gain", "none"] = "measured"

    @property
    def words(self) -> str:
        """``"+3.1 % (−2.0 % to +8.0 %)"``, ``"not run"``."""
        if math.isnan(self.change):
            return "nothing to find" if self.label == NOT_PLANTED else "not run"
        if math.isnan(self.low) or math.isnan(self.high):
            return f"{signed_percent(self.change)} (no interval)"
        return f"{signed_percent(self.change)} ({signed_percent(self.low)} to {signed_percent(self.high)})"


@dataclass(frozen=True)
class Weighed:
    """What one place of a track says of a claim: its drawn data, one data set, or the paper's data sets together."""

    claim: AbstractClaim
    track: str
    place: str  # title of the place
    word: str
    basis: str  # what the word rests on
    run: int  # comparisons with results
    lines: tuple[DrawnLine, ...]
    short: str = ""  # the basis for a narrow cell


@dataclass(frozen=True)
class Printed:
    """The printed changes of a claim in the printed direction: median, and the quarters of them below and above."""

    median: float
    low: float
    high: float
    comparisons: int


def printed_of(claim: AbstractClaim, metric: str = "ndcg@20") -> Printed:
    """What the paper's tables print of a claim; comparisons without a printed direction are left out."""
    rule = read_rule()
    changes = claimed_changes(claim.question, DATASETS, PAPER_MODELS, metric, rule.rounding)
    asked = changes[changes["pair"].isin(claim.pairs) & (changes["direction"] != 0)]
    sizes = asked["printed"].abs()
    low, median, high = (float(sizes.quantile(share)) for share in (0.25, 0.5, 0.75))
    return Printed(median, low, high, len(sizes))


def weigh(
    claim: AbstractClaim,
    track: str,
    comparisons: pd.DataFrame,
    datasets: Sequence[str],
    drawn: Mapping[str, str],
    title: str = "",
    metric: str = "ndcg@20",
    labels: Labels = PAPER_LABELS,
) -> list[Weighed]:
    """What a track says of a claim: one entry for its ``drawn`` data sets together, one for each other place.

    ``comparisons``: those of the claim's question, on RQ3 with those of the motivation, as ``Study.comparisons`` gives
    them. ``title``: of the drawn data. ``labels``: of the track's encoders.
    """
    made = [name for name in datasets if name in drawn]
    found = [_planted(claim, track, comparisons, made, drawn, title, metric, labels)] if made else []
    judged = judge_all(claim.question, comparisons, datasets, PAPER_MODELS, metric, drawn=drawn)
    judged = judged[judged["pair"].isin(claim.pairs)]
    rule = read_rule()
    for place, part in judged_apart(judged).items():
        verdict = judged_verdict(claim.question, part, metric, rule)
        run = part[part["outcome"] != "absent"]
        change = median_change(run) if len(run) else (math.nan, math.nan, math.nan)
        together = part["dataset"].nunique()
        line = DrawnLine(place if together == 1 else f"{together} together", *change)
        short = f"0 of {len(part)}" if run.empty else _cell(line, run)
        if 0 < len(run) < len(part) and verdict.status == "not run":
            short = f"{len(run)} of {len(part)} so far: {short}"
        found.append(Weighed(claim, track, place, verdict.status, verdict.basis, len(run), (line,), short))
    return found


def _cell(line: DrawnLine, run: pd.DataFrame) -> str:
    """``"+3.1 % (−2 to +8 %); 3,312 users, 3 seeds, detectable 12 %"``, for a narrow cell."""
    parts = evidence_parts(run)
    whole = math.isfinite(line.low) and math.isfinite(line.high)
    interval = f"{_whole(line.low)} to {_whole(line.high)} %" if whole else "no interval"
    counted = f"{parts['users']} users, {seeds_in_words(parts)}, detectable {parts['detectable']}"
    return f"{signed_percent(line.change)} ({interval}); {counted}"


def _whole(share: float) -> str:
    number = round(100 * share)
    return f"{number:+d}".replace("-", "−") if number else "0"


def _planted(
    claim: AbstractClaim,
    track: str,
    comparisons: pd.DataFrame,
    datasets: Sequence[str],
    drawn: Mapping[str, str],
    title: str,
    metric: str,
    labels: Labels,
) -> Weighed:
    """What drawn data says: were the answers found that bear on the claim?"""
    if not claim.planted:
        return Weighed(claim, track, title, NO_VERDICT, "no answer to it was planted", 0, (), NOT_PLANTED)
    verdict = planted_verdict(comparisons, datasets, metric, claim.planted, drawn)
    answers = answered(comparisons, metric, claim.planted, drawn)
    missed = [(expected, test) for expected, test, said, _ in answers if said == NOT_FOUND]
    basis = verdict.basis
    if missed:
        basis += f"; not found: {_named(missed, labels)}"
    elif unclear := [(expected, test) for expected, test, said, _ in answers if said == CANNOT_TELL]:
        basis += f"; cannot tell: {_named(unclear, labels)}"
    lines = []
    for effect, label in (("gain", "planted gain"), ("none", "planted nothing")):
        tests = [test for expected, test, *_ in answers if expected.effect == effect]
        named = ("relative", "relative_low", "relative_high")
        change, low, high = (
            pd.Series([plain_number(test[key]) for test in tests], dtype=float).median() for key in named
        )
        if any(expected.effect == effect for expected in claim.planted):
            mark: Literal["gain", "none"] = "gain" if effect == "gain" else "none"
            lines.append(DrawnLine(label, float(change), float(low), float(high), mark))
    agree = verdict.basis.removeprefix("planted: ").replace("comparisons agree", "agree") if answers else "none run"
    return Weighed(claim, track, title, verdict.status, basis, len(answers), tuple(lines), agree)


def _named(answers: Sequence[tuple[Expectation, Mapping[str, object]]], labels: Labels) -> str:
    """``"VBPR: baseline real / V shuffled on Redundant (less than on Complementary)"``, and how many more."""
    told = [
        f"{labels.pair(str(test['model']), expected.pair)} on {dataset_name(str(test['dataset']))} ({expected.words})"
        for expected, test in answers[:_MOST_NAMED]
    ]
    more = len(answers) - _MOST_NAMED
    return "; ".join(told) + (f"; and {more} more" if more > 0 else "")
