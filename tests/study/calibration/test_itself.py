"""A system against itself: pairs that can't be tested are counted, null worlds give the test of per-user values."""

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.significance.against_itself import against_itself
from lmmrec_core.significance.crossed import users_only
from lmmrec_core.significance.moments import moments_of
from lmmrec_core.significance.rates import rate_of
from lmmrec_core.significance.units import crossed, runs_of
from lmmrec_core.study.calibration import summary as figures
from lmmrec_core.study.calibration.page import CalibrationPage
from lmmrec_core.study.calibration.reading import read_calibration
from lmmrec_core.study.calibration.summary import summary_of
from lmmrec_core.study.calibration.tables import itself_by_model, itself_on_worlds
from lmmrec_core.study.calibration.world_tests import seeds_against_seeds
from lmmrec_core.study.calibration.worlds import worlds_of
from tests.study.calibration.conftest import keep_listing, made_line

NAN = float("nan")


def test_seeds_of_null_worlds_are_tested_as_their_values_would_be(controls) -> None:
    """Two worlds of one block and one of the next: the same p as ``against_itself`` gives the block's four cells."""
    generator = np.random.default_rng(3)
    lines, cells = [], {}
    for world in [*worlds_of("null", 2), worlds_of("null", 6)[-1]]:
        line = made_line(world, controls)
        runs = generator.random((40, 6)) + generator.random((40, 1)) + 0.05 * generator.standard_normal(6)
        moments = moments_of(runs, np.arange(40), 40)
        kept = {"means": moments.means.tolist(), "products": [moments.products[i, : i + 1].tolist() for i in range(6)]}
        line["models"] = {"vbpr": {**line["models"]["vbpr"], "metrics": {"ndcg@20": kept}}}
        lines.append((world, line))
        if world.seed < 5031:
            for number, cell in enumerate(("baseline", "baseline (shuffled)")):
                cells[f"{world.seed} {cell}"] = {s: pd.Series(runs[:, 3 * number + s - 1]) for s in (1, 2, 3)}
    found = seeds_against_seeds(lines)
    expected = against_itself(cells)
    assert len(found) == len(expected) == 2 * 2 * 3  # the third world's block has two cells, one other for each
    found["cell"] = found["world"].astype(str) + " " + found["cell"]
    joined = found.merge(expected, on=["cell", "seed_a", "seed_b"], suffixes=("", "_expected"), validate="1:1")
    assert len(joined) == len(expected)
    for name in ("p", "difference"):
        assert joined[name].tolist() == pytest.approx(joined[f"{name}_expected"].tolist(), rel=1e-8)
    row = found.iloc[4]
    one, other = (runs_of("x", {s: cells[row["cell"]][s]}) for s in (row["seed_a"], row["seed_b"]))
    assert row["p_users"] == pytest.approx(users_only(crossed(one, other, None)).p)


def test_the_rate_on_worlds_is_that_of_its_pairs_clustered_by_world(store) -> None:
    stored = read_calibration(store(*worlds_of("null", 5)))
    found = figures.world_pairs(stored, "ndcg@20")
    assert len(found) == 5 * 2 * 2 * 3
    summary = summary_of(stored)
    expected = rate_of((found["p"] < 0.05).tolist(), found["world"].tolist())
    assert summary["aa_worlds_pairs"] == 60 and summary["aa_worlds_rate"] == expected.rate
    assert summary["aa_worlds_rate_interval"] == [expected.low, expected.high] and expected.clusters == 5
    rows = pd.DataFrame(itself_on_worlds(stored))
    assert rows["model"].tolist() == ["LATTICE", "VBPR", "both"] * 2 and rows["pairs"].tolist() == [30, 30, 60] * 2


def test_pairs_that_cannot_be_tested_are_counted_by_model_and_are_in_no_rate(tmp_path, code) -> None:
    """VBPR: two cells with three pairs each, one of the six pairs below 0.05. MMGCN: one cell, alone."""
    p = {("vbpr", "x"): [0.01, 0.5, 0.5], ("vbpr", "y"): [0.5] * 3, ("mmgcn", "x"): [NAN] * 3}
    rows = [
        {"dataset": "null", "model": model, "cell": cell, "metric": "ndcg@20", "seed_a": a, "seed_b": b,
         "difference": 0.1, "ci_low": -1.0, "ci_high": 1.0, "p": value, "p_users": 0.01}
        for (model, cell), values in p.items()
        for (a, b), value in zip([(1, 2), (1, 3), (2, 3)], values, strict=True)
    ]  # fmt: skip
    keep_listing(tmp_path, "against-itself-controls", pd.DataFrame(rows))
    stored = read_calibration(tmp_path)
    assert (summary_of(stored)["aa_pairs"], summary_of(stored)["aa_rate"]) == (6, pytest.approx(1 / 6))
    by_model = {row["model"]: row for row in itself_by_model(stored, "ndcg@20")}
    assert by_model["VBPR"]["pairs"] == 6 and by_model["VBPR"]["cells not testable"] == ""
    assert by_model["VBPR"]["users only"] == "100.0 %"
    assert (by_model["VBPR"]["at 1 %"], by_model["VBPR"]["users only, at 0.1 %"]) == ("0.0 %", "0.0 %")
    assert by_model["all"]["pairs"] == 6 and by_model["all"]["cells not testable"] == "1 (3 pairs)"
    assert by_model["MMGCN"]["rate"] == "not testable" and by_model["MMGCN"]["cells not testable"] == "1 (3 pairs)"
    page = CalibrationPage(stored)
    assert "6 pairs of seeds" in page.summary() and "MMGCN" in page.against_itself_by_model().to_html()
    assert "stored runs" in page.bars().to_html() and "fresh null worlds" in page.bars().to_html()
