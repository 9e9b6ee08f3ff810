"""Whole tables of random rankings pass every check with its default options; one copied system among them does not."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmmrec_core.audit.checks import Finding, check_printed
from lmmrec_core.audit.coincidence import USUAL, CellName, apart, chance_of_agreement, median_gap
from lmmrec_core.audit.printed import PrintedCell, PrintedTable, System, read_printed
from lmmrec_core.audit.relations import PrintedValue

ITEMS = 60


def random_table(
    rng: np.random.Generator, users: int, held_out: int, decimals: int, folder: Path, systems: int = 5
) -> PrintedTable:
    """Systems of two models on two data sets, every one a ranking at random of :data:`ITEMS` items."""
    discounts = 1 / np.log2(np.arange(ITEMS) + 2)
    relevant = np.zeros((users, ITEMS), bool)
    relevant[:, :held_out] = True
    lines = ["model,dataset,system,metric,value"]
    for model, system, dataset in product("AB", range(systems), ("d1", "d2")):
        hits = rng.permuted(relevant, axis=1).mean(0)
        for k in (10, 20):
            recall = hits[:k].sum() / held_out
            ndcg = hits[:k] @ discounts[:k] / discounts[: min(held_out, k)].sum()
            lines += [
                f"{model},{dataset},s{system},{name}@{k},{value:.{decimals}f}"
                for name, value in (("recall", recall), ("ndcg", ndcg))
            ]
    path = folder / "random.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_printed(path)


def kinds(found: list[Finding]) -> set[str]:
    return {finding.kind for finding in found}


@pytest.mark.parametrize(
    ("held_out", "users", "decimals"), [(25, 900, 4), (1, 5000, 3), (1, 2000, 2), (15, 2000, 2)], ids=str
)
def test_random_tables_that_once_raised_alarms(held_out: int, users: int, decimals: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(users + held_out + decimals)
    found = set[str]()
    for _ in range(10):
        found |= kinds(check_printed(random_table(rng, users, held_out, decimals, tmp_path)))
    assert found <= ({"impossible if few"} if held_out > 10 else set())


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    users=st.integers(20, 2000),
    held_out=st.integers(1, 40),
    decimals=st.integers(2, 5),
    systems=st.integers(1, 5),
)
def test_random_tables_pass_every_check(
    tmp_path: Path, seed: int, users: int, held_out: int, decimals: int, systems: int
) -> None:
    """What needs few held-out items is asked only where users have more of them than the smallest cutoff."""
    table = random_table(np.random.default_rng(seed), users, held_out, decimals, tmp_path, systems)
    assert kinds(check_printed(table)) <= ({"impossible if few"} if held_out > 10 else set())


@pytest.mark.parametrize("changed", [0.0, 0.0002], ids=["repeated", "alike"])
def test_a_copied_system_is_found_among_random_ones(changed: float, tmp_path: Path) -> None:
    table = random_table(np.random.default_rng(8), 2000, 1, 4, tmp_path)
    for dataset in ("d1", "d2"):
        table[System(dataset, "A", "s1")] = {
            metric: replace(cell, number=PrintedValue(round(cell.number.value + changed, 4), cell.number.half))
            for metric, cell in table[System(dataset, "A", "s0")].items()
        }
    found = check_printed(table)
    assert [finding.rows for finding in found if finding.kind == "alike"] == [("A s0", "A s1")]
    assert sum(finding.kind == "repeated" for finding in found) == (0 if changed else 2)


def test_the_chance_of_an_agreement_by_hand() -> None:
    def pair(left: float, right: float) -> tuple[PrintedCell, PrintedCell]:
        return tuple(PrintedCell(PrintedValue(value, 0.00005), False, 1) for value in (left, right))  # type: ignore[return-value]

    ours = {("d", "recall", 10): pair(0.05, 0.05), ("d", "ndcg", 10): pair(0.03, 0.03)}
    window = 0.0001 / (2 * np.pi**0.5)

    def untold(place: CellName) -> None:
        return None

    assert chance_of_agreement(ours, 1, untold) == pytest.approx(window / (USUAL * 0.05))  # one metric of a data set
    further = {("d", "recall", 20): pair(0.08, 0.0802), **ours}  # two units apart: a window of five
    expected = (5 * window) ** 2 / (USUAL * 0.05 * USUAL * 0.0801 * 0.5**0.5)
    assert chance_of_agreement(further, 3, untold) == pytest.approx(3 * expected)
    close = [{("d", "recall", 10): pair(0.05, 0.05 + 0.0002 * (1 + at % 3))} for at in range(9)]

    def usual(place: CellName) -> float | None:
        return median_gap([apart(pairs[place]) for pairs in close if place in pairs])

    assert chance_of_agreement(ours, 10, usual) == pytest.approx(10 * window / (0.0004 / 0.954), rel=1e-9)
    assert chance_of_agreement({("d", "recall", 10): pair(0.0, 0.0)}, 1, untold) == 1.0
