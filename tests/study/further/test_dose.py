"""Quality over alignment, from made-up runs and diagnostics."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.cli.reproduce import _of_the_book
from lmmrec_core.errors import ConfigError
from lmmrec_core.report.html import NOT_RUN, Sentence
from lmmrec_core.study.cases import left_out
from lmmrec_core.study.diagnostics import _NAME
from lmmrec_core.study.further.dose import Dose
from lmmrec_core.study.further.tracks import FURTHER, further_study
from lmmrec_core.study.study import Study
from lmmrec_core.study.weights.recipes import read_entry
from tests.study.further.made import BASE, PT, made_run, receipt_of

LEVELS = {"clip": 0.12, "mispaired_50": 0.11, "mispaired_95": 0.09}
DISTANCES = {"clip": 0.4, "mispaired_50": 0.8, "mispaired_95": 1.6}


@pytest.fixture
def dose(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path))
    where = {"track": "controls", "dataset": "complementary", "model": "lattice"}
    runs = [made_run(0.1, s, **BASE, **where) for s in (1, 2, 3)]
    runs += [
        made_run(level, s, **{**PT, "encoder": name}, **where) for name, level in LEVELS.items() for s in (1, 2, 3)
    ]
    rows = [
        {"dataset": "complementary", "encoder": name, "paradigm": "PT", "shared.align": value,
         "shared.align.low": value - 0.1, "shared.align.high": value + 0.1}
        for name, value in DISTANCES.items()
    ]  # fmt: skip
    monkeypatch.setattr(Study, "results", lambda self, question=None: runs)
    monkeypatch.setattr(Study, "diagnostics", lambda self: pd.DataFrame(rows))
    monkeypatch.setattr(Study, "receipt", lambda self: receipt_of(runs))
    return Dose.open(Study.open("controls"))


def test_each_system_has_its_alignment_and_its_quality_with_intervals(dose: Dose) -> None:
    lines = dose.lines.set_index(dose.lines["variant"].map(lambda v: v.encoder))
    assert lines["alignment"].dropna().to_dict() == pytest.approx(DISTANCES) and np.isnan(lines.loc["baseline", "low"])
    assert lines.loc["clip", "ndcg@20"] == pytest.approx(0.1202)
    assert (lines["ndcg@20.low"] < lines["ndcg@20"]).all() and (lines["ndcg@20"] < lines["ndcg@20.high"]).all()


def test_the_verdict_compares_with_the_least_aligned_features(dose: Dose) -> None:
    word, sentence = dose.verdict()
    assert word == "1 of 1 better, 0 worse" and "Complementary, LATTICE: +33.3 %" in sentence


def test_where_alignment_did_not_move_nothing_is_told(dose: Dose, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Study.diagnostics(None)  # type: ignore[arg-type]
    monkeypatch.setattr(Study, "diagnostics", lambda self: known.assign(**{"shared.align.low": 0.0}))
    word, sentence = Dose.open(Study.open("controls")).verdict()
    assert word == "alignment did not move" and "Complementary, LATTICE" in sentence and "%" not in sentence


def test_its_runs_are_listed_and_linked_on_the_page(dose: Dose) -> None:
    html, listed = dose.listing().to_html(), dose.runs()._repr_html_()
    assert html.count('href="#runs-complementary-lattice-') == 4 == listed.count("<tr id=")
    assert "mispaired_95" in html and "0.4000 [0.3000, 0.5000]" in html
    assert len(dose.figure().axes) == 2


@pytest.mark.parametrize("track", ["controls", "paper"])
def test_without_runs_it_says_so(track: str, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path))
    found = Dose.open(Study.open(track))
    assert found.verdict()[0] == "not run" and isinstance(found.listing(), Sentence)
    assert found.runs()._repr_markdown_() == "" and found.figure().axes[0].texts[0].get_text().startswith("not run")
    assert NOT_RUN not in found.listing()._repr_markdown_()


@pytest.mark.parametrize("track", list(FURTHER["dose"]))
def test_the_side_track_changes_alignment_and_nothing_else(track: str) -> None:
    book = Study.open(track)
    side = further_study("dose", book)
    assert side is not None and side.track.name == track
    whole = side.track.encoder("clip")
    for name in side.track.encoders:
        if name in book.track.encoders:
            continue
        entry = side.track.encoder(name)
        assert read_entry(side.track, name).encoder == whole["encoder"]
        assert entry.get("settings", {}) == whole.get("settings", {})
        pretrain = {key: value for key, value in entry["pretrain"].items() if key != "mispaired"}
        assert pretrain == whole["pretrain"]
        steered = [entry["pretrain"].get("mispaired"), entry.get("rotated"), entry.get("fine_tune")]
        assert sum(value is not None for value in steered) == 1
    cases = [case for case in side.cases() if left_out(case, side.track) is None]
    assert {case.model for case in cases} == {"lattice", "mmgcl"} and {case.arm for case in cases} == {"none"}
    assert {case.control for case in cases} == {"none"} and {case.modalities for case in cases} == {"V&T"}
    assert {case.paradigm for case in cases} <= {"none", "PT", "FT"}
    assert len(cases) < 140


def test_what_the_book_makes_from_its_runs_stays_that_of_its_own_track(tmp_path) -> None:
    book = Study.open("films", home=tmp_path)
    side = further_study("dose", book)
    assert side is not None and side.track != book.track
    again = _of_the_book(side)
    assert (again.track, again.seeds, again.workspace.results) == (book.track, book.seeds, book.workspace.results)
    assert _of_the_book(book) is book


def test_names_of_features_can_be_parts_of_file_names() -> None:
    """Diagnostics and weights are kept under the encoder's name."""
    for track in FURTHER["dose"]:
        side = further_study("dose", Study.open(track))
        assert side is not None and all(_NAME.fullmatch(name) for name in side.track.encoders)


def test_features_of_a_side_track_stay_off_the_pages_of_the_book(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [{"encoder": name, "dataset": None, "stage": "PT", "provenance": {"dirty": False}, "weights": name}
             for name in ("clip", "light-cnn", "mispaired_50")]  # fmt: skip
    monkeypatch.setattr("lmmrec_core.study.study.read_encoder_records", lambda track, results: known)
    shown = [record["encoder"] for record in Study.open("controls").encoder_records()]
    assert shown == ["clip", "light-cnn"]


def test_a_measure_that_nobody_took_is_refused(dose: Dose) -> None:
    with pytest.raises(ConfigError, match=r"unknown measure of alignment .shared.aline"):
        replace(dose, measure="shared.aline").listing()
