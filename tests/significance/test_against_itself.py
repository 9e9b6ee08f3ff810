"""A system against itself: the rate of false alarms where it is known, and what is left out."""

import numpy as np

from lmmrec_core.significance.against_itself import against_itself
from tests.significance.crossing import by_seed, drawn


def test_a_system_is_found_different_from_itself_at_the_level_of_the_test() -> None:
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(60):
        cells = {str(number): by_seed(drawn(60, 3, rng, seed_sd=0.2)) for number in range(8)}
        found = against_itself(cells)
        assert len(found) == 8 * 3
        rates.append((found["p"] < 0.05).mean())
    assert abs(np.mean(rates) - 0.05) < 0.025  # 1440 pairs of 480 cells, which share their noise


def test_pairs_are_those_of_the_seeds_and_a_lonely_cell_is_left_out() -> None:
    rng = np.random.default_rng(1)
    cells = {str(number): by_seed(drawn(30, 2, rng)) for number in range(4)}
    found = against_itself(cells)
    assert found[["cell", "seed_a", "seed_b"]].to_numpy().tolist() == [[str(number), 1, 2] for number in range(4)]
    difference = cells["0"][1].mean() - cells["0"][2].mean()
    assert abs(found["difference"][0] - difference) < 1e-12
    assert against_itself({name: cells[name] for name in ("0", "1", "2")}).empty
