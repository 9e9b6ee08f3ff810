"""The map of RQ1: the same comparison under other choices, from made-up runs with known levels."""

from typing import Any

import numpy as np
import pytest

from lmmrec_core.report.html import ShownTable
from lmmrec_core.study.further.sensitivity import Sensitivity
from lmmrec_core.study.study import Study
from tests.study.further.made import BASE, PT, made_run, receipt_of

SEEDS = (1, 2, 3)


def hits(ranks: int, blocked: int) -> dict[str, Any]:
    """Every user has one hit at ``ranks`` and, if asked, a validation item at rank ``blocked``."""
    return {
        "hit_ranks": [np.array([ranks], dtype=np.int16)] * 80, "n_relevant": 1,
        "valid_ranks": [np.array([blocked] if blocked else [], dtype=np.int16)] * 80,
    }  # fmt: skip


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """``Sensitivity`` of films on made-up runs; ``added``: those of the side track."""
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path))

    def make(results, added=(), **options):
        monkeypatch.setattr(Study, "results", lambda self, question=None: list(added))
        monkeypatch.setattr(Study, "receipt", lambda self: receipt_of([*results, *added]))
        return Sensitivity.open(Study.open("films"), list(results), models=["vbpr"], encoders=["clip"], **options)

    return make


def both(base: float, clip: float, **case: Any):
    return [made_run(level, s, **side, **case) for level, side in ((base, BASE), (clip, PT)) for s in SEEDS]


def arm(base: float, clip: float, name: str):
    return [made_run(level, s, **{**side, "arm": name}) for level, side in ((base, BASE), (clip, PT)) for s in SEEDS]


def on_split(base: float, clip: float, split: int):
    return [made_run(level, s, **{**side, "split": split}) for level, side in ((base, BASE), (clip, PT)) for s in SEEDS]


def changes(found: Sensitivity) -> dict[str, float]:
    return {row["choice"].words: round(row["change"], 2) for row in found.lines.to_dict("records")}


def test_each_choice_is_compared_with_itself_alone(opened) -> None:
    results = [*both(0.1, 0.12), *on_split(0.2, 0.22, 2027), *arm(0.1, 0.09, "raw")]
    added = [*arm(0.1, 0.15, "wide"), *both(0.1, 0.13, dataset="ml-sparse-lattice")]
    found = opened(results, added)
    assert changes(found) == {
        "as the track is set": 0.2, "split: seed 2027": 0.1, "split rule: the LATTICE authors'": 0.3,
        "feature rows: as the encoder makes them": -0.1, "vectors: 128 wide": 0.5,
    }  # fmt: skip
    assert set(found.lines["dataset"]) == {"ml-sparse"} and (found.lines["seeds"] == 3).all()
    assert (found.lines["from"] < found.lines["change"]).all() and (found.lines["change"] < found.lines["to"]).all()
    word, sentence = found.verdict()
    assert word == "1 of 4 change sign, 1 clearly" and "neither interval holds zero" in sentence
    assert found.not_run() == "*Not run*: vectors: 32 wide; validation items: not ranked; chosen on: the test part."


def test_links_lead_to_the_receipt_or_to_the_runs_that_only_this_page_lists(opened) -> None:
    found = opened([*both(0.1, 0.12)], arm(0.1, 0.15, "wide"))
    table = found.listing()
    assert isinstance(table, ShownTable)
    html = table.to_html()
    assert 'href="05_receipt.html#runs-ml-sparse-vbpr-clip-PT-VT"' in html
    assert 'href="#runs-ml-sparse-vbpr-clip-PT-VT-wide"' in html and "#runs-ml-sparse-vbpr-baseline-VT-wide" in html
    listed = found.side_runs()._repr_html_()
    assert listed.count("<tr id=") == 2 and 'id="runs-ml-sparse-vbpr-clip-PT-VT-wide"' in listed


def test_masked_rankings_come_from_what_runs_keep(opened) -> None:
    base = [made_run(0.1, s, more=hits(2, 0), **BASE) for s in SEEDS]
    clip = [made_run(0.1, s, more=hits(2, 1), **PT) for s in SEEDS]
    found = opened([*base, *clip]).lines.set_index("choice")
    (masked,) = [choice for choice in found.index if choice.masked]
    # every hit of the encoder moves from rank 2 to rank 1: NDCG from 1 / log2(3) to 1
    assert found.loc[masked, "change"] == pytest.approx(np.log2(3) - 1)
    assert found.loc[masked, "runs"].anchors == ("runs-ml-sparse-vbpr-clip-PT-VT", "runs-ml-sparse-vbpr-baseline-VT")


def test_components_of_a_recommender_link_to_its_cells(opened) -> None:
    html = opened([*both(0.1, 0.12), *on_split(0.2, 0.22, 2027)]).components().to_html()
    assert "another split" in html and "%" in html and "not run" not in html
    assert "runs-ml-sparse-vbpr-baseline-VT" in html and "runs-ml-sparse-vbpr-clip-PT-VT" in html
    assert "not run" in opened(both(0.1, 0.12)).components().to_html()  # one split says nothing of others


def test_without_runs_every_part_says_so(opened) -> None:
    found = opened([])
    assert found.verdict()[0] == "not run" and "not run" in found.listing()._repr_markdown_()
    assert "not run" in found.components()._repr_markdown_() and "as the track is set" in found.not_run()
    assert found.side_runs()._repr_markdown_() == "" and found.map().axes[0].texts[0].get_text().startswith("not run")


def test_the_map_has_a_row_for_each_choice_and_bold_where_it_is_sure(opened) -> None:
    figure = opened([*both(0.1, 0.12), *arm(0.1, 0.1, "raw")]).map()
    shown = {text.get_text(): text.get_fontweight() for text in figure.axes[0].texts}
    assert shown.pop("+20") == "bold" and set(shown.values()) == {"normal"}
    assert "feature rows: as the encoder makes them" in [label.get_text() for label in figure.axes[0].get_yticklabels()]
