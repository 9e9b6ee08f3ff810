"""Verdicts made by code: what the paper prints against what was measured, by the rule of :mod:`report.rule`.

:func:`judge_all` gives every claimed comparison its word, :func:`verdict` the question. Synthetic data has no verdict
on the paper's claims: its pages end with the answers that were planted (:mod:`report.planted`). A question is judged on
one metric, because the four metrics of a run are not independent observations, and on one data set, because those of a
track need not be independent either; only the paper's three, over which it claims, are judged together.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from lmmrec_core.names import DRAWN, PAPER_MODELS
from lmmrec_core.questions import Pair
from lmmrec_core.report.changes import claimed_changes
from lmmrec_core.report.html import signed_percent
from lmmrec_core.report.labels import PAPER_LABELS, Labels, dataset_name, metric_name
from lmmrec_core.report.published import DATASETS
from lmmrec_core.report.rule import OUTCOMES, OutcomeName, Rule, read_rule
from lmmrec_core.report.run_links import pair_links

NO_VERDICT = "no verdict"
ON_SYNTHETIC = "Synthetic data says nothing about the paper's claims, so none of them is judged here."
_KEYS = ("dataset", "model", "metric", "pair")
_COUNTED = {"users": "n", "persons": "persons", "splits": "splits", "seeds": "seeds"}  # seeds and users of one split
_MEASURED = ("measured", "low", "high", "error", "df", *_COUNTED.values(), "mde")
_COLUMNS = (*_KEYS, "printed", "direction", *_MEASURED, "outcome", "word", "because")


@dataclass(frozen=True)
class Verdict:
    """The answer to one question, with the counts it rests on. Shown in a notebook as its Markdown.

    Data sets that are judged apart have a verdict each, in ``apart``; then ``status`` lists their words and ``counts``
    is empty.
    """

    question: str
    status: str
    counts: Mapping[str, int]
    sentence: str  # Markdown, made from the counts
    rule: str
    basis: str = ""  # what the word rests on, in a few words
    apart: Mapping[str, "Verdict"] = field(default_factory=dict)  # title of the data → its verdict

    def markdown(self) -> str:
        rule = f"\n\n*Rule.* {self.rule}" if self.rule else ""
        if self.apart:
            lines = [f"- **{title}: {part.status}.** {part.sentence}" for title, part in self.apart.items()]
            return "\n".join([f"**Verdicts.** {self.sentence}\n", *lines]) + rule
        return f"**Verdict: {self.status}.** {self.sentence}{rule}"

    def _repr_markdown_(self) -> str:
        return self.markdown()

    @property
    def headline(self) -> str:
        """Markdown: the word, and what it rests on; a line for each data set that is judged apart."""
        if self.apart:
            return "\n".join(f"- {title}: {part.headline}" for title, part in self.apart.items())
        rests = f"{self.basis[:1].upper()}{self.basis[1:]}." if self.basis else self.sentence
        return f"**{self.status[:1].upper()}{self.status[1:]}.** {rests}"

    @property
    def brief(self) -> str:
        """The word with its basis, for a cell of the front page."""
        if self.apart:
            return "; ".join(f"{title}: {part.brief}" for title, part in self.apart.items())
        return f"{self.status} ({self.basis})" if self.basis else self.status

    @property
    def quoted(self) -> dict[str, str]:
        """What other pages can quote: ``"verdict"``, and ``"verdict-ML-sparse"`` for each data set judged apart."""
        return {"verdict": self.brief, **{f"verdict-{title}": part.brief for title, part in self.apart.items()}}


def judge_all(
    question: str,
    comparisons: pd.DataFrame,
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    metric: str = "ndcg@20",
    rule: Rule | None = None,
    drawn: Collection[str] = DRAWN,
) -> pd.DataFrame:
    """Every claimed comparison of a question with its word; no rows for data sets that are ``drawn`` (``Study.drawn``).

    Columns: dataset, model, metric, pair; printed (relative change; the mean of the paper's three on another data set)
    and its direction; measured (relative) with the interval low … high, the standard error and df; n, persons, seeds,
    mde; outcome, word, because. ``comparisons``: as ``Study.comparisons`` gives them. NaN where nothing was measured.
    """
    rule = rule or read_rule()
    claimed = claimed_changes(question, datasets, models, metric, rule.rounding, drawn)
    tests = {tuple(test[key] for key in _KEYS): test for test in comparisons.to_dict("records")}
    rows = [_judged(claim, tests.get(tuple(claim[key] for key in _KEYS)), rule) for claim in claimed.to_dict("records")]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _judged(claim: Mapping[Any, Any], test: Mapping[Any, Any] | None, rule: Rule) -> dict[Any, Any]:
    outcome: OutcomeName = "absent"
    found, because = dict.fromkeys(_MEASURED, math.nan), ""
    direction, printed = int(claim["direction"]), float(claim["printed"])
    if test is not None:
        reference = abs(float(test["mean_b"]))
        named = ("relative", "relative_low", "relative_high")
        found = {name: plain_number(test[key]) for name, key in zip(_MEASURED, named, strict=False)}
        found["error"] = float(test["se"]) / reference if reference else math.inf
        found |= {name: float(test[name]) for name in ("df", *_COUNTED.values(), "mde")}
        outcome = rule.outcome(direction, printed, found["low"], found["high"])
        because = _because(outcome, claim, found, rule)
    word = rule.word(outcome, claim["dataset"] in DATASETS)
    return {**claim, **found, "outcome": outcome, "word": word, "because": because}


def _because(outcome: OutcomeName, claim: Mapping[Any, Any], found: Mapping[str, float], rule: Rule) -> str:
    """In a few words, what decided: the size beside the direction, or what stayed open."""
    low, high, printed, sign = found["low"], found["high"], claim["printed"], claim["direction"]
    inside = not (printed < low or printed > high)  # an end that is NaN has no limit
    if outcome == "for":
        size = "smaller" if sign * found["measured"] < sign * printed else "larger"
        return "in direction and size" if inside else f"in direction, size differs: {size}"
    if outcome == "against":
        return "the other direction" if sign * low < 0 and sign * high < 0 else "no change of note"
    if sign == 0:
        return "printed alike" if claim["dataset"] in DATASETS else "printed signs differ, or alike"
    if math.isnan(low) or math.isnan(high):
        return "interval without end"
    return "zero and the printed change possible" if inside else "zero possible, the printed change not"


def verdict(
    question: str,
    comparisons: pd.DataFrame,
    datasets: Sequence[str],
    models: Sequence[str] = PAPER_MODELS,
    metric: str = "ndcg@20",
    rule: Rule | None = None,
    drawn: Collection[str] = DRAWN,
) -> Verdict:
    """The verdict on a question ("motivation", "rq1", "rq2", "rq3"); *no verdict* if all ``datasets`` are ``drawn``."""
    rule = rule or read_rule()
    parts = judged_apart(judge_all(question, comparisons, datasets, models, metric, rule, drawn))
    if not parts:
        return Verdict(question, NO_VERDICT, {}, ON_SYNTHETIC, "")
    apart = {title: judged_verdict(question, part, metric, rule) for title, part in parts.items()}
    if len(apart) == 1:
        return next(iter(apart.values()))
    status = "; ".join(f"{title}: {part.status}" for title, part in apart.items())
    rules = "\n\n".join(dict.fromkeys(part.rule for part in apart.values()))
    return Verdict(question, status, {}, "One for each data set; what they say is not added up.", rules, apart=apart)


def judged_apart(judged: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Title → the comparisons of :func:`judge_all` that a claim is judged on, in the order of the track.

    The paper's data sets, over which it claims, are one part; each other data set is a part of its own.
    """
    parts: dict[str, list[str]] = {}
    for name in dict.fromkeys(judged["dataset"]):
        parts.setdefault("" if name in DATASETS else name, []).append(name)
    return {_and(map(dataset_name, names)): judged[judged["dataset"].isin(names)] for names in parts.values()}


def judged_verdict(question: str, judged: pd.DataFrame, metric: str, rule: Rule) -> Verdict:
    """The verdict on one part of :func:`judged_apart`, or on some of its comparisons."""
    here = _of_the_paper(judged)
    outcome, run = claim_outcome(judged, rule), judged[judged["outcome"] != "absent"]
    words = {kind: rule.word(kind, here) for kind in OUTCOMES}
    counts = {words[kind]: int((judged["outcome"] == kind).sum()) for kind in OUTCOMES}
    undirected = int((judged["direction"] == 0).sum())
    sentence = (
        f"Of {len(judged)} comparisons on {metric_name(metric)}: "
        f"{', '.join(f'{number} *{word}*' for word, number in counts.items())}."
    )
    if undirected:
        sentence += f" For {undirected} of them the paper prints no direction."
    directed = int((run["direction"] != 0).sum())
    if directed:
        sentence += (
            f" Comparisons that were run and have a printed direction: {directed}; chance seldom gives a lead of "
            f"{rule.fewest(directed)}."
        )
    if here and judged["dataset"].nunique() > 1:
        sentence += " The paper claims over these data sets together. Each has items of its own; "
        sentence += "reviewers may shop in several."
    if not here and len(run):
        sentence += (
            f" {dataset_name(judged['dataset'].iloc[0])} is not in the paper: "
            "the printed change is the mean over its three data sets."
        )
    of_them = f"of its {len(judged)} comparisons"
    basis = f"none {of_them} has results yet" if run.empty else f"{len(run)} {of_them} have results yet"
    if outcome != "absent":
        basis = evidence(run)
        sentence += f" What stands behind it: {basis}."
        basis = f"{counts[words['for']]} for, {counts[words['against']]} against, of {directed}; {basis}"
    return Verdict(question, words[outcome], counts, sentence, rule.sentence(here), basis)


def _of_the_paper(judged: pd.DataFrame) -> bool:
    return bool(judged["dataset"].isin(DATASETS).all())


def claim_outcome(judged: pd.DataFrame, rule: Rule) -> OutcomeName:
    """What comparisons of :func:`judge_all` say together; those without a printed direction have no part in it."""
    if (judged["outcome"] == "absent").all():
        return "absent"
    asked = judged[judged["direction"] != 0]
    counts = {kind: int((asked["outcome"] == kind).sum()) for kind in OUTCOMES}
    return rule.claim(counts["for"], counts["against"], len(asked) - counts["absent"], len(asked))


def evidence(run: pd.DataFrame) -> str:
    """What the words of these comparisons rest on: median change with its interval, users, persons, seeds, what could
    have been found. Changes count as positive in the printed direction; those without one are left out.
    """
    shown = evidence_parts(run)
    return (
        f"median change in the printed direction {shown['median change']} ({shown['interval']}), {shown['users']} "
        f"users ({shown['persons']} persons), {seeds_in_words(shown)}, detectable {shown['detectable']}"
    )


def seeds_in_words(parts: Mapping[str, str]) -> str:
    """``"3 seeds"``, ``"3 seeds on each of 2 splits"``, from :func:`evidence_parts`."""
    return f"{parts['seeds']} seeds" + (f" on each of {parts['splits']} splits" if parts["splits"] != "1" else "")


def _asked(run: pd.DataFrame) -> pd.DataFrame:
    return run[run["direction"] != 0] if (run["direction"] != 0).any() else run


def median_change(run: pd.DataFrame) -> tuple[float, float, float]:
    """(change, low, high): medians over comparisons of :func:`judge_all`, positive in the printed direction.

    Those without a printed direction are left out, unless none has one.
    """
    asked = _asked(run)
    flipped = asked["direction"] < 0
    change = asked["measured"].where(~flipped, -asked["measured"]).median()
    low = asked["low"].where(~flipped, -asked["high"]).median()
    high = asked["high"].where(~flipped, -asked["low"]).median()
    return float(change), float(low), float(high)


def evidence_parts(run: pd.DataFrame) -> dict[str, str]:
    """The parts of :func:`evidence`, by their heads in listings."""
    asked = _asked(run)
    change, low, high = median_change(run)
    detectable = asked["mde"].median()
    return {
        "median change": _signed(change),
        "interval": "no interval" if math.isnan(low) or math.isnan(high) else f"{_signed(low)} to {_signed(high)}",
        "detectable": f"{100 * detectable:.0f} %" if math.isfinite(detectable) else "nothing",
        **{title: _range(asked[name]) for title, name in _COUNTED.items()},
    }


def judged_listing(judged: pd.DataFrame, labels: Labels = PAPER_LABELS) -> pd.DataFrame:
    """:func:`judge_all` for readers, one line per comparison: label and data set, then the word beside its evidence."""
    shown = judged.to_dict("records")
    return pd.DataFrame(
        {
            "comparison": [labels.printed_and_measured(row["model"], row["pair"]) for row in shown],
            "data set": [dataset_name(row["dataset"]) for row in shown],
            "printed": judged["printed"].tolist(),
            "measured": judged["measured"].tolist(),
            "from": judged["low"].tolist(),
            "to": judged["high"].tolist(),
            "verdict": judged["word"].tolist(),
            "because": judged["because"].tolist(),
            "detectable": [row["mde"] if math.isfinite(row["mde"]) else math.nan for row in shown],
            **{title: [_count(row[key]) for row in shown] for title, key in _COUNTED.items()},
            "runs": [_behind(row) for row in shown],
        }
    )


#: Columns of :func:`judged_listing` that hold fractions.
JUDGED_FRACTIONS = ("printed", "measured", "from", "to", "detectable")


def claims_listing(judged: pd.DataFrame, labels: Labels = PAPER_LABELS, rule: Rule | None = None) -> pd.DataFrame:
    """One line per part of :func:`judged_apart` and claimed pair, over models, and one per part for the whole question.

    Beside the word stand the counts behind it, and the medians of its comparisons in the printed direction.
    """
    rule = rule or read_rule()
    rows = []
    for title, part in judged_apart(judged).items():
        here = _of_the_paper(part)
        pairs: list[Pair] = list(dict.fromkeys(part["pair"]))
        claims = [(" / ".join(pair.words(labels.encoders)), part[part["pair"] == pair]) for pair in pairs]
        for name, claim in [*claims, ("all of them", part)] if len(claims) > 1 else claims:
            run = claim[claim["outcome"] != "absent"]
            asked = run[run["direction"] != 0]
            row: dict[str, object] = {"data": title, "claim": name}
            row |= {"verdict": rule.word(claim_outcome(claim, rule), here), "comparisons": len(claim)}
            row |= {"with a direction": len(asked), "lead needed": rule.fewest(len(asked)) if len(asked) else ""}
            row |= {rule.word(kind, here): int((asked["outcome"] == kind).sum()) for kind in ("for", "against")}
            rows.append(row | (evidence_parts(run) if len(run) else {}))
    heads = list(dict.fromkeys(head for row in rows for head in row))
    return pd.DataFrame([[row.get(head, "") for head in heads] for row in rows], columns=heads)


def plain_number(value: float | None) -> float:
    """None (a relative change of zero) as NaN."""
    return math.nan if value is None else float(value)


def _behind(row: Mapping[Any, Any]) -> object:
    """Links to the runs of a comparison, if it has been run."""
    return "" if row["outcome"] == "absent" else pair_links(row["dataset"], row["model"], row["pair"])


def _count(value: float) -> object:
    return "" if math.isnan(value) else int(value)


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _signed(share: float) -> str:
    return "undefined" if math.isnan(share) else signed_percent(share)


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
