"""The abstract on trial: what is printed and measured of each claim, and how it is drawn."""

import math
import re

import pandas as pd
import pytest

from lmmrec_core.names import DRAWN
from lmmrec_core.questions import QUESTIONS
from lmmrec_core.report.abstract import ABSTRACT, DrawnLine, Printed, Weighed, printed_of, weigh
from lmmrec_core.report.abstract_shown import AbstractTrial, TrialFigure, TrialTable, TrialTrack
from lmmrec_core.report.changes import printed_change
from lmmrec_core.report.forest_svg import LEFT, RIGHT, Row, panel
from lmmrec_core.report.published import DATASETS

CLAIMS = {claim.name: claim for claim in ABSTRACT}
NAN = math.nan


def test_every_claim_rests_on_claimed_pairs_and_each_question_but_the_data_is_asked() -> None:
    for claim in ABSTRACT:
        assert claim.pairs and set(claim.pairs) <= set(QUESTIONS[claim.question].claimed)
    assert {claim.question for claim in ABSTRACT} == {name for name, question in QUESTIONS.items() if question.claimed}


def test_printed_changes_are_those_of_the_tables() -> None:
    printed = printed_of(CLAIMS["aligned"])
    pairs = QUESTIONS["rq3"].claimed
    sizes = [
        printed_change(name, model, pair, "ndcg@20")
        for name in DATASETS
        for model in ("mmgcl", "lattice")
        for pair in pairs
    ]
    assert printed.comparisons == len(sizes) == 12 and all(size > 0 for size in sizes)
    quarters = pd.Series(sizes).quantile([0.25, 0.5, 0.75]).tolist()
    assert [printed.low, printed.median, printed.high] == pytest.approx(quarters)


def compared(dataset: str, model: str, relative: float, half: float, claim: str) -> list[dict]:
    return [
        {
            "dataset": dataset, "model": model, "metric": "ndcg@20", "pair": pair, "mean_a": 0.1 * (1 + relative),
            "mean_b": 0.1, "difference": 0.1 * relative, "relative": relative, "relative_low": relative - half,
            "relative_high": relative + half, "ci_low": 0.1 * (relative - half), "ci_high": 0.1 * (relative + half),
            "se": 0.1 * half / 2, "df": 50.0, "p": 0.001, "p_holm": 0.01, "equivalence_p": 0.9, "mde": 0.1, "n": 600,
            "persons": 300, "seeds": 3, "splits": 1,
        }
        for pair in [*CLAIMS[claim].pairs, *(expected.pair for expected in CLAIMS[claim].planted)]
    ]  # fmt: skip


def test_a_claim_is_judged_from_its_own_pairs() -> None:
    rows = [row for model in ("vbpr", "mmgcn", "mmgcl", "slmrec", "lattice")
            for row in compared("ml-sparse", model, 0.2, 0.05, "fine-tuned")]  # fmt: skip
    (found,) = weigh(CLAIMS["fine-tuned"], "films", pd.DataFrame(rows), ["ml-sparse"], {})
    assert (found.word, found.place, found.run) == ("transfers", "ML-sparse", 10)
    assert (
        found.lines[0].change == pytest.approx(0.2)
        and found.short == "+20.0 % (+15 to +25 %); 600 users, 3 seeds, detectable 10 %"
    )
    (part,) = weigh(CLAIMS["fine-tuned"], "films", pd.DataFrame(rows[:2]), ["ml-sparse"], {})
    assert (part.word, part.run) == ("not run", 2) and part.short.startswith("2 of 10 so far: +20.0 % (+15 to +25 %); ")
    (other,) = weigh(CLAIMS["end-to-end"], "films", pd.DataFrame(rows), ["ml-sparse"], {})
    assert (other.word, other.run, other.short) == ("not run", 0, "0 of 10") and math.isnan(other.lines[0].change)


def test_the_papers_data_are_judged_together_and_drawn_data_by_what_was_planted() -> None:
    rows = compared("complementary", "vbpr", 0.3, 0.1, "end-to-end")
    rows += compared("null", "vbpr", 0.3, 0.1, "end-to-end")
    drawn, paper = weigh(
        CLAIMS["end-to-end"], "mixed", pd.DataFrame(rows).drop_duplicates(["dataset", "pair"]),
        ["complementary", "null", *DATASETS], {name: DRAWN[name] for name in ("complementary", "null")}, "Made",
    )  # fmt: skip
    assert paper.word == "not run" and paper.place == "Amazon Sports, Amazon Clothing and Amazon Baby"
    assert (drawn.place, drawn.word, drawn.short) == ("Made", "not found", "2 of 4 agree")
    assert "not found: VBPR: " in drawn.basis and "on Null (no difference)" in drawn.basis
    assert [(line.label, line.mark) for line in drawn.lines] == [("planted gain", "gain"), ("planted nothing", "none")]
    (nothing,) = weigh(CLAIMS["pretrained"], "made", pd.DataFrame(rows), ["null"], DRAWN, "Made")
    assert (nothing.word, nothing.short) == ("no verdict", "not planted")


def test_a_line_says_in_words_what_it_draws() -> None:
    assert DrawnLine("a", 0.031, -0.02, 0.08).words == "+3.1 % (−2.0 % to +8.0 %)"
    assert (
        DrawnLine("a", 0.031, NAN, 0.08).words == "+3.1 % (no interval)"
        and DrawnLine("a", NAN, NAN, NAN).words == "not run"
    )


def places(svg: str, pattern: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, svg)]


def test_a_panel_has_zero_in_the_middle_and_changes_where_they_belong() -> None:
    rows = [
        Row("one", [DrawnLine("here", 0.1, -0.1, 0.2), DrawnLine("there", NAN, NAN, NAN)], Printed(0.05, 0.02, 0.08, 3))
    ]
    svg = panel("Title <1>", rows)
    middle = (LEFT + RIGHT) / 2
    assert f"M{middle} " in svg and "Title &lt;1&gt;" in svg and svg.count(">not run<") == 1
    (dot,) = places(svg, r'class="mark measured" cx="([\d.]+)"')
    (low, high), (median,) = (
        re.findall(r'class="interval measured" d="M([\d.]+) [\d.]+H([\d.]+)"', svg)[0],
        places(svg, r'class="printed" d="M([\d.]+)'),
    )
    assert middle < median < dot < float(high) <= RIGHT and middle - float(low) == pytest.approx(dot - middle, abs=0.2)


def test_marks_stay_inside_whatever_the_interval() -> None:
    svg = panel("t", [Row("one", [DrawnLine("here", 0.1, -9.0, 9.0, "gain"), DrawnLine("x", -0.1, NAN, NAN, "none")])])
    (low, high) = re.findall(r'class="interval gain" d="M([\d.]+) [\d.]+H([\d.]+)"', svg)[0]
    assert (float(low), float(high)) == (LEFT, RIGHT) and 'class="mark none"' in svg


def trial(word: str = "transfers", run: int = 3) -> AbstractTrial:
    tracks = (TrialTrack("films", "Films", "a <folder>"),)
    line = DrawnLine("ML", 0.1, 0.05, 0.15) if run else DrawnLine("ML", NAN, NAN, NAN)
    found = {
        claim.name: [Weighed(claim, "films", place, word, "why", run, (line,), "3 of 3") for place in ("ML", "MT")]
        for claim in ABSTRACT
    }
    return AbstractTrial(
        tracks, found, {name: Printed(0.05, 0.01, 0.2, 6) for name in CLAIMS}, dict.fromkeys(CLAIMS, "holds"), "NDCG@20"
    )


def test_a_table_links_every_word_to_its_page_and_merges_what_was_not_run_anywhere() -> None:
    html = TrialTable(trial()).to_html()
    assert html.count('href="/book/_generated/films/02_rq1_pretrained.html">transfers<') == 2
    assert html.count('06_audit.html">holds<') == len(ABSTRACT) and "; needs " not in html
    merged = TrialTable(trial("not run", 0)).to_html()
    assert merged.count(">not run<") == len(ABSTRACT) and "; needs a &lt;folder&gt;" in merged
    assert html.count("<tr>") == 2 + len(ABSTRACT) and len(TrialTable(trial()).numbers) == 2 * len(ABSTRACT)


def test_a_figure_tells_in_words_what_it_shows() -> None:
    shown = TrialFigure(trial())
    assert (
        "Pre-trained encoders help: printed +5.0 %, half of them between +1.0 % and +20.0 %; Films, ML: +10.0 %"
        in shown.description
    )
    assert shown.to_html().count("<circle") == 2 * len(ABSTRACT) and 'role="img"' in shown.to_html()
    assert "Films, 2 data sets: not run" in TrialFigure(trial("not run", 0)).description
