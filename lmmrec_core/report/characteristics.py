"""Operating characteristics of the verdict rule: how often it says which word when the truth is known.

Four truths are asked: the printed changes are true, half of each is, nothing exists, the opposite is true. For one
comparison the answer is exact: the estimate is normal around the truth, its standard error has a chi distribution with
the comparison's degrees of freedom. For a claim it is simulated, because comparisons share runs: each system has one
draw, and a comparison is the difference of two. Those of different recommenders share no run but the users, on whom
they err together a little (:data:`COMMON`). The reference's mean is taken as known, printed changes as exact (each is
the ratio of two rounded figures), and data sets as independent: only the paper's are judged together, which
have no item in common, though reviewers may shop in several.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from lmmrec_core.errors import ConfigError, unknown
from lmmrec_core.flow import FloatArray
from lmmrec_core.names import PAPER_METRICS, PAPER_MODELS
from lmmrec_core.questions import Pair
from lmmrec_core.report.changes import claimed_changes
from lmmrec_core.report.labels import dataset_name
from lmmrec_core.report.published import DATASETS
from lmmrec_core.report.rule import OUTCOMES, OutcomeName, Rule, read_rule
from lmmrec_core.report.verdict import judged_apart
from lmmrec_core.seeds import numpy_stream

#: The truths that are asked: in words → the share of each printed change that is true.
TRUTHS = {
    "the printed changes are true": 1.0,
    "half of each is true": 0.5,
    "nothing exists": 0.0,
    "the opposite is true": -1.0,
}
DETECTABLE = (0.05, 0.10, 0.20)  # assumed where nothing was measured: the relative change found with probability 0.8
#: Correlation of the errors of two recommenders' comparisons of one pair on one data set, by their common users. Over
#: 92 such comparisons of earlier MovieLens runs it was 0.02 on average, and above 0.12 in one of twenty.
COMMON = 0.1
MOST_DRAWS = 1_000_000  # simulated studies for one chance; more would take gigabytes
_POWER = 0.8
_LAST = list(TRUTHS)[-1]
_DECIDED: tuple[OutcomeName, ...] = ("for", "against", "open")
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
Chances = dict[OutcomeName, float]


def error_of(detectable: float, level: float) -> float:
    """The relative standard error of a comparison of many degrees of freedom that can find ``detectable``."""
    return detectable / float(stats.norm.isf((1 - level) / 2) + stats.norm.isf(1 - _POWER))


def outcome_chances(printed: float, true: float, error: float, df: float, rule: Rule | None = None) -> Chances:
    """How probable each outcome of one comparison is; ``printed``, ``true`` and the standard ``error`` are relative.

    Integrated over the standard error that the test estimates, on 200 Gauss–Legendre nodes of its quantiles.
    """
    rule = rule or read_rule()
    if not math.isfinite(error) or df <= 0 or printed == 0:
        return {"for": 0.0, "against": 0.0, "open": 1.0}
    if error == 0:
        said = rule.outcome(1 if printed > 0 else -1, printed, true, true)
        return {kind: float(kind == said) for kind in _DECIDED}
    if printed < 0:
        printed, true = -printed, -true
    estimated = error * _relative_errors(df)
    reach = _critical(rule, df) * estimated
    below = stats.norm(true, error).cdf
    low = np.maximum(-reach, reach - rule.margin)
    high = np.minimum.reduce([reach, rule.margin - reach, printed - reach])
    nothing = np.where(high > low, below(high) - below(low), 0.0)
    favour, against = _mean(1 - below(reach)), _mean(below(-reach) + nothing)
    return {"for": favour, "against": against, "open": max(0.0, 1 - favour - against)}


def claim_chances(
    claims: pd.DataFrame,
    share: float,
    rule: Rule | None = None,
    draws: int = 4000,
    seed: int = 0,
    common: float = COMMON,
) -> Chances:
    """How often each outcome of a claim comes, if ``share`` of every printed change is true; by simulation.

    ``claims``: comparisons with dataset, model, pair, printed, direction, error and df (those of
    :func:`~lmmrec_core.report.verdict.judge_all` that were run). Comparisons of one data set share the draw of a system
    that both read; ``common`` is the correlation that common users add between recommenders, from 0 to 1. The standard
    error of a chance c is √(c (1 − c) / draws), 0.008 at most by default. Raises ConfigError for ``draws`` below 1 or
    above :data:`MOST_DRAWS`.
    """
    if not 1 <= draws <= MOST_DRAWS:
        raise ConfigError(f"draws = {draws}: give 1 to {MOST_DRAWS:,}, for instance 4000")
    rule = rule or read_rule()
    asked = claims[(claims["direction"] != 0) & np.isfinite(claims["error"]) & (claims["df"] > 0)]
    if asked.empty:
        return {"for": 0.0, "against": 0.0, "open": 1.0}
    generator = numpy_stream(seed, "characteristics")
    sign = asked["direction"].to_numpy(dtype=np.float64)
    printed, error = sign * asked["printed"].to_numpy(), asked["error"].to_numpy(dtype=np.float64)
    df = asked["df"].to_numpy(dtype=np.float64)
    noise = _noise(asked, draws, common, generator) * sign  # in the printed direction, as all that follows
    estimate = share * printed + error * noise
    many = np.minimum(df, 1e9)
    reach = error * np.sqrt(generator.chisquare(many, noise.shape) / many) * [_critical(rule, one) for one in df]
    low, high = estimate - reach, estimate + reach
    favour = low > 0
    against = (high < 0) | (~favour & (high < printed) & (low > -rule.margin) & (high < rule.margin))
    lead, needed = favour.sum(axis=1) - against.sum(axis=1), rule.fewest(int((claims["direction"] != 0).sum()))
    supported, contradicted = float((lead >= needed).mean()), float((lead <= -needed).mean())
    return {"for": supported, "against": contradicted, "open": max(0.0, 1 - supported - contradicted)}


def characteristics(claims: pd.DataFrame, rule: Rule | None = None, draws: int = 4000) -> pd.DataFrame:
    """One row per truth of :data:`TRUTHS`: the chances of a comparison (mean over those with a direction) and a claim.

    Columns: truth, comparison_for, comparison_against, comparison_open, claim_for, claim_against, claim_open.
    """
    rule = rule or read_rule()
    asked = claims[claims["direction"] != 0].to_dict("records")
    rows = []
    for truth, share in TRUTHS.items():
        single = [outcome_chances(c["printed"], share * c["printed"], c["error"], c["df"], rule) for c in asked]
        whole = claim_chances(claims, share, rule, draws)
        row: dict[str, object] = {"truth": truth}
        for kind in _DECIDED:
            row[f"comparison_{kind}"] = float(np.mean([one[kind] for one in single])) if single else math.nan
            row[f"claim_{kind}"] = whole[kind]
        rows.append(row)
    return pd.DataFrame(rows)


def assumed_claims(
    question: str,
    detectable: float,
    datasets: Sequence[str] = DATASETS,
    models: Sequence[str] = PAPER_MODELS,
    metric: str = "ndcg@20",
    rule: Rule | None = None,
) -> pd.DataFrame:
    """The claimed comparisons of a question as if each could find a change of ``detectable``, with many df.

    Raises ConfigError for a change that is no positive number, and a metric that the paper does not print.
    """
    if isinstance(detectable, bool) or not isinstance(detectable, int | float) or not 0 < detectable < math.inf:
        raise ConfigError(f"detectable: {detectable!r} is no change; write shares above 0, for instance 0.05")
    if metric not in PAPER_METRICS:
        raise unknown("metric", metric, PAPER_METRICS)
    rule = rule or read_rule()
    claimed = claimed_changes(question, datasets, models, metric, rule.rounding)
    return claimed.assign(error=error_of(detectable, rule.level), df=math.inf)


def characteristics_listing(judged: pd.DataFrame, rule: Rule | None = None, draws: int = 4000) -> pd.DataFrame:
    """What the rule would say of comparisons like those of a page, for readers; no lines if it judges nothing.

    One block per data set with runs, from their standard errors, and one for the paper's together if there are several.
    Without any run, one block per size of :data:`DETECTABLE`, for what is judged together.
    """
    rule = rule or read_rule()
    run = judged[judged["outcome"] != "absent"]
    blocks = [(dataset_name(str(name)), part) for name, part in run.groupby("dataset", sort=False)]
    together = run[run["dataset"].isin(DATASETS)]
    if together["dataset"].nunique() > 1:
        blocks.append(("the paper's data sets together", together))
    if run.empty and len(judged):
        first = next(iter(judged_apart(judged).values()))  # other data sets are held against the same printed changes
        sizes = {size: first.assign(error=error_of(size, rule.level), df=math.inf) for size in DETECTABLE}
        blocks = [(f"not run; if {100 * size:g} % were detectable", claims) for size, claims in sizes.items()]
    here = bool(judged["dataset"].isin(DATASETS).all())
    return listing_of({name: characteristics(claims, rule, draws) for name, claims in blocks}, rule, here)


def listing_of(blocks: Mapping[str, pd.DataFrame], rule: Rule, printed_here: bool) -> pd.DataFrame:
    """Blocks of :func:`characteristics` below each other, with the words of the rule as column heads."""
    words = [rule.word(kind, printed_here) for kind in OUTCOMES if kind in _DECIDED]
    heads = [("", "data"), ("", "if")]
    heads += [(part, word) for part in ("a comparison", "the claim") for word in words]
    rows: list[list[str]] = []
    for name, block in blocks.items():
        for row in block.to_dict("records"):
            chances = [row[f"{part}_{kind}"] for part in ("comparison", "claim") for kind in _DECIDED]
            first = "" if rows and rows[-1][1] != _LAST else name  # once per block
            rows.append([first, row["truth"], *(_percent(chance) for chance in chances)])
    return pd.DataFrame(rows, columns=pd.MultiIndex.from_tuples(heads))


def _noise(asked: pd.DataFrame, draws: int, common: float, generator: np.random.Generator) -> FloatArray:
    """Standard normal errors [draw, comparison] of differences a − b, correlated where comparisons share a system."""
    systems: dict[tuple[object, ...], FloatArray] = {}
    users: dict[tuple[object, ...], FloatArray] = {}
    columns = []
    for row in asked.to_dict("records"):
        pair: Pair = row["pair"]
        drawn = [
            systems.setdefault((row["dataset"], *side), generator.standard_normal(draws))
            for side in pair.sides(str(row["model"]))
        ]
        column = (drawn[0] - drawn[1]) / math.sqrt(2)
        if common:
            shared = users.setdefault((row["dataset"], pair), generator.standard_normal(draws))
            column = math.sqrt(1 - common) * column + math.sqrt(common) * shared
        columns.append(column)
    return np.column_stack(columns)


def _critical(rule: Rule, df: float) -> float:
    return float(stats.norm.isf(rule.wrong) if math.isinf(df) else stats.t.isf(rule.wrong, df))


def _relative_errors(df: float) -> FloatArray:
    """Estimated over true standard error, at the nodes."""
    if math.isinf(df):
        return np.ones_like(_NODES)
    return np.sqrt(stats.chi2.ppf((_NODES + 1) / 2, df) / df)


def _mean(values: FloatArray) -> float:
    return float(_WEIGHTS @ values / 2)


def _percent(chance: float) -> str:
    if math.isnan(chance):
        return ""
    if 0 < chance < 0.0005:
        return "< 0.1 %"
    return f"{100 * chance:.1f} %" if 0 < chance < 0.0995 else f"{100 * chance:.0f} %"
