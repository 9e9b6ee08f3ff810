"""Recommenders that other packages bring through an entry point pass the contract of ours."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.contracts.guests import install, run

#: Not the chapter's own name: a reader who follows it has a package that brings that one
GUESTS = ("the-chapters-centroid", "pyg-content")
pytestmark = pytest.mark.slow  # a Python of its own, which imports torch and PyTorch Geometric


def worked_example(root: Path) -> str:
    """The code of the chapter on adding a recommender, under our name."""
    text = (root / "book" / "chapters" / "add_recommender.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)[1]
    named = code.replace('name: ClassVar[str] = "centroid"', f'name: ClassVar[str] = "{GUESTS[0]}"')
    assert named != code
    return named


@pytest.fixture(scope="module")
def outcomes(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    """Guest → test of the contract → what went wrong in its cases: from a process that finds both guests installed."""
    site = tmp_path_factory.mktemp("site")
    pyg = (root / "tests" / "contracts" / "pyg_guest.py").read_text(encoding="utf-8")
    install(site, "centroid_package", worked_example(root), {"lmmrec.recommenders": {GUESTS[0]: "Centroid"}})
    install(site, "pyg_package", pyg, {"lmmrec.recommenders": {"pyg-content": "PygContent"}})
    report = site / "report.xml"
    contract = "tests/contracts/test_recommenders.py"
    chosen = " or ".join((*GUESTS, "every_recommender_class"))
    done = run(site, "-m", "pytest", contract, "-k", chosen, f"--junitxml={report}", "-p", "no:cacheprovider")
    assert report.is_file(), done.stdout + done.stderr
    found: dict[str, dict[str, list[str]]] = {name: {} for name in (*GUESTS, "ours")}
    for case in ElementTree.parse(report).iter("testcase"):
        title = case.attrib["name"]
        guest = next((name for name in GUESTS if name in title), "ours")
        wrong = [part.attrib["message"] for part in case if part.tag in ("failure", "error", "skipped")]
        found[guest].setdefault(title.partition("[")[0], []).extend(wrong)
    return found


@pytest.mark.parametrize("guest", GUESTS)
def test_a_guest_passes_the_contract(outcomes: dict[str, dict[str, list[str]]], guest: str) -> None:
    assert {title: wrong for title, wrong in outcomes[guest].items() if wrong} == {}
    expected = {
        "test_plays_its_role",
        "test_scores_every_item_for_any_users_in_any_order",
        "test_learns_a_planted_signal",
        "test_held_out_rows_have_no_influence",
        "test_features_that_are_not_finite_or_missing_are_refused",
    }
    if guest == "pyg-content":
        expected |= {
            "test_gradients_reach_features_put_in_place_of_the_fixed_ones",
            "test_every_parameter_that_learns_is_saved",
        }
    assert expected <= outcomes[guest].keys()


def test_guests_are_not_asked_to_be_among_ours(outcomes: dict[str, dict[str, list[str]]]) -> None:
    assert outcomes["ours"] == {"test_every_recommender_class_is_a_member": []}
