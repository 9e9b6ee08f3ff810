"""The tests on stored worlds are the book's: the same numbers as from per-user values, in the stated blocks."""

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.questions import ALPHA, PICTURES_ALONE, PICTURES_AND_NOISE, PICTURES_TWICE, SHUFFLED, TEXTS_AND_NOISE
from lmmrec_core.significance.comparison import compare
from lmmrec_core.significance.families import holm
from lmmrec_core.significance.moments import moments_of
from lmmrec_core.significance.seed_noise import noise_of, seed_noise
from lmmrec_core.study.calibration.reading import Stored
from lmmrec_core.study.calibration.tables import CAPACITY, capacity_rows
from lmmrec_core.study.calibration.world_tests import divisions_of, worlds_tested
from lmmrec_core.study.calibration.worlds import WORLDS, worlds_of
from lmmrec_core.study.comparisons import planned_pairs
from tests.study.calibration.conftest import made_line


def known(controls, part, count, gain=0.0):
    return [(world, made_line(world, controls, gain)) for world in worlds_of(part, count)]


def test_the_test_is_the_books_with_the_spread_over_seeds_of_the_block(controls) -> None:
    """Two null worlds, their per-user values at hand: content against shuffled must come out as ``compare`` says."""
    generator = np.random.default_rng(5)
    lines, values = [], {}
    for world in worlds_of("null", 2):
        line = made_line(world, controls)
        runs = generator.random((40, 6)) + generator.random((40, 1))
        values[world.seed] = [{s: pd.Series(runs[:, 3 * side + s]) for s in range(3)} for side in range(2)]
        moments = moments_of(runs, np.arange(40), 40)
        kept = {"means": moments.means.tolist(), "products": [moments.products[i, : i + 1].tolist() for i in range(6)]}
        line["models"] = {"vbpr": {**line["models"]["vbpr"], "metrics": {"ndcg@20": kept}}}
        lines.append((world, line))
    noise = seed_noise(noise_of(cell) for sides in values.values() for cell in sides)
    assert noise is not None  # four cells of the block know together what two would not
    found = worlds_tested(lines)
    assert found["pair"].tolist() == [SHUFFLED, SHUFFLED] and found["block"].tolist() == [5026, 5026]
    for row in found.to_dict("records"):
        content, shuffled = values[row["world"]]
        expected = compare(content, shuffled, noise=(noise, noise))
        for name in ("p", "se", "df", "difference", "ci_low", "ci_high", "relative", "relative_low", "mean_a"):
            assert row[name] == pytest.approx(getattr(expected, name), rel=1e-9), name
        assert row["p_own"] == pytest.approx(compare(content, shuffled).p, rel=1e-9)


def test_blocks_are_neighbours_with_ten_cells_and_do_not_depend_on_what_is_done(controls) -> None:
    found = worlds_tested(known(controls, "null", 12))
    assert found.drop_duplicates("world").set_index("world")["block"].to_dict() == {
        5026 + n: 5026 + 5 * (n // 5) for n in range(12)
    }
    planted = worlds_tested(known(controls, "planted", 4))
    assert set(planted[planted["kind"] == "redundant"]["block"]) == {6501, 6504}  # four cells a world, three worlds
    first, whole = worlds_tested(known(controls, "null", 5)), worlds_tested(known(controls, "null", 7))
    assert first["p"].tolist() == whole[whole["world"] < 5031]["p"].tolist()


def test_planted_worlds_are_tested_for_all_that_is_planted_and_adjusted_in_its_family(controls) -> None:
    found = worlds_tested(known(controls, "planted", 1, gain=0.02))
    here = found[found["world"] == 6001]
    assert {pair for pair in here["pair"]} == {SHUFFLED, PICTURES_AND_NOISE, TEXTS_AND_NOISE}
    family = here[here["question"] == "motivation"]
    size = len(planned_pairs("motivation"))
    expected = holm([*family["p"], *[1.0] * (size - len(family))])[: len(family)]
    assert family["p_holm"].tolist() == pytest.approx(expected.tolist())
    assert (family["p_holm"] > family["p"]).all() and size > len(family)


def test_a_large_gain_is_found_and_none_is_not(controls) -> None:
    gain, nothing = worlds_tested(known(controls, "power", 2, gain=0.2)), worlds_tested(known(controls, "null", 5))
    assert (gain["p"] < ALPHA).all() and (gain["difference"] > 0).all()
    assert (nothing["p"] < ALPHA).mean() < 0.5


def test_six_runs_are_divided_in_ten_ways_once_as_planned(controls) -> None:
    found = divisions_of(known(controls, "null", 5))
    assert len(found) == 5 * 2 * 10
    each = found.groupby(["world", "model"])
    assert (each["planned"].sum() == 1).all()
    assert (each["matched"].sum() == 4).all()  # one of each seed's two runs on a side: 2 × 2 × 2, halved
    planned = found[found["planned"]].set_index(["world", "model"])["p"]
    book = worlds_tested(known(controls, "null", 5)).set_index(["world", "model"])["p"]
    assert planned.to_dict() == pytest.approx(book.to_dict())


def test_a_second_modality_is_held_against_equal_weights_too(controls) -> None:
    """V&T against V, V twice against V, V&T against V and shuffled T; the made lines give V&T alone a gain."""
    lines = known(controls, "capacity", 3, gain=0.2)
    found = worlds_tested(lines)
    assert found.groupby("pair", sort=False).size().to_dict() == {
        PICTURES_TWICE: 3,
        PICTURES_ALONE: 3,
        PICTURES_AND_NOISE: 3,
    }
    twice = found["pair"] == PICTURES_TWICE
    assert set(found.loc[twice, "question"]) == {""} and found.loc[twice, "p_holm"].isna().all()
    assert found.loc[~twice, "p_holm"].notna().all() and set(found["block"]) == {8001}
    stored = Stored({part: lines if part == "capacity" else () for part in WORLDS}, {}, {}, None)
    rows = {row["comparison"]: row for row in capacity_rows(stored, "ndcg@20")}
    assert list(rows) == list(CAPACITY) and len(rows) == 3
    for name, pair in CAPACITY.items():
        own = found[(found["pair"] == pair) & (found["p"] < ALPHA)]
        counted = rows[name]["found better"], rows[name]["found worse"]
        assert counted == ((own["difference"] > 0).sum(), (own["difference"] < 0).sum())
    assert rows["V&T against V"]["found better"] == 3
    assert {name: row["first runs"] for name, row in rows.items()} == {
        "V&T against V": "+36 %, p 1e-06", "V twice against V": "+44 %", "V&T against V and shuffled T": "−6 %, p 0.19"
    }  # fmt: skip
    expected = found.loc[found["pair"] == PICTURES_ALONE, "relative"].median()
    assert rows["V&T against V"]["median change"] == expected and rows["V&T against V"]["worlds"] == 3
