"""The controls' verdicts: is the answer that was planted in each synthetic data set found?

``_RULE`` states when it is, and every verdict prints it; :func:`agrees` applies it to one comparison. No difference is
also found when the difference is certain but too small to matter. A data set's answer is *not found* when one of its
comparisons disagrees, and *not run* when it has none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from lmmrec_core.questions import ALPHA, END_TO_END, FINE_TUNED, PICTURES_ALONE, SHUFFLED, TEXTS_ALONE, Pair
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name, metric_name
from lmmrec_core.report.verdict import Verdict, plain_number

MARGIN = 0.05  # relative to the mean of b
_RULE = (
    "A gain is found when the difference is positive, its 95 % interval excludes zero and the adjusted p is below "
    f"{ALPHA}. No difference is found when p is not below {ALPHA}, or when the interval is within {MARGIN:.0%} of "
    "the compared mean. An answer is found when all comparisons that were run agree."
)


@dataclass(frozen=True)
class Expectation:
    """What was planted: on ``dataset``, the planned ``pair`` shows ``effect``."""

    dataset: str
    pair: Pair
    effect: Literal["gain", "none"]
    models: tuple[str, ...] = ()  # empty: every model that was tested


#: What the content of each synthetic data set carries.
PLANTED_CONTENT = (
    Expectation("complementary", SHUFFLED, "gain"),
    Expectation("complementary", PICTURES_ALONE, "gain"),
    Expectation("complementary", TEXTS_ALONE, "gain"),
    Expectation("redundant", SHUFFLED, "gain"),
    Expectation("redundant", PICTURES_ALONE, "none"),
    Expectation("redundant", TEXTS_ALONE, "none"),
    Expectation("null", SHUFFLED, "none"),
)
#: What training the encoder can bring. On null there is nothing to learn, from content or from interactions. On
#: complementary the common space of PT keeps what picture and text share, which is not what decides there; only the
#: recommendation loss can bring the rest back. That is asked of VBPR, whose loss reads the features at every step.
PLANTED_TRAINING = (
    *(Expectation("null", pair, "none") for pair in (*FINE_TUNED, *END_TO_END)),
    *(Expectation("complementary", pair, "gain", ("vbpr",)) for pair in END_TO_END),
)


def agrees(expected: Literal["gain", "none"], test: Mapping[str, Any]) -> bool:
    """Whether one test (difference, ci_low, ci_high, p_holm, mean_b) shows the expected effect."""
    if expected == "gain":
        return test["difference"] > 0 and test["ci_low"] > 0 and test["p_holm"] < ALPHA
    width = MARGIN * abs(test["mean_b"])
    return test["p_holm"] >= ALPHA or (-width < test["ci_low"] and test["ci_high"] < width)


def planted_listing(
    comparisons: pd.DataFrame,
    metric: str = "ndcg@20",
    expectations: Sequence[Expectation] = PLANTED_CONTENT,
    labels: Labels = PAPER_LABELS,
) -> pd.DataFrame:
    """One line per expectation and model tested: what was planted, the measured relative change, p, the answer."""
    rows = []
    for expected in expectations:
        tests = _tests(comparisons, expected, metric)
        for test in tests:
            rows.append(
                {
                    "comparison": labels.pair(str(test["model"]), expected.pair),
                    "data set": dataset_name(expected.dataset),
                    "planted": {"gain": "gain", "none": "no difference"}[expected.effect],
                    "measured": plain_number(test["relative"]),
                    "adjusted p": float(test["p_holm"]),
                    "answer": "found" if agrees(expected.effect, test) else "not found",
                }
            )
    return pd.DataFrame(rows, columns=["comparison", "data set", "planted", "measured", "adjusted p", "answer"])


def planted_verdict(
    comparisons: pd.DataFrame,
    datasets: Sequence[str],
    metric: str = "ndcg@20",
    expectations: Sequence[Expectation] = PLANTED_CONTENT,
) -> Verdict:
    """The verdict over the controls among ``datasets``: one clause per data set, the status is the weakest of theirs.

    *not applicable* if no data set has a planted answer.
    """
    expectations = [expected for expected in expectations if expected.dataset in datasets]
    if not expectations:
        return Verdict("planted", "not applicable", {}, "No answer is planted in the data sets of this track.", _RULE)
    clauses, states = [], []
    for dataset in dict.fromkeys(expected.dataset for expected in expectations):
        mine = [expected for expected in expectations if expected.dataset == dataset]
        answers = [agrees(e.effect, test) for e in mine for test in _tests(comparisons, e, metric)]
        state = "not run" if not answers else "found" if all(answers) else "not found"
        states.append(state)
        told = f", {sum(answers)} of {len(answers)} comparisons agree" if answers else ""
        clauses.append(f"{dataset_name(dataset)}: {state}{told}")
    counts = {name: states.count(name) for name in ("found", "not found", "not run")}
    status = next(name for name in ("not found", "not run", "found") if counts[name])
    sentence = f"Planted answers on {metric_name(metric)}. {'; '.join(clauses)}."
    return Verdict("planted", status, counts, sentence, _RULE)


def _tests(comparisons: pd.DataFrame, expected: Expectation, metric: str) -> list[dict[str, Any]]:
    if not len(comparisons):
        return []
    rows = [{str(name): value for name, value in row.items()} for row in comparisons.to_dict("records")]
    wanted = (expected.dataset, metric, expected.pair)
    found = [row for row in rows if (row["dataset"], row["metric"], row["pair"]) == wanted]
    return [row for row in found if not expected.models or row["model"] in expected.models]
