"""The controls' verdicts: is the answer that was planted in each synthetic data set found?

Rule of one comparison, with the adjusted p and the bootstrap interval of the difference a − b:

- an expected *gain* is found when the difference is above zero, its interval excludes zero, and p < ``ALPHA``;
- expected *no difference* is found when p ≥ ``ALPHA``, or when the whole interval lies within ``MARGIN`` of the
  mean of b (a difference can be certain and yet too small to matter).

A data set's answer is *found* when all of its comparisons that were run agree, *not found* when one does
not, and *not run* when there is none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from lmmrec_core.report.labels import dataset_name, metric_name, model_name, pair_label, with_variants
from lmmrec_core.report.verdict import ALPHA, Verdict, number

MARGIN = 0.05  # relative to the mean of b
RULE = (
    "A gain is found when the difference is positive, its 95 % interval excludes zero and the adjusted p is below "
    f"{ALPHA}. No difference is found when p is not below {ALPHA}, or when the interval lies within {MARGIN:.0%} of "
    "the compared mean. An answer is found when all comparisons that were run agree."
)


@dataclass(frozen=True)
class Expectation:
    """What was planted: on ``dataset``, variant ``a`` against ``b`` shows ``effect``."""

    dataset: str
    a: str
    b: str
    effect: Literal["gain", "none"]
    models: tuple[str, ...] = ()  # empty: every model that was tested


PLANTED = (
    Expectation("complementary", "baseline", "baseline (shuffled)", "gain"),
    Expectation("complementary", "baseline", "baseline (V)", "gain"),
    Expectation("complementary", "baseline", "baseline (T)", "gain"),
    Expectation("redundant", "baseline", "baseline (shuffled)", "gain"),
    Expectation("redundant", "baseline", "baseline (V)", "none"),
    Expectation("redundant", "baseline", "baseline (T)", "none"),
    Expectation("null", "baseline", "baseline (shuffled)", "none"),
)


# Training the encoder: on null there is nothing to learn from either content or interactions. On complementary the
# common space of PT keeps what picture and text share, which is not what decides there, and only the recommendation
# loss can bring the rest back: asked of VBPR, whose loss reads the features themselves at every step.
PLANTED_TRAINING = (
    *(Expectation("null", f"{e}-FT", f"{e}-PT", "none") for e in ("CLIP", "VLMo")),
    *(Expectation("null", f"{e}-ETE", f"{e}-FT", "none") for e in ("CLIP", "VLMo")),
    *(Expectation("complementary", f"{e}-ETE", f"{e}-FT", "gain", ("vbpr",)) for e in ("CLIP", "VLMo")),
)


def agrees(expected: Literal["gain", "none"], test: Mapping[str, Any]) -> bool:
    """Whether one test (difference, ci_low, ci_high, p_holm, mean_b) shows the expected effect."""
    if expected == "gain":
        return test["difference"] > 0 and test["ci_low"] > 0 and test["p_holm"] < ALPHA
    width = MARGIN * abs(test["mean_b"])
    return test["p_holm"] >= ALPHA or (-width < test["ci_low"] and test["ci_high"] < width)


def planted_listing(
    comparisons: pd.DataFrame, metric: str = "ndcg@20", expectations: Sequence[Expectation] = PLANTED
) -> pd.DataFrame:
    """One line per expectation and model tested: what was planted, the measured relative change, p, the answer."""
    rows = []
    for expected in expectations:
        tests = _tests(comparisons, expected, metric)
        for test in tests:
            rows.append(
                {
                    "comparison": f"{model_name(str(test['model']))}: {pair_label(expected.a, expected.b)}",
                    "data set": dataset_name(expected.dataset),
                    "planted": {"gain": "gain", "none": "no difference"}[expected.effect],
                    "measured": number(test["relative"]),
                    "adjusted p": float(test["p_holm"]),
                    "answer": "found" if agrees(expected.effect, test) else "not found",
                }
            )
    return pd.DataFrame(rows, columns=["comparison", "data set", "planted", "measured", "adjusted p", "answer"])


def planted_verdict(
    comparisons: pd.DataFrame,
    datasets: Sequence[str],
    metric: str = "ndcg@20",
    expectations: Sequence[Expectation] = PLANTED,
) -> Verdict:
    """The verdict over the controls among ``datasets``: one clause per data set, the status is the weakest of theirs.

    *not applicable* where no data set has a planted answer.
    """
    expectations = [expected for expected in expectations if expected.dataset in datasets]
    if not expectations:
        return Verdict("planted", "not applicable", {}, "No answer is planted in the data sets of this track.", RULE)
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
    return Verdict("planted", status, counts, sentence, RULE)


def _tests(comparisons: pd.DataFrame, expected: Expectation, metric: str) -> list[dict[str, Any]]:
    if not len(comparisons):
        return []
    wanted = (expected.dataset, metric, expected.a, expected.b)
    rows = [{str(name): value for name, value in row.items()} for row in with_variants(comparisons).to_dict("records")]
    found = [row for row in rows if (row["dataset"], row["metric"], row["a"], row["b"]) == wanted]
    return [row for row in found if not expected.models or row["model"] in expected.models]
