"""The verdict rule: its file, its words for an interval, its count for a claim, and how often it errs."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lmmrec_core.errors import ConfigError
from lmmrec_core.names import PAPER_MODELS
from lmmrec_core.questions import ALPHA, MARGIN, QUESTIONS
from lmmrec_core.report.characteristics import (
    COMMON,
    TRUTHS,
    assumed_claims,
    characteristics,
    characteristics_listing,
    claim_chances,
    error_of,
    outcome_chances,
)
from lmmrec_core.report.published import DATASETS
from lmmrec_core.report.rule import Rule, read_rule
from lmmrec_core.report.rule_shown import (
    INTERVALS,
    examples_figure,
    history_listing,
    levels,
    levels_listing,
    levels_words,
    questions_characteristics,
    rule_words,
)
from lmmrec_core.report.verdict import judge_all
from lmmrec_core.significance.power import minimum_detectable_effect
from tests.report.conftest import comparison

RULE = read_rule()
SHARES = st.floats(-0.5, 0.5, allow_nan=False)
WIDTHS = st.floats(0.001, 0.5)
PRINTED = st.floats(0.001, 0.5)

#: Every state the rule has been in. A change of the file needs an entry in its history, and a line here.
DIGESTS = ["03befde161874bac", "fe08f13eeb030444"]


# --- the file


def test_the_rule_is_the_one_that_its_history_ends_with() -> None:
    assert [change.digest for change in RULE.history] == DIGESTS
    assert RULE.digest == DIGESTS[-1], "the rule changed: add an entry with date, digest and reason to its history"
    assert [change.date for change in RULE.history] == sorted(change.date for change in RULE.history)


@pytest.mark.parametrize("change", [{"level": 0.9}, {"margin": 0.1}, {"claim_level": 0.05}, {"statement": "any"}])
def test_every_value_and_word_is_in_the_digest_and_the_history_is_not(change: dict[str, object]) -> None:
    assert RULE.model_copy(update=change).digest != RULE.digest
    assert RULE.model_copy(update={"history": RULE.history * 2}).digest == RULE.digest


def test_the_level_is_that_of_the_intervals_and_the_margin_that_of_the_controls() -> None:
    assert RULE.level == 1 - ALPHA and RULE.margin == MARGIN
    assert RULE.words["paper"] == ("supports", "contradicts", "inconclusive", "not run")
    assert RULE.words["elsewhere"] == ("transfers", "does not transfer", "inconclusive", "not run")


def test_the_rule_travels_with_the_package() -> None:
    project = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert '"report/*.yaml"' in project


# --- one interval


@pytest.mark.parametrize(
    ("direction", "printed", "low", "high", "outcome"),
    [
        (1, 0.10, 0.01, 0.20, "for"),
        (1, 0.10, 0.01, 0.02, "for"),  # smaller than printed, in its direction
        (1, 0.10, 0.20, 0.30, "for"),
        (1, 0.10, -0.20, -0.01, "against"),
        (1, 0.10, -0.02, 0.03, "against"),  # no change of note, the printed one excluded
        (1, 0.10, -0.02, 0.06, "open"),  # a change of six per cent is left
        (1, 0.02, -0.03, 0.03, "open"),  # within the margin, but so is the printed change
        (1, 0.02, -0.03, 0.01, "against"),
        (1, 0.40, -0.10, 0.20, "open"),  # the printed size is excluded, another is not
        (1, 0.10, -0.20, 0.30, "open"),
        (-1, -0.10, -0.20, -0.01, "for"),
        (-1, -0.10, 0.01, 0.20, "against"),
        (-1, -0.10, -0.03, 0.02, "against"),
        (0, 0.00, 0.10, 0.20, "open"),  # nothing printed to hold it against
        (1, 0.10, math.nan, math.nan, "open"),
        (1, 0.10, 0.0, 0.2, "open"),
        (1, 0.10, 0.0, 0.0, "against"),  # equal to the last bit
    ],
)
def test_the_outcome_of_an_interval(direction: int, printed: float, low: float, high: float, outcome: str) -> None:
    assert RULE.outcome(direction, printed, low, high) == outcome


@given(PRINTED, SHARES, WIDTHS)
def test_the_opposite_of_everything_changes_nothing(printed: float, middle: float, half: float) -> None:
    assert RULE.outcome(1, printed, middle - half, middle + half) == RULE.outcome(
        -1, -printed, -middle - half, -middle + half
    )


@given(PRINTED, SHARES, WIDTHS)
def test_a_turned_interval_never_keeps_a_decided_direction(printed: float, middle: float, half: float) -> None:
    straight = RULE.outcome(1, printed, middle - half, middle + half)
    turned = RULE.outcome(1, printed, -middle - half, -middle + half)
    if straight == "for":
        assert turned == "against"
    if middle + half < 0:
        assert (straight, turned) == ("against", "for")


@given(PRINTED, SHARES, WIDTHS, st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_wider_interval_never_decides_more(
    printed: float, middle: float, half: float, down: float, up: float
) -> None:
    narrow = RULE.outcome(1, printed, middle - half, middle + half)
    if narrow == "open":
        assert RULE.outcome(1, printed, middle - half - down, middle + half + up) == "open"


# --- a claim


@pytest.mark.parametrize("comparisons", [1, 2, 7, 10, 12, 29, 86])
def test_the_lead_is_the_least_that_chance_seldom_gives(comparisons: int) -> None:
    lead = RULE.fewest(comparisons)

    def reaches(k: int) -> float:  # the tail of the binomial, summed
        return sum(math.comb(comparisons, i) * 0.025**i * 0.975 ** (comparisons - i) for i in range(k, comparisons + 1))

    assert reaches(lead) <= 0.025 + 1e-12
    assert lead == 1 or reaches(lead - 1) > 0.025


@pytest.mark.parametrize(
    ("favour", "against", "run", "planned", "outcome"),
    [
        (4, 0, 30, 30, "for"),
        (3, 0, 30, 30, "open"),
        (7, 3, 30, 30, "for"),
        (7, 4, 30, 30, "open"),
        (0, 4, 30, 30, "against"),
        (14, 0, 14, 30, "absent"),
        (15, 0, 15, 30, "for"),
        (0, 0, 0, 0, "open"),  # no comparison has a printed direction
        (1, 0, 1, 1, "for"),
    ],
)
def test_the_outcome_of_a_claim(favour: int, against: int, run: int, planned: int, outcome: str) -> None:
    assert RULE.claim(favour, against, run, planned) == outcome


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_swapping_the_sides_swaps_the_word(favour: int, against: int, rest: int) -> None:
    total = favour + against + rest
    swapped = {"for": "against", "against": "for", "open": "open"}
    assert RULE.claim(against, favour, total, total) == swapped[RULE.claim(favour, against, total, total)]


# --- operating characteristics


@pytest.mark.parametrize("df", [2.0, 5.0, 40.0, math.inf])
@pytest.mark.parametrize("true", [0.0, 0.05, -0.1])
def test_the_chance_of_a_direction_is_that_of_the_noncentral_t(df: float, true: float) -> None:
    error, rule = 0.04, RULE.model_copy(update={"margin": 1e-9})  # so that only the sign decides
    found = outcome_chances(0.1, true, error, df, rule)
    if math.isinf(df):
        favour, against = stats.norm.sf(1.959964, true / error), stats.norm.cdf(-1.959964, true / error)
    else:
        critical = stats.t.isf(0.025, df)
        favour, against = stats.nct.sf(critical, df, true / error), stats.nct.cdf(-critical, df, true / error)
    assert found["for"] == pytest.approx(favour, abs=2e-4)
    assert found["against"] == pytest.approx(against, abs=2e-4)
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("printed", "true", "error", "df"),
    [(0.1, 0.0, 0.015, 8.0), (0.1, 0.05, 0.02, 4.0), (-0.06, 0.0, 0.012, 30.0), (0.02, 0.02, 0.01, 12.0)],
)
def test_the_chances_are_those_of_simulated_studies(printed: float, true: float, error: float, df: float) -> None:
    generator, draws = np.random.default_rng(1), 20_000
    estimate = true + error * generator.standard_normal(draws)
    reach = stats.t.isf(0.025, df) * error * np.sqrt(generator.chisquare(df, draws) / df)
    sign = 1 if printed > 0 else -1
    said = [RULE.outcome(sign, printed, m - r, m + r) for m, r in zip(estimate, reach, strict=True)]
    found = outcome_chances(printed, true, error, df)
    for kind in ("for", "against", "open"):
        share = said.count(kind) / draws
        assert found[kind] == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / draws) + 1e-3)


@given(PRINTED, st.floats(0.002, 0.3), st.sampled_from([2.0, 6.0, 30.0, math.inf]))
def test_both_errors_of_a_comparison_are_bounded(printed: float, error: float, df: float) -> None:
    assert outcome_chances(printed, 0.0, error, df)["for"] <= 0.025 + 1e-3
    assert outcome_chances(printed, printed, error, df)["against"] <= 0.025 + 1e-3
    there, back = (outcome_chances(side * printed, side * printed, error, df) for side in (1, -1))
    assert there == pytest.approx(back)


def test_a_detectable_change_goes_with_its_error() -> None:
    error = error_of(0.1, 0.95)
    assert minimum_detectable_effect(error, 1e6, 1.0) == pytest.approx(0.1, rel=1e-4)
    assert outcome_chances(0.1, 0.1, error, math.inf)["for"] == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize("question", [name for name, question in QUESTIONS.items() if question.claimed])
@pytest.mark.parametrize("datasets", [DATASETS, ("ml-sparse",)], ids=["paper", "elsewhere"])
@pytest.mark.parametrize("common", [0.0, 0.4])
def test_both_errors_of_a_claim_are_bounded(question: str, datasets: tuple[str, ...], common: float) -> None:
    """Though comparisons share runs; and where users make recommenders err together, at 5 % at most."""
    claims = assumed_claims(question, 0.1, datasets)
    most = (0.025 if common == 0 else 0.05) + 4 * math.sqrt(0.025 / 4000)
    assert claim_chances(claims, 0.0, common=common)["for"] <= most
    assert claim_chances(claims, 1.0, common=common)["against"] <= most


def test_a_claim_of_one_comparison_has_its_chances() -> None:
    claims = assumed_claims("rq1", 0.05, ["baby"], ["mmgcl"]).head(1)
    (row,) = claims.to_dict("records")
    for share in TRUTHS.values():
        exact = outcome_chances(row["printed"], share * row["printed"], row["error"], math.inf)
        simulated = claim_chances(claims, share, draws=20_000)
        assert simulated == pytest.approx(exact, abs=0.015)


def test_pairs_that_share_a_baseline_err_together() -> None:
    """With independent comparisons, two of two would be for by accident with probability 0.025² = 0.0006."""
    claims = assumed_claims("rq1", 0.2, ["baby"], ["mmgcl"])
    assert len(claims) == 2 and RULE.fewest(2) == 2
    assert claim_chances(claims, 0.0, draws=40_000)["for"] > 0.002


def test_recommenders_that_share_users_err_together_wherever_a_claim_is_judged() -> None:
    """Five recommenders, one pair each: they share no run, so without common users they would be independent."""
    pair = QUESTIONS["rq1"].claimed[0]
    claims = assumed_claims("rq1", 0.2, ["ml-sparse"])
    claims = claims[claims["pair"] == pair].assign(direction=1, printed=0.1)
    shown = characteristics(claims, draws=40_000).set_index("truth")["claim_for"]["nothing exists"]
    apart, all_alike = (claim_chances(claims, 0.0, draws=40_000, common=c)["for"] for c in (0.0, 1.0))
    assert shown == claim_chances(claims, 0.0, draws=40_000, common=COMMON)["for"] > apart
    assert all_alike == pytest.approx(0.025, abs=0.004)  # one error for all: a claim errs as often as a comparison


def test_where_little_can_be_seen_the_rule_says_so() -> None:
    blind = characteristics(assumed_claims("rq1", 5.0)).set_index("truth")
    assert (blind["claim_open"] > 0.95).all() and (blind["comparison_open"] > 0.9).all()
    seeing = characteristics(assumed_claims("rq1", 0.01)).set_index("truth")
    assert seeing.loc["the printed changes are true", "claim_for"] > 0.99
    assert seeing.loc["nothing exists", "claim_against"] > 0.99
    assert seeing.loc["the opposite is true", "claim_against"] > 0.99


def test_a_page_shows_measured_errors_where_there_are_some_and_assumed_ones_else() -> None:
    pair = QUESTIONS["rq1"].claimed[0]
    tests = pd.DataFrame([comparison(dataset="baby", model=m, pair=pair) for m in PAPER_MODELS])
    shown = characteristics_listing(judge_all("rq1", tests, ["baby"]), draws=200)
    assert shown[("", "data")].tolist() == ["Amazon Baby", "", "", ""]
    absent = characteristics_listing(judge_all("rq1", pd.DataFrame(), ["ml-sparse"]), draws=200)
    assert len(absent) == 12 and absent[("", "data")].str.startswith("not run; if").sum() == 3
    assert ("the claim", "does not transfer") in absent.columns
    assert characteristics_listing(judge_all("rq1", pd.DataFrame(), ["null"])).empty


def test_comparisons_that_cannot_be_tested_are_open() -> None:
    assert outcome_chances(0.1, 0.1, math.inf, 0.0) == {"for": 0.0, "against": 0.0, "open": 1.0}
    claims = assumed_claims("rq1", 0.1, ["baby"]).assign(error=math.inf)
    assert claim_chances(claims, 1.0)["open"] == 1.0


# --- its page


def test_examples_show_every_word() -> None:
    words = [RULE.word(RULE.outcome(1, 0.10, low, high), printed_here=True) for low, high in INTERVALS]
    assert words == ["supports"] * 3 + ["inconclusive"] * 2 + ["contradicts"] * 2  # as the page describes them
    assert [label.get_text() for label in examples_figure().axes[0].get_yticklabels()] == words


def test_corrected_intervals_find_less_and_let_fewer_comparisons_decide() -> None:
    shown = levels_listing(levels([0.1], draws=200))
    for row in shown.itertuples(index=False, name=None):
        share, corrected = (float(row[i].removesuffix(" %").removeprefix("< ")) for i in (1, 4))
        assert share > corrected and row[3] > row[6]


def test_words_on_corrected_intervals_are_those_of_their_listing() -> None:
    found = pd.DataFrame(
        [("A, 5 % detectable", 0.4, 0.9, 3, 0.1, 0.5, 1), ("B, 10 % detectable", 0.5, 0.4, 3, 0.4, 0.85, 1)],
        columns=[
            "question", "comparison", "claim", "lead", "corrected_comparison", "corrected_claim", "corrected_lead"
        ],
    )  # fmt: skip
    said = levels_words(found)
    assert "0.25 to 0.80 times as often" in said
    assert "most so in B, 10 % detectable: in 85 % of studies against 40 % now" in said
    assert "No claim that is true" in levels_words(found.iloc[:1])
    assert levels_listing(found).to_numpy().tolist()[1] == ["B, 10 % detectable", "50 %", "40 %", 3, "40 %", "85 %", 1]


def test_the_words_of_the_page_name_the_largest_error() -> None:
    block = pd.DataFrame({"claim_for": [0.9, 0.5, 0.013, 0.0], "claim_against": [0.002, 0.0, 0.5, 0.9]})
    assert "1.3 % at most" in rule_words({"a": block}) and "0.2 % at most" in rule_words({"a": block})
    assert history_listing()["digest"].tolist() == DIGESTS


def test_a_damaged_rule_is_refused() -> None:
    from lmmrec_core.errors import ConfigError

    with pytest.raises(ConfigError, match="level"):
        Rule.build({**RULE.model_dump(), "level": 2}, "rule")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"detectable": []}, "names no change"), ({"detectable": [-0.1]}, "-0.1 is no change"),
        ({"detectable": [math.nan]}, "nan is no change"), ({"detectable": ["a"]}, "'a' is no change"),
        ({"draws": 0}, "draws = 0: give 1 to 1,000,000"), ({"draws": 10**9}, "draws = 1000000000"),
        ({"metric": "ndcg@5"}, "unknown metric 'ndcg@5'"),
    ],
)  # fmt: skip
def test_assumptions_that_mean_nothing_are_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        questions_characteristics(**asked)
