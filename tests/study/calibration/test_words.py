"""Sentences of the calibration, from made parts counted by hand; and the committed headline figures."""

import json
from pathlib import Path

import pandas as pd
import pytest

from lmmrec_core.significance.rates import Rate, rate_of
from lmmrec_core.study.calibration import summary as figures
from lmmrec_core.study.calibration.page import CalibrationPage, _moved_by_splits, _seeds
from lmmrec_core.study.calibration.reading import read_calibration
from lmmrec_core.study.calibration.redone import first_runs
from lmmrec_core.study.calibration.words import (
    ADDED_CELLS,
    _held,
    _reaching,
    band_in_words,
    planted_counts,
    planted_in_words,
    tails_in_words,
)
from lmmrec_core.study.calibration.worlds import worlds_of
from tests.study.calibration.conftest import keep_listing

SUMMARY = Path(__file__).parents[3] / "results" / "calibration" / "summary.json"


def pairs(rejected: dict[tuple[str, str, str], int], each: int = 3, p: float = 0.02) -> pd.DataFrame:
    """(data set, model, cell) → how many of its ``each`` pairs have p; the others have 0.5."""
    rows = [
        {"dataset": dataset, "model": model, "cell": cell, "metric": "ndcg@20", "seed_a": 1, "seed_b": 2 + number,
         "difference": 0.0, "ci_low": -1.0, "ci_high": 1.0, "p": p if number < count else 0.5, "p_users": 0.0001}
        for (dataset, model, cell), count in rejected.items() for number in range(each)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(track="controls")


def test_models_outside_the_band_are_named_though_all_together_lie_within() -> None:
    """5 of 100: VBPR 5 of 60, LATTICE 0 of 40."""
    found = pairs({("null", "vbpr", f"cell {n}"): int(n < 5) for n in range(20)})
    found = pd.concat([found, pairs({("null", "lattice", f"cell {n}"): 0 for n in range(20)}, each=2)])
    said = band_in_words(found)
    assert said.startswith(
        "The band of 3 to 7 % holds for all models together; outside it lie VBPR (5 of 60 pairs, 8.3 %"
    )
    assert "and LATTICE (0 of 40 pairs, 0.0 %" in said and said.endswith("No model's interval excludes the band.")
    within = pairs({("null", "vbpr", f"cell {n}"): int(n < 3) for n in range(20)})
    assert band_in_words(within) == (
        "The band of 3 to 7 % holds for all models together, and every model lies within it."
    )
    assert band_in_words(within.assign(p=0.01)).startswith("The band of 3 to 7 % does not hold for all models together")
    assert "The interval of VBPR excludes the band" in band_in_words(within.assign(p=0.01))


@pytest.mark.parametrize(("models", "few"), [(9, True), (10, False)])
def test_few_clusters_are_told(tmp_path, code, models: int, few: bool) -> None:
    keep_listing(
        tmp_path, "against-itself-controls",
        pairs({("null", f"model {n}", "x"): 0 for n in range(models)}).drop(columns="track"),
    )  # fmt: skip
    said = CalibrationPage(read_calibration(tmp_path)).itself_in_words()
    assert (f"{models} combinations of model and data set, too few" in said) == few
    assert ("somewhat too narrow" in said) == few


def test_the_rate_stands_without_cells_that_were_added_later(tmp_path, code) -> None:
    """Added: 3 pairs, none rejected. Others: 1 of 6."""
    cells = {
        ("null", "vbpr", "baseline (zero)"): 0,
        ("null", "vbpr", "baseline"): 1,
        ("null", "vbpr", "baseline (V)"): 0,
    }
    assert next(iter(cells)) in ADDED_CELLS and len(ADDED_CELLS) == 12
    keep_listing(tmp_path, "against-itself-controls", pairs(cells).drop(columns="track"))
    page = CalibrationPage(read_calibration(tmp_path))
    said = page.itself_in_words()
    assert "Of the 9 pairs 3 are of cells of VBPR that were added after a first rate had been seen." in said
    assert "Of the 6 others 16.7 % are called different." in said
    assert "outside it lies VBPR (1 of 9 pairs, 11.1 %" in page.in_words()
    assert "Of the stored pairs the test rejects 0.0 % at 1 % and 0.0 % at 0.1 %." in page.in_words()
    assert "does not hold, too few yet (all models together); outside: VBPR" in page.bars().to_html()
    then = first_runs("itself")
    assert f"{100 * then['ndcg@20'][0.001] / then['pairs']:.1f} % at 0.1 %" in said


def test_planted_answers_that_are_seldom_found_are_told_with_their_counts(store) -> None:
    results = store(*worlds_of("null", 10))
    store(*worlds_of("planted", 3), gain=0.3)
    page = CalibrationPage(read_calibration(results))
    counts = planted_counts(page.stored, "ndcg@20")
    tests = figures.null_tests(page.stored, "ndcg@20")
    for row in counts[[one.effect == "none" for one in counts["expected"]]].to_dict("records"):
        own = tests[tests["model"] == row["model"]]
        assert (row["found"], row["worlds"]) == ((own["equivalence_p"] < 0.05).sum(), 10)
        wider = ((own["ci_high"] - own["ci_low"]) / 2 / own["mean_b"]).median()  # of 95 %, not of 90 %
        assert 0.7 * wider < row["wide"] < wider
        words = f"on Null (no difference, within ±5 %), {row['found']} of 10 worlds"
        assert (words in page.planted_in_words()) == (row["found"] < 9.5)
        assert (words in page.in_words()) == (row["found"] < 9.5)
    assert "(gain)" not in page.planted_in_words()  # found in all of three worlds
    assert planted_in_words(read_calibration(results.parent / "none"), "ndcg@20").startswith("*Not run yet")


def test_a_coverage_is_told_by_its_own_interval() -> None:
    assert _held(Rate(0.945, 0.942, 0.949, 17000, 17000)) == "slightly below 95 %"
    assert _held(Rate(0.92, 0.91, 0.93, 1000, 1000)) == "below 95 %"
    assert _held(Rate(0.945, 0.93, 0.96, 100, 100)) == "in line with 95 %"
    assert _held(Rate(0.955, 0.952, 0.958, 17000, 17000)) == "slightly above 95 %"


def test_a_power_that_holds_by_its_rate_alone_says_so() -> None:
    few, many = rate_of([True] * 20), rate_of([True] * 200)
    assert "whose interval (83.2–100.0 %) reaches below 95 %" in _reaching(few)
    assert _reaching(many) == "" == _reaching(rate_of([False] * 200))


def test_the_committed_summary_has_every_headline_figure() -> None:
    """Reads the file of the repository alone. Red when a listing is outdated: `lmmrec calibrate` renews both."""
    summary = json.loads(SUMMARY.read_text(encoding="utf-8"))
    rates = ("aa_rate", "null_rate", "power_complementary", "coverage")
    assert [name for name in rates if summary[name] is None] == []
    assert [name for name in ("aa_pairs", "null_tests", "null_worlds") if not summary[name]] == []
    assert summary["mde"] and all(summary["mde"].values())
    stored = read_calibration(SUMMARY.parents[1])
    assert not stored.outdated and not stored.outdated_listings


def test_tails_are_counted_against_the_level_and_named_by_cell() -> None:
    """Two of a hundred pairs at 0.0005: twice as many as the 1 % level lets through, twenty times the 0.1 % level."""
    found = pairs({("null", "vbpr", "baseline"): 2, ("null", "lattice", "baseline"): 0}, each=50, p=0.0005)
    none = figures.world_pairs(read_calibration(Path("nowhere")), "ndcg@20")
    said = tails_in_words(found, none)
    assert said.startswith("In the tails: at 1 % it rejects 2.0 %, 2.0 times as often as it should and at 0.1 % it")
    assert "20.0 times" in said and said.endswith("called different at 5 %, 2 are of VBPR, baseline, on Null.")
    assert tails_in_words(pairs({("null", "vbpr", "baseline"): 0}), none) == ""


def test_how_splits_move_a_simulated_world_is_said_in_words() -> None:
    world = {"seeds": 5, "seeds_b": float("nan"), "splits": 3, "split_cv": 0.03, "split_unlike": 0.0, "b_moves": 3.0}
    assert _seeds(world) == "5" and _seeds({**world, "seeds_b": 3.0}) == "5 and 3"
    assert _moved_by_splits({**world, "rival": True}) == "3.0 %, b 3 times that, b of another recommender"
    assert _moved_by_splits({**world, "rival": False, "splits": 1}) == ""
