"""Verdicts made by code: what the paper prints against what was measured.

``_RULE`` states how a comparison and a question are judged, and every verdict prints it; :func:`judge` and
:func:`overall` apply it. A question is judged by its claimed pairs on one metric, because the four metrics of a run are
not independent observations. The sentence states all counts, so the rule can be applied again.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from lmmrec_core.names import PAPER_MODELS
from lmmrec_core.questions import ALPHA
from lmmrec_core.report.changes import claimed_changes
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name, metric_name
from lmmrec_core.report.published import DATASETS

_STATUSES = ("reproduced", "same direction", "not reproduced", "not run")
_RULE = (
    f"A comparison is *reproduced* when it has the printed sign and an adjusted p below {ALPHA}, *same direction* when "
    "only the sign agrees, *not reproduced* otherwise. A question takes the majority of the comparisons that were run, "
    "and is *not run* when fewer than half of the planned ones were."
)


@dataclass(frozen=True)
class Verdict:
    """The answer to one question, with the counts it rests on. Shown in a notebook as its Markdown."""

    question: str
    status: str
    counts: Mapping[str, int]
    sentence: str  # Markdown, made from the counts
    rule: str

    def markdown(self) -> str:
        return f"**Verdict: {self.status}.** {self.sentence}\n\n*Rule.* {self.rule}"

    def _repr_markdown_(self) -> str:
        return self.markdown()


def judge(printed: float, difference: float | None, p_holm: float | None, alpha: float = ALPHA) -> str:
    """The status of one comparison; ``printed`` is the printed relative change, ``difference`` the measured one.

    A printed change of exactly zero is reproduced when no significant difference is measured.
    """
    if difference is None or p_holm is None or math.isnan(difference) or math.isnan(p_holm):
        return "not run"
    if printed == 0:
        return "not reproduced" if p_holm < alpha else "reproduced"
    if difference * printed <= 0:
        return "not reproduced"
    return "reproduced" if p_holm < alpha else "same direction"


def judge_all(
    question: str,
    comparisons: pd.DataFrame,
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    metric: str = "ndcg@20",
) -> pd.DataFrame:
    """Every claimed comparison of a question with its status.

    Columns: dataset, model, metric, pair, printed (relative), measured (relative), p_holm, status. ``comparisons``
    holds dataset, model, metric, pair, difference, relative, p_holm. On a data set that is not the paper's,
    ``printed`` is the mean over its three.
    """
    frame = claimed_changes(question, datasets, models, metric)
    keys = ["dataset", "model", "metric", "pair"]
    wanted = [*keys, "difference", "relative", "p_holm"]
    tests = comparisons[wanted] if len(comparisons) else pd.DataFrame(columns=wanted)
    found = {tuple(row[:4]): row[4:] for row in tests.itertuples(index=False, name=None)}
    measured = [found.get(key, (None, None, None)) for key in frame[keys].itertuples(index=False, name=None)]
    frame["measured"] = [plain_number(row[1]) for row in measured]
    frame["p_holm"] = [plain_number(row[2]) for row in measured]
    pairs = zip(frame["printed"], measured, strict=True)
    frame["status"] = [judge(printed, row[0], row[2]) for printed, row in pairs]
    return frame


def verdict(
    question: str,
    comparisons: pd.DataFrame,
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    metric: str = "ndcg@20",
) -> Verdict:
    """The verdict on a question ("motivation", "rq1", "rq2", "rq3")."""
    judged = judge_all(question, comparisons, datasets, models, metric)
    counts = {status: int((judged["status"] == status).sum()) for status in _STATUSES}
    status = overall(counts)
    foreign = [dataset_name(name) for name in datasets if name not in DATASETS]
    sentence = (
        f"Of {len(judged)} planned comparisons on {metric_name(metric)}: {counts['reproduced']} reproduced, "
        f"{counts['same direction']} in the same direction only, {counts['not reproduced']} not reproduced, "
        f"{counts['not run']} not run."
    )
    if foreign and status != "not run":
        sentence += (
            f" {_and(foreign)} {'are' if len(foreign) > 1 else 'is'} not in the paper: "
            "the printed sign is that of the mean change over its three data sets."
        )
    return Verdict(question, status, counts, sentence, _RULE)


def overall(counts: Mapping[str, int]) -> str:
    """The status of a question from its counts, one entry per status.

    For *same direction*, the comparisons with the printed sign count, significant or not.
    """
    total = sum(counts.values())
    run = total - counts["not run"]
    if run == 0 or 2 * run < total:
        return "not run"
    if 2 * counts["reproduced"] > run:
        return "reproduced"
    if 2 * (counts["reproduced"] + counts["same direction"]) > run:
        return "same direction"
    return "not reproduced"


def judged_listing(judged: pd.DataFrame, labels: Labels = PAPER_LABELS) -> pd.DataFrame:
    """:func:`judge_all` for readers: a label per comparison, then data set, printed, measured, adjusted p, verdict."""
    words = [labels.printed_and_measured(row["model"], row["pair"]) for row in judged.to_dict("records")]
    return pd.DataFrame(
        {
            "comparison": words,
            "data set": [dataset_name(name) for name in judged["dataset"]],
            "printed": judged["printed"].tolist(),
            "measured": judged["measured"].tolist(),
            "adjusted p": judged["p_holm"].tolist(),
            "verdict": judged["status"].tolist(),
        }
    )


def plain_number(value: float | None) -> float:
    """None (a relative change of zero) as NaN."""
    return math.nan if value is None else float(value)


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
