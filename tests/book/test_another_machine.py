"""What the book says of other machines is what the benchmark measured."""

import json
from typing import Any

import pytest

from lmmrec_core.names import MODEL_TITLES, SEEDLESS_MODELS
from lmmrec_core.study.declared.track_file import read_track
from tests.book.source import ROOT, chapter, table_under

OTHERS = ("AVX2", "AVX2, two threads", "no AVX")
SECTION = "## What another machine changes"


@pytest.fixture(scope="module")
def measured() -> Any:
    return json.loads((ROOT / "benchmarks" / "stability.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def section() -> str:
    return SECTION + chapter("reading").split(SECTION)[1].split("\n## ")[0]


def run_title(name: str, model: str) -> str:
    """The cell as the table names it."""
    titles = read_track("controls").encoder_titles
    parts = name.split("-")
    encoder = titles[parts[1]] if len(parts) > 1 and parts[1] != "baseline" else ""
    return ", ".join(filter(None, [MODEL_TITLES[model], encoder, "content shuffled" if "shuffled" in parts else ""]))


def percent(share: float) -> str:
    return f"{100 * share:.1f}" if share else "0"


def size(value: float) -> str:
    return f"{value:.0e}".replace("e-0", "e-") if value else "0"


def run_rows(measured: Any) -> list[list[str]]:
    """The table of runs: largest change, deviations over machines and over seeds, equal lists; all in %."""
    cells = sorted(measured["cells"].items(), key=lambda item: list(MODEL_TITLES).index(item[1]["model"]))
    parts = ("largest_change", "deviation_over_machines", "deviation_over_seeds")
    return [
        [
            run_title(name, cell["model"]),
            *(percent(cell[part]) for part in parts),
            str(int(100 * cell["fewest_same_lists"])),
        ]
        for name, cell in cells
    ]


def feature_rows(measured: Any) -> list[list[str]]:
    """The table of features: largest difference, relative to the largest value, of either modality."""
    titles, rows = read_track("controls").encoder_titles, []
    for weights in ("same weights", "own weights"):
        for encoder in read_track("controls").encoders:
            found = [measured["machines"][machine]["features"][weights][encoder].values() for machine in OTHERS]
            largest = [max(each["largest_difference"] / each["largest_value"] for each in both) for both in found]
            rows.append([f"{titles[encoder]}, {weights}", *map(size, largest)])
    return rows


def test_the_tables_are_those_of_the_benchmark(measured: Any, section: str) -> None:
    assert table_under(section, "run | largest change | over machines | over seeds | same lists") == run_rows(measured)
    assert table_under(section, f"features of | {' | '.join(OTHERS)}") == feature_rows(measured)


def test_data_and_draws_are_equal_on_every_machine_and_arithmetic_is_not(measured: Any) -> None:
    for machine in OTHERS:
        drawn = measured["machines"][machine]["drawn"]
        unequal = {name for name, entry in drawn.items() if not entry["equal"]}
        assert unequal == ({"normal initial weights"} if machine == "no AVX" else set())
        assert not all(entry["equal"] for entry in measured["machines"][machine]["operations"].values())
    capabilities = {name: entry["capability"] for name, entry in measured["machines"].items()}
    assert capabilities["AVX2"] == "AVX2" and capabilities["no AVX"] == "DEFAULT"


def test_the_same_machine_again_gives_the_same_bits(measured: Any) -> None:
    again = measured["machines"]["as it is, again"]
    for part in ("operations", "drawn"):
        assert all(entry["equal"] for entry in again[part].values())
    assert all(
        each["equal"] for encoders in again["features"].values() for both in encoders.values() for each in both.values()
    )
    for cell in measured["cells"].values():
        assert all(run["same_lists"] == 1 and run["change"] == 0 for run in cell["runs"]["as it is, again"].values())


def test_the_benchmark_is_of_committed_code(measured: Any) -> None:
    assert measured["provenance"]["commit"] and measured["provenance"]["dirty"] is False


def test_steady_models_keep_their_lists_and_mmgcn_moves_as_with_another_seed(measured: Any, section: str) -> None:
    words = " ".join(section.split())
    steady = [cell for cell in measured["cells"].values() if cell["model"] not in ("lattice", "mmgcn")]
    assert {cell["model"] for cell in steady} == set(MODEL_TITLES) - {"lattice", "mmgcn"}
    fewest = int(100 * min(cell["fewest_same_lists"] for cell in steady))
    assert f"at least {fewest} % of users keep their list, and NDCG@20 changes by less than 0.01 %" in words
    assert max(cell["largest_change"] for cell in steady) < 1e-4
    assert all(
        cell["deviation_over_machines"] < cell["deviation_over_seeds"] / 10
        for cell in steady
        if cell["model"] not in SEEDLESS_MODELS
    )
    lattice = [cell for cell in measured["cells"].values() if cell["model"] == "lattice"]
    assert all(cell["fewest_same_lists"] == 0 for cell in lattice) and "No user keeps all 20 items" in words
    assert f"its NDCG@20 changes by {100 * max(cell['largest_change'] for cell in lattice):.1f} % at most" in words
    assert all(cell["deviation_over_machines"] < cell["deviation_over_seeds"] for cell in lattice)
    mmgcn = measured["cells"]["mmgcn-baseline-VT"]
    spreads = (mmgcn["deviation_over_machines"], mmgcn["deviation_over_seeds"])
    assert "{:.1f} % over machines, {:.1f} % over seeds".format(*(100 * spread for spread in spreads)) in words
    assert spreads[0] > spreads[1] > 0.02
    steps = [run["best_step"] for machine in OTHERS for run in mmgcn["runs"][machine].values()]
    steps += [run["best_step"] for run in mmgcn["runs"]["as it is"].values()]
    assert f"between step {min(steps):,} and step {max(steps):,}" in words


def test_a_second_thread_changes_no_number(measured: Any) -> None:
    assert all(cell["changed_by_threads"] == 0 for cell in measured["cells"].values())
    one, two = (measured["machines"][machine] for machine in OTHERS[:2])
    assert one["features"] == two["features"] and two["threads"] == 2


def test_the_gain_of_mmgcn_is_told_by_machine_and_by_seed(measured: Any, section: str) -> None:
    gains = measured["gains"]["mmgcn"]
    by_machine = ", ".join(f"{100 * gains[machine]['1']:.0f}" for machine in (measured["settings"]["first"], *OTHERS))
    by_seed = ", ".join(f"{100 * gains[measured['settings']['first']][str(seed)]:.0f}" for seed in (1, 2, 3))
    words = " ".join(section.split())
    assert f"is at seed 1 {by_machine} % on the four machines" in words
    assert f"on the first machine {by_seed} % with seeds 1, 2 and 3" in words


def test_keys_part_where_weights_are_part_of_them(measured: Any) -> None:
    for name, cell in measured["cells"].items():
        keys = {run["same_key"] for machine in OTHERS for run in cell["runs"][machine].values()}
        assert keys == {"baseline" not in name}, name
