"""The paper's claims: what its printed tables give. The expected figures are facts about these, typed by hand."""

import pytest

from lmmrec_core.audit.anchors import against_published
from lmmrec_core.audit.cells import effects, encoder_gaps, mean_change, moves, paper_cells, where, without_each_model
from lmmrec_core.audit.claim import (
    Claim,
    aside,
    claims_frame,
    counted,
    stated,
    verdicts_frame,
    verdicts_in_words,
)
from lmmrec_core.audit.claims import CLIP_B16, CLIP_B32, clip_parameters, paper_claims
from lmmrec_core.audit.pretraining import OTHERS
from lmmrec_core.audit.stars import odd_stars
from lmmrec_core.names import MODEL_TITLES, PAPER_MODELS
from lmmrec_core.questions import MODALITY_SPECIFIC
from lmmrec_core.report.published import printed_statistics, read_results

TABLES = {number: read_results(number) for number in (1, 3, 4, 5)}
CELLS = paper_cells(TABLES[3], TABLES[4])
ODD = odd_stars(CELLS)
CLAIMS = {claim.name: claim for claim in paper_claims(TABLES, printed_statistics())}


def found(claim: str, words: str) -> str:
    (reading,) = (reading for reading in CLAIMS[claim].readings if reading.words == words)
    return reading.found


# --- the rule


def verdict(*readings) -> str:
    return Claim("a", "b", "1", "", readings).verdict


def test_the_verdict_follows_from_the_readings() -> None:
    yes, no, near = stated("", "", True), stated("", "", False), counted("", 72, 100, 70)
    assert verdict(yes, aside("", "")) == "holds"
    assert verdict(yes, near) == verdict(near) == "holds roughly"
    assert verdict(yes, no) == verdict(near, no) == "holds in some readings"
    assert verdict(no) == "does not hold"
    assert verdict() == verdict(aside("", "")) == "not testable"


@pytest.mark.parametrize(("part", "agrees"), [(7, "yes"), (8, "no"), (6, "no")])
def test_a_share_agrees_when_it_rounds_to_the_printed_one(part: int, agrees: str) -> None:
    assert counted("", part, 9, 78).agrees == agrees
    assert counted("", 7, 9, 80).agrees == "nearly"


# --- the verdicts

VERDICTS = {
    "significant": "does not hold",
    "everywhere": "holds in some readings",
    "lattice": "holds",
    "generally": "holds",
    "alike": "holds in some readings",
    "baselines": "does not hold",
    "fine-tuning": "holds in some readings",
    "mmgcl": "holds in some readings",
    "lattice fine-tuned": "holds in some readings",
    "end to end": "holds roughly",
    "end-to-end stars": "does not hold",
    "unified": "holds in some readings",
    "lattice end to end": "holds",
    "all five": "holds in some readings",
    "best paradigm": "holds",
    "four of five": "holds in some readings",
    "cases": "does not hold",
    "dimensions": "holds in some readings",
    "fails to fuse": "holds in some readings",
    "fuses": "holds",
    "density": "holds in some readings",
    "size": "does not hold",
    "width": "does not hold",
    "comparable": "holds",
    "bold": "not testable",
    "other models": "not testable",
    "cost": "not testable",
}


def test_every_claim_has_its_verdict() -> None:
    assert {name: claim.verdict for name, claim in CLAIMS.items()} == VERDICTS
    frame = claims_frame(list(CLAIMS.values()))
    assert set(frame["claim"]) == {claim.statement for claim in CLAIMS.values()}
    assert set(frame["agrees"]) == {"yes", "nearly", "no", "aside"}


def test_the_verdicts_are_counted_in_words() -> None:
    claims = list(CLAIMS.values())
    assert verdicts_in_words(claims) == (
        "27 claims: 6 hold, 1 hold roughly, 11 hold in some readings, 6 do not hold, 3 not testable"
    )
    frame = verdicts_frame(claims).set_index("claim")
    row = frame.loc[CLAIMS["fine-tuning"].statement]
    assert row["recomputed"] == "87/120 = 72.5 % (FT above PT (3 tied, 30 below))"
    assert (row["readings"], row["verdict"]) == ("0 of 5 agree, 2 nearly", "holds in some readings")
    assert frame.loc[CLAIMS["cost"].statement, ["recomputed", "readings"]].tolist() == ["", ""]


def test_what_our_transcription_lacks_is_not_said_of_the_paper() -> None:
    assert CLAIMS["bold"].statement == "Bold marks the best value (the tables as data here have no bold)"
    assert "bold" not in TABLES[3].columns and "bold" not in TABLES[4].columns


FIGURES = [
    ("significant", "all five models: improved and starred", "83/120 = 69.2 %"),
    ("significant", "all five models: improved", "84/120 = 70.0 %"),
    ("significant", "without LATTICE: improved and starred", "83/96 = 86.5 %"),
    ("significant", "without LATTICE: improved", "84/96 = 87.5 %"),
    ("significant", "all five models: runs with all four improved", "21/30 = 70.0 %"),
    ("significant", "without LATTICE: runs with all four improved", "21/24 = 87.5 %"),
    ("significant", "all five models: runs with all four improved and starred", "20/30 = 66.7 %"),
    ("significant", "without LATTICE: runs with all four improved and starred", "20/24 = 83.3 %"),
    ("significant", "all five models: one encoder improves", "44/60 = 73.3 %"),
    ("significant", "without LATTICE: one encoder improves", "44/48 = 91.7 %"),
    ("significant", "all five models: both encoders improve", "40/60 = 66.7 %"),
    ("significant", "without LATTICE: both encoders improve", "40/48 = 83.3 %"),
    ("significant", "all five models: starred in either direction", "116/120 = 96.7 %"),
    ("significant", "without LATTICE: starred in either direction", "92/96 = 95.8 %"),
    ("significant", "starred without LATTICE, over all starred", "92/116 = 79.3 %"),
    ("significant", "improved and starred, over all starred", "83/116 = 71.6 %"),
    (
        "significant",
        "a star has no direction: cells that fell and are starred",
        "33 of 36, 9 of them not of LATTICE",
    ),
    ("everywhere", "without LATTICE, sports: the mean rises", "32/32 = 100.0 % rise, mean +4.5 %"),
    ("everywhere", "without LATTICE, baby: the mean rises", "24/32 = 75.0 % rise, mean +0.6 %"),
    ("everywhere", "all five models, clothing: the mean rises", "28/40 = 70.0 % rise, mean -0.2 %"),
    ("everywhere", "without LATTICE, all data sets", "mean +3.8 %"),
    ("everywhere", "all five models, all data sets", "mean -0.6 %"),
    ("lattice", "cells that fall", "24/24 = 100.0 %, 24 starred"),
    ("lattice", "mean change", "-18.2 % (clip -15.0 %, vlmo -21.5 %)"),
    ("generally", "MMGCN with vlmo on baby falls in every cell", "-15.1 %, 4 of 4 starred"),
    ("generally", "MMGCN with clip on baby falls in every cell", "-3.6 %, 2 of 4 starred"),
    ("generally", "VBPR with vlmo on clothing falls in every cell", "-3.5 %, 3 of 4 starred"),
    ("alike", "CLIP leads on Clothing", "higher in 17 of 20 cells, mean +7.9 %"),
    (
        "alike",
        "the mean lead is smaller on the others",
        "sports higher in 13 of 20 cells, mean +1.2 %; baby higher in 11 of 20 cells, mean +2.8 %",
    ),
    ("baselines", "SLMRec is ahead of MMGCL", "8 of 12"),
    ("fine-tuning", "FT above PT (3 tied, 30 below)", "87/120 = 72.5 %"),
    ("fine-tuning", "FT above PT without LATTICE", "86/96 = 89.6 %"),
    ("fine-tuning", "and PT starred, though the star compares with the best of three", "85/120 = 70.8 %"),
    ("fine-tuning", "and the star tests FT against PT (FT is the single best)", "36/120 = 30.0 %"),
    ("fine-tuning", "FT above PT, PT starred, FT not", "42/120 = 35.0 %"),
    ("fine-tuning", "single best of the three", "PT 3, FT 38, ETE 77, tied 2"),
    ("mmgcl", "clip: no cell rises", "4 of 4 lower, mean -3.9 %"),
    ("mmgcl", "vlmo: no cell rises", "3 of 4 lower, mean -1.2 %"),
    ("lattice fine-tuned", "every cell falls", "22/24 = 91.7 %, 1 tied, 1 higher"),
    ("lattice fine-tuned", "mean change", "-2.4 %"),
    ("end to end", "ETE above FT", "49/60 = 81.7 %"),
    ("end to end", "by model", "VBPR 4/12, MMGCN 12/12, MMGCL 11/12, SLMRec 10/12, LATTICE 12/12"),
    ("end to end", "without LATTICE", "37/48 = 77.1 %"),
    ("end-to-end stars", "of the cells that rise, FT starred", "46/49 = 93.9 %"),
    ("end-to-end stars", "over all cells with CLIP", "46/60 = 76.7 %"),
    ("unified", "more cells fall than rise", "28/60 = 46.7 % rise, 1 tied, 31 fall"),
    ("unified", "the mean falls", "+5.6 %"),
    ("unified", "the mean falls without LATTICE", "-4.0 %, 16/48 = 33.3 % rise"),
    (
        "unified",
        "every model falls",
        "3 of 5: VBPR -16.4 %, MMGCN +5.7 %, MMGCL -3.9 %, SLMRec -1.6 %, LATTICE +44.3 %",
    ),
    ("lattice end to end", "every cell rises", "24/24 = 100.0 %, mean +37.5 %"),
    ("lattice end to end", "against the baseline", "24/24 = 100.0 %, mean +7.7 %"),
    ("best paradigm", "with VLMo", "PT 3, FT 27, ETE 28 of 60"),
    ("four of five", "in every cell", "2 of 5"),
    ("cases", "distinct printed results of Tables 3 and 4", "420"),
    ("cases", "comparisons of PT, FT and ETE, each with the step before", "360"),
    ("fails to fuse", "V&T is below the better one, mostly", "5 of 6"),
    ("fails to fuse", "V&T is below visual only", "2 of 6"),
    ("fuses", "V&T is the highest", "6 of 6, mean +2.7 %"),
    ("fuses", "starred single modalities", "10 of 12"),
    (
        "fuses",
        "gain from Table 1 to Table 5, which differ in encoder and paradigm at once",
        "V&T +12.4 %, V +6.0 %, T +4.4 %",
    ),
    ("density", "baby: 0.00012", "0.001173"),
    ("density", "clothing: 0.00030", "0.000306"),
    ("comparable", "VLMo is less than a fifth larger, as printed", "+10.6 %"),
    ("width", "text tower and joint space of ViT-B/16", "512"),
    (
        "dimensions",
        "in section 4.2, with one paradigm",
        "levels: model 5, dataset 3, metric 4, extractor 3, paradigm 1",
    ),
    ("lattice fine-tuned", "the mean falls on every data set", "baby -1.3 %, clothing -4.6 %, sports -1.2 %"),
    ("size", "CLIP ViT-B/16, which the text names", "149,620,737"),
]


@pytest.mark.parametrize(("claim", "words", "figure"), FIGURES)
def test_a_reading_gives_what_the_printed_tables_give(claim: str, words: str, figure: str) -> None:
    assert found(claim, words) == figure


def test_all_five_models_with_clip() -> None:
    expected = {
        "fine-tuned": ["4/12 (+0.2 %)", "12/12 (+10.5 %)", "11/12 (+9.8 %)", "10/12 (+11.1 %)", "12/12 (+30.7 %)"],
        "pre-trained": ["8/12 (+3.9 %)", "12/12 (+15.6 %)", "12/12 (+11.1 %)", "12/12 (+14.1 %)", "12/12 (+27.8 %)"],
        "the baseline": ["12/12 (+8.2 %)", "11/12 (+19.7 %)", "12/12 (+20.2 %)", "12/12 (+19.5 %)", "12/12 (+7.7 %)"],
    }
    for name, figures in expected.items():
        pairs = zip(PAPER_MODELS, figures, strict=True)
        assert found("all five", f"over {name}, by the mean") == ", ".join(
            f"{MODEL_TITLES[m]} {text}" for m, text in pairs
        )


# --- cells


def test_cells_are_those_of_the_tables() -> None:
    assert len(CELLS) == 120
    row = where(CELLS, model="vbpr", encoder="vlmo", dataset="sports", metric="recall@10").iloc[0]
    assert (row["none"], row["PT"], row["star"], row["star_PT"]) == (509, 562, True, True)
    assert int((CELLS["star"] != CELLS["star_PT"]).sum()) == 10  # the two tables' stars compare with different values


@pytest.mark.parametrize(
    ("new", "old", "count"),
    [("PT", "none", (84, 0, 36)), ("FT", "PT", (87, 3, 30)), ("ETE", "FT", (77, 1, 42)), ("FT", "none", (88, 1, 31)),
     ("ETE", "none", (103, 1, 16))],
)  # fmt: skip
def test_cells_rise_tie_and_fall(new: str, old: str, count: tuple[int, int, int]) -> None:
    assert moves(CELLS, new, old) == count


def test_effects_by_encoder_data_set_and_metric() -> None:
    by_encoder = effects(CELLS, "encoder").mul(100).round(1)
    assert by_encoder["vlmo"].tolist() == [-2.2, 2.3, 5.6, 0.3, 3.0]
    assert by_encoder["clip"].tolist() == [1.0, 2.1, 12.5, 3.3, 15.1]
    assert by_encoder["all"].tolist() == [-0.6, 2.2, 9.0, 1.8, 9.1]
    by_dataset = effects(CELLS, "dataset").mul(100).round(1).loc["ETE / FT"]
    assert by_dataset[["sports", "clothing", "baby"]].tolist() == [9.9, 14.4, 2.8]
    by_metric = effects(CELLS, "metric").mul(100).round(1).loc["FT / PT"]
    assert by_metric[["recall@10", "recall@20", "ndcg@10", "ndcg@20"]].tolist() == [2.2, 1.8, 2.2, 2.6]


def test_who_carries_the_gain_of_pretraining() -> None:
    frame = without_each_model(CELLS, "PT", "none").mul(100)
    assert frame.loc["lattice"].round(1).tolist() == [87.5, 3.8]
    assert frame.loc["mmgcl", "change"].round(1) == -2.4
    assert mean_change(where(CELLS, model=OTHERS), "PT", "none") == pytest.approx(0.038, abs=5e-4)


def test_lattice_end_to_end_does_not_depend_on_the_encoder() -> None:
    gaps = {paradigm: encoder_gaps(CELLS, paradigm).loc["lattice"] for paradigm in ("PT", "FT", "ETE")}
    assert [round(gap["mean"], 4) for gap in gaps.values()] == [0.0030, 0.0031, 0.0001]
    assert [round(gap["max"], 4) for gap in gaps.values()] == [0.0081, 0.0077, 0.0003]
    assert gaps["ETE"]["equal"] == 4
    assert [round(gaps[paradigm]["mean"] / gaps["ETE"]["mean"]) for paradigm in ("PT", "FT")] == [24, 25]


def test_stars_of_table_4_that_contradict_each_other() -> None:
    by_kind = {
        kind: set(map(tuple, rows[["cell", "starred", "plain"]].to_numpy())) for kind, rows in ODD.groupby("kind")
    }
    assert by_kind == {
        "best": {("MMGCL vlmo sports ndcg@20", "FT", "")},
        "equal": {
            ("VBPR vlmo baby ndcg@20", "PT", "ETE"),
            ("MMGCN clip baby ndcg@20", "PT", "FT"),
            ("SLMRec vlmo clothing recall@10", "PT", "ETE"),
        },
        "higher": {
            ("MMGCL vlmo sports ndcg@20", "FT", "PT"),
            ("LATTICE vlmo sports ndcg@10", "PT", "FT"),
            ("LATTICE vlmo sports ndcg@20", "PT", "FT"),
        },
    }


def test_clip_has_the_size_of_its_public_weights() -> None:
    assert (clip_parameters(*CLIP_B16), clip_parameters(*CLIP_B32)) == (149_620_737, 151_277_313)
    assert clip_parameters(14, 1024, 24, 768) == 427_616_513


def test_baselines_against_published_ones() -> None:
    table = TABLES[3]
    found = against_published(table[table["variant"] == MODALITY_SPECIFIC]).mul(100).round(1)
    expected = {"sports": [-9.2, -21.0, -7.9, 0.4], "baby": [14.5, 2.6, 1.4, 0.1]}
    for dataset, values in expected.items():
        assert [found[dataset, model] for model in ("vbpr", "mmgcn", "slmrec", "lattice")] == values
