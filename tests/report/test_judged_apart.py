"""On data that is not the paper's, a claim is judged on each data set by itself: its words, lead and chances."""

import pandas as pd

from lmmrec_core.names import PAPER_MODELS
from lmmrec_core.questions import QUESTIONS
from lmmrec_core.report.changes import claimed_changes
from lmmrec_core.report.characteristics import COMMON, assumed_claims, characteristics_listing, claim_chances
from lmmrec_core.report.rule import read_rule
from lmmrec_core.report.rule_shown import shared_users_words
from lmmrec_core.report.verdict import claims_listing, judge_all, verdict
from tests.report.conftest import comparison, measured_claims

FILMS = ("ml-sparse", "ml-dense", "mt-sparse", "mt-full")


def test_on_data_that_is_not_the_papers_each_data_set_is_judged_by_itself() -> None:
    """One decided comparison on each of four data sets: added up they have the lead that 28 need, alone none has."""
    assert (read_rule().fewest(4 * 7), read_rule().fewest(7)) == (4, 2)
    certain = measured_claims(1.0, 0.005, FILMS)
    decided = claimed_changes("rq1", FILMS, PAPER_MODELS, "ndcg@20", read_rule().rounding)["direction"] != 0
    wide = certain.assign(relative_low=-2.0, relative_high=2.0)
    one_each = wide.copy()
    for name in FILMS:
        first = certain.index[decided & (certain["dataset"] == name)][0]
        one_each.loc[first] = certain.loc[first]
    found = verdict("rq1", one_each, FILMS)
    assert {title: part.counts["transfers"] for title, part in found.apart.items()} == dict.fromkeys(found.apart, 1)
    assert {part.status for part in found.apart.values()} == {"inconclusive"}

    tests = pd.concat([certain[certain["dataset"] == "ml-sparse"], wide[wide["dataset"] == "mt-full"]])
    mirrored = measured_claims(-1.0, 0.005, ("mt-sparse",))
    found = verdict("rq1", pd.concat([tests, mirrored]), FILMS)
    titles = ("ML-sparse", "ML-dense", "MT-sparse", "MT-full")
    words = dict(zip(titles, ("transfers", "not run", "does not transfer", "inconclusive"), strict=True))
    assert {title: part.status for title, part in found.apart.items()} == words
    assert list(found.apart) == list(words)  # in the order of the track
    assert all(f"- **{title}: {word}.** Of 10" in found.markdown() for title, word in words.items())
    assert found.counts == {}
    assert found.quoted["verdict-ML-dense"] == "not run (none of its 10 comparisons has results yet)"
    assert found.quoted["verdict-ML-sparse"].startswith("transfers (7 for, 0 against, of 7; median change")
    assert list(found.quoted) == ["verdict", *(f"verdict-{title}" for title in words)]
    assert found.markdown().count("*Rule.*") == 1


def test_a_track_of_four_data_sets_counts_each_as_if_it_were_alone() -> None:
    tests = measured_claims(0.7, 0.03, FILMS)
    whole = verdict("rq2", measured_claims(0.7, 0.03, FILMS, "rq2"), FILMS)
    assert whole.apart["MT-sparse"] == verdict("rq2", measured_claims(0.7, 0.03, FILMS, "rq2"), ["mt-sparse"])
    judged = judge_all("rq1", tests, FILMS)
    listed = claims_listing(judged)
    alone = [claims_listing(judge_all("rq1", tests, [name])) for name in FILMS]
    pd.testing.assert_frame_equal(listed, pd.concat(alone, ignore_index=True))
    assert set(listed["data"]) == {"ML-sparse", "ML-dense", "MT-sparse", "MT-full"}


def test_beside_the_papers_data_another_has_lines_and_words_of_its_own() -> None:
    listed = claims_listing(judge_all("rq1", measured_claims(1.0, 0.005, ("baby",)), ["baby", "ml-sparse"]))
    first, last = (listed.to_dict("records")[at] for at in (2, -1))
    shown = ("data", "claim", "verdict", "users", "supports", "transfers")
    assert [first[name] for name in shown] == ["Amazon Baby", "all of them", "supports", "1,000", 10, ""]
    assert [last[name] for name in shown] == ["ML-sparse", "all of them", "not run", "", "", 0]


def test_on_one_data_set_any_number_of_comparisons_reaches_its_lead_and_few_do_by_accident() -> None:
    assert all(read_rule().fewest(n) <= n for n in range(1, 91))
    directed = {}
    for question in (name for name, asked in QUESTIONS.items() if asked.claimed):
        claims = assumed_claims(question, 0.2, ["ml-sparse"])
        directed[question] = int((claims["direction"] != 0).sum())
        for common in (COMMON, 0.4):  # with the runs and users that they share
            assert claim_chances(claims, 0.0, draws=20_000, common=common)["for"] <= 0.025
    assert directed == {
        "motivation": 1,
        "rq1": 7,
        "rq2": 19,
        "rq3": 4,
    }
    assert [read_rule().fewest(n) for n in directed.values()] == [1, 2, 3, 2]
    said = shared_users_words([0.2], draws=500)
    assert "% with a correlation of 0, " in said and "% with a correlation of 0.4 between" in said


def test_chances_of_a_claim_are_given_for_what_is_judged_together() -> None:
    pair = QUESTIONS["rq1"].claimed[0]

    def blocks(*datasets: str) -> list[str]:
        tests = pd.DataFrame([comparison(dataset=name, model=m, pair=pair) for name in datasets for m in PAPER_MODELS])
        shown = characteristics_listing(judge_all("rq1", tests, datasets), draws=200)
        return [name for name in shown[("", "data")] if name]

    assert blocks("ml-sparse", "ml-dense") == ["ML-sparse", "ML-dense"]
    assert blocks("baby", "sports", "mt-full") == [
        "Amazon Baby", "Amazon Sports", "MT-full", "the paper's data sets together",
    ]  # fmt: skip
    one, four = (
        characteristics_listing(judge_all("rq1", pd.DataFrame(), datasets), draws=200)
        for datasets in (["ml-sparse"], ["ml-sparse", "ml-dense", "mt-sparse", "mt-full"])
    )
    pd.testing.assert_frame_equal(one, four)
