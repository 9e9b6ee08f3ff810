"""The headline figures from made parts, counted by hand; what does not count is left out and named."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.names import CALIBRATION_PARTS
from lmmrec_core.report.planted import PLANTED_CONTENT, PLANTED_FIRST
from lmmrec_core.results.provenance import ALLOW, Code, code_now
from lmmrec_core.significance.rates import rate_of
from lmmrec_core.significance.simulation import CANDIDATES, World
from lmmrec_core.study.calibration import simulated, tables
from lmmrec_core.study.calibration import summary as figures
from lmmrec_core.study.calibration.files import add_line, part_path, read_lines
from lmmrec_core.study.calibration.listings import read_listing, up_to_date, write_listing
from lmmrec_core.study.calibration.page import CalibrationPage
from lmmrec_core.study.calibration.reading import read_calibration
from lmmrec_core.study.calibration.simulated import coverage_made_from
from lmmrec_core.study.calibration.summary import summary_of, write_summary_of
from lmmrec_core.study.calibration.tables import answering_tests, candidate_rows, planted_answers
from lmmrec_core.study.calibration.world_tests import worlds_tested
from lmmrec_core.study.calibration.worlds import GROUPS, WORLDS, DrawnWorld, worlds_of
from tests.study.calibration.conftest import keep_listing, made_line

KEYS = {
    "aa_rate", "aa_rate_interval", "aa_pairs", "aa_levels", "aa_by_model", "aa_worlds_rate", "aa_worlds_rate_interval",
    "aa_worlds_pairs", "null_rate", "null_rate_interval", "null_tests", "null_worlds", "power_complementary",
    "power_complementary_interval", "coverage", "coverage_interval", "coverage_lowest", "coverage_lowest_interval",
    "mde", "computed_from",
}  # fmt: skip


def pairs(p_values: list[float]) -> pd.DataFrame:
    """Pairs of seeds, three to a cell."""
    return pd.DataFrame(
        [
            {"dataset": "null", "model": "vbpr", "cell": f"cell {n // 3}", "metric": "ndcg@20", "seed_a": 1,
             "seed_b": 2, "difference": 0.0, "ci_low": -1.0, "ci_high": 1.0, "p": p, "p_users": p / 10}
            for n, p in enumerate(p_values)
        ]
    )  # fmt: skip


def detectable() -> pd.DataFrame:
    """What could be found: three pairs of one question, and one of another that is not testable."""
    rows = [("rq3", 0.1, 0.2), ("rq3", 0.3, 0.4), ("rq3", 0.2, 0.6), ("rq1", float("inf"), float("inf"))]
    frame = pd.DataFrame(rows, columns=["question", "mde", "mde_holm"])
    return frame.assign(
        dataset="null", metric="ndcg@20", model="vbpr", pair="x", n=9, persons=9, seeds=3, family_size=5
    )


def test_without_anything_stored_every_figure_is_none(tmp_path) -> None:
    found = summary_of(read_calibration(tmp_path))
    assert found.keys() == KEYS
    counts = {"aa_pairs", "aa_worlds_pairs", "null_tests", "null_worlds", "computed_from"}
    assert all(found[name] is None for name in KEYS - counts)
    assert [found[name] for name in counts - {"computed_from"}] == [0] * 4


def test_rates_are_counted_by_hand(store, monkeypatch) -> None:
    """Of twelve pairs of seeds one is below 0.05; of 20 tests on ten null worlds those that the tests say."""
    results = store(*worlds_of("null", 10))
    store(*worlds_of("planted", 3), gain=0.3)
    keep_listing(results, "against-itself-controls", pairs([0.04, *[0.5] * 11]))
    keep_listing(results, "mde-controls", detectable())
    stored = read_calibration(results)
    found = write_summary_of(stored, results)
    assert found["aa_rate"] == pytest.approx(1 / 12) and found["aa_pairs"] == 12
    assert found["aa_levels"] == {"0.01": 0.0, "0.001": 0.0}
    assert found["aa_by_model"] == {
        "vbpr": {"pairs": 12, "rate": found["aa_rate"], "rate_interval": found["aa_rate_interval"]}
    }
    assert (found["null_tests"], found["null_worlds"]) == (20, 10)
    tests = figures.null_tests(stored, "ndcg@20")
    assert found["null_rate"] == (tests["p"] < 0.05).sum() / 20
    low, high = found["null_rate_interval"]
    assert 0 <= low <= found["null_rate"] <= high <= 1
    assert found["power_complementary"] == 1.0 and found["power_complementary_interval"][1] == 1.0
    mde = found["mde"]["null"]
    assert mde["rq3"]["median"] == 0.2 and (mde["rq3"]["lowest"], mde["rq3"]["highest"]) == (0.1, 0.3)
    assert mde["rq3"]["holm"]["median"] == 0.4 and mde["rq3"]["pairs"] == 3
    assert "rq1" not in mde  # its only pair is not testable
    assert found["computed_from"]["null"]["worlds"] == 10
    assert json.loads((results / "calibration" / "summary.json").read_text()) == found


def test_coverage_is_that_of_the_books_test_over_all_worlds(tmp_path, code) -> None:
    rows = pd.DataFrame(
        {"world": [0, 0, 1, 1], "candidate": ["crossed, moderated", "users only (seeds fixed)"] * 2,
         "covered": [0.9, 0.1, 1.0, 0.2], "repetitions": [100, 100, 300, 300], "effect": [0.0, 0.0, 0.1, 0.1],
         "rejected": [0.1, 0.9, 0.5, 0.9], "splits": [1, 1, 3, 3]}
    )  # fmt: skip
    keep_listing(tmp_path, "coverage", rows)
    found = summary_of(read_calibration(tmp_path))
    assert found["coverage"] == pytest.approx(390 / 400)
    assert found["coverage_lowest"] == pytest.approx(90 / 100)  # the pooled rate would hide it
    for name, hits, of in (("coverage", 390, 400), ("coverage_lowest", 90, 100)):
        exact = stats.binomtest(hits, of).proportion_ci(method="exact")
        assert found[f"{name}_interval"] == pytest.approx([exact.low, exact.high])
    page = CalibrationPage(read_calibration(tmp_path))
    assert "97.5 % of the intervals" in page.coverage_in_words() and "90.0 % do" in page.coverage_in_words()
    assert ": 90.0 % on one split and 100.0 % over several." in page.coverage_in_words()
    assert "in the worst of the simulated worlds 90.0 %" in page.in_words()
    assert figures.false_alarms(page.stored.coverage) == (0.1, 0.1)  # the other world has an effect


def test_lines_of_uncommitted_code_or_other_settings_do_not_count(store, code, controls, monkeypatch) -> None:
    results = store(*worlds_of("null", 3))
    code(True)
    keep_listing(results, "against-itself-controls", pairs([0.5] * 3))
    store(worlds_of("null", 4)[-1])
    stored = read_calibration(results)
    assert len(stored.worlds["null"]) == 3 and stored.uncommitted == ("null null-5029", "against-itself controls")
    assert summary_of(stored)["aa_rate"] is None
    assert "2 results are of uncommitted code" in CalibrationPage(stored).summary()
    monkeypatch.setenv(ALLOW, "1")
    assert len(read_calibration(results).worlds["null"]) == 4
    other = controls.model_copy(update={"training": {**controls.training, "learning_rate": 0.5}})
    stored = read_calibration(results, other)
    assert stored.worlds["null"] == () and len(stored.outdated) == 4
    assert "4 worlds were run under other settings" in CalibrationPage(stored).summary()


def test_a_world_has_one_line_and_machines_are_told_once(store, controls) -> None:
    results = store(*worlds_of("null", 2))
    store(worlds_of("null", 1)[0])
    path = part_path(results, "null")
    lines = read_lines(path)
    assert [line["world"] for line in lines] == ["null-5026", "null-5027"]
    assert len(json.loads((path.parent / "environments.json").read_text())) == 1
    assert {line["provenance"]["environment"] for line in lines} == set(
        json.loads((path.parent / "environments.json").read_text())
    )
    assert {line["provenance"]["commit"] for line in lines} == {"c0ffee00" * 5}


def test_a_changed_line_and_a_changed_listing_are_noticed(store) -> None:
    results = store(*worlds_of("null", 1))
    path = part_path(results, "null")
    path.write_text(path.read_text().replace('"users":40', '"users":41'))
    with pytest.raises(ResultError, match=r"null\.jsonl, line 1: damaged; remove the line"):
        read_calibration(results)
    keep_listing(results, "coverage", pairs([0.5]))
    (results / "calibration" / "coverage.csv").write_text("other\n")
    with pytest.raises(ResultError, match=r"coverage\.csv: damaged"):
        read_listing(results, "coverage")
    assert up_to_date(results, "coverage", coverage_made_from()) is None  # made again, whole


def test_a_listing_is_made_again_for_other_inputs_and_for_code_that_is_committed_now(tmp_path, code) -> None:
    code(True)
    write_listing(tmp_path, "coverage", pairs([0.5]), {"settings": "x"}, code_now())
    assert (
        up_to_date(tmp_path, "coverage", {"settings": "x"}) is not None
        and up_to_date(tmp_path, "coverage", {"settings": "y"}) is None
    )
    code(False)
    assert up_to_date(tmp_path, "coverage", {"settings": "x"}) is None
    write_listing(tmp_path, "coverage", pairs([0.5]), {"settings": "x"}, code_now())
    found = up_to_date(tmp_path, "coverage", {"settings": "x"})
    assert found is not None and found.rows["p"].tolist() == [0.5]
    # begun before the commit: made by code that nobody else has
    write_listing(tmp_path, "coverage", pairs([0.5]), {"settings": "x"}, Code("0" * 40, dirty=True))
    assert up_to_date(tmp_path, "coverage", {"settings": "x"}) is None


def test_a_value_that_is_no_number_is_not_kept(tmp_path, controls, code) -> None:
    world = worlds_of("null", 1)[0]
    line = made_line(world, controls)
    with pytest.raises(ResultError, match="not a finite number"):
        add_line(part_path(tmp_path, "null"), {**line, "cpu_seconds": float("nan")}, code_now())
    assert not part_path(tmp_path, "null").exists()


def test_worlds_are_fresh_and_never_shared_between_groups(controls) -> None:
    used = {settings.options["seed"] for settings in controls.datasets.values()}
    seeds = [range(group.first, group.first + group.most) for group in GROUPS]
    assert all(min(one) > max(used) and min(one) >= 5026 for one in seeds)
    for number, one in enumerate(seeds):
        assert all(set(one).isdisjoint(other) for other in seeds[number + 1 :])
    assert {group.part for group in GROUPS} <= set(CALIBRATION_PARTS)
    with pytest.raises(ConfigError, match="1 to 100 worlds"):
        worlds_of("power", 101)
    names = [world.name for part in WORLDS for world in worlds_of(part, 3)]
    assert len(set(names)) == len(names)


def test_what_is_declared_of_the_null_worlds_is_what_hours_of_runs_were_made_under(controls) -> None:
    """Another digest makes the lines of all null worlds outdated: change it only with what they are trained under."""
    assert worlds_of("null", 1)[0].declared(controls) == "572fb6455e994275"


def test_what_is_declared_of_a_world_does_not_depend_on_where_its_group_begins(controls) -> None:
    group = GROUPS[0]
    earlier, later = (DrawnWorld(replace(group, first=first), 5040).declared(controls) for first in (5001, 5030))
    assert earlier == later == DrawnWorld(group, 5040).declared(controls)
    assert DrawnWorld(group, 5041).declared(controls) != later


def test_worlds_that_were_looked_at_when_the_test_was_chosen_do_not_count(store) -> None:
    looked_at = [DrawnWorld(GROUPS[0], seed) for seed in (5001, 5025)]
    stored = read_calibration(store(*looked_at, *worlds_of("null", 1)))
    assert [world.seed for world, _ in stored.worlds["null"]] == [5026]
    assert stored.outdated == ("null null-5001", "null null-5025")


def answers(blocks: int) -> pd.DataFrame:
    """Four tests in two worlds of each block; in every tenth block all four find something."""
    rows = [(n, 2 * n + world, 0.01 if n % 10 == 0 else 0.5) for n in range(blocks) for world in (0, 0, 1, 1)]
    return pd.DataFrame(rows, columns=["block", "world", "p"]).assign(difference=1.0)


def test_the_tests_of_a_block_are_a_cluster_where_there_are_ten_blocks() -> None:
    many, few = answers(20), answers(9)
    expected = rate_of((many["p"] < 0.05).tolist(), many["block"].tolist())
    assert expected.clusters == 20 and expected.rate == 0.1
    assert figures.rejected(many) == figures.power_of(many) == expected
    by_world = rate_of((few["p"] < 0.05).tolist(), few["world"].tolist())
    assert figures.rejected(few) == figures.power_of(few) == by_world and by_world.clusters == 18
    narrower = rate_of((many["p"] < 0.05).tolist(), many["world"].tolist())
    assert expected.high - expected.low > 1.2 * (narrower.high - narrower.low)


@pytest.mark.parametrize(("models", "clusters"), [(10, 10), (9, 18)])
def test_the_pairs_of_a_model_on_a_data_set_are_a_cluster_where_there_are_ten(models: int, clusters: int) -> None:
    """Two cells with three pairs each, of as many models."""
    named = [pairs([0.01 if n == 0 else 0.5] * 6).assign(model=f"model {n}", track="controls") for n in range(models)]
    rate = figures.aa_rate(pd.concat(named))
    assert rate is not None and (rate.clusters, rate.n, rate.rate) == (clusters, 6 * models, 1 / models)


def test_planted_answers_are_read_from_null_worlds_too_and_the_first_answer_stands_below(store) -> None:
    results = store(*worlds_of("null", 2))
    store(*worlds_of("planted", 2), gain=0.3)
    page = CalibrationPage(read_calibration(results))
    tests = answering_tests(page.stored, "ndcg@20")
    (nothing,) = (one for one in PLANTED_CONTENT if one.effect == "none")
    found = planted_answers(tests, nothing)
    assert found.keys() == {"vbpr", "lattice"} and found["vbpr"]["world"].tolist() == [5026, 5027]
    null = worlds_tested(page.stored.worlds["null"]).set_index(["model", "world"])
    for model, said in found.items():
        for row in said.to_dict("records"):
            test = null.loc[(model, row["world"])]
            expected = "found" if test["equivalence_p"] < 0.05 else "not found" if test["p"] < 0.05 else "cannot tell"
            assert row["answer"] == expected
    for first in PLANTED_FIRST:
        answers = planted_answers(tests, first)
        assert all(set(said["answer"]) == {"not found"} for said in answers.values()) and len(answers) == 2
    shown = page.planted().to_html()
    assert "Null" in shown and shown.count("within ±5% (first, not counted)") == 2 * 2


def test_candidates_are_counted_over_the_simulated_worlds_of_one_split_and_of_several(tmp_path, code) -> None:
    """Two worlds without an effect and two with one; seeds vary by 2 % in the first. A world without an effect where a
    side has one seed; then one world of three splits with and one without an effect.
    """
    rows = pd.DataFrame(
        [
            {"world": world, "effect": effect, "seed_cv": cv, "candidate": name, "repetitions": repetitions,
             "rejected": rejected, "covered": 1 - rejected if effect == 0 else 0.9, "splits": 3 if world > 4 else 1,
             "seeds_b": 1.0 if world == 4 else np.nan, "split_cv": 0.0, "rejected_0.01": rejected / 4,
             "rejected_0.001": rejected / 40}
            for name, repetitions, shift in (("crossed, moderated", 1000, 0.0), ("two-way bootstrap", 200, -0.02),
                                             ("crossed, own seeds", 1000, 0.1))
            for world, (effect, cv, rejected) in enumerate(
                [(0.0, 0.02, 0.04 + shift), (0.0, 0.06, 0.06 + shift), (0.3, 0.02, 0.8 + shift), (0.3, 0.06, 0.5),
                 (0.0, 0.02, 1.0), (0.0, 0.02, 0.02 + shift), (0.3, 0.02, 0.7)])
            if world < 5 or name != "two-way bootstrap"
        ]
    )  # fmt: skip
    keep_listing(tmp_path, "coverage", rows)
    book, own, bootstrap, over_splits, own_splits = candidate_rows(read_calibration(tmp_path))
    assert book == {
        "splits": 1, "test": "the book", "worlds": 4, "simulated each": 1000, "false alarms": "5.0 %", "most": "6.0 %",
        "at 1 %": "1.2 %", "at 0.1 %": "0.1 %", "truth held": "92.5 %", "least": "90.0 %",
        "found in quiet worlds": "80.0 %",
    }  # fmt: skip
    assert (bootstrap["false alarms"], bootstrap["simulated each"]) == ("3.0 %", 200)
    assert bootstrap["found in quiet worlds"] == "78.0 %"
    assert (over_splits["splits"], over_splits["worlds"], over_splits["false alarms"]) == (3, 2, "2.0 %")
    assert (own["test"], own_splits["test"]) == ("crossed, own seeds only", "crossed, the pair's own splits only")
    assert (own_splits["at 1 %"], own_splits["at 0.1 %"]) == ("3.0 %", "0.3 %")


def test_every_candidate_is_simulated_in_every_world_of_one_split_and_named_on_the_page(monkeypatch) -> None:
    class Bar:
        def update(self) -> None:
            pass

    several = World(splits=3, further=2)
    monkeypatch.setattr(simulated, "SIMULATED", (World(), several))
    frame, other = simulated._simulate(3, Bar())  # type: ignore[arg-type]
    assert set(other["candidate"]) == {simulated.BOOK_TEST, simulated.OWN, simulated.SEEDS_FIXED}
    assert set(other["splits"]) == {3} and set(other["repetitions"]) == {3}
    assert set(frame["candidate"]) == set(CANDIDATES) == set(tables._TESTS) and set(frame["repetitions"]) == {3}
