"""The page about the verdict rule: what it says of made intervals, what it would say of each question, its history."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lmmrec_core.errors import ConfigError
from lmmrec_core.names import PAPER_MODELS
from lmmrec_core.questions import QUESTIONS
from lmmrec_core.report.characteristics import (
    COMMON,
    DETECTABLE,
    TRUTHS,
    assumed_claims,
    characteristics,
    claim_chances,
)
from lmmrec_core.report.figures import BLUE, GREY, ORANGE, WIDTH, closed, theme
from lmmrec_core.report.published import DATASETS
from lmmrec_core.report.rule import Rule, read_rule

_PRINTED = 0.10
#: Intervals of a relative change whose printed size is +10 %, made to show the rule.
INTERVALS = ((0.04, 0.16), (0.02, 0.07), (0.14, 0.22), (-0.03, 0.12), (-0.02, 0.08), (-0.03, 0.03), (-0.09, -0.02))
_LEADS = (1, 2, 4, 8, 12, 30, 60, 90)
_COLOURS = {"for": BLUE, "against": ORANGE, "open": GREY, "absent": GREY}
JUDGED = tuple(name for name, question in QUESTIONS.items() if question.claimed)


def examples_figure(rule: Rule | None = None) -> Figure:
    """One line per interval of :data:`INTERVALS` with its word; the printed change is the dashed line."""
    rule = rule or read_rule()
    with theme():
        figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.4 * len(INTERVALS)), layout="constrained")
        axes.axvspan(-rule.margin, rule.margin, color=GREY, alpha=0.15, linewidth=0)
        axes.axvline(0.0, color=GREY, linewidth=1)
        axes.axvline(_PRINTED, color="black", linestyle="--", linewidth=1)
        words = []
        for y, (low, high) in enumerate(INTERVALS):
            outcome = rule.outcome(1, _PRINTED, low, high)
            words.append(rule.word(outcome, printed_here=True))
            axes.plot([low, high], [y, y], color=_COLOURS[outcome], linewidth=3)
            axes.plot((low + high) / 2, y, "o", color=_COLOURS[outcome], markersize=7)
        axes.set_yticks(range(len(words)), words)
        axes.set(ylim=(len(words) - 0.5, -0.5), xlabel="relative change\n(dashed: as printed; grey: no change of note)")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        return closed(figure, pd.DataFrame(INTERVALS, columns=["low", "high"]).assign(word=words))


def leads_listing(rule: Rule | None = None) -> pd.DataFrame:
    """By how many the comparisons of one word must outnumber those of the other, for some numbers of comparisons."""
    rule = rule or read_rule()
    return pd.DataFrame({"comparisons with a direction": _LEADS, "lead needed": [rule.fewest(n) for n in _LEADS]})


def questions_characteristics(
    detectable: Sequence[float] = DETECTABLE,
    datasets: Sequence[str] = DATASETS,
    metric: str = "ndcg@20",
    rule: Rule | None = None,
    draws: int = 4000,
) -> dict[str, pd.DataFrame]:
    """``"RQ1, 10 % detectable, 29 with a direction"`` → the :func:`characteristics` of its comparisons.

    Raises ConfigError without any size, and as :func:`assumed_claims`.
    """
    if not detectable:
        raise ConfigError("detectable = [] names no change; write for instance [0.05, 0.1]")
    rule = rule or read_rule()
    found = {}
    for question in JUDGED:
        for size in detectable:
            claims = assumed_claims(question, size, datasets, metric=metric, rule=rule)
            directed = int((claims["direction"] != 0).sum())
            name = f"{_title(question)}, {100 * size:g} % detectable, {directed} with a direction"
            found[name] = characteristics(claims, rule, draws)
    return found


def shared_users_words(
    detectable: Sequence[float] = DETECTABLE,
    dataset: str = "ml-sparse",
    metric: str = "ndcg@20",
    rule: Rule | None = None,
    draws: int = 4000,
) -> str:
    """How often at most a claim of nothing transfers to one data set, by how much recommenders err together."""
    rule = rule or read_rule()
    asked = [(name, size) for name in JUDGED for size in detectable]
    claims = [assumed_claims(name, size, [dataset], metric=metric, rule=rule) for name, size in asked]
    most = {
        common: max(claim_chances(one, 0.0, rule, draws, common=common)["for"] for one in claims)
        for common in (0.0, COMMON, 0.4)
    }
    told = [f"{100 * chance:.1f} % with a correlation of {common:g}" for common, chance in most.items()]
    return (
        f"On one data set, where nothing exists, a claim transfers by accident in at most {', '.join(told)} between "
        f"the errors of two recommenders (simulated, ± {100 * _error(rule, draws):.1f})."
    )


def levels(
    detectable: Sequence[float] = DETECTABLE, metric: str = "ndcg@20", rule: Rule | None = None, draws: int = 4000
) -> pd.DataFrame:
    """The rule, and one whose intervals are corrected for their family (the first step of Holm's procedure).

    One line per question and detectable size: ``question`` (in words), the chance that a ``comparison``, and the
    ``claim``, is supported when the paper is right; the ``lead`` that the claim needs; ``corrected_…`` for the other.
    """
    rule = rule or read_rule()
    rows = []
    for question in JUDGED:
        size = len(PAPER_MODELS) * len(QUESTIONS[question].planned)
        corrected = rule.model_copy(update={"level": 1 - (1 - rule.level) / size})
        for change in detectable:
            claims = assumed_claims(question, change, metric=metric, rule=rule)
            row: dict[str, Any] = {"question": f"{_title(question)}, {100 * change:g} % detectable"}
            for start, one in (("", rule), ("corrected_", corrected)):
                right = characteristics(claims, one, draws).iloc[0]
                row |= {f"{start}comparison": right["comparison_for"], f"{start}claim": right["claim_for"]}
                row[f"{start}lead"] = one.fewest(int((claims["direction"] != 0).sum()))
            rows.append(row)
    return pd.DataFrame(rows)


def levels_words(found: pd.DataFrame) -> str:
    """What :func:`levels` says: the cost of a correction to a comparison, and where it would serve a claim most."""
    ratio = found["corrected_comparison"] / found["comparison"]
    most = max(found.to_dict("records"), key=lambda one: float(one["corrected_claim"] - one["claim"]))
    text = (
        "With corrected intervals, a comparison that is exactly as printed would get its word less often: "
        f"{ratio.min():.2f} to {ratio.max():.2f} times as often as now, by question and detectable size."
    )
    if most["corrected_claim"] <= most["claim"]:
        return text + " No claim that is true would be supported more often."
    return text + (
        f" A claim that is true would be supported more often in some cases, most so in {most['question']}: in "
        f"{100 * most['corrected_claim']:.0f} % of studies against {100 * most['claim']:.0f} % now."
    )


def levels_listing(found: pd.DataFrame) -> pd.DataFrame:
    """:func:`levels` as its page shows them."""
    rows = []
    for one in found.to_dict("records"):
        row = [one["question"]]
        for start in ("", "corrected_"):
            row += [f"{100 * one[f'{start}{name}']:.0f} %" for name in ("comparison", "claim")] + [one[f"{start}lead"]]
        rows.append(row)
    heads = [("", "question")]
    names = ("a comparison", "the claim", "lead")
    heads += [(level, name) for level in ("95 %, as it is", "corrected for the family") for name in names]
    return pd.DataFrame(rows, columns=pd.MultiIndex.from_tuples(heads))


def history_listing(rule: Rule | None = None) -> pd.DataFrame:
    """Since when the rule is what it is, and why: one line per change."""
    changes = (rule or read_rule()).history
    return pd.DataFrame(
        [(str(change.date), change.digest, change.reason) for change in changes], columns=["since", "digest", "reason"]
    )


def rule_words(found: dict[str, pd.DataFrame], rule: Rule | None = None, draws: int = 4000) -> str:
    """One Markdown sentence of the largest chances of a wrong word, over all blocks of :func:`characteristics`."""
    rule = rule or read_rule()
    right, nothing = (list(TRUTHS).index(name) for name in ("the printed changes are true", "nothing exists"))
    accident = max(float(block["claim_for"].tolist()[nothing]) for block in found.values())
    injustice = max(float(block["claim_against"].tolist()[right]) for block in found.values())
    return (
        "**Over the questions and sizes of this page, a claim that does not exist is supported with a probability of "
        f"{100 * accident:.1f} % at most, and one that is exactly as printed is contradicted with "
        f"{100 * injustice:.1f} % at most** (simulated, ± {100 * _error(rule, draws):.1f}). Where the words come "
        "seldom even if the paper is right, the runs are too few to tell, and the rule says so."
    )


def _error(rule: Rule, draws: int) -> float:
    """The standard error of a simulated chance as large as the one that a claim is allowed."""
    return math.sqrt(rule.claim_level * (1 - rule.claim_level) / draws)


def _title(question: str) -> str:
    return question.upper() if question.startswith("rq") else question.capitalize()
