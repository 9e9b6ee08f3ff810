"""Listings from stored runs: every pair of seeds, and what each planned pair could have found."""

from itertools import combinations

import pytest

from lmmrec_core.names import ENCODER_TITLES
from lmmrec_core.questions import Variant
from lmmrec_core.report.labels import Labels
from lmmrec_core.results.pooling import per_seed
from lmmrec_core.significance.crossed import users_only
from lmmrec_core.significance.units import crossed, runs_of
from lmmrec_core.study.calibration.listings import read_listing
from lmmrec_core.study.calibration.stored_runs import against_itself_rows, calibrate_stored
from lmmrec_core.study.cases import Case
from lmmrec_core.study.run import plan, run_case
from lmmrec_core.study.study import Study
from tests.study.made import made_results

LABELS = Labels(ENCODER_TITLES)


def test_every_pair_of_seeds_of_every_cell_is_there_once() -> None:
    results = made_results(seeds=(1, 2, 3))
    rows = against_itself_rows(results, LABELS, ["ndcg@20"])
    cells: dict[tuple[str, str], list] = {}
    for result in results:
        cells.setdefault((result.case["model"], LABELS.variant(Variant.of(result.case))), []).append(result)
    alone = {cell for cell in cells if sum(model == cell[0] for model, _ in cells) < 4}  # too few others to learn from
    expected = {(*cell, one, two) for cell in cells for one, two in combinations((1, 2, 3), 2)}
    found = [tuple(row) for row in rows[["model", "cell", "seed_a", "seed_b"]].to_numpy()]
    assert len(found) == len(set(found)) and set(found) == expected and len(found) > 100
    without = rows[rows["p"].isna()]
    assert alone == {*zip(without["model"], without["cell"], strict=True)} == {("bpr", "none"), ("lightgcn", "none")}
    assert without["ci_low"].isna().all() and without["p_users"].notna().all()


def test_the_p_that_takes_seeds_as_fixed_is_that_of_the_two_runs() -> None:
    results = made_results(seeds=(1, 2, 3))
    rows = against_itself_rows(results, LABELS, ["ndcg@20"])
    row = rows.iloc[7]
    mine = [r for r in results if r.case["model"] == row["model"] and LABELS.variant(Variant.of(r.case)) == row["cell"]]
    values = per_seed(mine, "ndcg@20")
    groups = mine[0].per_user.get("group")
    a, b = (runs_of("x", {seed: values[seed]}) for seed in (row["seed_a"], row["seed_b"]))
    assert row["p_users"] == pytest.approx(users_only(crossed(a, b, groups)).p)
    assert row["difference"] == pytest.approx(values[row["seed_a"]].mean() - values[row["seed_b"]].mean())


def test_listings_are_made_from_what_is_stored_and_made_once(workspace, code) -> None:
    study = Study(workspace, (1, 2))
    for part in ("against-itself", "mde"):
        assert calibrate_stored(part, study) is None
    assert not (workspace.results / "calibration").exists()
    for seed in (1, 2):
        case = {"track": "controls", "dataset": "complementary", "model": "bpr", "seed": seed}
        run_case(plan(Case.build(case, "case"), workspace), workspace)
    assert calibrate_stored("against-itself", study) == 0  # one cell has no others to learn from
    made = read_listing(workspace.results, "against-itself-controls")
    assert made is not None and len(made.rows) == 4 and not made.uncommitted  # a pair, four metrics
    assert made.rows["p"].isna().all() and made.rows["p_users"].notna().all()
    before = (workspace.results / "calibration" / "provenance.json").read_bytes()
    assert calibrate_stored("against-itself", study) == 0
    assert (workspace.results / "calibration" / "provenance.json").read_bytes() == before
