"""The filled-in checklists say what is so: numbers are quoted, what is named as kept is kept, a no is a no."""

import re

import pandas as pd

from lmmrec_core.names import TRACKS
from lmmrec_core.report.receipt import receipt_facts
from lmmrec_core.study.cases import all_cases, reason_not_run
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.own.kept import keeps_model
from lmmrec_core.study.workspace import Workspace
from tests.book.rendered import quotations
from tests.book.source import cells, chapter, table_under
from tests.book.test_notebooks import ROOT

TEXT = chapter("checklists")


def test_every_question_has_an_answer_and_every_yes_a_place() -> None:
    rows = table_under(TEXT, "question")
    assert len(rows) > 15
    for row in rows:
        question, answer, place = (*row, "")[:3]
        assert question.endswith("?") and answer
        assert not answer.startswith("yes") or "](" in place, question


def test_the_runs_of_every_track_are_counted_by_code() -> None:
    facts = set(receipt_facts(pd.DataFrame()))
    quoted = {(path, key) for path, key, _ in quotations(TEXT)}
    assert quoted == {(f"/book/_generated/{track}/05_receipt.ipynb", key) for track in TRACKS for key in facts}
    assert "quote_all(receipt_facts(receipt))" in cells(ROOT / "notebooks" / "05_receipt.ipynb", "code")


def test_what_is_not_reproduced_is_counted_by_code_and_every_row_has_a_reason_and_a_way() -> None:
    text = chapter("not_reproduced")
    quoted = {(path, key) for path, key, _ in quotations(text)}
    assert quoted == {(f"/book/_generated/{track}/05_receipt.ipynb", "runs") for track in ("paper", "films")}
    rows = table_under(text, "what")
    assert len(rows) >= 8 and all(len(row) == 5 and all(row) for row in rows)


def test_one_recommender_is_kept_by_a_reproduction() -> None:
    kept = []
    for name in TRACKS:
        track = read_track(name)
        cases = all_cases(track, track.seeds)
        kept += [case.slug for case in cases if keeps_model(case, track) and reason_not_run(case, track) is None]
    assert kept == ["vbpr-baseline-VT-s1"]
    assert "one recommender is kept by `make reproduce`" in TEXT


def test_energy_is_an_estimate_and_not_measured_unless_asked_for() -> None:
    assert re.search(
        r"Is energy reported\? \| yes, an estimate of the runs for which it was asked; \*not measured\*", TEXT
    )
    assert not Workspace.open("controls").energy
    assert receipt_facts(pd.DataFrame())["energy"] == "not measured"
