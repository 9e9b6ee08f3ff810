"""The controls' verdicts: is the answer that was planted in each synthetic data set found?

``_RULE`` states when it is, and every verdict prints it; :func:`answer` applies it to one comparison. That nothing was
planted is found by a test of equivalence, not by a large p: few users and few seeds cannot tell. A data set's answer is
the weakest of its comparisons, and *not run* when it has none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from lmmrec_core.names import DRAWN, PAPER_MODELS
from lmmrec_core.questions import (
    ALPHA,
    END_TO_END,
    FINE_TUNED,
    MARGIN,
    PICTURES_AND_NOISE,
    SHUFFLED,
    TEXTS_AND_NOISE,
    Pair,
    question_of,
)
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name, metric_name
from lmmrec_core.report.run_links import pair_links
from lmmrec_core.report.verdict import NO_VERDICT, ON_SYNTHETIC, Verdict, plain_number, verdict

FOUND, NOT_FOUND, CANNOT_TELL, NOT_RUN = "found", "not found", "cannot tell", "not run"
_WEAKEST = (NOT_FOUND, CANNOT_TELL, NOT_RUN, FOUND)  # what a verdict over several takes
_RULE = (
    f"A gain is found when the difference is positive and the adjusted p is below {ALPHA}; it is not found when the "
    f"95 % interval excludes a gain of {MARGIN:.0%}; else the runs cannot tell. That there is no difference is "
    f"found when two one-sided tests keep it within {MARGIN:.0%} of the compared mean (unadjusted p below {ALPHA}); it "
    f"is not found when the difference itself has an unadjusted p below {ALPHA}; else the runs cannot tell. That a "
    "change is less than on another data set is found when their difference is positive with an unadjusted p below "
    f"{ALPHA}; it is not found when its 95 % interval excludes {MARGIN:.0%}; else the runs cannot tell. An answer "
    "is found when all comparisons that were run agree."
)
Effect = Literal["gain", "none", "less"]


@dataclass(frozen=True)
class Expectation:
    """What was planted: on ``dataset``, a kind of drawn data, the planned ``pair`` shows ``effect``.

    ``than``: with the effect "less", the kind of data on which the same pair changes more.
    """

    dataset: str
    pair: Pair
    effect: Effect
    models: tuple[str, ...] = ()  # empty: every model that was tested
    than: str = ""

    @property
    def words(self) -> str:
        """What was planted, for a table."""
        named = {"gain": "gain", "none": "no difference", "less": f"less than on {dataset_name(self.than)}"}
        return named[self.effect]


#: What the content of each kind of drawn data carries. What a second modality adds is read at equal size: V&T against
#: V&T with one of the two shuffled. Against one modality alone, the weights that a second brings would count as well.
#: Where both say the same, the second still adds something: features are noisy, and two readings are better than one.
PLANTED_CONTENT = (
    Expectation("complementary", SHUFFLED, "gain"),
    Expectation("complementary", PICTURES_AND_NOISE, "gain"),
    Expectation("complementary", TEXTS_AND_NOISE, "gain"),
    Expectation("redundant", SHUFFLED, "gain"),
    Expectation("redundant", PICTURES_AND_NOISE, "less", than="complementary"),
    Expectation("redundant", TEXTS_AND_NOISE, "less", than="complementary"),
    Expectation("null", SHUFFLED, "none"),
)
#: The answer that redundant data had first. Its rate on fresh worlds is shown beside the others' and does not count.
PLANTED_FIRST = (
    Expectation("redundant", PICTURES_AND_NOISE, "none"),
    Expectation("redundant", TEXTS_AND_NOISE, "none"),
)
#: What training the encoder can bring. On null there is nothing to learn, from content or from interactions. On
#: complementary the common space of PT keeps what picture and text share, which is not what decides there; only the
#: recommendation loss can bring the rest back. That is asked of VBPR, whose loss reads the features at every step. No
#: fresh world trains an encoder: these answers are judged on the track's one data set of each kind.
PLANTED_TRAINING = (
    *(Expectation("null", pair, "none") for pair in (*FINE_TUNED, *END_TO_END)),
    *(Expectation("complementary", pair, "gain", ("vbpr",)) for pair in END_TO_END),
)
#: Question → what the page about it can find. That of RQ3 reads the pairs of the motivation too.
PLANTED = {
    "motivation": tuple(e for e in PLANTED_CONTENT if e.pair in question_of("motivation").planned),
    "rq2": PLANTED_TRAINING,
    "rq3": PLANTED_CONTENT,
}


def conclude(
    question: str,
    comparisons: pd.DataFrame,
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    metric: str = "ndcg@20",
    drawn: Mapping[str, str] = DRAWN,
) -> Verdict:
    """How a page ends: with the verdict on the paper's claims, on drawn data with the planted answers instead.

    ``drawn``: data set that is drawn at random → the kind whose answers were planted in it ("" for none), see
    ``Study.drawn``.
    """
    if any(dataset not in drawn for dataset in datasets):
        return verdict(question, comparisons, datasets, models, metric, drawn=drawn)
    if question in PLANTED:
        return planted_verdict(comparisons, datasets, metric, PLANTED[question], drawn)
    return Verdict(question, NO_VERDICT, {}, f"{ON_SYNTHETIC} No answer to this question was planted in it either.", "")


def answer(expected: Effect, test: Mapping[str, Any], other: Mapping[str, Any] | None = None) -> tuple[str, float]:
    """What one test says about the expected effect, and the p that decides.

    ``test`` has the columns of a comparison (mean_b, difference, ci_high, p, p_holm, equivalence_p, and for "less"
    relative, relative_low, relative_high, df); ``other`` is the test that it must be less than.
    """
    if expected == "less":
        assert other is not None, "less than what?"
        return _less(test, other)
    if expected == "gain":
        if test["difference"] > 0 and test["p_holm"] < ALPHA:
            return FOUND, float(test["p_holm"])
        missed = test["ci_high"] < MARGIN * abs(test["mean_b"])
        return (NOT_FOUND if missed else CANNOT_TELL), float(test["p_holm"])
    if test["equivalence_p"] < ALPHA:
        return FOUND, float(test["equivalence_p"])
    return (NOT_FOUND if test["p"] < ALPHA else CANNOT_TELL), float(test["equivalence_p"])


def _less(test: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, float]:
    """Of two relative changes on data sets that share no user: their errors add, with the fewer degrees of freedom."""
    error = float(np.hypot(_relative_error(test), _relative_error(other)))
    if not np.isfinite(error):
        return CANNOT_TELL, 1.0
    difference = float(other["relative"]) - float(test["relative"])
    df = min(float(test["df"]), float(other["df"]))
    p = float(2 * stats.t.sf(abs(difference) / error, df)) if error > 0 else float(difference == 0)
    if difference > 0 and p < ALPHA:
        return FOUND, p
    return (NOT_FOUND if difference + error * stats.t.isf(ALPHA / 2, df) < MARGIN else CANNOT_TELL), p


def _relative_error(test: Mapping[str, Any]) -> float:
    """Standard error of a relative change, from its interval; infinite without one."""
    low, high = test["relative_low"], test["relative_high"]
    if low is None or high is None or not np.isfinite(float(high) - float(low)):
        return np.inf
    return float((high - low) / 2 / stats.t.isf(ALPHA / 2, test["df"]))


def planted_listing(
    comparisons: pd.DataFrame,
    metric: str = "ndcg@20",
    expectations: Sequence[Expectation] = PLANTED_CONTENT,
    labels: Labels = PAPER_LABELS,
    drawn: Mapping[str, str] = DRAWN,
) -> pd.DataFrame:
    """One line per expectation and model tested: what was planted, the measured relative change, p, the answer.

    ``drawn``: as for :func:`conclude`. p is the one that decides: adjusted, of the difference, for a gain; of
    equivalence where nothing was planted; of the difference between two changes where one is to be less.
    """
    rows = [
        {
            "comparison": labels.pair(str(test["model"]), expected.pair),
            "data set": dataset_name(str(test["dataset"])),
            "planted": expected.words,
            "measured": plain_number(test["relative"]),
            "p": p,
            "answer": said,
            "runs": pair_links(str(test["dataset"]), str(test["model"]), expected.pair),
        }
        for expected, test, said, p in answered(comparisons, metric, expectations, drawn)
    ]
    return pd.DataFrame(rows, columns=["comparison", "data set", "planted", "measured", "p", "answer", "runs"])


def answered(
    comparisons: pd.DataFrame,
    metric: str,
    expectations: Sequence[Expectation],
    drawn: Mapping[str, str] = DRAWN,
) -> list[tuple[Expectation, dict[str, Any], str, float]]:
    """(what was planted, the test, its answer, the p that decides) of each comparison that was run."""
    return [
        (expected, test, *answer(expected.effect, test, other))
        for expected in expectations
        for test, other in _tests(comparisons, expected, metric, drawn)
    ]


def planted_verdict(
    comparisons: pd.DataFrame,
    datasets: Sequence[str],
    metric: str = "ndcg@20",
    expectations: Sequence[Expectation] = PLANTED_CONTENT,
    drawn: Mapping[str, str] = DRAWN,
) -> Verdict:
    """The verdict over the controls among ``datasets``: one clause per data set, the status is the weakest of theirs.

    *not applicable* if no data set has a planted answer. ``drawn``: as for :func:`conclude`.
    """
    asked = {name: [e for e in expectations if e.dataset == drawn.get(name)] for name in datasets}
    if not any(asked.values()):
        return Verdict("planted", "not applicable", {}, "No answer is planted in the data sets of this track.", _RULE)
    clauses, states, told = [], [], list[str]()
    for dataset, mine in asked.items():
        if not mine:
            continue
        others = {name: kind for name, kind in drawn.items() if kind != drawn.get(dataset)}
        answers = [
            answer(e.effect, test, other)[0]
            for e in mine
            for test, other in _tests(comparisons, e, metric, {**others, dataset: e.dataset})
        ]
        told += answers
        states.append(next((name for name in _WEAKEST if name in answers), NOT_RUN))
        clauses.append(f"{dataset_name(dataset)}: {states[-1]}{_told(answers)}")
    counts = {name: states.count(name) for name in (FOUND, NOT_FOUND, CANNOT_TELL, NOT_RUN)}
    status = next(name for name in _WEAKEST if counts[name])
    sentence = f"Planted answers on {metric_name(metric)}. {'; '.join(clauses)}."
    basis = f"planted: {_told(told).removeprefix(', ')}" if told else "none of its comparisons has results yet"
    return Verdict("planted", status, counts, sentence, _RULE, basis)


def _told(answers: Sequence[str]) -> str:
    if not answers:
        return ""
    unclear = answers.count(CANNOT_TELL)
    agree = f", {answers.count(FOUND)} of {len(answers)} comparisons agree"
    return f"{agree}, {unclear} cannot tell" if unclear else agree


def _tests(
    comparisons: pd.DataFrame, expected: Expectation, metric: str, drawn: Mapping[str, str]
) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """The tests of an expectation, each with the one that it must be less than, if any."""
    if not len(comparisons):
        return []
    rows = [{str(name): value for name, value in row.items()} for row in comparisons.to_dict("records")]
    alike = [row for row in rows if (row["metric"], row["pair"]) == (metric, expected.pair)]
    found = [row for row in alike if drawn.get(row["dataset"]) == expected.dataset]
    found = [row for row in found if not expected.models or row["model"] in expected.models]
    if not expected.than:
        return [(row, None) for row in found]
    others = {row["model"]: row for row in alike if drawn.get(row["dataset"]) == expected.than}
    return [(row, others[row["model"]]) for row in found if row["model"] in others]
